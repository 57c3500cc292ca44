"""What is loaded while the person types is nothing that the garbage collector goes through again and again."""

import subprocess
import sys


def test_what_is_loaded_by_then_is_frozen_once() -> None:
    code = (
        "import gc; import app.tui.app; from app.tui.ahead import load_ahead; load_ahead(); "
        "frozen = gc.get_freeze_count(); kept = [[] for _ in range(99)]; load_ahead(); "
        "print(frozen > len(gc.get_objects()), gc.get_freeze_count() == frozen)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "True True\n"
