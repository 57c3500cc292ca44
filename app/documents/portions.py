"""Cuts a text into the parts in which it is read: at its pages and headings, each within a bound of tokens."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from app.documents.attachments import Attachment
from app.documents.cited_pages import pages_in
from app.documents.notes import place
from mlx_model.documents.document import Page, headings_in, joined

Count = Callable[[Sequence[str]], Awaitable[list[int]]]
"""Says how many tokens each text has."""

_LOOK_BACK = 3
"""A part may end before a heading in its last third."""
_SMALLER = 4
"""What is cut within a page is cut into pieces of such a share of a part."""


@dataclass(frozen=True, slots=True)
class Portion:
    """A part: its text, with a line in brackets before each page, its `tokens`, and its first and last place."""

    text: str
    tokens: int
    first: str
    last: str


async def portions(text: str, count: Count, most: int) -> list[Portion]:
    """The parts of the text of a document as it stands in a prompt, each of at most `most` tokens. The same text is
    always cut in the same way. Pages without text are left out."""
    pieces = await _pieces([page for page in _labelled(text) if page.text.strip()], count, most)
    counts = [tokens for _, tokens in pieces]
    aim, pages = most, [page for page, _ in pieces]
    while True:
        ranges = [*_packed(pages, counts, aim)]
        packed = [_merged(pages[start:end]) for start, end in ranges]
        texts = [*map(joined, packed)]
        tokens = await count(texts) if texts else []
        over = max(
            (size - most for size, (start, end) in zip(tokens, ranges, strict=True) if end > start + 1), default=0
        )
        if over <= 0:
            break
        aim -= over  # joined they may have a few more than each for itself
    return [
        Portion(each, size, place(own[0].label), place(own[-1].label))
        for each, size, own in zip(texts, tokens, packed, strict=True)
    ]


def _labelled(text: str) -> list[Page]:
    """The pages; lines of a text that has none."""
    pages = pages_in(Attachment("", text))
    if pages[0].label:
        return [*pages]
    return [_lines(1, pages[0].text)]


def _lines(first: int, text: str) -> Page:
    last = first + text.count("\n")
    return Page(first, text, f"line {first}" if first == last else f"lines {first} to {last}")


async def _pieces(pages: list[Page], count: Count, most: int) -> list[tuple[Page, int]]:
    """Pages with their tokens. Those that are too large for a part, or are only lines, are cut small."""
    small = max(1, most // _SMALLER)
    found = [*zip(pages, await count([_alone(page) for page in pages]) if pages else [], strict=True)]
    bounds = [most if tokens <= most and not page.label.startswith("line") else small for page, tokens in found]
    while any(_is_large(page, tokens, bound) for (page, tokens), bound in zip(found, bounds, strict=True)):
        cut = [
            (piece, None if len(pieces) > 1 else tokens, bound)
            for (page, tokens), bound in zip(found, bounds, strict=True)
            for pieces in [_divided(page, tokens, bound)]
            for piece in pieces
        ]
        counts = iter(await count([_alone(page) for page, tokens, _ in cut if tokens is None]))
        found = [(page, next(counts) if tokens is None else tokens) for page, tokens, _ in cut]
        bounds = [bound for *_, bound in cut]
    return found


def _divided(page: Page, tokens: int, bound: int) -> list[Page]:
    """Pieces of a page that have about so many tokens at most, which are to be counted."""
    pieces = [page]
    while tokens > bound and any(len(piece.text) > 1 for piece in pieces):
        pieces = [half for piece in pieces for half in (_halves(piece) if len(piece.text) > 1 else [piece])]
        tokens = (tokens + 1) // 2
    return pieces


def _alone(page: Page) -> str:
    """A page as it stands among others."""
    return f"{joined([page])}\n\n"


def _is_large(page: Page, tokens: int, small: int) -> bool:
    return tokens > small and len(page.text) > 1


def _halves(page: Page) -> Iterator[Page]:
    """Two pieces of a page: at the heading, else the blank line, else the line that is nearest its middle."""
    lines = page.text.split("\n")
    middle = len(lines) / 2
    places = sorted(range(1, len(lines)), key=lambda line: abs(line - middle))
    near = [line for line in places if abs(line - middle) <= max(1, len(lines) / 4)]
    heads = {heading.line for heading in headings_in([page])}
    found = next((line for line in near if line in heads), None)
    found = found or next((line for line in near if not lines[line - 1].strip()), None) or next(iter(places), None)
    if found is not None:
        first, second = "\n".join(lines[:found]), "\n".join(lines[found:])
    else:  # one long line
        half = len(page.text) // 2
        at = page.text.find(" ", half) + 1 or half
        at = at if at < len(page.text) else half
        first, second = page.text[:at], page.text[at:]
    if page.label.startswith("line"):
        start = page.number if found is None else page.number + found
        yield from (_lines(page.number, first), _lines(start, second))
    else:
        yield from (replace(page, text=first), replace(page, text=second))


def _packed(pages: Sequence[Page], counts: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """From where to where the pages of each part go: as many as it has room for, or fewer up to a heading."""
    start = 0
    while start < len(pages):
        end, tokens = start + 1, counts[start]
        while end < len(pages) and tokens + counts[end] <= most:
            tokens += counts[end]
            end += 1
        if end < len(pages):
            earliest = end - (end - start) // _LOOK_BACK
            end = next((at for at in range(end, earliest - 1, -1) if _begins_with_heading(pages[at])), end)
        yield start, end
        start = end


def _begins_with_heading(page: Page) -> bool:
    return any(heading.line == 0 for heading in headings_in([replace(page, text=page.text.lstrip("\n"))]))


def _merged(pages: Sequence[Page]) -> list[Page]:
    """Pieces of the same page, or of lines that follow one another, are one again."""
    if pages[0].label.startswith("line"):
        first, last = pages[0].number, pages[-1].number + pages[-1].text.count("\n")
        label = f"line {first}" if first == last else f"lines {first} to {last}"
        return [Page(first, "\n".join(page.text for page in pages), label)]
    runs = ([*run] for _, run in groupby(pages, key=lambda page: page.label))
    return [replace(run[0], text="\n".join(page.text for page in run)) for run in runs]
