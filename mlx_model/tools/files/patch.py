"""A patch as the model writes it: found in what it sent, and read as sections. Looks at no file."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mlx_model.text import clean
from mlx_model.tools.files.folder import FilesError

MOST_CHARACTERS = 2_000_000
_DEEPEST = 10

Kind = Literal["add", "delete", "update"]

_BEGIN, _END = "Begin Patch", "End Patch"
_MOVE, _END_OF_FILE = "Move to", "End of File"
_KINDS: dict[str, Kind] = {
    "Add File": "add",
    "Delete File": "delete",
    "Update File": "update",
}
_KNOWN = {name.casefold(): name for name in (_BEGIN, _END, _MOVE, _END_OF_FILE, *_KINDS)}
_MARKER = re.compile(rf"\*\*\* ?({'|'.join(_KNOWN)})\b:?", re.IGNORECASE)
# What other tools write behind @@: the numbers of lines, which say nothing here.
_NUMBERS = re.compile(r"@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@")

SHAPE = """*** Begin Patch
*** Update File: path/to/file
@@
 a line that stays
-a line that goes
+a line that comes
*** End Patch"""


@dataclass(frozen=True, slots=True)
class HunkLine:
    """A line of a hunk: " " stays, "-" goes, "+" comes. `number` is its line in the patch, counted from 1."""

    sign: str
    text: str
    number: int


@dataclass(frozen=True, slots=True)
class Hunk:
    """A place in a file and what changes there. `headers` are lines that stand above it, the outermost first."""

    headers: tuple[HunkLine, ...]
    lines: tuple[HunkLine, ...]
    is_at_end: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """What becomes of a file. `number` is the section's line in the patch."""

    kind: Kind
    path: str
    number: int
    moved_to: str = ""
    hunks: tuple[Hunk, ...] = ()
    added: tuple[str, ...] = ()


def patch_in(arguments: Any) -> str:
    """The patch in a call's arguments: also as a command for a shell, or in JSON once more.

    Raises FilesError where there is none.
    """
    found = next(_texts_with_patch(arguments), None)
    if found is None:
        raise FilesError(f'There is no patch in it. Send it as the text "input", in this form:\n{SHAPE}')
    if len(found) > MOST_CHARACTERS:
        raise FilesError(f"The patch has more than {MOST_CHARACTERS:,} characters. Send it in parts.")
    if re.search(r"[\ud800-\udfff]", found):
        raise FilesError("The patch has half a surrogate pair, which no file can hold. Send it without.")
    return found


def parse(text: str) -> tuple[Section, ...]:
    """The sections of a patch. What stands before its first and behind its last line is left out.

    Raises FilesError, which quotes the line that can't be read and says what to send.
    """
    return tuple(_Parser(text).sections())


