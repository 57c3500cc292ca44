"""A text file as lines: each keeps its ending and where it came from, so that an edit shows what it changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mlx_model.tools.files.folder import FilesError

_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line of a file. `origin` is its index in the file as it was, None for one that was added."""

    text: str
    ending: str
    origin: int | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """`count` lines from `start` on are replaced by others."""

    start: int
    count: int
    added: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a text file in UTF-8, and whether a byte order mark stands before them."""

    lines: tuple[Line, ...] = ()
    has_mark: bool = False

    @staticmethod
    def of(data: bytes, path: str) -> Lines:
        """The lines of a file's content. Raises FilesError for what is no text in UTF-8."""
        *pieces, last = text_of(data, path).split("\n")
        found = [(piece[:-1], "\r\n") if piece.endswith("\r") else (piece, "\n") for piece in pieces]
        found += [(last, "")] if last else []
        lines = tuple(Line(text, ending, i) for i, (text, ending) in enumerate(found))
        return Lines(lines, data.startswith(_BOM))

    @property
    def texts(self) -> list[str]:
        """Each line without its ending."""
        return [line.text for line in self.lines]

    def data(self) -> bytes:
        """The content of the file."""
        text = "".join(line.text + line.ending for line in self.lines)
        return (_BOM if self.has_mark else b"") + text.encode("utf-8")

    def edited(self, edits: Sequence[Edit]) -> Lines:
        """With edits, which are in order and don't overlap.

        An added line gets the ending that most lines have. A file that ends without a newline goes on doing so.
        """
        newline = self._newline()
        new: list[Line] = []
        after = 0
        for edit in edits:
            new += self.lines[after : edit.start]
            new += [Line(text, newline) for text in edit.added]
            after = edit.start + edit.count
        new += self.lines[after:]
        is_ended = not self.lines or self.lines[-1].ending != ""
        return Lines(tuple(_ended(new, newline, is_ended)), self.has_mark)

    def _newline(self) -> str:
        endings = [line.ending for line in self.lines]
        return "\r\n" if endings.count("\r\n") > endings.count("\n") else "\n"


def text_of(data: bytes, path: str) -> str:
    """A file's content as text, without a mark at its beginning. Raises FilesError for what is no text in UTF-8."""
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FilesError(f"{path} is no text: it is a binary file of {len(data):,} bytes.")
    try:
        return data.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        where = data.count(b"\n", 0, error.start) + 1
        raise FilesError(f"{path} is not in UTF-8 (line {where}), so it can't be read or changed here.") from None


def texts_of(data: bytes, path: str) -> list[str]:
    """The lines of a file's content without their endings. Raises FilesError, likewise."""
    *pieces, last = text_of(data, path).split("\n")
    return [*(piece.removesuffix("\r") for piece in pieces), *([last] if last else [])]


def _ended(lines: list[Line], newline: str, is_ended: bool) -> Iterator[Line]:
    """Every line with an ending, but not the last one unless `is_ended`: if that is empty, it is none then."""
    for line in lines[:-1]:
        yield line if line.ending else Line(line.text, newline, line.origin)
    for line in lines[-1:]:
        if is_ended:
            yield Line(line.text, line.ending or newline, line.origin)
        elif line.text:
            yield Line(line.text, "", line.origin)
