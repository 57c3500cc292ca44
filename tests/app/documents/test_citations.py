"""Citations of files: the place that an answer names, and whether what it quotes is there."""

import pytest

from app.documents.attachments import Attachment
from app.documents.citations import Cited, FileCitations, flaws
from app.documents.cited_pages import citation_in, pages_in
from app.documents.files import read_bytes
from mlx_model.documents.document import Page

PAPER = Attachment(
    "papers/moe.pdf",
    "[page 1]\n# 1 Introduction\nMixtures of experts are\nold, it is said.\n\n"
    "[page 2]\n# 2 Method\nThe router picks four ex-\nperts of thirty-two.\n\n"
    "[page 3]\n## 2.1 Training\nIt took a \ufb01ne month.",
)
SLIDES = Attachment("talk.pptx", "[slide 1]\nHello\n\n[slide 2, hidden]\nWorld")
BOOK = Attachment(
    "book.xlsx", '[sheet "Sales" A1:B9]\nYear | Sum\n2023 | 4.5\n\n[row 9]\n2024 | 5\n\n[sheet "Costs" B2:B2]\n7'
)
CODE = Attachment("a.py:10-12", "[lines 10 to 12]\na = 1\nb = 2\nc = 3")
NOTES = Attachment("notes.md", "# Plan\nBuy a boat.\n## Later\nSell it again soon.")


def cited(text: str, *attachments: Attachment) -> list[Cited]:
    return FileCitations(lambda: attachments or (PAPER,)).of(text)


@pytest.mark.parametrize(
    ("citation", "attachment", "page", "lines"),
    [
        ("[p. 2]", PAPER, 1, (0, 0)),
        ("[page 2]", PAPER, 1, (0, 0)),
        ("[pp. 2-3]", PAPER, 1, (0, 0)),
        ("\u3010p. 3\u3011", PAPER, 2, (0, 0)),
        ("[moe.pdf, p. 2]", PAPER, 1, (0, 0)),
        ("[moe.pdf p.2, lines 2-3]", PAPER, 1, (2, 3)),
        ("[section Method]", PAPER, 1, (1, 1)),
        ("[section 2.1]", PAPER, 2, (1, 1)),
        ("[\u00a7 2.1 Training]", PAPER, 2, (1, 1)),
        ("[slide 2]", SLIDES, 1, (0, 0)),
        ("[Sales!A2:B2]", BOOK, 0, (2, 2)),
        ("[sheet Sales, A9]", BOOK, 0, (5, 5)),
        ("[sheet 2]", BOOK, 1, (0, 0)),
        ("[line 11]", CODE, 0, (2, 2)),
        ("[L11-L12]", CODE, 0, (2, 3)),
        ("[lines 2-3]", NOTES, 0, (2, 3)),
        ("[notes.md, section Later]", NOTES, 0, (3, 3)),
    ],
)
def test_a_place_is_found(citation: str, attachment: Attachment, page: int, lines: tuple[int, int]) -> None:
    others = [each for each in (PAPER, SLIDES, BOOK) if each is not attachment and attachment in (PAPER, SLIDES, BOOK)]
    (found,) = cited(f"So it is {citation}.", *others, attachment)
    assert (found.text, found.attachment, found.page, found.lines, found.note) == (
        citation,
        attachment,
        page,
        lines,
        "",
    )


@pytest.mark.parametrize(
    "text",
    [
        "[slide 2] of a paper",
        "[other.pdf, p. 2]",
        "[p. 2](https://x.org) is a link",
        "`[p. 2]` is code",
        "```\n[p. 2]\n```",
        "x[p2] [1] [page] p. 2",
        "[Sales!A2]",
        "[line 3]",
    ],
)
def test_what_is_no_citation(text: str) -> None:
    assert cited(text) == []
    assert FileCitations(lambda: ()).of(f"{text} [p. 1]") == []


