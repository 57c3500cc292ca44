"""Presentations (PPTX): a slide is a page, with its title as a heading, its tables, and what the speaker notes say."""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from mlx_model.documents.document import Document, DocumentError, Page, headings_in
from mlx_model.documents.packed import DAMAGED, RELATIONSHIPS, Packed, attribute, descendants, local, markdown_table

_TITLES = ("title", "ctrTitle")
_ASIDE = ("dt", "ftr", "sldNum", "sldImg", "hdr")


def read_slides(data: bytes) -> Document:
    """Raises DocumentError."""
    file = Packed(data)
    name = next((target for kind, target in file.relations("").values() if kind == "officeDocument"), "")
    presentation = file.xml(name)
    if presentation is None:
        raise DocumentError(DAMAGED)
    relations = file.relations(name)
    slides = [relations.get(each.get(f"{RELATIONSHIPS}id", ""), ("", ""))[1] for each in _slides(presentation)]
    notes, pictures = list[str](), 0
    pages: list[Page] = []
    for number, slide in enumerate(slides, 1):
        root = file.xml(slide)
        label = f"slide {number}"
        if root is None:
            notes.append(f"{label} is missing in the file")
            pages.append(Page(number, "[missing]", label))
            continue
        if root.get("show") == "0":
            label += ", hidden"
        lines = list(_lines(root))
        pictures += sum(1 for _ in descendants(root, "pic"))
        for kind, target in file.relations(slide).values():
            other = file.xml(target) if kind in ("notesSlide", "comments", "chart", "diagramData") else None
            if other is not None:
                lines += _beside(kind, other)
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
        pages.append(Page(number, text or "[no text]", label))
    if pictures:
        notes.append(f"{pictures:,} {'picture' if pictures == 1 else 'pictures'} not read")
    if not pages:
        raise DocumentError("has no slides")
    return Document(tuple(pages), "slide", len(pages), tuple(notes), headings_in(pages))


def _slides(presentation: Element) -> Iterator[Element]:
    return descendants(presentation, "sldId")


def _lines(root: Element) -> Iterator[str]:
    for each in _shapes(root):
        if local(each) == "graphicFrame":
            for table in descendants(each, "tbl"):
                rows = [[_plain(cell) for cell in row if local(cell) == "tc"] for row in descendants(table, "tr")]
                yield from ("", *markdown_table(rows), "")
            continue
        kind = next((attribute(holder, "type") for holder in descendants(each, "ph")), "")
        if kind in _ASIDE:
            continue
        if kind in _TITLES:
            if title := _plain(each):
                yield from (f"# {title}", "")
            continue
        yield from _paragraphs(each, is_list=any(True for _ in descendants(each, "ph")))
        yield ""


def _shapes(root: Element) -> Iterator[Element]:
    """Shapes and tables in their order, those of groups included."""
    for each in root.iter():
        if local(each) in ("sp", "graphicFrame"):
            yield each


def _paragraphs(shape: Element, *, is_list: bool) -> Iterator[str]:
    for paragraph in (each for body in descendants(shape, "txBody") for each in body if local(each) == "p"):
        text = "".join(
            "\n" if local(each) == "br" else (each.text or "")
            for each in paragraph.iter()
            if local(each) in ("t", "br")
        )
        level = next((each.get("lvl", "0") for each in paragraph if local(each) == "pPr"), "0")
        indent = "  " * (int(level) if level.isdecimal() else 0)
        if text.strip():
            yield f"{indent}- {text.strip()}" if is_list else text.strip()


def _plain(element: Element) -> str:
    paragraphs = ("".join(each.text or "" for each in descendants(p, "t")) for p in descendants(element, "p"))
    return " ".join(" ".join(paragraphs).split())


def _beside(kind: str, root: Element) -> Iterator[str]:
    """The notes of the speaker, comments, and the words and figures of a chart or diagram."""
    if kind == "chart":
        yield from _chart(root)
        return
    if kind == "comments":
        texts = [each.text or "" for each in descendants(root, "text")]
    elif kind == "notesSlide":
        shapes = (
            each
            for each in _shapes(root)
            if next((attribute(h, "type") for h in descendants(each, "ph")), "") == "body"
        )
        texts = ["\n".join(_paragraphs(shape, is_list=False)) for shape in shapes]
    else:
        texts = [text for each in descendants(root, "pt") if (text := _plain(each))]
    name = {"comments": "comments", "notesSlide": "speaker notes"}.get(kind, "diagram")
    if any(map(str.strip, texts)):
        yield from ("", f"[{name}]", *filter(None, texts))


def _chart(root: Element) -> Iterator[str]:
    """The table that a chart draws."""
    columns: list[list[str]] = []
    for series in descendants(root, "ser"):
        parts = {local(each): [point.text or "" for point in descendants(each, "v")] for each in series}
        if not columns:
            columns.append(["", *parts.get("cat", parts.get("xVal", []))])
        columns.append([" ".join(parts.get("tx", [])), *parts.get("val", parts.get("yVal", []))])
    if columns:
        height = max(map(len, columns))
        rows = [[column[n] if n < len(column) else "" for column in columns] for n in range(height)]
        yield from ("", "[chart]", *markdown_table(rows))
