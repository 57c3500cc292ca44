"""Twelve documents and what a reader has to find in them, made here; no program that wrote them is needed."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.fixtures.office import docx, epub, open_document, paragraph, pptx, row, shape, xlsx
from tests.fixtures.pdf import Run, drawn, number_of_extra, pdf


@dataclass(frozen=True, slots=True)
class Made:
    """A document: its `facts` in the order of reading, each with its page, 0 where it has none."""

    name: str
    data: bytes
    facts: Sequence[tuple[str, int]]


def _prose(column: str, page: int, lines: int = 24) -> list[str]:
    return [f"{column}{page}x{n} some words of prose that fill a line" for n in range(lines)]


def _columns(page: int, *, across: bool) -> list[Run]:
    left = [Run(text, 72, 690 - 14 * n) for n, text in enumerate(_prose("L", page))]
    right = [Run(text, 320, 690 - 14 * n) for n, text in enumerate(_prose("R", page))]
    body = [run for pair in zip(left, right, strict=True) for run in pair] if across else [*left, *right]
    return [Run(f"Heading of page {page} across both of its columns", 72, 740, 18), *body]


def _of_columns() -> list[tuple[str, int]]:
    facts = []
    for page in (1, 2):
        facts += [(text.partition(" ")[0], page) for text in (*_prose("L", page), *_prose("R", page))]
    return facts


def _table() -> Made:
    cells = [[f"m{r}{c}" for c in range(5)] for r in range(10)]
    runs = [Run(cells[r][c], 72 + 90 * c, 700 - 14 * r) for c in range(5) for r in range(10)]
    return Made("table.pdf", drawn(runs), [(" ".join(line), 1) for line in cells])


def _form() -> Made:
    widget = "/Subtype /Widget /Type /Annot /Rect [0 0 9 9]"
    fields = [f"<< /FT /Tx /T (name) /V (Ada Example) {widget} >>", f"<< /FT /Tx /T (amount) /V (1234.56) {widget} >>"]
    numbers = " ".join(f"{number_of_extra(n, 2)} 0 R" for n in range(2))
    catalog = f"/AcroForm << /Fields [{numbers}] >>"
    data = pdf("Claim form", "Second page", extras=fields, catalog=catalog, annotations=numbers)
    return Made("form.pdf", data, [("Claim form", 1), ("Ada Example", 1), ("1234.56", 1), ("Second page", 2)])


def _scan() -> Made:
    picture = "q 500 0 0 700 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID x EI Q"
    data = drawn([Run("The first page")], picture, [Run("The third page")])
    return Made("scan.pdf", data, [("The first page", 1), ("a scan", 2), ("The third page", 3)])


def _footnotes() -> Made:
    body = [Run(f"Line {n} of the text, which refers to note 1.", 72, 700 - 14 * n) for n in range(20)]
    note = [Run("1 The note below says forty-two.", 72, 80, 7)]
    hyphen = [Run("It is about regular expres-", 72, 400), Run("sions in general.", 72, 386)]
    facts = [("Line 0", 1), ("Line 19", 1), ("regular expressions in general", 1), ("forty-two", 1)]
    return Made("footnotes.pdf", drawn([*body, *hyphen, *note]), facts)


def _chinese() -> Made:
    lines = ["这是一个中文文件的第一行。", "第二行说明水费是四十一元。", "日本語の文章も読めます。"]
    data = drawn([Run(text, 72, 700 - 20 * n, 12) for n, text in enumerate(lines)], [Run("한국어 문장", 72, 700, 12)])
    return Made("cjk.pdf", data, [*((line, 1) for line in lines), ("한국어 문장", 2)])


def _hebrew() -> Made:
    """Letters stand from left to right on the page: a PDF has them as they are seen."""
    lines = ["שלום עולם", "חשבון המים"]
    return Made(
        "rtl.pdf", drawn([Run(t[::-1], 300, 700 - 20 * n, 12) for n, t in enumerate(lines)]), [(t, 1) for t in lines]
    )


def _long() -> Made:
    pages = [[Run(text, 72, 720 - 14 * n) for n, text in enumerate(_prose("P", page, 45))] for page in range(1, 301)]
    return Made("long.pdf", drawn(*pages), [(f"P{page}x44", page) for page in range(1, 301, 10)])


def _word() -> Made:
    runs = '<w:ins><w:r><w:t> inserted sum 99</w:t></w:r></w:ins><w:r><w:footnoteReference w:id="2"/></w:r>'
    there = "<w:r><w:lastRenderedPageBreak/><w:t>on the second page</w:t></w:r>"
    cells = "".join(f"<w:tc>{paragraph(text)}</w:tc>" for text in ("cell a", "cell b"))
    body = paragraph("Scope", "H1") + paragraph("Kept text", runs=runs) + paragraph("", runs=there)
    body += f"<w:tbl><w:tr>{cells}</w:tr></w:tbl>"
    styles = '<w:style w:styleId="H1" w:type="paragraph"><w:name w:val="heading 1"/></w:style>'
    notes = f'<w:footnote w:id="2">{paragraph("the note")}</w:footnote>'
    facts = [("Scope", 1), ("Kept text", 1), ("inserted sum 99", 1), ("on the second page", 2), ("cell a | cell b", 2)]
    return Made("report.docx", docx(body, styles=styles, footnotes=notes), [*facts, ("the note", 2)])


def _slides() -> Made:
    slides = [shape("title", "The last one"), shape("title", "The first one") + shape("body", "point a", "point b")]
    facts = [("The first one", 1), ("point a", 1), ("say this aloud", 1), ("The last one", 2)]
    return Made("talk.pptx", pptx(slides, notes={2: "say this aloud"}), facts)


def _sheets() -> Made:
    rows = row(3, None, "what", "sum") + row(4, None, "north", 12.5) + row(40, None, None, None, "far away")
    facts = [("north | 12.5", 1), ("far away", 1), ("old value", 2)]
    return Made("sales.xlsx", xlsx({"Sales": rows, "Old": row(1, "old value")}, hidden=("Old",)), facts)


def _book() -> Made:
    data = epub("<h1>One</h1><p>alpha &amp; omega</p>", "<h1>Two</h1><table><tr><td>c1<td>c2</table>")
    return Made("book.epub", data, [("alpha & omega", 1), ("Two", 2), ("c1 | c2", 2)])


def _letter() -> Made:
    text = "two<text:s/>words<text:soft-page-break/>page two"
    body = f'<text:h text:outline-level="1">Letter</text:h><text:p>{text}</text:p>'
    return Made("letter.odt", open_document(body), [("Letter", 1), ("two words", 1), ("page two", 2)])


def documents() -> list[Made]:
    """All of them, and a long one for its time."""
    return [
        Made("columns.pdf", drawn(_columns(1, across=False), _columns(2, across=False)), _of_columns()),
        Made("across.pdf", drawn(_columns(1, across=True), _columns(2, across=True)), _of_columns()),
        *(_table(), _form(), _scan(), _footnotes(), _chinese(), _hebrew()),
        *(_word(), _slides(), _sheets(), _book(), _letter(), _long()),
    ]