@pytest.mark.parametrize(
    ("text", "page", "note"),
    [
        ("\u201cthe router picks four experts\u201d [p. 2]", 1, ""),
        ('"picks four experts ... thirty-two" (see it there) [p. 2]', 1, ""),
        ('[p. 3]: "it took a fine month"', 2, ""),
        ('"The router picks nine experts" [p. 2]', 1, "quote not found"),
        ("\u00abIt took a fine month\u00bb [p. 1]", 2, "quote is on page 3"),
        ('"thirty-two. 2.1 Training it took" [p. 2]', 1, ""),  # it goes on on the next page
        ("[p. 9]", 0, "there is no such place"),
        ("[section Results]", 0, "there is no such place"),
        ('"nine experts" [p. 2]', 1, ""),  # two words: a name in quotation marks
        ('"The router picks nine experts" is wrong.\n\nBut [p. 2]', 1, ""),  # another paragraph's
        ('"The router picks nine experts" [p. 1] [p. 2]', 0, "quote not found"),
    ],
)
def test_quotes_are_checked(text: str, page: int, note: str) -> None:
    found = cited(text)[0]
    assert (found.page, found.note) == (page, note)
    assert bool(flaws([found])) == bool(note)


def test_a_quote_tells_which_file_is_meant() -> None:
    other = Attachment("b.pdf", "[page 1]\nnothing\n\n[page 2]\nThe router picks nine experts here.")
    first, second = cited(
        '"the router picks four experts" [p. 2]; "the router picks nine experts" [p. 2]', PAPER, other
    )
    assert (first.attachment, second.attachment) == (PAPER, other)
    assert first.lines == (2, 3) and flaws([first, second]) == []
    wrong = cited('"it has no such words at all" [p. 2]', PAPER, other)
    assert flaws(wrong) == ['[p. 2]: quote not found: "it has no such words at all"']
    assert wrong[0].to_json() == {
        "text": "[p. 2]",
        "file": "b.pdf",
        "label": "page 2",
        "lines": None,
        "quote": "it has no such words at all",
        "ok": False,
        "note": "quote not found",
    }


def test_pages_of_a_prompt_and_how_they_are_named() -> None:
    assert pages_in(PAPER)[1] == Page(2, "# 2 Method\nThe router picks four ex-\nperts of thirty-two.", "page 2")
    assert [page.label for page in pages_in(BOOK)] == ['sheet "Sales" A1:B9', 'sheet "Costs" B2:B2']
    assert pages_in(NOTES) == (Page(1, NOTES.text),) and pages_in(Attachment("x", "a\n[page 2]\nb"))[0].label == ""
    named = [citation_in(pages_in(each)) for each in (PAPER, SLIDES, BOOK, CODE, NOTES, Attachment("x", "text"))]
    assert named == ["[p. 1]", "[slide 1]", "[Sales!A1]", "[line 10]", "[section Plan]", ""]
    markdown = read_bytes(b"# [x] *y*\ntext", "x.md")
    assert markdown.citation == ""


def test_a_hostile_answer_does_not_hang() -> None:
    for piece in ("[", "[p. ", '"a b c ', "[x ", "[p. 1", "`", "[section ", "\u201c", "[a!"):
        cited(piece * (40_000 // len(piece)))


@pytest.mark.parametrize(
    ("cited", "page_line"),
    [
        ("[section Section 2]", (0, 3)),
        ("[section Chapter 4]", (0, 5)),
        ("[section Notes]", (0, 9)),
        ("[section a note]", (0, 11)),
        ("[section Page 9, notes]", (0, 7)),
        ("[sections.md, section Section 2]", (0, 3)),
        ("[sections.md section Section 2]", (0, 3)),
        ("[sections.md, lines 2-3]", (0, 2)),
    ],
)
def test_a_heading_may_begin_as_a_place_does_and_a_file_too(cited: str, page_line: tuple[int, int]) -> None:
    titles = ("# Intro", "## Section 2", "## Chapter 4", "## Page 9, notes", "# Notes", "# This is a note")
    text = "".join(f"{title}\nText.\n" for title in titles)
    name = "sections.md" if "sections.md" in cited else "notes.md"
    (found,) = FileCitations(lambda: [Attachment(name, text)]).of(f"So it says {cited}.")
    assert (found.page, found.lines[0]) == page_line and found.note == ""
