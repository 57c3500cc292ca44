"""Takes the picture of the chat in assets/, from the program itself with the demo model: `make screenshots`."""

import asyncio
import os
import re
import tempfile
from pathlib import Path

from textual.pilot import Pilot

from app.engine.protocol import Load
from app.tui.app import ChatApp
from app.tui.widgets.messages import AnswerView
from mlx_model.options import Options
from tests.fixtures.fakes import desk_of, send, wait_until

ASSETS = Path(__file__).parents[1] / "assets"
SIZE = (120, 32)
PROMPTS = ["What is 124 + 387?", "Spell umbrella backwards.", "How many r's are in strawberry?"]


async def answered(pilot: Pilot[None], prompt: str) -> None:
    """Ask, and wait for the end of the answer."""
    before = len(pilot.app.query(AnswerView))
    await send(pilot, prompt)
    views = pilot.app.query(AnswerView)
    await wait_until(pilot, lambda: len(views) > before and views.last().finished is not None)


async def take(path: Path) -> None:
    """Open a chat of its own, ask, and save what is on the screen."""
    app = ChatApp(Load("demo"), Options(temperature=0))
    async with app.run_test(size=SIZE) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).status.state == "ready")
        for prompt in PROMPTS:
            await answered(pilot, prompt)
        await pilot.pause(0.5)
        picture = app.export_screenshot(title="gptoss-chat")
    # Textual's pictures load a font from the network; the reader's own monospaced font will do.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.S), encoding="utf-8")


def main() -> None:
    """Take it, with nobody's conversations in the sidebar."""
    path = ASSETS / "screenshot.svg"
    with tempfile.TemporaryDirectory() as home:
        os.environ["GPTOSS_CHAT_HOME"] = home
        asyncio.run(take(path))
    print(path)


if __name__ == "__main__":
    main()
