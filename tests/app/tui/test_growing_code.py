"""Code that grows: one more line costs the same however long the block is, and it looks as the whole does."""

import pytest
from textual.content import Content

from app.tui.text import growing_code
from app.tui.text.code_words import COPY, copy_alone
from app.tui.text.growing_code import SURE, GrowingCode
from app.tui.text.highlighting import highlighted
from app.tui.text.markdown_layout import GrowingLayout
from tests.fixtures.laid_out import joined, lay_out

PYTHON = "".join(f"def f{row}(x):  # {row}\n    return x if {row} else 'text'\n\n" for row in range(60))
BRACES = "".join(
    f".c{row} {{\n" + "".join(f"  top: {at}px; /* {at} */\n" for at in range(40)) + "}\n" for row in range(4)
)
QUOTED = "x = 1\n'''\n" + "".join(f"def is no code {row}\n" for row in range(100)) + "'''\ny = 2\n" * 20


@pytest.fixture
def lines_highlighted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines were highlighted at once, each time."""
    counts: list[int] = []

    def counting(code: str, language: str) -> object:
        counts.append(code.count("\n") + 1)
        return highlighted(code, language)

    monkeypatch.setattr(growing_code, "highlighted", counting)
    return counts


def grown(code: str, language: str) -> list[Content]:
    """Its lines when it has come in two pieces a line."""
    growing, shown, end = GrowingCode(language, 40, 0), [], 0
    for line in code.splitlines(keepends=True):
        for part in (line[: len(line) // 2], line[len(line) // 2 :]):
            end += len(part)
            shown = growing.extend(code[:end], None)
    return shown


@pytest.mark.parametrize(("code", "language"), [(PYTHON, "python"), (BRACES, "css"), (QUOTED, "python"), (PYTHON, "")])
def test_it_looks_as_the_whole_does(code: str, language: str) -> None:
    shown, whole = grown(code, language), GrowingCode(language, 40, 0).extend(code, None)
    assert joined(shown).is_same(joined(whole))


def test_a_line_more_costs_the_same_however_long_the_block_is(lines_highlighted: list[int]) -> None:
    growing, source = GrowingLayout(60), "```python\n"
    for row in range(300):
        source += f"x{row} = f({row})  # {row}\n"
        growing.extend(source)
    assert max(lines_highlighted) <= 3 * SURE
    assert joined(growing.extend(source)).is_same(lay_out(source, 60))


def test_within_a_long_text_nothing_begins_anew(lines_highlighted: list[int]) -> None:
    grown(QUOTED[: QUOTED.index("y = 2")], "python")
    assert max(lines_highlighted) > 90  # from where the text begins
    assert len(lines_highlighted) < 2.2 * 104  # and the search for a place is seldom


def test_a_block_that_becomes_another_is_laid_out_anew() -> None:
    growing = GrowingCode("python", 40, 0)
    for _ in range(3):
        growing.extend(PYTHON, None)
    other = PYTHON.replace("def", "class")
    assert joined(growing.extend(other, None)).is_same(joined(GrowingCode("python", 40, 0).extend(other, None)))


def test_the_line_above_it_counts_the_lines_there_are() -> None:
    for rows in (3, 100):
        source = "Before\n\n```python\n" + "x = 1\n" * rows
        growing = GrowingLayout(60, words=copy_alone)
        for end in (len(source) // 2, len(source)):
            header = growing.extend(source[:end])[2]
        (marks,) = {span.style.meta["block_lines"] for span in header.spans if not isinstance(span.style, str)}
        assert marks == (0, rows) and COPY.text in header.plain
