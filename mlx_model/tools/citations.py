"""Citations of the model's, `【cursor†L1-L2】`, as numbered sources: what is cited, and where a text may be shown.

The text as the model wrote it stays what is stored, and what the model reads again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mlx_model.text import clean
from mlx_model.tools.shown_pages import Page, Passage, link_to, title_of

MOST = 80
"""Characters of a citation; what is longer is text. So much of an answer is held back at most while one is written."""
MOST_LINE = 400
"""Characters shown of a cited line; the browser's have 80."""

_CITATION = r"【(?=[^】\n]{2,78}】)(?P<cursor>[0-9]{1,6})†(?P<where>[^†【】\n]+)(?:†[^†【】\n]+)?】"
_CITED = re.compile(_CITATION)
_OPEN = re.compile(r"【(?:[0-9]{0,6}|[0-9]{1,6}†[^†【】\n]*(?:†[^†【】\n]*)?)")
_LINES = re.compile(
    r"(?:l|lines?)\s*(?P<first>[0-9]{1,7})(?:\s*[-\u2010-\u2015]\s*l?(?P<last>[0-9]{1,7}))?", re.IGNORECASE
)
_TICKS_OR_CITATION = re.compile(rf"\\?`+|{_CITATION}")
_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]+)?(?P<fence>`{3,}(?!.*`)|~{3,})(?P<info>.*)")
_INDENTED = ("    ", "\t")
_LIST_ITEM = re.compile(r" {0,3}(?:[-*+]|[0-9]{1,9}[.)])(?:[ \t]|$)")


class Mark(NamedTuple):
    """What stands for a citation: the number of its source, and the URL, "" if that is not known or is no link."""

    number: int
    url: str


@dataclass(frozen=True, slots=True)
class Source:
    """What the model cites, clean. `site` is the host of the URL, `where` says which lines in a few words, `lines` are
    those as the model saw them, each with its number, or with None in the results of a search."""

    number: int
    title: str
    url: str
    site: str
    where: str
    lines: tuple[tuple[int | None, str], ...]
    citations: tuple[str, ...]
    """As the model wrote them."""


class Citations:
    """The sources of one answer, numbered in the order of their first use. May be read while it grows."""

    def __init__(self, pages: Mapping[int, Page] | None = None) -> None:
        self._pages = dict(pages or {})
        self._passages: list[list[Passage]] = []
        self._numbers: dict[object, int] = {}
        self._marks: dict[str, Mark] = {}

    def know(self, pages: Mapping[int, Page]) -> None:
        """More has been shown to the model."""
        self._pages.update(pages)

    @property
    def sources(self) -> list[Source]:
        """All of them so far."""
        citations: dict[int, list[str]] = {}
        for citation, mark in self._marks.items():
            citations.setdefault(mark.number, []).append(citation)
        return [_source(n, passages, citations[n]) for n, passages in enumerate(self._passages, 1)]

    def read(self, text: str) -> None:
        """Number what a text cites."""
        self.written(text, lambda mark: "")

    def written(self, text: str, write: Callable[[Mark], str]) -> str:
        """The text with what `write` makes of its citations; code, and what cites no page that was shown, stay."""
        writer = CitationWriter(self, write)
        return writer.take(text) + writer.end()

    def pieces(self, text: str) -> Iterator[str | Mark]:
        """A piece of a text that was read, which is no code, in pieces. An unknown citation is a piece of its own."""
        at, last = 0, None
        for match in _CITED.finditer(text):
            if at < match.start():
                yield text[at : match.start()]
            mark = self._marks.get(match[0])
            if mark is None:
                yield match[0]
            elif mark.number != last or at < match.start():  # else [1][1]
                yield mark
            at, last = match.end(), None if mark is None else mark.number
        if at < len(text):
            yield text[at:]

    def line(self, line: str, write: Callable[[Mark], str]) -> str:
        """A line that is no code, or the beginning of one, with what `write` makes of its citations."""
        if "【" not in line:
            return line
        pieces, at, ticks, last = list[str](), 0, 0, -1
        for match in _TICKS_OR_CITATION.finditer(line):
            if match["cursor"] is None:
                ticks = _ticks(match[0], ticks)
            elif not ticks and (mark := self._mark(match)) is not None:
                pieces.append(line[at : match.start()])
                if mark.number != last or at < match.start():
                    pieces.append(write(mark))
                at, last = match.end(), mark.number
        return "".join(pieces) + line[at:]

    def _mark(self, citation: re.Match[str]) -> Mark | None:
        page = self._pages.get(int(citation["cursor"]))
        if page is None or citation[0] in self._marks:
            return self._marks.get(citation[0])
        passages = [page.passage(first, last) for first, last in _lines(citation["where"])]
        number = self._numbers.setdefault(passages[0].key, len(self._numbers) + 1)
        if number > len(self._passages):
            self._passages.append([])
        self._passages[number - 1] += [each for each in passages if each.key == passages[0].key]
        self._marks[citation[0]] = Mark(number, link_to(self._passages[number - 1][0].url)[0])
        return self._marks[citation[0]]


