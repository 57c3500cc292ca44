"""Elements of HTML, or of the XML into which trafilatura makes it, as lines of text."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from mlx_model.tools.browser.page import PageWriter, one_line, plain

_MOST_LINK = 1_000
_SAME = {"ref": "a", "item": "li", "list": "ul", "lb": "br", "row": "tr", "cell": "td", "quote": "blockquote"}
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_SPACED = frozenset(
    (*_HEADINGS, "article", "blockquote", "dl", "figure", "head", "main", "ol", "p", "pre", "section", "table", "ul")
)
"""Blocks with a blank line before and after."""
_BLOCKS = _SPACED | {
    *(
        "address",
        "aside",
        "body",
        "caption",
        "center",
        "dd",
        "details",
        "div",
        "dt",
        "fieldset",
        "figcaption",
        "footer",
    ),
    *("form", "header", "hr", "legend", "nav", "summary", "tbody", "tfoot", "thead"),
}


class Renderer:
    """Writes elements as text; links get their numbers from `writer`. Below `deepest` levels all is plain text, and
    elements with a tag in `without` are left out."""

    def __init__(self, writer: PageWriter, deepest: int, without: Collection[str] = ()) -> None:
        self._writer = writer
        self._deepest = deepest
        self._without = without
        self._parts: list[str] = []
        self._breaks = 0  # line breaks that come before the next text
        self._space = False  # a space that does
        self._marked = False  # a mark, such as that of a list, has begun the line
        self._writers = {
            **dict.fromkeys(_HEADINGS, self._heading),
            "head": self._heading,
            "a": self._link,
            "br": self._line_break,
            "tr": self._row,
            "pre": self._code,
            "code": self._code,
            "li": self._item,
            "blockquote": self._quote,
            "ul": self._list,
            "ol": self._list,
        }

    def text(self, elements: Iterable[Any]) -> str:
        """The text of elements, which follow each other."""
        for element in elements:
            self._element(element, 0, 0)
        return "".join(self._parts)

    def _element(self, element: Any, depth: int, level: int) -> None:
        """An element without the text that follows it; `level` is that of the list that it is in."""
        if not isinstance(element.tag, str) or element.tag in self._without:
            return
        tag = _SAME.get(element.tag, element.tag)
        if depth > self._deepest:
            self._say("".join(element.itertext()))
            return
        gap = 2 if tag in _SPACED and not (tag in ("ul", "ol", "p") and level) else 1
        if tag in _BLOCKS:
            self._break(gap)
        self._writers.get(tag, self._inside)(element, depth, level)
        if tag in _BLOCKS:
            self._break(gap)

    def _heading(self, element: Any, depth: int, level: int) -> None:
        name = element.get("rend") or element.tag
        self._mark("#" * (int(name[1]) if name in _HEADINGS else 3) + " ")
        self._inside(element, depth, level)

    def _quote(self, element: Any, depth: int, level: int) -> None:
        self._mark("> ")
        self._inside(element, depth, level)

    def _list(self, element: Any, depth: int, level: int) -> None:
        self._inside(element, depth, level + 1)

    def _line_break(self, element: Any, depth: int, level: int) -> None:
        self._break(1)

    def _inside(self, element: Any, depth: int, level: int) -> None:
        self._say(element.text)
        for child in element:
            self._element(child, depth + 1, level)
            self._say(child.tail)

    def _item(self, element: Any, depth: int, level: int) -> None:
        parent = element.getparent()
        is_numbered = parent is not None and (parent.tag == "ol" or parent.get("rend") == "ol")
        self._break(1)
        if not element.get("rend", "").startswith(("dt", "dd")):
            mark = f"{parent.index(element) + 1}." if is_numbered else "*"
            self._mark(f"{'  ' * max(1, level)}{mark} ")
        self._inside(element, depth, level)
        self._break(1)

    def _row(self, element: Any, depth: int, level: int) -> None:
        """A row of a table in a line, with bars; one of a table that only arranges a page as blocks."""
        cells = [cell for cell in element if isinstance(cell.tag, str)]
        texts = [self._apart(cell, depth, level) for cell in cells]
        if any(text.count("\n") > 2 for text in texts):
            for text in texts:
                self._break(1)
                self._put(text)
        elif any(texts):
            self._break(1)
            self._put(" | ".join(" ".join(text.split()) for text in texts).rstrip(" |"))
        self._break(1)

    def _apart(self, element: Any, depth: int, level: int) -> str:
        """The text inside an element by itself."""
        inner = Renderer(self._writer, self._deepest, self._without)
        inner._inside(element, depth + 1, level)
        return "".join(inner._parts)

    def _link(self, element: Any, depth: int, level: int) -> None:
        url, text = element.get("href") or element.get("target"), " ".join(element.itertext())
        words = one_line(text, _MOST_LINK)
        if not url or not words:
            self._say(text)
            return
        self._space |= text[:1].isspace()
        self._put(self._writer.link(url, words))
        self._space = text[-1:].isspace()

    def _code(self, element: Any, depth: int, level: int) -> None:
        for line_break in list(element.iter("br", "lb")):
            line_break.text = "\n"
        code = plain("".join(element.itertext())).strip("\n").rstrip()
        if element.tag == "code" and "\n" not in code:
            self._put(f"`{code.strip()}`" if code.strip() else "")
        elif code:
            fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", code)), default=0))
            self._break(2)
            self._put(f"{fence}\n{code}\n{fence}")
            self._break(2)

    def _say(self, text: str | None) -> None:
        """A text, in which whitespace is but a space."""
        if not text:
            return
        words = " ".join(plain(text).split())
        self._space |= text[0].isspace()
        if words:
            self._put(words)
            self._space = text[-1].isspace()

    def _put(self, text: str) -> None:
        """A text as it is, after the space or the line breaks that belong before it."""
        if not text:
            return
        if self._breaks and self._parts:
            self._parts.append("\n" * self._breaks)
        elif self._space and self._parts and not self._marked:
            self._parts.append(" ")
        self._parts.append(text)
        self._breaks, self._space, self._marked = 0, False, False

    def _mark(self, mark: str) -> None:
        """What begins a line; the first block inside stands in the same line."""
        self._space = False
        self._put(mark)
        self._marked = True

    def _break(self, count: int) -> None:
        """At least so many line breaks before the next text."""
        if not self._marked:
            self._breaks = max(self._breaks, count)
        self._space = False
