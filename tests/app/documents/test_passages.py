"""Search within a document finds the passages that have most to do with some words."""

from typing import Any

from app.documents import passages
from app.documents.passages import Found
from app.documents.selection import sections
from mlx_model.documents.document import Document, Page, headings_in

FILLER = "\n".join(["Nothing of interest stands in this line of the manual, which goes on for a while."] * 30)
PAGES = (
    Page(1, f"{FILLER}\nA variable becomes constant with readonly.\n{FILLER}", "page 1"),
    Page(2, FILLER, "page 2"),
    Page(3, f"Cafés are constant, too.\n{FILLER}\nThe variables of readonly functions.", "page 3"),
    Page(4, "\u6f22\u5b57\u306e\u8aac\u660e\u3067\u3059\u3002", "page 4"),
)
MANUAL = Document(PAGES, "page", 4)


def search(document: Document, words: str) -> Found:
    return passages.search(document, words, 4000)


def test_pages_with_most_of_the_words_are_found_and_keep_their_order() -> None:
    found = search(MANUAL, "How do I make a variable readonly?")
    assert [page.number for page in found.pages] == [1, 3]
    assert (found.passages, found.of) == (2, 15)
    assert "readonly" in found.pages[0].text and len(found.pages[0].text) < 1200
    assert [page.number for page in search(MANUAL, "cafe constants").pages] == [1, 3]
    assert [page.number for page in search(MANUAL, "\u6f22\u5b57").pages] == [4]
    assert [page.number for page in search(MANUAL, "\u306e\u8aac\u660e\u306f").pages] == [4]


def test_what_is_not_there_and_what_is_no_query() -> None:
    for words in ("zebra", "?!", 'zebra" OR "x', "NEAR(", "\u9a6c"):
        assert search(MANUAL, words).pages == ()
    assert search(MANUAL, 'readonly" AND (').passages == 2
    assert search(MANUAL, "of the").passages == passages.MOST_FOUND  # nothing but common words: those


class Counted(str):
    """A text that counts how often it is split into lines."""

    times = 0

    def split(self, *arguments: Any) -> list[str]:
        Counted.times += 1
        return super().split(*arguments)


def test_a_long_file_is_split_once_however_many_passages_and_sections_it_has() -> None:
    text = "\n".join(f"# Section {n}\n{FILLER}" for n in range(50))
    page = Page(1, Counted(text))
    document = Document((page,), count=text.count("\n") + 1, headings=tuple(headings_in([Page(1, text)])))
    Counted.times = 0
    assert search(document, "section").of > 50 and Counted.times == 1
    assert len(sections(document)) == 50 and Counted.times == 2


def test_no_more_than_there_is_room_for() -> None:
    found = search(MANUAL, "interest")
    assert found.passages == passages.MOST_FOUND
    long = Document((Page(1, "\n".join(["word " * 2000] * 9), "page 1"),), "page")
    assert search(long, "word").passages == 2


def test_lines_that_are_left_out_are_marked_and_runs_are_one() -> None:
    found = search(MANUAL, "variables readonly cafés")
    assert found.pages[1].text.startswith("Cafés") and "\n[...]\n" in found.pages[1].text
    lines = Document((Page(1, f"{FILLER}\nreadonly here\n{FILLER}\nreadonly there"),), count=62)
    assert [page.label for page in search(lines, "readonly").pages] == ["lines 31 to 40", "lines 61 to 62"]
