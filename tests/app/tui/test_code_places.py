"""A text in pieces that end where its code blocks do: together they are the text."""

import pytest

from app.tui.text.code_places import block_ends, pieces
from app.tui.text.code_words import words_of
from app.tui.text.markdown_layout import GrowingLayout

TEXT = (
    "Before\n\n```python\na = 1\n\nb = 'a text that is much too long for a line of thirty columns'\n```\n\n- item\n\n"
    "  ```\n  inner\n  ```\n\n  on\n\n> ```sh\n> ls\n> ```\n> quoted\n\n```\n```\n\n    indented\n\nThe end."
)
LAST_LINES = ["columns'", "inner", "\u2502  ls", "", "indented"]


@pytest.mark.parametrize("width", [8, 20, 30, 90])
def test_each_piece_ends_with_the_last_line_of_a_block(width: int) -> None:
    lines = GrowingLayout(width, words=words_of).extend(TEXT)
    ends = block_ends(lines)
    assert len(ends) == 5
    shown = pieces(lines, ends)
    assert [line for piece in shown for line in piece] == lines
    assert [line.plain for line in shown[-1]] == ["", "The end."]
    if width >= 30:
        lasts = [piece[-1].plain.strip() for piece in shown[:-1]]
        assert [last[-len(end) :] if end else last for last, end in zip(lasts, LAST_LINES, strict=True)] == LAST_LINES


def test_what_ends_with_its_block_leaves_nothing() -> None:
    lines = GrowingLayout(30).extend("```\nx\n```")
    first, rest = pieces(lines, block_ends(lines))
    assert first == lines and rest == []
