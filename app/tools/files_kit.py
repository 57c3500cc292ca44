"""The kit "files": reads and changes the files in one folder that the person opened for the conversation."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from app.paths import conversations_file, settings_file
from app.tools.permission import Decision, Wish
from metal.files import expanded
from mlx_model.errors import RequestError
from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import Tool
from mlx_model.tools.files import Files
from mlx_model.tools.files.folder import FilesError, is_git
from mlx_model.tools.files.undo import Undo


def folder_to_open(text: str) -> Path:
    """The folder that a person names, in full. Raises RequestError for one that isn't there or is too much to open."""
    if not text.strip():
        raise RequestError("name the folder to open, such as ~/project")
    try:
        folder = expanded(text.strip()).resolve(strict=True)
        home = Path.home().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise RequestError(
            f"{text.strip()[:200]} can't be opened: {getattr(error, 'strerror', None) or error}"
        ) from None
    if not folder.is_dir():
        raise RequestError(f"{folder} is a file: name the folder it is in")
    if _is_in(home, folder):
        raise RequestError(f"{folder} is too much to open: name a folder in your home, such as that of a project")
    own = {conversations_file().parent.resolve(), settings_file().parent.resolve()}
    if any(_is_in(folder, each) or _is_in(each, folder) for each in own):
        raise RequestError(f"{folder} has files of this program, which the model may not change: name another folder")
    if any(is_git(part) for part in folder.parts):
        raise RequestError(f"{folder} belongs to git, whose files stay closed: name the folder of the project")
    return folder


def _is_in(inner: Path, outer: Path) -> bool:
    """Also where a file system takes names of different case for the same."""
    return outer.exists() and any(each.exists() and each.samefile(outer) for each in (inner, *inner.parents))


class FilesKit:
    """See Kit. `folder` is what `folder_to_open` gave; what patches replace is kept in the folder `kept`.

    Reading needs no permission, for the person has opened the folder; changes are asked for with their diff.
    """

    name = "files"
    subjects = ("files",)
    state = "reads without asking, asks before each patch"

    def __init__(self, folder: Path, kept: Path) -> None:
        self.folder = folder
        self.trouble = ""
        self._undo = kept / "patches"
        self._files: Files | None = None

    @property
    def tools(self) -> Sequence[Tool]:
        """See Kit."""
        return self._files.tools if self._files else ()

    @property
    def instructions(self) -> str:
        """See Kit."""
        return self._files.instructions if self._files else ""

    async def prepare(self) -> None:
        """See Kit. The folder is looked at each time: it may be on a disk that is gone."""
        try:
            await asyncio.to_thread(self._prepare)
            self.trouble = ""
        except FilesError as error:
            self.trouble = f"{error} Open another with /tools files FOLDER."

    async def wish(self, call: ToolCall) -> Wish:
        """Looking into the folder, or a patch that can't be applied, changes nothing and is allowed. Other patches are
        asked for with all that they would change."""
        looking = Wish(self._subjects("read"), Decision.ALLOW, "a rule says so", call.text)
        if self._files is None or not call.name.endswith("apply_patch"):
            return looking
        try:
            plan = await asyncio.to_thread(self._files.plan, call.arguments)
        except FilesError:
            return looking
        return Wish(self._subjects("write"), Decision.ASK, f"it changes files in {self.folder}", plan.diff())

    @property
    def has_changed(self) -> bool:
        """Whether there is a patch to undo."""
        return not Undo(self._undo).is_empty

    def undo(self) -> str:
        """Puts back what the last patch of the conversation replaced; returns a line that says so.

        Raises GptossError, and nothing is put back, where there is none or a file has changed since.
        """
        self._prepare()
        assert self._files is not None
        return self._files.undo()

    async def close(self) -> None:
        """See Kit."""

    def _prepare(self) -> None:
        if self._files is None:
            self._files = Files(self.folder, self._undo)
        self._files.folder.check()

    def _subjects(self, doing: str) -> tuple[str, ...]:
        return f"files.{doing} {self.folder}", f"files.{doing}", "files"