class CitationWriter:
    """A text that grows, with what `write` makes of its citations. A citation that is being written is held back."""

    def __init__(self, citations: Citations, write: Callable[[Mark], str]) -> None:
        self._citations = citations
        self._write = write
        self._code = _Code()
        self._line = ""
        self._given = 0  # characters of what was made of the line

    def take(self, text: str) -> str:
        """What can be shown now that this has come."""
        *lines, self._line = (self._line + text).split("\n")
        pieces = []
        for line in lines:
            pieces.append(self._rest(line) + "\n")
            self._code, self._given = self._code.after(line), 0
        pieces.append(self._rest(self._line[: len(self._line) - held_back(self._line)]))
        self._given += len(pieces[-1])
        return "".join(pieces)

    def end(self) -> str:
        """What was held back: nothing more comes."""
        rest = self._rest(self._line)
        self._given += len(rest)
        return rest

    def _rest(self, line: str) -> str:
        """What has not been given of a line."""
        text = line if self._code.has(line) else self._citations.line(line, self._write)
        return text[self._given :]


class _Code(NamedTuple):
    """Where code blocks are, line by line, as far as a line's beginning tells."""

    fence: str = ""
    is_blank: bool = True
    is_indented: bool = False
    in_list: bool = False

    def has(self, line: str) -> bool:
        """Whether the next line is code."""
        if self.fence or _FENCE.match(line):
            return True
        return line.startswith(_INDENTED) and not self.in_list and (self.is_blank or self.is_indented)

    def after(self, line: str) -> _Code:
        """What holds after that line."""
        match = _FENCE.match(line)
        if self.fence:
            closes = match is not None and match["fence"].startswith(self.fence) and not match["info"].strip()
            return _Code(in_list=self.in_list) if closes else self
        if match is not None:
            return _Code(match["fence"], in_list=self.in_list)
        is_blank, indented = not line.strip(), line.startswith(_INDENTED)
        in_list = self.in_list if is_blank or indented else _LIST_ITEM.match(line) is not None
        return _Code("", is_blank, self.has(line), in_list)


def cited(text: str, pages: Mapping[int, Page], write: Callable[[Mark], str] | None = None) -> tuple[str, list[Source]]:
    """A Markdown text with a link for each citation, or what `write` makes of it, and the sources."""
    citations = Citations(pages)
    return citations.written(text, write or markdown_link), citations.sources


def markdown_link(mark: Mark) -> str:
    """The number as a link to the source, if that has an address."""
    return f"[{mark.number}]({mark.url})" if mark.url else plain_number(mark)


def plain_number(mark: Mark) -> str:
    """The number alone."""
    return f"[{mark.number}]"


def held_back(text: str) -> int:
    """How many characters at the end of a growing text may be a citation that is not complete."""
    at = text.rfind("【", max(0, len(text) - MOST + 1))
    return len(text) - at if at >= 0 and _OPEN.fullmatch(text, at) else 0


def without_citations(text: str) -> str:
    """A text, or the beginning of one, for a list, where no sources can be shown."""
    return _CITED.sub("", text[: len(text) - held_back(text)])


def _ticks(run: str, opened: int) -> int:
    """Of how many backticks the code is in which a line is after these; 0 outside of code."""
    ticks = len(run.lstrip("\\"))
    if opened:
        return 0 if ticks == opened else opened
    return ticks - run.startswith("\\")  # the first one is escaped


def _lines(where: str) -> list[tuple[int | None, int | None]]:
    """The ranges of lines that a citation names; of one that names none, that."""
    ranges = [(int(match["first"]), int(match["last"] or match["first"])) for match in _LINES.finditer(where)]
    return [(min(pair), max(pair)) for pair in ranges] or [(None, None)]


def _source(number: int, passages: Iterable[Passage], citations: Iterable[str]) -> Source:
    passages = list(passages)
    url, site = link_to(passages[0].url)
    titles = (title_of(each.title) for each in passages)
    lines: dict[int | str, tuple[int | None, str]] = {}
    for passage in passages:
        for at, line in passage.lines:
            lines.setdefault(line if at is None else at, (at, _shown(line)))
    numbered = sorted((at, line) for at, line in lines.values() if at is not None)
    found = [each for each in lines.values() if each[0] is None]
    return Source(
        number,
        next(filter(None, titles), ""),
        url,
        site or title_of(passages[0].site),
        _where([at for at, _ in numbered]) if numbered else "search result" if found else "",
        (*numbered, *found),
        tuple(citations),
    )


def _shown(line: str) -> str:
    """A line of a page, clean; from elsewhere it may have any length."""
    return clean(line[:MOST_LINE]).replace("\n", " ").rstrip()


def _where(numbers: Iterable[int]) -> str:
    """Line numbers in ascending order as ranges, "L12-15, L40"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"L{first}" if first == last else f"L{first}-{last}" for first, last in ranges)
