"""Text documents and presentations of OpenDocument (ODT, ODP): paragraphs, headings, lists, tables, notes.

Pages of a text are where the program broke them when it last saved the file, if it says so; a slide is a page.
"""

import re
from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from mlx_model.documents.document import Document, DocumentError, Page, headings_in
from mlx_model.documents.packed import DAMAGED, Packed, attribute, descendants, local, markdown_table

PAGE = "\f"
"""Where a page ends, within text."""
MOST_REPEATED = 1000
"""Of a cell or of spaces that the file has once, with a count."""


def read_open_document(data: bytes) -> Document:
    """Raises DocumentError."""
    file = Packed(data)
    manifest = file.read("META-INF/manifest.xml") or b""
    if b"encryption-data" in manifest:
        raise DocumentError("is locked by a password; save a copy without one")
    root = file.xml("content.xml")
    body = next(descendants(root, "body"), None) if root is not None else None
    if body is None:
        raise DocumentError(DAMAGED)
    reader = _Reader()
    slides = [each for kind in body if local(kind) == "presentation" for each in kind if local(each) == "page"]
    if slides:
        texts = [_tidy("\n".join(reader.lines(slide))) for slide in slides]
        labels = [f"slide {number}" for number in range(1, len(slides) + 1)]
        unit = "slide"
    else:
        texts = [_tidy(text) for text in "\n".join(reader.lines(body)).split(PAGE)]
        has_pages = len(texts) > 1
        labels = [f"page {number}" if has_pages else "" for number in range(1, len(texts) + 1)]
        unit = "page" if has_pages else "line"
    if reader.aside:
        texts[-1] += "\n\n" + "\n".join(reader.aside)
    pages = tuple(Page(number, text, label) for number, (text, label) in enumerate(zip(texts, labels, strict=True), 1))
    return Document(pages, unit, len(pages), tuple(reader.said()), headings_in(pages))


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


class _Reader:
    def __init__(self) -> None:
        self.aside: list[str] = []
        self._counts: Counter[str] = Counter()

    def said(self) -> Iterator[str]:
        if count := self._counts["deletion"]:
            yield f"{count:,} tracked {'deletion' if count == 1 else 'deletions'} left out"
        if count := self._counts["image"]:
            yield f"{count:,} {'picture' if count == 1 else 'pictures'} not read"

    def lines(self, parent: Element, depth: int = 0) -> list[str]:
        lines: list[str] = []
        for each in parent:
            match local(each):
                case "h":
                    level = attribute(each, "outline-level")
                    title = " ".join(self._text(each).replace(PAGE, " ").split())
                    lines += (
                        ["", f"{'#' * min(int(level) if level.isdecimal() else 1, 6)} {title}", ""] if title else []
                    )
                case "p":
                    text = self._text(each)
                    lines += [text] if depth else [text, ""]
                case "list":
                    lines += self._list(each, depth)
                case "table":
                    lines += ["", *self._table(each), ""]
                case "tracked-changes":
                    self._counts["deletion"] += sum(1 for _ in descendants(each, "deletion"))
                case "notes":
                    text = " ".join(filter(None, self.lines(each))).strip()
                    lines += ["", "[speaker notes]", text] if text else []
                case "soft-page-break":
                    lines.append(PAGE)
                case "frame" if attribute(each, "class") == "title":
                    title = " ".join(filter(None, self.lines(each, 1)))
                    lines += [f"# {title}", ""] if title else []
                case "image":
                    self._counts["image"] += 1
                case "forms" | "sequence-decls" | "annotation":
                    pass
                case _:
                    lines += self.lines(each, depth)
        return lines

    def _list(self, items: Element, depth: int) -> list[str]:
        lines = []
        for item in (each for each in items if local(each) in ("list-item", "list-header")):
            for number, line in enumerate(self.lines(item, depth + 1)):
                is_inner = line.startswith("  " * (depth + 1) + "- ") or not line.strip()
                lines.append(line if is_inner else f"{'  ' * depth}{'- ' if number == 0 else '  '}{line}")
        return lines if depth else [*lines, ""]

    def _table(self, table: Element) -> list[str]:
        rows = []
        for row in descendants(table, "table-row"):
            cells: list[str] = []
            for cell in (each for each in row if local(each) in ("table-cell", "covered-table-cell")):
                text = " ".join(filter(None, (line.strip() for line in self.lines(cell, 1)))).replace(PAGE, " ")
                cells += [text] * _count(cell, "number-columns-repeated")
            while cells and not cells[-1]:
                cells.pop()
            rows.append(cells)
        return markdown_table(rows)

    def _text(self, element: Element) -> str:
        parts = [element.text or ""]
        for each in element:
            match local(each):
                case "s":
                    parts.append(" " * _count(each, "c"))
                case "tab":
                    parts.append("\t")
                case "line-break":
                    parts.append("\n")
                case "soft-page-break":
                    parts.append(PAGE)
                case "note":
                    parts.append(self._note(attribute(each, "note-class") or "footnote", each))
                case "annotation":
                    parts.append(self._note("comment", each))
                case "frame" | "custom-shape":
                    text = " ".join(filter(None, self.lines(each))).strip()
                    parts.append(f" [{text}] " if text else "")
                case "annotation-end" | "note-citation":
                    pass
                case _:
                    parts.append(self._text(each))
            parts.append(each.tail or "")
        return re.sub(r"[ \n\r\t]*\n[ \n\r\t]*", "\n", "".join(parts))

    def _note(self, kind: str, note: Element) -> str:
        self._counts[kind] += 1
        author = next((each.text or "" for each in note if local(each) == "creator"), "")
        held = [each for each in note if local(each) == "note-body"] or [note]
        text = " ".join(" ".join(filter(None, (line for each in held for line in self.lines(each)))).split())
        mark = f"[{kind} {self._counts[kind]}]"
        self.aside.append(f"{mark} {f'{author}: ' if author else ''}{text}")
        return mark


def _count(element: Element, name: str) -> int:
    value = attribute(element, name)
    return min(int(value), MOST_REPEATED) if value.isdecimal() else 1
