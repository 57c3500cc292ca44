"""Copying, honestly: success is claimed only after reading the clipboard back."""

import asyncio
import os
import shutil
from collections.abc import Callable

from mlx_model.errors import GptossError


class ClipboardError(GptossError):
    """The text could not be copied."""


async def copy(text: str, osc52: Callable[[str], None]) -> str:
    """Put `text` on the clipboard; returns what to tell the person. Raises ClipboardError.

    pbcopy first, read back through pbpaste: Terminal.app ignores OSC 52. Over ssh pbcopy would fill the
    clipboard of the far machine, so there, and where there is no pbcopy, `osc52` asks the terminal, which
    never says whether it did.
    """
    if shutil.which("pbcopy") and shutil.which("pbpaste") and "SSH_CONNECTION" not in os.environ:
        await _run("pbcopy", text.encode())
        if await _run("pbpaste") != text.encode():
            raise ClipboardError("pbcopy ran, but the clipboard holds something else; nothing was copied")
        return f"Copied {len(text):,} characters."
    osc52(text)
    return f"Sent {len(text):,} characters to the terminal's clipboard (OSC 52). Not every terminal accepts that."


async def _run(command: str, data: bytes = b"") -> bytes:
    environment = {**os.environ, "LC_CTYPE": "UTF-8"}  # else both speak the Mac's legacy encoding
    process = await asyncio.create_subprocess_exec(
        command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    output, _ = await process.communicate(data)
    if process.returncode:
        raise ClipboardError(f"{command} failed with exit code {process.returncode}; nothing was copied")
    return output
