"""Pictures as half blocks, and the lines of files."""

from pathlib import Path

import pytest
from rich.style import Style
from textual.style import Style as TextualStyle

from app.tools.written_files import FileFacts, Pixels
from app.tui.text.file_lines import file_line, file_size
from app.tui.text.half_blocks import BOX, UPPER_HALF, fitted, half_blocks, lines_in, rows

RED, BLUE, WHITE = b"\xff\x00\x00", b"\x00\x00\xff", b"\xff\xff\xff"


def test_a_cell_shows_two_points_and_equal_neighbours_are_one_piece() -> None:
    pixels = Pixels(4, 5, RED * 3 + WHITE + BLUE * 3 + WHITE + BLUE * 4 + RED * 4 + RED * 4)
    lines = [[(text, style) for text, style, _ in half_blocks(pixels, row)] for row in range(3)]
    assert lines == [
        [(UPPER_HALF * 3, Style(color="#ff0000", bgcolor="#0000ff")), (" ", Style(bgcolor="#ffffff"))],
        [(UPPER_HALF * 4, Style(color="#0000ff", bgcolor="#ff0000"))],
        [(UPPER_HALF * 4, Style(color="#ff0000"))],
    ]
    assert [half_blocks(pixels, row).cell_length for row in range(3)] == [4, 4, 4]
    assert [rows(height) for height in (1, 2, 3, 44)] == [1, 1, 2, 22] and BOX == (60, 44)


@pytest.mark.parametrize(
    ("size", "room", "expected"),
    [
        ((60, 44), (60, 22), (60, 44)),
        ((60, 44), (80, 40), (60, 44)),  # never larger
        ((60, 44), (30, 22), (30, 22)),
        ((60, 44), (60, 11), (30, 22)),
        ((60, 1), (30, 22), (30, 1)),
        ((1, 44), (60, 6), (1, 12)),
    ],
)
def test_a_picture_fits_and_keeps_its_form(
    size: tuple[int, int], room: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitted(Pixels(*size, b""), *room) == expected


def test_a_picture_leaves_room_for_text() -> None:
    assert [lines_in(height) for height in (10, 24, 30, 48)] == [6, 14, 20, 22]


@pytest.mark.parametrize(
    ("name", "facts", "line"),
    [
        ("plot.png", None, "plot.png  open  copy path"),
        ("plot.png", FileFacts(9000, (640, 480)), "plot.png  640x480  open  copy path"),
        ("a.gif", FileFacts(9000, (640, 480), animated=True), "a.gif  640x480  its first frame  open  copy path"),
        ("a.csv", FileFacts(12_345), "a.csv  12.3 kB  open  copy path"),
        ("a.html", FileFacts(1), "a.html  1 byte  show in folder  copy path"),
        ("a.csv", FileFacts(trouble="it is gone"), "a.csv  it is gone"),
        ("a.png", FileFacts(312, trouble="it is cut off"), "a.png  312 bytes  can't be shown: it is cut off  open"),
        ("a\x1b[31m\n\u202egnp.txt", FileFacts(0), "a\u241b[31m gnp.txt  0 bytes  open  copy path"),
    ],
)
def test_the_line_of_a_file(name: str, facts: FileFacts | None, line: str) -> None:
    assert file_line(Path("/work", name), facts, 60).plain == line


def test_in_a_narrow_column_the_name_is_cut_last() -> None:
    widths = (50, 46, 40, 30, 20, 8)
    lines = [file_line(Path("a-rather-long-name.png"), FileFacts(9000, (640, 480)), width).plain for width in widths]
    assert lines == [
        "a-rather-long-name.png  640x480  open  copy path",
        "a-rather-long-name.\u2026  640x480  open  copy path",
        "a-rather-long\u2026  640x480  open  copy path",
        "a-rather-long-\u2026  640x480  open",
        "a-rather-long\u2026  open",
        "a-rathe\u2026",
    ]


def test_what_does_not_fit_is_left_out() -> None:
    shown = [file_line(Path("plot.png"), FileFacts(9000, (640, 480)), width).plain for width in (34, 33)]
    assert shown == ["plot.png  640x480  open  copy path", "plot.png  640x480  open"]
    assert (
        file_line(Path("a.png"), FileFacts(312, trouble="it is cut off"), 40).plain
        == "a.png  312 bytes  open  copy path"
    )


def test_a_click_has_the_whole_path_which_is_no_code() -> None:
    path = Path("/data/it's (1), \u202e.png")
    line = file_line(path, FileFacts(9000, (640, 480)), 80)
    clicks = {
        line.plain[span.start : span.end]: span.style.meta["@click"]
        for span in line.spans
        if isinstance(span.style, TextualStyle) and span.style.meta
    }
    assert clicks == {"open": ("app.open_file", (str(path),)), "copy path": ("app.copy_text", (str(path),))}


def test_small_files_have_small_sizes() -> None:
    sizes = [file_size(size) for size in (0, 1, 999, 1000, 999_949, 999_950, 4_140_000)]
    assert sizes == ["0 bytes", "1 byte", "999 bytes", "1.0 kB", "999.9 kB", "1 MB", "4.1 MB"]