class _Parser:
    """Numbered lines, of which each method takes those that are its own."""

    def __init__(self, text: str) -> None:
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        markers = [_marker(line.strip())[0] for line in lines]
        first = next((i for i, name in enumerate(markers) if name in (_BEGIN, *_KINDS)), 0)
        last = next((i for i in reversed(range(len(lines))) if markers[i] == _END), 0)
        if last <= first:
            end = max(i for i, line in enumerate(lines) if line.strip() or i == 0)
            raise _wrong(end + 1, lines[end], 'A patch ends with the line "*** End Patch".')
        for i in range(first):
            if re.search(r"(?:^|\W)cd\s+\S", lines[i]):
                raise _wrong(i + 1, lines[i], "Leave out the cd: paths are relative to the opened folder.")
        # In a list or a quotation all of it is indented.
        indent = len(lines[first]) - len(lines[first].lstrip(" "))
        if any(line.strip() and not line.startswith(" " * indent) for line in lines[first:last]):
            indent = 0
        self._left = deque((i + 1, lines[i][indent:]) for i in range(first, last))

    def sections(self) -> Iterator[Section]:
        while self._left:
            number, line = self._left.popleft()
            name, path = _marker(line)
            if name in _KINDS:
                if not path:
                    raise _wrong(number, line, "Its path is missing.")
                yield self._section(_KINDS[name], path, number, line)
            elif line.strip() and name not in (_BEGIN, _END):
                raise _wrong(
                    number,
                    line,
                    'A section of a patch begins with "*** Update File: path", "*** Add File: path" or '
                    '"*** Delete File: path".',
                )

    def _section(self, kind: Kind, path: str, number: int, line: str) -> Section:
        if kind == "delete":
            return Section(kind, path, number)
        if kind == "add":
            return Section(kind, path, number, added=tuple(self._added()))
        moved_to = ""
        if self._left and _marker(self._left[0][1])[0] == _MOVE:
            moved_to = _marker(self._left[0][1])[1]
            if not moved_to:
                raise _wrong(*self._left[0], "Its path is missing.")
            self._left.popleft()
        hunks = tuple(self._hunks())
        if not hunks and not moved_to:
            raise _wrong(number, line, "Its section is empty: put hunks below it, each behind @@.")
        return Section(kind, path, number, moved_to, hunks)

    def _body(self) -> list[tuple[int, str]]:
        """The lines up to the next section, without empty ones at its end."""
        body = []
        while self._left and _marker(self._left[0][1])[0] not in (_BEGIN, _END, *_KINDS):
            body.append(self._left.popleft())
        while body and not body[-1][1]:
            body.pop()
        return body

    def _added(self) -> Iterator[str]:
        for number, line in self._body():
            if line and not line.startswith("+"):
                raise _wrong(number, line, "Below *** Add File each line of the new file has a + in front.")
            yield line[1:]

    def _hunks(self) -> Iterator[Hunk]:
        body = deque(self._body())
        if len(body) > 1 and body[0][1].startswith("--- ") and body[1][1].startswith("+++ "):
            body.popleft(), body.popleft()  # the names of the file, as in other diffs
        while body:
            headers: list[HunkLine] = []
            opening = body[0]
            while body and body[0][1].startswith("@@"):
                number, line = body.popleft()
                if header := _header(line):
                    headers.append(HunkLine("@", header, number))
            lines: list[tuple[int, str]] = []
            while body and not body[0][1].startswith(("@@", "*** ")):
                lines.append(body.popleft())
            is_at_end = bool(body) and _marker(body[0][1])[0] == _END_OF_FILE
            if is_at_end:
                body.popleft()
            elif body and not body[0][1].startswith("@@"):
                lines.append(body.popleft())  # whose sign is wrong
            if hunk := tuple(_hunk_lines(lines)):
                yield Hunk(tuple(headers), hunk, is_at_end)
            elif headers:
                raise _wrong(*opening, "Below it are no lines of a hunk.")


def _hunk_lines(lines: list[tuple[int, str]]) -> Iterator[HunkLine]:
    """The lines of a hunk. Empty ones, which lack their space, are context, unless they stand around the others."""
    while lines and not lines[-1][1]:
        lines.pop()
    is_inside = False
    for number, line in lines:
        is_inside |= bool(line)
        if line.startswith("\\ No newline"):
            continue
        if line[:1] not in ("", " ", "+", "-"):
            raise _wrong(
                number,
                line,
                "In a hunk each line has a sign in front: a space if it stays, - if it goes, + if it comes.",
            )
        if is_inside:
            yield HunkLine(line[:1] or " ", line[1:], number)


def _marker(line: str) -> tuple[str, str]:
    """The name of a marker, and the path behind it; ("", "") for any other line."""
    found = _MARKER.match(line)
    if found is None:
        return "", ""
    return _KNOWN[found[1].casefold()], line[found.end() :].strip().removesuffix("***").rstrip()


def _header(line: str) -> str:
    """The line of the file that a @@ names."""
    numbers = _NUMBERS.match(line)
    rest = line[numbers.end() if numbers else 2 :].rstrip()
    return rest.removesuffix("@@").rstrip().removeprefix(" ")


def _texts_with_patch(value: Any, level: int = 0) -> Iterator[str]:
    """Every text in a value that holds a patch."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        for each in inner if level < _DEEPEST else ():
            yield from _texts_with_patch(each, level + 1)
    elif isinstance(value, str) and re.search(r"\*\*\* ?(Begin Patch|(Add|Update|Delete) File)", value, re.IGNORECASE):
        text = value.strip()
        if text[:1] in ("{", "[", '"') and level < _DEEPEST:
            try:
                inner = json.loads(text, strict=False)
            except (ValueError, RecursionError):
                inner = None
            if isinstance(inner, dict | list | str):
                yield from _texts_with_patch(inner, level + 1)
                return
        yield value if "\n" in text else _unescaped(text)


def _unescaped(text: str) -> str:
    """A patch on one line, whose line breaks were made signs twice."""
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text.replace("\\n", "\n")


def _wrong(number: int, line: str, remedy: str) -> FilesError:
    shown = clean(line[:200])
    return FilesError(f"The patch can't be read at its line {number}, `{shown}`. {remedy} Nothing was changed.")
