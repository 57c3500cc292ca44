"""What of a text is drawn: the lines in sight, each once, in the colours there are; one layout for one change."""

from collections.abc import Sequence
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.screen import Screen
from textual.selection import Selection
from textual.visual import Visual

from app.tui.text.looks import BAR
from app.tui.theme import ANSI
from app.tui.widgets.markdown import MarkdownText
from app.tui.widgets.transcript import Transcript
from tests.fixtures.fakes import text_on

ROWS = 20


class Shows(App[None]):
    """A text that grows, in what scrolls."""

    def compose(self) -> ComposeResult:
        """One of each."""
        with Transcript():
            yield MarkdownText(grows=True)

    CSS = "MarkdownText { height: auto; }"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that were drawn."""
    lines: list[str] = []
    to_strips = Visual.to_strips

    def counting(widget: object, visual: Any, *rest: Any, **named: Any) -> Any:
        if isinstance(widget, MarkdownText):
            lines.append(visual.plain.strip())
        return to_strips(widget, visual, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Visual, "to_strips", counting)
    return lines


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One for each time that the screen was laid out."""
    done: list[object] = []
    refresh = Screen._refresh_layout

    def counting(screen: Screen[Any], *rest: Any, **named: Any) -> None:
        done.append(screen)
        refresh(screen, *rest, **named)

    monkeypatch.setattr(Screen, "_refresh_layout", counting)
    return done


def code(rows: int) -> str:
    return "```python\n" + "".join(f"x{row} = f({row})\n" for row in range(rows))


async def grow(pilot: Pilot[None], source: str) -> MarkdownText:
    text = pilot.app.query_one(MarkdownText)
    await text.grow(source)
    await pilot.pause()
    await pilot.pause()
    return text


async def test_a_line_more_draws_a_line_and_lays_out_once(drawn: list[str], layouts: list[object]) -> None:
    async with Shows().run_test(size=(60, ROWS)) as pilot:
        pilot.app.query_one(Transcript).follow()
        await grow(pilot, code(50))
        assert 0 < len(drawn) <= 2 * ROWS + 1  # none, at the top, at the end
        for rows in range(51, 60):
            drawn.clear()
            layouts.clear()
            await grow(pilot, code(rows))
            assert drawn == [f"x{rows - 1} = f({rows - 1})"] and len(layouts) == 1
        assert "x58 = f(58)" in text_on(pilot) and "x30 " not in text_on(pilot)


async def test_a_line_that_goes_on_lays_nothing_out(drawn: list[str], layouts: list[object]) -> None:
    async with Shows().run_test(size=(60, ROWS)) as pilot:
        await grow(pilot, "First.\n\nSome words")
        drawn.clear()
        layouts.clear()
        await grow(pilot, "First.\n\nSome words and more")
        assert drawn == ["Some words and more"] and layouts == []
        assert "Some words and more" in text_on(pilot)


async def test_another_theme_and_a_selection_are_drawn() -> None:
    async with Shows().run_test(size=(60, ROWS)) as pilot:
        text = await grow(pilot, "First.\n\n```python\nimport x\n```")

        def colours(row: int) -> Sequence[object]:
            return [segment.style.bgcolor for segment in text.render_line(row) if segment.style]

        dark = colours(3)
        pilot.app.theme = "textual-light"
        await pilot.pause()
        light = colours(3)
        assert dark != light
        pilot.app.screen.selections = {text: Selection(Offset(1, 3), Offset(7, 3))}
        await pilot.pause()
        selected = text.render_line(3)
        (marked,) = {str(each.text) for each in selected if each.style and each.style.bgcolor not in light}
        assert marked == "import" and text.get_selection(Selection(Offset(1, 3), Offset(7, 3)))[0] == "import"
        pilot.app.screen.selections = {}
        await pilot.pause()
        assert colours(3) == light


@pytest.mark.parametrize("without", ["ansi", "no_color"])
async def test_code_has_a_bar_where_no_surface_can_be_seen(without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn, and nothing of the text: what is selected has none."""
    if without == "no_color":
        monkeypatch.setenv("NO_COLOR", "1")
    async with Shows().run_test(size=(60, ROWS)) as pilot:
        text = await grow(pilot, "First.\n\n```python\nimport x\n```\n- ```\n  of an item\n  ```")
        if without == "ansi":
            assert BAR not in text_on(pilot)
            pilot.app.register_theme(ANSI)
            pilot.app.theme = ANSI.name
            await pilot.pause()
        shown = [line.rstrip() for line in text_on(pilot).splitlines() if line.strip()]
        assert shown[0] == "First." and shown[1].startswith(f"{BAR}python") and shown[2] == f"{BAR}import x"
        assert shown[3].startswith(f" \u2022 {BAR}") and shown[4] == f"   {BAR}of an item"
        assert text.get_selection(Selection(Offset(0, 2), Offset(20, 3)))[0] == "import x"


async def test_each_place_knows_where_it_is_in_the_text() -> None:
    async with Shows().run_test(size=(60, ROWS)) as pilot:
        text = await grow(pilot, "First.\n\nSecond.")
        places = [segment.style.meta["offset"] for segment in text.render_line(2) if segment.style]
        assert places[0] == (0, 2)
        assert text.render().is_same(Content("First.\n\nSecond."))
