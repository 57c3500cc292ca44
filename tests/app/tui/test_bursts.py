"""Keys that arrive at once, as a terminal multiplexer, or a terminal without bracketed paste, sends them."""

from pathlib import Path

import pytest
from textual.document._document import EditResult
from textual.document._edit import Edit
from textual.events import Key
from textual.pilot import Pilot

from app.tui.parts.keys import BURST
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, desk_of, idle, text_on, wait_until
from tests.fixtures.trees import keep, titled


def burst(pilot: Pilot[None], *keys: str) -> None:
    """Keys as the terminal's reader posts them: nothing is waited for."""
    names = {" ": "space", "@": "at", ".": "full_stop"}
    for key in keys:
        pilot.app.post_message(Key(names.get(key, key), "\r" if key == "enter" else key if len(key) == 1 else None))


async def test_a_long_paste_that_comes_as_keys_is_inserted_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        composer, edits = desk_of(pilot).composer, list[str]()
        edit = composer.edit

        def counted(each: Edit) -> EditResult:
            edits.append(each.text)
            return edit(each)

        monkeypatch.setattr(composer, "edit", counted)
        text = "see @pytest.fixture and so on. " * 600
        burst(pilot, *text, "enter", *"next")
        await wait_until(pilot, lambda: engine.asked and composer.text == "next")
        assert engine.asked[0][0][0].text == text
        assert len(edits) < 20, "one for each key is seconds"


@pytest.mark.parametrize("count", [BURST - 1, BURST])
async def test_keys_are_held_in_their_order(count: int) -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        burst(pilot, *"x" * count, "ctrl+j", "y", "left", *"ab", "backspace", "ctrl+t", "c")
        await wait_until(pilot, lambda: composer.text == "x" * count + "\nacy")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_what_is_typed_behind_a_search_goes_to_the_input(size: tuple[int, int]) -> None:
    keep(titled("Long one", 4, "unique"), titled("Other"))
    async with chat(FakeEngine(), size) as pilot:
        await idle(pilot)
        app, sidebar, composer = app_of(pilot), desk_of(pilot).sidebar, desk_of(pilot).composer
        burst(pilot, "ctrl+f", *"unique", "enter", *"and then")
        await wait_until(pilot, lambda: app.conversation.title == "Long one" and app.query(".-hit"))
        assert composer.text == "and then" and sidebar.searching == "unique" and composer.has_focus
        burst(pilot, "ctrl+f", *"zzzz", "enter", *" on")  # nobody changes that search now
        await wait_until(pilot, lambda: "Nothing found" in text_on(pilot))
        await pilot.pause()
        assert composer.text == "and then on" and composer.has_focus


async def test_what_is_typed_behind_a_choice_from_the_list_goes_into_that_conversation() -> None:
    keep(titled("Only one", 2))
    async with chat(FakeEngine(), (80, 24)) as pilot:
        await idle(pilot)
        app, desk = app_of(pilot), desk_of(pilot)
        burst(pilot, *"before", "ctrl+b")
        await wait_until(pilot, lambda: "Only one" in text_on(pilot))
        burst(pilot, "enter", *"here")
        await wait_until(pilot, lambda: app.conversation.title == "Only one" and desk.composer.text == "here")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: desk.composer.text == "before\n\nhere")


async def test_the_keys_of_a_message_are_there_with_its_selection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those too that it has for what is in it: a digit for each code block, w to save one."""
    monkeypatch.chdir(tmp_path)
    engine = FakeEngine()
    async with chat(engine, (100, 40)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "One?", "```python\nprint(1)\n```")
        await ask(pilot, engine, "Two?", "```sh\nls\n```\n\n```c\nint x;\n```")
        burst(pilot, "shift+tab", "w", "2", "up", "up", "w", "escape", *"typed")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "typed")
        await wait_until(pilot, lambda: len(list(tmp_path.glob("code*"))) == 2)
        assert {path.name: path.read_text() for path in tmp_path.glob("code*")} == {
            "code.c": "int x;\n",
            "code.py": "print(1)\n",
        }
