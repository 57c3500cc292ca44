"""HTML as Markdown: headings, lists, tables, code. What a page hides, its scripts and its styles are left out."""

import re
from collections import Counter
from html.parser import HTMLParser

from mlx_model.documents.packed import markdown_table

_HIDDEN = ("script", "style", "template", "noscript", "svg", "iframe", "object", "head", "select", "datalist")
_VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
_BLOCKS = frozenset(
    [
        "p",
        "div",
        "section",
        "article",
        "header",
        "footer",
        "main",
        "nav",
        "aside",
        "ul",
        "ol",
        "dl",
        "blockquote",
        "figure",
        "figcaption",
        "form",
        "fieldset",
        "address",
        "table",
        "caption",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "pre",
        "hr",
        "details",
        "summary",
        "li",
        "dt",
        "dd",
        "tr",
    ]
)
_IN_HEAD = ("title", "script", "style", "template", "noscript")
_NOT_WITHIN_ITSELF = ("li", "p", "tr", "td", "th", "dt", "dd", "option")
MOST_OPEN = 500
"""Elements in elements; deeper ones are read as if they stood beside."""


def to_markdown(html: str) -> str:
    """The text of a page. Takes linear time, and never fails: HTML has no errors."""
    writer = _Writer()
    writer.feed(html)
    writer.close()
    return writer.text()


class _Writer(HTMLParser):
    """Open elements are kept as a stack; what closes one closes all within."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._title: list[str] = []
        self._lines: list[str] = []
        self._line: list[str] = []
        self._open: list[tuple[str, bool]] = []
        """Each with whether it hides what is in it."""
        self._counts = Counter[str]()
        self._hidden = 0
        self._lists: list[int] = []
        """Of each open list the number of its last item, -1 for one with dots."""
        self._tables: list[list[list[list[str]]]] = []
        """Of each open table its rows, whose cells are pieces of text."""
        self._pre = 0
        self._is_title = False

    def text(self) -> str:
        """What has been written."""
        while self._tables:
            self._end_table()
        self._break()
        if self._pre:
            self._lines.append("```")
        body = re.sub(r"\n{3,}", "\n\n", "\n".join(self._lines)).strip("\n")
        title = " ".join("".join(self._title).split())
        return f"# {title}\n\n{body}" if body and title and not re.search(r"^# ", body, re.MULTILINE) else body

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        attributes = dict(attrs)
        if tag == "title":
            self._is_title = not self._title and not self._counts["svg"]
        if tag in _VOID:
            if not self._hidden:
                self._void(tag, attributes)
            return
        if self._counts["head"] and tag not in _IN_HEAD:  # a head that is not closed
            self.handle_endtag("head")
        if tag in _NOT_WITHIN_ITSELF and self._open and self._open[-1][0] == tag:
            self.handle_endtag(tag)
        if len(self._open) < MOST_OPEN:
            hides = tag in _HIDDEN or "hidden" in attributes or attributes.get("aria-hidden") == "true"
            self._open.append((tag, hides))
            self._counts[tag] += 1
            self._hidden += hides
        if not self._hidden:
            self._start(tag)

    def handle_endtag(self, tag: str) -> None:
        """Called by the parser."""
        if tag == "title":
            self._is_title = False
        while self._counts[tag]:
            name, hides = self._open.pop()
            self._counts[name] -= 1
            self._hidden -= hides
            if not self._hidden and not hides:
                self._end(name)
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        """Called by the parser."""
        if self._is_title:
            self._title.append(data)
        elif not self._hidden:
            self._write(data)

    def _start(self, tag: str) -> None:
        if tag in ("td", "th"):
            if self._tables:
                self._tables[-1] = self._tables[-1] or [[]]
                self._tables[-1][-1].append([])
            return
        if tag in _BLOCKS:
            self._break()
        match tag:
            case "h1" | "h2" | "h3" | "h4" | "h5" | "h6":
                self._blank()
                self._line = [] if self._tables else ["#" * int(tag[1]), " "]
            case "ul" | "ol":
                self._lists.append(-1 if tag == "ul" else 0)
            case "li":
                self._item()
            case "table":
                self._blank()
                self._tables.append([])
            case "tr" if self._tables:
                self._tables[-1].append([])
            case "pre":
                self._blank()
                self._pre += 1
                if self._pre == 1 and not self._tables:
                    self._lines.append("```")
            case "p" | "blockquote" | "dt":
                self._blank()

    def _item(self) -> None:
        depth, mark = max(0, len(self._lists) - 1), "-"
        if self._lists and self._lists[-1] >= 0:
            self._lists[-1] += 1
            mark = f"{self._lists[-1]}."
        self._line = ["  " * min(depth, 20), mark, " "]

    def _void(self, tag: str, attributes: dict[str, str | None]) -> None:
        if tag in ("br", "hr"):
            self._break()
        elif tag == "img" and (text := " ".join((attributes.get("alt") or "").split())):
            self._write(f"[picture: {text}]")
        elif tag == "input" and attributes.get("type", "text") not in ("hidden", "password", "submit", "button"):
            is_box = attributes.get("type") in ("checkbox", "radio")
            mark = "[x] " if "checked" in attributes else "[ ] "
            self._write(mark if is_box else attributes.get("value") or "")

    def _end(self, tag: str) -> None:
        if tag == "table" and self._tables:
            self._end_table()
            return
        if tag in _BLOCKS:
            self._break()
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()
            if not self._lists:
                self._blank()
        elif tag == "pre" and self._pre:
            self._pre -= 1
            if not self._pre and not self._tables:
                self._lines.append("```")
                self._blank()
        elif tag in ("p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote"):
            self._blank()

    def _end_table(self) -> None:
        rows = [["".join(cell) for cell in row] for row in self._tables.pop()]
        if self._tables:  # a table in a cell of another
            self._write(" ".join(cell for row in rows for cell in row))
            return
        # A table of one column only places things.
        lines = [" ".join(cell.split()) for row in rows for cell in row]
        if max(map(len, rows), default=0) > 1:
            lines = markdown_table(rows)
        self._lines += [*lines, ""]

    def _write(self, text: str) -> None:
        if self._tables:
            if self._tables[-1] and self._tables[-1][-1]:
                self._tables[-1][-1][-1].append(text)
            elif text.strip():  # beside the cells, as a caption
                self._lines.append(" ".join(text.split()))
        elif self._pre:
            first, *others = text.split("\n")
            self._line.append(first)
            for line in others:
                self._lines.append("".join(self._line))
                self._line = [line]
        elif text := re.sub(r"\s+", " ", text).removeprefix("" if self._line and self._line[-1][-1:] != " " else " "):
            self._line.append(text)

    def _break(self) -> None:
        if self._tables:
            if self._tables[-1] and self._tables[-1][-1]:
                self._tables[-1][-1][-1].append(" ")
            return
        line = "".join(self._line)
        if line.strip():
            self._lines.append(line if self._pre else line.rstrip())
        self._line = []

    def _blank(self) -> None:
        if not self._tables and self._lines and self._lines[-1]:
            self._lines.append("")
