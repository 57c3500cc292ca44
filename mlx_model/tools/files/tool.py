"""The tools of one folder: four functions for the model, and the way back for the person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from mlx_model.harmony.calls import ToolCall
from mlx_model.text import clean
from mlx_model.tools.base import ROOM, Output, Tool, ToolResult
from mlx_model.tools.files.folder import FilesError, Folder
from mlx_model.tools.files.lines import texts_of
from mlx_model.tools.files.patch import patch_in
from mlx_model.tools.files.plan import Plan, apply, plan
from mlx_model.tools.files.search import Entry, Walk
from mlx_model.tools.files.undo import Undo
from mlx_model.tools.functions import Function, Room

_MOST_LINES = 500
_MOST_LISTED = 500
_MOST_HITS = 200
_LONGEST_LINE = 2_000
_LONGEST_HIT = 200
# For the lines that say what is shown, and what isn't.
_MARGIN = 300
_NOTHING = "", FilesError("There is no patch.")

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
        self._planned: tuple[str, Plan | FilesError] = _NOTHING
        self._news = ""
        looking = (Function(self.read_file), Function(self.list_files), Function(self.find_in_files))
        self.tools: Sequence[Tool] = (*looking, _ApplyPatch(self.apply_patch))

    @property
    def instructions(self) -> str:
        """How the functions are used."""
        return INSTRUCTIONS.format(name=" ".join(clean(self.folder.path.name).split()))

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
        texts = texts_of(content.data, path)
        first = max(1, first_line)
        if first > max(1, len(texts)):
            raise FilesError(f"{path} has {len(texts)} lines, so that none is left from {first} on.")
        shown, is_cut = _fitting(texts[first - 1 : first - 1 + max(1, lines)], _LONGEST_LINE, room)
        last = first - 1 + len(shown)
        span = f"lines {first}-{last} of {len(texts)}" if texts else "empty"
        notes = [f"[{path}, {span}{', long lines are cut' if is_cut else ''}]"]
        if last < len(texts):
            shown.append(f"[{_counted(len(texts) - last, 'more line')}: read_file with first_line={last + 1}]")
        return self._result("\n".join([*notes, *shown]), span)

    def list_files(self, path: str = ".", glob: str = "", *, room: Room) -> ToolResult:
        """Lists what is in a folder, or with a glob the files at any depth that fit it.

        Args:
            path: relative to the opened folder
            glob: such as *.py or src/**/*.md; what git ignores is left out
        """
        path, walk = self.folder.relative(path), Walk(self.folder)
        found = walk.files(path, glob) if glob else walk.entries(path)
        lines = [_listed(each) for each in islice(found, _MOST_LISTED + 1)]
        return self._list(lines, _MOST_LISTED, walk, room, "entry", "Give a folder or a narrower glob.")

    def find_in_files(self, text: str, glob: str = "", *, room: Room) -> ToolResult:
        """Finds the lines that contain a text, as it is. Case counts only if the text has a capital letter.

        Args:
            text: what to look for; no regular expression
            glob: the files to look into, such as *.py or src/**/*.md; what git ignores is left out
        """
        if not text.strip():
            raise FilesError("There is no text to look for.")
        walk = Walk(self.folder)
        hits = [
            f"{hit.path}:{hit.number}: {_around(hit.text.strip(), text)}"
            for hit in islice(walk.hits(text, glob), _MOST_HITS + 1)
        ]
        return self._list(hits, _MOST_HITS, walk, room, "line", "Look for a longer text, or with a narrower glob.")

    def apply_patch(self, input: str) -> ToolResult:
        """Changes files by a patch.

        Args:
            input: from *** Begin Patch to *** End Patch
        """
        (patch, changes), self._planned = self._planned, _NOTHING
        if patch != input:
            changes = plan(self.folder, input)
        if isinstance(changes, FilesError):
            raise changes
        if self._undo is None:
            apply(self.folder, changes)
        else:
            self._undo.apply(self.folder, changes)
        lines = changes.summary()
        count = f"{_counted(len(lines), 'file')} changed"
        written = tuple(self.folder.path / change.path for change in changes.changes if change.after is not None)
        return replace(self._result("\n".join([f"Done, {count}:", *lines]), count), files=written)

    def plan(self, arguments: Any) -> Plan:
        """What a call of apply_patch with these arguments would do. The next call with this patch does exactly that,
        or fails as this does: with FilesError, worded for the model."""
        patch = patch_in(arguments)
        try:
            changes = plan(self.folder, patch)
        except FilesError as error:
            self._planned = patch, error
            raise
        self._planned = patch, changes
        return changes

    def undo(self) -> str:
        """Puts back what the last patch replaced; says to the person what that was.

        Raises FilesError, as `Undo.put_back`, and nothing is put back. The model reads of it with its next result.
        """
        if self._undo is None:
            raise FilesError("Patches are not kept here, so none can be undone.")
        paths = self._undo.put_back(self.folder)
        if not paths:
            return "The files are already as they were before the last patch."
        listed = ", ".join(paths)
        self._news = f"[The user has undone your last patch: {listed} are as before it.]\n"
        return f"The last patch is undone in {self.folder.path}: {listed}."

    def _list(self, lines: list[str], most: int, walk: Walk, room: int, what: str, remedy: str) -> ToolResult:
        shown, _ = _fitting(lines[:most], _LONGEST_LINE, room)
        is_whole = len(shown) == len(lines) and not walk.is_cut
        count = _counted(len(shown), what) if is_whole else f"the first {_counted(len(shown), what)}"
        notes = [] if is_whole else [f"[There is more than these. {remedy}]"]
        return self._result("\n".join([*shown, *notes]) or "There is none.", count)

    def _result(self, text: str, outcome: str) -> ToolResult:
        news, self._news = self._news, ""
        return ToolResult(news + text, outcome=outcome)


def _listed(entry: Entry) -> str:
    if entry.is_folder:
        return f"{entry.path}/"
    if entry.is_file:
        return f"{entry.path} {entry.status.st_size:,} bytes"
    return f"{entry.path} (a link or device, which can't be opened)"


def _counted(number: int, noun: str) -> str:
    """A number of things, for people."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


class _ApplyPatch(Function):
    """apply_patch, which the model also calls as other tools want it: as a command, as JSON in JSON."""

    async def run(self, call: ToolCall, output: Output, room: int = ROOM) -> ToolResult:
        """See Tool."""
        try:
            arguments = {"input": patch_in(call.arguments)}
        except FilesError as error:
            return ToolResult(f"Error: {error}", error=True)
        return await super().run(replace(call, arguments=arguments), output, room)


def _fitting(lines: Sequence[str], longest: int, room: int) -> tuple[list[str], bool]:
    """As many lines as there is room for, at least one, and whether some had to be cut."""
    left, shown, is_cut = room - _MARGIN, list[str](), False
    longest = max(1, min(longest, left))
    for line in lines:
        left -= min(len(line), longest) + 1
        if left < 0 and shown:
            break
        shown.append(line[:longest])
        is_cut |= len(line) > longest
    return shown, is_cut


def _around(line: str, text: str) -> str:
    """What is around a text in a long line."""
    at = max(0, line.lower().find(text.partition("\n")[0].strip().lower()) - _LONGEST_HIT // 4)
    return line if len(line) <= _LONGEST_HIT else f"...{line[at : at + _LONGEST_HIT]}..."
