"""Finds the places of a patch's hunks in a file, though the model copies lines not quite exactly."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice

from mlx_model.text import clean
from mlx_model.tools.files.folder import FilesError
from mlx_model.tools.files.lines import Edit
from mlx_model.tools.files.patch import Hunk, HunkLine

_PLAIN = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u2018\u2019\u201a\u201b", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f", '"')
    | dict.fromkeys("\u00a0\u202f\u205f\u3000" + "".join(map(chr, range(0x2002, 0x200B))), " ")
)
# From exact to tolerant: the white space behind a line, all around it, and what has a twin in ASCII.
_FORMS: tuple[Callable[[str], str], ...] = (
    str,
    str.rstrip,
    str.strip,
    lambda line: line.translate(_PLAIN).strip(),
)


# Places that are looked at for the line that a patch has wrong.
_MOST_COMPARED = 100


def edits_of(texts: Sequence[str], hunks: Sequence[Hunk], path: str) -> list[Edit]:
    """What hunks do to the lines of a file, in order and without overlap.

    Hunks are in the order of the file: each is looked for behind the one before. A header is a line above the place,
    or its beginning; a hunk whose header isn't there may still have only one place. Lines to add without any context
    go below their header, else to the end. Raises FilesError that quotes the line which the file doesn't have.
    """
    finder = _Finder(texts, path)
    edits: list[Edit] = []
    after = 0
    for hunk in hunks:
        start = finder.place(hunk, after)
        edits += _edits(texts, hunk, start)
        if start < len(texts):  # lines that only go to the end leave the rest to the hunks below
            after = start + len(_old(hunk))
    return sorted(edits, key=lambda edit: edit.start)


class _Form:
    """Lines in one form, and as a text, in which any number of them is found in linear time."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self._text = "\n" + "".join(f"{line}\n" for line in lines)
        self._starts = [0, *accumulate(len(line) + 1 for line in lines)]

    def places(self, wanted: Sequence[str], start: int) -> Iterator[int]:
        """The indices from `start` on at which some lines are."""
        text = "\n" + "".join(f"{line}\n" for line in wanted)
        at = self._text.find(text, self._starts[start])
        while at >= 0:
            yield bisect_left(self._starts, at)
            at = self._text.find(text, at + 1)


