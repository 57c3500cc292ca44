"""Opens the files that tools have written, and the web pages of answers."""

import asyncio
import tempfile
from pathlib import Path

from app.lines import one_line
from app.paths import pages_folder
from app.programs import open_file, show_file
from app.tools.web_pages import write_page
from app.tools.written_files import copied, folder_of, is_only_shown
from app.tui.parts.desk import Desk
from mlx_model.errors import GptossError

HERE = "A click on 'copy path' in its line copies where it is."


class WrittenFiles:
    """Opens a copy of what programs only show. Of anything else it shows the folder: a page or a script that the model
    wrote in its sandbox would run outside of it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    async def open(self, path: Path) -> None:
        """Open a file with the system's program, and say what came of it."""
        name = one_line(path.name)
        try:
            if is_only_shown(path):
                await open_file(await asyncio.to_thread(self._copy, path))
                self._desk.notify(f"Opened a copy of {name}.")
            else:
                await show_file(path, folder_of(path))
                self._desk.notify(f"{name} was not opened, for it could run something: here is its folder.")
        except (GptossError, OSError) as error:
            why = (error.strerror if isinstance(error, OSError) else "") or str(error)
            self._desk.warn(f"{name} can't be opened: {why}. {HERE}")

    async def open_page(self, page: str) -> None:
        """Open a page that the model has written in the browser, where it reaches nothing, and say what came of it."""
        try:
            path = await asyncio.to_thread(write_page, page, pages_folder())
        except (GptossError, OSError) as error:
            why = (error.strerror if isinstance(error, OSError) else "") or str(error)
            self._desk.warn(f"The page can't be opened: {why}.")
            return
        try:
            await open_file(path)
            self._desk.notify("The page is opened in the browser, cut off from the network.")
        except GptossError as error:
            self._desk.warn(f"The page can't be opened here: {error}. It is in {path}.")

    def _copy(self, path: Path) -> Path:
        """Each in a folder of its own, so that none is written while a program reads it."""
        self._copies = self._copies or tempfile.TemporaryDirectory(prefix="gptoss-chat-", ignore_cleanup_errors=True)
        return copied(path, Path(tempfile.mkdtemp(dir=self._copies.name)))
