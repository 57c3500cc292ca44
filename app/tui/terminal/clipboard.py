"""Copies to the clipboard, and reports success only after reading the clipboard back."""

import asyncio
import os
import shutil
from collections.abc import Callable

from mlx_model.errors import GptossError

PATIENCE_S = 5.0
"""How long a program may take to copy before it is taken to hang, in seconds."""


class ClipboardError(GptossError):
    """The text could not be copied."""


async def copy(text: str, what: str, osc52: Callable[[str], None]) -> str:
    """Put `text` on the clipboard; returns what to tell the person, who knows it as `what`. Raises ClipboardError.

    pbcopy comes first, read back through pbpaste, because Terminal.app ignores OSC 52. Over ssh pbcopy would fill the
    clipboard of the remote machine. There, and where there is no pbcopy, tmux (3.2 and later) takes the text into its
    own buffer and passes it to the terminal around it, because by default it ignores an application's OSC 52. Without
    tmux, or where it fails, `osc52` asks the terminal, which never reports whether it copied.
    """
    if not text:
        raise ClipboardError("there is nothing to copy")
    data = text.encode()
    if shutil.which("pbcopy") and shutil.which("pbpaste") and "SSH_CONNECTION" not in os.environ:
        await _run(["pbcopy"], data)
        await _verify(["pbpaste"], data, "the clipboard")
        return f"Copied {what}"
    if os.environ.get("TMUX") and shutil.which("tmux"):
        try:
            await _run(["tmux", "load-buffer", "-w", "-"], data)
        except ClipboardError:
            pass
        else:
            await _verify(["tmux", "save-buffer", "-"], data, "tmux's buffer")
            return f"Copied {what} to tmux's buffer"
    osc52(text)
    return f"Sent {what} to the terminal's clipboard; some ignore it"


async def _verify(paste: list[str], data: bytes, place: str) -> None:
    if await _run(paste) != data:
        raise ClipboardError(f"after copying, {place} holds something else; nothing was copied")


async def _run(command: list[str], data: bytes = b"") -> bytes:
    # Otherwise both use the Mac's legacy encoding; LC_ALL would override LC_CTYPE.
    environment = {name: value for name, value in os.environ.items() if name != "LC_ALL"} | {"LC_CTYPE": "UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            output, _ = await process.communicate(data)
    except TimeoutError:
        process.kill()
        await process.wait()
        problem = f"{command[0]} did not respond and was ended"
        raise ClipboardError(f"copying failed: {problem}; the clipboard may be unchanged") from None
    if process.returncode:
        problem = f"{command[0]} ended with exit code {process.returncode}"
        raise ClipboardError(f"copying failed: {problem}; nothing was copied")
    return output
