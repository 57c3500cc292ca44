"""Word documents (DOCX): paragraphs, headings, lists, tables; what was inserted and not yet accepted is text too.

Pages are where Word broke them when it last saved the file. What stands beside the text (notes, comments, headers)
comes behind the page, or at the end, under a line in brackets.
"""

import re
from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from mlx_model.documents.document import Document, DocumentError, Page, headings_in
from mlx_model.documents.packed import DAMAGED, Packed, attribute, descendants, local, markdown_table

_HEADING = re.compile(r"heading\s*([1-9])|(title)$", re.IGNORECASE)
_LEFT_OUT = {"del": "deletion", "moveFrom": "moved text"}
_BLOCKS = ("p", "tbl")
PAGE = "\f"
"""Where a page ends, within text."""


def read_word(data: bytes) -> Document:
    """Raises DocumentError."""
    return _Reader(Packed(data)).document()


class _Reader:
    def __init__(self, file: Packed) -> None:
        name = next((target for kind, target in file.relations("").values() if kind == "officeDocument"), "")
        body = file.xml(name)
        if body is None or not any(descendants(body, "body")):
            raise DocumentError(DAMAGED)
        self._body = next(descendants(body, "body"))
        parts: dict[str, list[Element]] = {}
        for kind, target in file.relations(name).values():
            if (root := file.xml(target) if target.endswith(".xml") else None) is not None:
                parts.setdefault(kind, []).append(root)
        self._levels = _heading_levels(parts.get("styles", []))
        self._style_lists = _lists_of_styles(parts.get("styles", []))
        self._ordered = _ordered_lists(parts.get("numbering", []))
        self._notes = {
            (kind, attribute(note, "id")): note
            for kind in ("footnote", "endnote", "comment")
            for root in parts.get(f"{kind}s", [])
            for note in descendants(root, kind)
        }
        self._headers = [("header", root) for root in parts.get("header", [])]
        self._headers += [("footer", root) for root in parts.get("footer", [])]
        self._counts: Counter[tuple[str, int]] = Counter()
        self._revisions: Counter[str] = Counter()
        self._aside: list[str] = []
        self._pictures = 0
        self._breaks = any(True for _ in descendants(self._body, "lastRenderedPageBreak"))

    def document(self) -> Document:
        lines = self._lines(self._body)
        texts = [re.sub(r"\n{3,}", "\n\n", text).strip("\n") for text in "\n".join(lines).split(PAGE)]
        if self._aside:
            texts[-1] += "\n\n" + "\n".join(self._aside)
        for name, root in self._headers:
            if text := " ".join(filter(None, self._lines(root))).replace(PAGE, " ").strip():
                line = f"[{name}] {text}"
                texts[-1] += "" if line in texts[-1] else f"\n\n{line}"
        if not self._breaks:
            texts = ["\n\n".join(filter(None, texts))]
        label = "page {}" if self._breaks else ""
        pages = tuple(Page(number, text, label.format(number)) for number, text in enumerate(texts, 1))
        unit = "page" if self._breaks else "line"
        return Document(pages, unit, len(pages), tuple(self._said()), headings_in(pages))

    def _said(self) -> Iterator[str]:
        for name, kind in (("ins", "insertion"), ("del", "deletion")):
            if count := self._revisions[name]:
                how = "kept as text" if name == "ins" else "left out"
                yield f"{count:,} tracked {kind}{'' if count == 1 else 's'} {how}"
        if self._pictures:
            yield f"{self._pictures:,} {'picture' if self._pictures == 1 else 'pictures'} not read"

    def _lines(self, parent: Element) -> list[str]:
        lines: list[str] = []
        for block in _blocks(parent):
            if local(block) == "tbl":
                lines += ["", *self._table(block), ""]
            else:
                lines += self._paragraph(block)
        return lines

    def _table(self, table: Element) -> list[str]:
        rows = []
        for row in (each for each in _within(table) if local(each) == "tr"):
            cells: list[str] = []
            for cell in (each for each in _within(row) if local(each) == "tc"):
                properties = {local(each): attribute(each, "val") for p in cell if local(p) == "tcPr" for each in p}
                is_merged = "vMerge" in properties and properties["vMerge"] != "restart"
                text = " ".join(filter(None, (line.strip() for line in self._lines(cell))))
                cells.append("" if is_merged else text.replace(PAGE, " "))
                span = properties.get("gridSpan", "")
                cells += [""] * (min(int(span), 100) - 1 if span.isdecimal() else 0)
            rows.append(cells)
        return markdown_table(rows)

    def _paragraph(self, paragraph: Element) -> list[str]:
        text = self._text(paragraph)
        style, numbers, level = "", None, 0
        for each in (each for properties in paragraph if local(properties) == "pPr" for each in properties):
            if local(each) == "pStyle":
                style = attribute(each, "val")
            elif local(each) == "outlineLvl" and attribute(each, "val").isdecimal():
                level = int(attribute(each, "val")) + 1
            elif local(each) == "numPr":
                numbers = _numbering(each)
        list_id, depth = numbers or self._style_lists.get(style, ("", 0))
        breaks, text = text[: len(text) - len(text.lstrip(PAGE))], text.lstrip(PAGE)
        if not text.strip():
            return [breaks + text.strip(" ")]
        level = self._levels.get(style, level if level < 10 else 0)
        if level:
            return ["", f"{breaks}{'#' * min(level, 6)} {' '.join(text.split())}", ""]
        if list_id and list_id != "0":
            mark = "-"
            if self._ordered.get((list_id, depth)):
                self._counts[(list_id, depth)] += 1
                for deeper in [key for key in self._counts if key[0] == list_id and key[1] > depth]:
                    del self._counts[deeper]
                mark = f"{self._counts[(list_id, depth)]}."
            return [f"{breaks}{'  ' * depth}{mark} {text}"]
        return [breaks + text, ""]

    def _text(self, element: Element) -> str:
        """The text of a paragraph, without the paragraphs of text boxes in it, which follow it."""
        parts: list[str] = []
        for each in element:
            name = local(each)
            if name == "t":
                parts.append(each.text or "")
            elif name in ("tab", "ptab"):
                parts.append("\t")
            elif name in ("br", "cr"):
                is_page = attribute(each, "type") == "page" and self._breaks
                parts.append("" if is_page else "\n")  # the break that Word rendered there counts
            elif name == "lastRenderedPageBreak":
                parts.append(PAGE)
            elif name in ("noBreakHyphen", "softHyphen"):
                parts.append("-" if name == "noBreakHyphen" else "")
            elif name in ("footnoteReference", "endnoteReference", "commentReference"):
                parts.append(self._note(name.removesuffix("Reference"), attribute(each, "id")))
            elif name in ("drawing", "pict", "object"):
                parts.append(self._drawing(each))
            elif name in _LEFT_OUT:
                self._revisions["del"] += 1
            elif name == "checkBox" or (name == "checkbox" and "word" in each.tag):
                parts.append("[x] " if _is_checked(each) else "[ ] ")
            elif name not in ("pPr", "rPr", "instrText", "Fallback", *_BLOCKS):
                self._revisions["ins"] += name in ("ins", "moveTo")
                parts.append(self._text(each))
        return "".join(parts)

    def _drawing(self, drawing: Element) -> str:
        """The text of a box, or what a picture is said to be."""
        boxes = [" ".join(filter(None, self._lines(box))) for box in descendants(drawing, "txbxContent")]
        if boxes:
            return f" [{' '.join(boxes).replace(PAGE, ' ').strip()}] "
        self._pictures += 1
        alternative = next((attribute(each, "descr") for each in descendants(drawing, "docPr")), "")
        return f" [picture: {' '.join(alternative.split())}] " if alternative else ""

    def _note(self, kind: str, id: str) -> str:
        note = self._notes.pop((kind, id), None)
        if note is None:
            return ""
        self._counts[(kind, 0)] += 1
        number = self._counts[(kind, 0)]
        text = " ".join(" ".join(filter(None, self._lines(note))).replace(PAGE, " ").split())
        author = attribute(note, "author")
        mark = f"[{kind} {number}]"
        self._aside.append(f"{mark} {f'{author}: ' if author else ''}{text}")
        return mark


