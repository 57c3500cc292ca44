"""The rows of a document: all of its text, none wider than there is room, in bounded time and memory."""

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from app.tui.text.reader_rows import ReaderLines, ReaderRows
from app.tui.text.reading_place import ReadingPlace, Target, go_to_target
from mlx_model.documents.document import Document, Page

PAGES = (
    Page(1, "one\ttwo\n\nthree", "page 1"),
    Page(4, "wo\x1brd\nfive ex-\nact words", "page 4"),
    Page(5, "six", "page 5"),
)
DOCUMENT = Document(PAGES, "page", 5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab  \u6f22\u0301\U0001f600-"), max_size=40), min_size=1), st.integers(1, 12))
def test_rows_have_all_of_a_text_and_fit(lines: list[str], width: int) -> None:
    rows = ReaderRows(lines, width)
    shown: list[list[str]] = [[] for _ in lines]
    for number in range(len(rows)):
        row = rows.row(number)
        piece = lines[row.line][row.start : row.end]
        shown[row.line].append(piece)
        assert cell_len(piece.rstrip(" ")) <= max(width, 2)
        assert rows.first_of(row.line) <= number <= rows.last_of(row.line)
    assert ["".join(pieces) for pieces in shown] == lines


def test_lines_of_pages() -> None:
    lines = ReaderLines(PAGES)
    assert lines.lines == [
        *("page 1", "one two", "", "three", ""),
        *("page 4", "wo\u241brd", "five ex-", "act words", ""),
        *("page 5", "six"),
    ]
    assert [lines.number(n) for n in range(6)] == [0, 1, 2, 3, 4, 0]
    assert [lines.line_at(1, n) for n in (0, 1, 3, 99)] == [5, 6, 8, 9]
    assert lines.where(6, 8) == "page 4, lines 1-3" and lines.where(1, 6) == "page 1 to page 4"
    assert lines.text(3, 6) == "three\n\n[page 4]\nwo\u241brd"
    plain = ReaderLines((Page(1, "a\nb"),))
    assert (plain.lines, plain.where(1, 1), plain.is_label(0)) == (["a", "b"], "line 2", False)
    # A newline that ends the last line begins none.
    assert [ReaderLines((Page(1, text),)).lines for text in ("a\nb\n", "a\n\n", "\n")] == [["a", "b"], ["a", ""], [""]]


def test_a_search_finds_lines_and_what_goes_on_in_the_next() -> None:
    place = ReadingPlace("x", DOCUMENT, None)
    assert place.search("  PAGE 4 ") == 0  # a label is no text
    assert (place.search("E"), place.hit_number) == (3, "1 of 3")
    assert [place.next_hit(step) for step in (1, 1, 1, -1)] == ["2 of 3", "3 of 3", "1 of 3", "3 of 3"]
    assert (place.search("exact words"), place.line) == (1, 7)
    assert (place.search("nowhere"), place.line, place.next_hit(1)) == (0, 7, "")


def test_targets_and_marks() -> None:
    place = ReadingPlace("x", DOCUMENT, None)
    go_to_target(place, Target(1, (2, 3)))
    assert place.attachment().name == "x, page 4, lines 2-3"
    go_to_target(place, Target(0, quote="exact words"))
    assert place.marked == (7, 8)
    go_to_target(place, Target(9, quote="nowhere"))
    assert place.marked is None
    assert place.where == "page 5 of 5"
    assert not place.go_to_page(2) and place.go_to_page(4) and place.line == 5
    place.start_mark()
    place.go_to(99, marking=True)
    assert place.marked == (5, 11) and place.unmark() and not place.unmark()


def test_a_thousand_pages_take_a_few_numbers_a_row() -> None:
    page = "some words of a line that is longer than the reader is wide\n" * 45
    lines = ReaderLines([Page(n, page, f"page {n}") for n in range(1, 1001)])
    rows = ReaderRows(lines.lines, 47)
    assert len(rows) == 2 * 45_000 + 1000 * 2 - 1
    assert rows.row(len(rows) - 1).line == len(lines.lines) - 1
    assert rows.__sizeof__() < 500 and rows._starts.itemsize * len(rows._starts) < 1_000_000
