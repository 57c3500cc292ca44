"""The tools of one folder: four functions for the model, and the way back for the person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from mlx_model.harmony.calls import ToolCall
from mlx_model.text import clean
from mlx_model.tools.base import Output, Tool, ToolResult
from mlx_model.tools.files.folder import FilesError, Folder
from mlx_model.tools.files.lines import Lines
from mlx_model.tools.files.patch import patch_in
from mlx_model.tools.files.plan import Plan, apply, plan
from mlx_model.tools.files.search import Walk
from mlx_model.tools.files.undo import Undo
from mlx_model.tools.functions import Function, Room

_MOST_LINES = 500
_MOST_LISTED = 500
_MOST_HITS = 200
_LONGEST_LINE = 2_000
_LONGEST_HIT = 200
# For the lines that say what is shown, and what isn't.
_MARGIN = 300

INSTRUCTIONS = """The user has opened the folder "{name}" for you. The functions read_file, list_files and \
find_in_files look into it, apply_patch changes it; nothing else reaches it. Paths are relative to it. Read a file \
before you change it.

The input of apply_patch is one text, a patch such as this:

*** Begin Patch
*** Update File: src/app.py
*** Move to: src/main.py
@@ class Greeter:
@@     def greet(self):
         name = self.name
-        print("Hi", name)
+        print("Hello,", name)
*** Add File: docs/notes.md
+# Notes
*** Delete File: obsolete.txt
*** End Patch

- A section begins with *** Update File, *** Add File or *** Delete File. *** Move to, right below *** Update File, \
renames the file.
- An update consists of hunks, in the order of the file. Each begins with @@, behind which may stand a line of the \
file that is above the place, such as the head of its class or function.
- In a hunk each line begins with a space (it stays), - (it goes) or + (it comes). Give about 3 lines that stay \
before and after a change, exactly as in the file and without line numbers. *** End of File below a hunk says that \
the file ends there.
- In a new file each line begins with +.
- All of a patch takes effect or nothing. The user sees it as a diff first, and may decline."""


class Files:
    """The files in a folder as tools for a model: `Files("project").tools` are read_file, list_files, find_in_files
    and apply_patch. `instructions` belong into the developer message.

    What patches replace is kept in the folder `undo`, if one is given, which the model's code must not reach. Raises
    FilesError if there is no folder to open.
    """

    def __init__(self, folder: str | Path, undo: Path | None = None) -> None:
        self.folder = Folder(Path(folder).expanduser())
        self._undo = Undo(undo) if undo else None
        self._planned: tuple[str, Plan | FilesError] | None = None
        self._news = ""
        reading = (self.read_file, self.list_files, self.find_in_files)
        self.tools: Sequence[Tool] = (*map(Function, reading), _ApplyPatch(self.apply_patch))

    @property
    def instructions(self) -> str:
        """How the functions are used."""
        return INSTRUCTIONS.format(name=clean(self.folder.path.name))

    def read_file(self, path: str, first_line: int = 1, lines: int = _MOST_LINES, *, room: Room) -> ToolResult:
        """Reads a text file.

        Args:
            path: relative to the opened folder
            first_line: where to begin, counted from 1
            lines: how many at most
        """
        path = self.folder.relative(path)
        content = self.folder.read(path)
        if content is None:
            raise FilesError(f"{path} is not there: look with list_files.")
        texts = Lines.of(content.data, path).texts
        first = max(1, first_line)
        if first > max(1, len(texts)):
            raise FilesError(f"{path} has {len(texts)} lines, so that none is left from {first} on.")
        shown, is_cut = _fitting(texts[first - 1 : first - 1 + max(1, lines)], _LONGEST_LINE, room)
        last = first - 1 + len(shown)
        span = f"lines {first}-{last} of {len(texts)}" if texts else "empty"
        notes = [f"[{path}, {span}{', lines of more than 2,000 characters are cut' if is_cut else ''}]"]
        if last < len(texts):
            shown.append(f"[{len(texts) - last} more lines: read_file with first_line={last + 1}]")
        return self._result("\n".join([*notes, *shown]), span)