class _Finder:
    def __init__(self, texts: Sequence[str], path: str) -> None:
        self._texts = texts
        self._path = path
        self._forms: dict[int, _Form] = {}

    def place(self, hunk: Hunk, after: int) -> int:
        """The index of the first line of a hunk's, not before `after`. Raises FilesError."""
        old = _old(hunk)
        below, missing = self._below(hunk.headers, after)
        if not old:
            if missing and not self._is_passed(missing, after):
                raise self._wrong(missing, "No line of the file is like this header.")
            return below if hunk.headers and not hunk.is_at_end else len(self._texts)
        texts = [line.text for line in old]
        last = len(self._texts) - len(old)
        if hunk.is_at_end and last >= after and (found := self._first(texts, last)) is not None:
            return found
        if not missing and (found := self._first(texts, below)) is not None:
            return found
        # The header may be above the hunk before, too, or be remembered wrongly.
        places = self._places(texts, after)
        found, another = next(places, None), next(places, None)
        if another is not None and hunk.headers and not self._is_passed(hunk.headers[-1], after):
            found = None
        if found is None:
            raise self._not_found(old, after, missing)
        return found

    def _below(self, headers: Sequence[HunkLine], after: int) -> tuple[int, HunkLine | None]:
        """The index below the headers, and the first of them that isn't there."""
        for header in headers:
            found = self._first([header.text], after)
            if found is None:
                found = next((i for i in range(after, len(self._texts)) if _begins(self._texts[i], header.text)), None)
            if found is None:
                return after, header
            after = found + 1
        return after, None

    def _is_passed(self, header: HunkLine, after: int) -> bool:
        return any(line.strip() == header.text.strip() or _begins(line, header.text) for line in self._texts[:after])

    def _first(self, wanted: Sequence[str], start: int) -> int | None:
        return next(self._places(wanted, start), None)

    def _places(self, wanted: Sequence[str], start: int) -> Iterator[int]:
        """The places of some lines from `start` on, in the most exact form that has any."""
        for level, form in enumerate(_FORMS):
            places = self._form(level).places([form(line) for line in wanted], start)
            if (first := next(places, None)) is not None:
                yield first
                yield from places
                return

    def _form(self, level: int) -> _Form:
        if level not in self._forms:
            self._forms[level] = _Form([_FORMS[level](line) for line in self._texts])
        return self._forms[level]

    def _not_found(self, old: Sequence[HunkLine], after: int, missing: HunkLine | None) -> FilesError:
        """Says which line of a hunk is the first that the file hasn't, where most of those before it are."""
        texts = [line.text for line in old]
        if after and (above := self._first(texts, 0)) is not None and above < after:
            return self._wrong(old[0], "It is above the hunk before: give the hunks of a file in its order.")
        if self._first(texts, after) is not None:
            wrong = missing or old[0]
            return self._wrong(wrong, "Several places fit. Put a @@ with a line above the right one, or more context.")
        like, lines = [_FORMS[-1](text) for text in texts], self._form(len(_FORMS) - 1).lines
        starts = islice((i for i in range(after, len(lines)) if lines[i] == like[0]), _MOST_COMPARED)
        matched, place = max(((_alike(like, lines[i : i + len(like)]), -i) for i in starts), default=(0, 0))
        if not matched:
            return self._wrong(old[0], "The file has no such line there.")
        i = matched - place
        there = f"has `{_shown(self._texts[i])}` there (line {i + 1})" if i < len(lines) else "ends there"
        return self._wrong(old[matched], f"The lines of the hunk above it are found, but the file {there}.")

    def _wrong(self, line: HunkLine, what: str) -> FilesError:
        sign = "@@ " if line.sign == "@" else line.sign
        return FilesError(
            f"{self._path} has no place for line {line.number} of the patch, `{_shown(sign + line.text)}`. {what} "
            "Read the file and send the patch again. Nothing was changed."
        )


def _old(hunk: Hunk) -> list[HunkLine]:
    return [line for line in hunk.lines if line.sign != "+"]


def _edits(texts: Sequence[str], hunk: Hunk, start: int) -> Iterator[Edit]:
    """A hunk's runs of lines that go or come. Lines that stay are the file's own, whatever the patch has for them."""
    at = start
    removed: list[HunkLine] = []
    added: list[str] = []
    for line in [*hunk.lines, HunkLine(" ", "", 0)]:
        match line.sign:
            case "-":
                removed.append(line)
            case "+":
                added.append(line.text)
            case _:
                if removed or added:
                    old = [each.text for each in removed]
                    yield Edit(at, len(removed), _indented(added, old, texts[at : at + len(removed)]))
                at += len(removed) + 1
                removed, added = [], []


def _indented(added: Sequence[str], removed: Sequence[str], actual: Sequence[str]) -> tuple[str, ...]:
    """Added lines, indented as the file is where the lines they replace differ from it in that alone."""
    pairs = [(_indent(old), _indent(line)) for old, line in zip(removed, actual, strict=True) if old.strip()]
    if not pairs or all(wanted == there for wanted, there in pairs):
        return tuple(added)
    base, there = min(pairs, key=lambda pair: len(pair[0]))
    fits = all(wanted.startswith(base) and there + wanted[len(base) :] == found for wanted, found in pairs)
    if not fits or any(line.strip() and not line.startswith(base) for line in added):
        return tuple(added)
    return tuple(there + line[len(base) :] if line.strip() else line for line in added)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _begins(line: str, header: str) -> bool:
    """Whether a line begins with a header, which names a function without its arguments."""
    line, header = line.strip(), header.strip()
    rest = line[len(header) :]
    return line.startswith(header) and not (rest[:1].isalnum() or rest[:1] == "_")


def _alike(wanted: Sequence[str], lines: Sequence[str]) -> int:
    """How many of the first lines are the same."""
    return next(
        (i for i, (a, b) in enumerate(zip(wanted, lines, strict=False)) if a != b), min(len(wanted), len(lines))
    )


def _shown(line: str) -> str:
    return clean(line[:200])
