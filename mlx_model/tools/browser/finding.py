"""A search within a page, which makes a page of what it finds."""

from __future__ import annotations

import re
from bisect import bisect_right
from urllib.parse import parse_qs, quote

from mlx_model.tools.browser.page import Page, one_line

MOST_MATCHES = 50
MATCH_LINES = 4
"""Lines that are shown of a match, its own the first."""
CONTEXT_LINES = 4
"""Lines before a match that are shown when it is opened."""

_LINK = re.compile(r"【\d+†([^†】]+)(?:†[^†】]+)?】")
_FIND = "/find?"


def find(page: Page, pattern: str) -> Page:
    """The lines of the page in which the pattern stands, whatever its case. A phrase may go over several lines."""
    text = _WithoutLinks(page)
    body, matches = [], list[int]()
    words = [re.escape(word) for word in pattern.split()]
    for match in re.finditer(r"\s+".join(words), text.text, re.IGNORECASE) if words else ():
        line = page.line_at(text.original(match.start()))
        if matches and line < matches[-1] + MATCH_LINES:
            continue
        lines = [text.line(number) for number in range(line, min(line + MATCH_LINES, len(page.lines)))]
        body.append("\n".join([f"# 【{len(matches)}†match at L{line}】", *lines]))
        matches.append(line)
        if len(matches) == MOST_MATCHES:
            break
    text_of_page = "\n\n".join(body) or f"No `find` results for pattern: `{one_line(pattern)}`"
    title = f"Find results for text: `{one_line(pattern)}` in `{page.title}`"
    url = f"{page.url}{_FIND}pattern={quote(pattern)}"
    return Page(url, title, text_of_page, (page.url,) * len(matches), tuple(matches))


def found_in(url: str) -> tuple[str, str] | None:
    """The URL of the page that was searched, and the pattern; None for the URL of another page."""
    searched, found, query = url.rpartition(_FIND)
    patterns = parse_qs(query).get("pattern") if found else None
    return (searched, patterns[0]) if patterns else None


class _WithoutLinks:
    """A page's text with the text of each link in place of the link."""

    def __init__(self, page: Page) -> None:
        self._page = page
        pieces, self._here, self._there = list[str](), [0], [0]
        length = end = 0
        for match in _LINK.finditer(page.joined):
            start = match.start(1)
            for piece, position in ((page.joined[end : match.start()], end), (match[1], start)):
                self._here.append(length)
                self._there.append(position)
                pieces.append(piece)
                length += len(piece)
            end = match.end()
        self._here.append(length)
        self._there.append(end)
        pieces.append(page.joined[end:])
        self.text = "".join(pieces)

    def original(self, position: int) -> int:
        """Where in the page's text a position of this one is."""
        piece = bisect_right(self._here, position) - 1
        return self._there[piece] + position - self._here[piece]

    def line(self, number: int) -> str:
        """A line of the page."""
        return self.text[
            self._position(self._page.start_of(number)) : self._position(self._page.start_of(number + 1))
        ].rstrip("\n")

    def _position(self, original: int) -> int:
        """Where in this text a position of the page's is; of what was left out, where it was."""
        piece = bisect_right(self._there, original) - 1
        following = self._here[piece + 1] if piece + 1 < len(self._here) else len(self.text)
        return min(self._here[piece] + original - self._there[piece], following)
