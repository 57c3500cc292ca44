"""The highlighted row of a list: reversed in the terminal's own palette, where any other mark may have no contrast."""

from textual.pilot import Pilot

from app.tui.theme import ANSI, DARK
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, idle, text_on, wait_until


def reversed_on(pilot: Pilot[None]) -> list[str]:
    """The rows with reversed text, without the cursor."""
    strips = pilot.app.screen._compositor.render_strips()
    rows = ["".join(s.text for s in strip if s.style and s.style.reverse).strip() for strip in strips]
    return [" ".join(row.split()) for row in rows if len(row) > 1]


async def test_what_is_highlighted_is_reversed_in_the_palette_of_the_terminal() -> None:
    engine = FakeEngine()
    async with chat(engine, (120, 40)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "Name a fruit.", "A pear.")
        for theme, rows in ((DARK.name, []), (ANSI.name, ["copy copy: the answer, its code, the prompt, the chat F5"])):
            app_of(pilot).theme = theme
            await pilot.press("ctrl+p", *"copy")
            await wait_until(pilot, lambda: "copy code" in text_on(pilot))
            await pilot.pause()
            assert reversed_on(pilot) == rows
            await pilot.press("escape")
        assert reversed_on(pilot) == []  # the list of conversations has not the focus
        await pilot.press("ctrl+f", *"pear")
        await wait_until(pilot, lambda: reversed_on(pilot) != [])
        assert reversed_on(pilot)[0].startswith("A pear.")  # which Enter would open