def _blocks(parent: Element) -> Iterator[Element]:
    """Paragraphs and tables in the order of the text, through the controls and insertions that they stand in."""
    for each in _within(parent):
        if local(each) in _BLOCKS:
            yield each


def _within(parent: Element) -> Iterator[Element]:
    """The children, and those of what only holds other elements."""
    for each in parent:
        if local(each) in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"):
            yield from _within(each)
        else:
            yield each


def _is_checked(box: Element) -> bool:
    marks = [each for each in box.iter() if local(each) in ("checked", "default")]
    return any(attribute(each, "val") in ("", "1", "true") and local(each) == "checked" for each in marks)


def _heading_levels(styles: list[Element]) -> dict[str, int]:
    """The level of each style of headings, by its id: names of styles are English in every language."""
    levels = {}
    for style in (each for root in styles for each in descendants(root, "style")):
        name = next((attribute(each, "val") for each in style if local(each) == "name"), "")
        outline = next((attribute(each, "val") for each in descendants(style, "outlineLvl")), "")
        if match := _HEADING.match(name):
            levels[attribute(style, "styleId")] = int(match[1] or 1)
        elif outline.isdecimal() and int(outline) < 9:
            levels[attribute(style, "styleId")] = int(outline) + 1
    return levels


def _lists_of_styles(styles: list[Element]) -> dict[str, tuple[str, int]]:
    """The list, and the depth in it, that a style puts its paragraphs into."""
    return {
        attribute(style, "styleId"): _numbering(properties)
        for root in styles
        for style in descendants(root, "style")
        for properties in descendants(style, "numPr")
    }


def _numbering(properties: Element) -> tuple[str, int]:
    values = {local(each): attribute(each, "val") for each in properties}
    depth = values.get("ilvl", "")
    return values.get("numId", ""), min(int(depth), 9) if depth.isdecimal() else 0


def _ordered_lists(numbering: list[Element]) -> dict[tuple[str, int], bool]:
    """Which levels of which lists have numbers, not dots."""
    abstract = {
        (attribute(each, "abstractNumId"), attribute(level, "ilvl")): attribute(form, "val") != "bullet"
        for root in numbering
        for each in descendants(root, "abstractNum")
        for level in descendants(each, "lvl")
        for form in descendants(level, "numFmt")
    }
    lists = {
        attribute(each, "numId"): attribute(reference, "val")
        for root in numbering
        for each in descendants(root, "num")
        for reference in each
        if local(reference) == "abstractNumId"
    }
    return {
        (number, int(level)): ordered
        for number, kind in lists.items()
        for (other, level), ordered in abstract.items()
        if other == kind and level.isdecimal()
    }
