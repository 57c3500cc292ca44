"""Opens the prompt in the person's own editor, which gets the whole terminal."""

import asyncio
import os
import shlex
import shutil
import tempfile
from pathlib import Path

from textual.app import App, SuspendNotSupported

from mlx_model.errors import GptossError
from mlx_model.text import clean

PATIENCE_S = 2.0
"""How long an editor may take to end when it is told to, in seconds."""


class EditorError(GptossError):
    """There is no editor, or it failed; the text in the input is unchanged."""


async def edit(app: App[None], text: str) -> str:
    """Open `text` in $VISUAL, else $EDITOR, else vi; returns it as the editor leaves it. Raises EditorError.

    The app keeps running meanwhile, and an answer under way is saved as usual, but nothing is drawn. To cancel it is to
    end the editor: what that has saved by then is returned.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise EditorError(
            f"$VISUAL or $EDITOR is {command!r}, which is no command ({error}); the message is unchanged"
        ) from None
    if not words or shutil.which(words[0]) is None:
        raise EditorError(f"there is no editor {clean(command)}; set VISUAL or EDITOR to one that is installed")
    try:
        with tempfile.TemporaryDirectory(prefix="gptoss-chat-") as folder:
            file = Path(folder, "prompt.md")
            file.write_text(text, "utf-8", "replace")
            with app.suspend(), app.batch_update():
                code = await _run([*words, str(file)])
            app.refresh()
            if code:
                raise EditorError(f"the editor {words[0]} ended with code {code}; the message is unchanged")
            return clean(file.read_bytes().decode("utf-8").replace("\r\n", "\n").removesuffix("\n"))
    except SuspendNotSupported:
        raise EditorError("this terminal cannot run an editor inside the chat; the message is unchanged") from None
    except UnicodeDecodeError:
        raise EditorError(f"the editor {words[0]} saved text that is not UTF-8; the message is unchanged") from None
    except OSError as error:
        raise EditorError(f"the editor failed: {error.strerror or error}; the message is unchanged") from None


async def _run(command: list[str]) -> int:
    """Run an editor; its exit code, 0 where it was ended because the chat ends."""
    process = await asyncio.create_subprocess_exec(*command)
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        return 0
