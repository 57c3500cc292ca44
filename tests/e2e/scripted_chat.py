"""The chat on the scripted engine of tests/app, for what a real model can't be made to do on demand."""

import sys
from pathlib import Path

from app.engine.client import EngineClient
from app.tui.app import ChatApp

WORKER = Path(__file__).parents[1] / "app" / "scripted_worker.py"

if __name__ == "__main__":
    ChatApp(engine=EngineClient((sys.executable, str(WORKER)), cancel_grace_s=0.5)).run()
