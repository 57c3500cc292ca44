"""Code on the screen: wrapped below its indent, on a surface as wide as the text, selected as it was written."""

import pytest
from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Offset
from textual.selection import Selection

from app.tui.text.looks import written
from tests.fixtures.laid_out import lay_out

LONG = 'for name in names:\n    print(name, "a text that is too long for its line", sorted(names)[0])\n\n# the end'


def looks(content: Content, text: str) -> str:
    """The looks of a text, which stands there once."""
    at = content.plain.index(text)
    return " ".join(span.style for span in content.spans if span.start <= at < span.end and isinstance(span.style, str))


def test_a_long_line_goes_on_below_its_indent_and_never_at_the_edge() -> None:
    lines = [line.rstrip() for line in lay_out(f"```py\n{LONG}\n```", 40).plain.split("\n")]
    assert lines == [
        " py                                copy",
        " for name in names:",
        '     print(name, "a text that is too',
        '       long for its line",',
        "       sorted(names)[0])",
        "",
        " # the end",
    ]


@pytest.mark.parametrize("width", [1, 2, 4, 9, 12, 40, 100])
@pytest.mark.parametrize("code", [LONG, "日本語" * 40, "x" * 300, "\t\t\tif  x", "e\u0301" * 99, ""])
def test_every_line_fits_and_is_filled(width: int, code: str) -> None:
    lines = lay_out(f"```\n{code}\n```", width).plain.split("\n")
    assert all(cell_len(line) <= max(2, width) for line in lines)
    assert width < 12 or {cell_len(line) for line in lines} <= {width, width - 1}  # a wide sign may not fit the last


@pytest.mark.parametrize("width", [14, 40, 100])
def test_what_is_selected_is_the_code_as_it_was_written(width: int) -> None:
    content = lay_out(f"Say:\n\n```py\n{LONG}\n```", width)
    assert written(content, Selection(None, None)) == f"Say:\n\n{LONG}"
    lines = content.plain.split("\n")
    row = next(i for i, line in enumerate(lines) if "print" in line)
    assert written(content, Selection(Offset(5, row), Offset(10, row))) == "print"


def test_colours_are_the_theme_s_and_few() -> None:
    content = lay_out("```python\ndef f():  # note\n    return 'x' if 1 else g\n```\nand `inline`", 40)
    assert looks(content, "def") == "$secondary on $surface"
    assert looks(content, "f()") == "bold on $surface"
    assert looks(content, "# note") == "italic $foreground 65% on $surface"
    assert looks(content, "'x'") == "$primary on $surface"
    assert looks(content, "g ") == "on $surface"
    assert looks(content, "inline") == "$secondary"
    assert looks(lay_out("```no language at all\nx = 1\n```", 40), "x =") == "on $surface"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("2*3*4 and a*b*c", "2*3*4 and a*b*c"),
        ("__init__ and __name__", "__init__ and __name__"),
        ("st**r**awbe**rr**y *so* __very much__ so", "strawberry so very much so"),
        ("*2*3 and (*a*)", "23 and (a)"),
        ("**__init__** and *a __b__ c*", "__init__ and a __b__ c"),
    ],
)
def test_signs_that_a_reader_expects_stay(source: str, shown: str) -> None:
    assert lay_out(source, 60).plain == shown
