"""Opens files and folders with the program that the system has for them."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

from mlx_model.errors import GptossError

PATIENCE_S = 5.0
"""How long to wait for bad news: some systems' command ends with the program that it has started."""


class ProgramError(GptossError):
    """Nothing was opened."""


async def open_file(path: Path) -> None:
    """Open a file of our own. Raises ProgramError."""
    await asyncio.to_thread(open_now, path)


async def show_file(path: Path, folder: Path) -> None:
    """Show where a file lies, without opening it: in the Finder, elsewhere by `folder`, which is above it. Raises
    ProgramError."""
    await asyncio.to_thread(open_now, *(["-R", path] if sys.platform == "darwin" else [folder]))


def open_now(*arguments: str | Path) -> None:
    """Waits for it, a while. Raises ProgramError."""
    name = "open" if sys.platform == "darwin" else "xdg-open"
    if "SSH_CONNECTION" in os.environ:
        raise ProgramError("over ssh it would open on the other computer")
    if sys.platform != "darwin" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise ProgramError("there is no desktop here to open it on")
    if shutil.which(name) is None:
        raise ProgramError(f"{name} is not installed here, which opens files")
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(
        [name, *map(str, arguments)], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    )
    try:
        code = process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        return
    if code:
        raise ProgramError(f"{name} ended with exit code {code}: no program for it, perhaps")
