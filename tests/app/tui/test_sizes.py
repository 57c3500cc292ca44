"""Windows of any size, from one column and one row on, under everything that the screen can show."""

import pytest
from textual.content import Content
from textual.pilot import Pilot

from app.tui.parts import greeting
from app.tui.text.computer import ComputerFacts
from app.tui.widgets.sidebar import SidebarEntry
from mlx_model.hub.progress import DownloadState, Phase
from tests.fixtures.fakes import COMPUTER, FakeEngine, ask, chat, desk_of, idle, send, text_on, wait_until

SIZES = ((1, 1), (2, 3), (3, 1), (4, 3), (4, 1), (6, 2), (13, 3))
SHOWN = {
    "the chat": (),
    "the help": ("f1",),
    "the settings": ("f3",),
    "a list of choices": ("f3", "tab", "tab", "enter"),
    "the commands": ("ctrl+p",),
    "the conversations": ("ctrl+b",),
    "the search": ("ctrl+f", "x"),
    "a new title": (*"/rename", "escape", "enter"),
    "a completion": ("/",),
    "a suggestion": ("shift+tab", "up"),
    "the models": (*"/model", "escape", "enter", "x"),
    "a download": ("f6",),
    "a warning": (*"/nonsense", "enter"),
    "an attachment": ("paste",),
}


async def through_all_sizes(pilot: Pilot[None]) -> None:
    for width, height in SIZES:
        await pilot.resize_terminal(width, height)
    await pilot.resize_terminal(80, 24)
    assert pilot.app.is_running
    assert text_on(pilot).strip()


@pytest.mark.parametrize("keys", SHOWN.values(), ids=SHOWN)
async def test_every_screen_at_every_size(keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    async def known() -> ComputerFacts:
        return COMPUTER

    monkeypatch.setattr(greeting, "examine", known)
    async with chat(FakeEngine(model="demo")) as pilot:
        await idle(pilot)
        if keys == ("paste",):
            desk_of(pilot).composer.attached.expect("a file.py")
        else:
            await pilot.press(*keys)
        await through_all_sizes(pilot)


async def test_a_conversation_with_all_there_is_at_every_size() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        table = "| a | b |\n|---|---|\n| one | two |\n\n- item\n  1. inner\n\n```python\nx = 1\n```\n\n\\[ x^2 \\]"
        await ask(pilot, engine, "question", f"# Title\n\n{table} [a](https://example.com)", analysis="thought")
        await ask(pilot, engine, "again", "one")
        desk_of(pilot).download_panel.show("gpt-oss-20b", DownloadState(Phase.FETCHING, 1, 3))
        await send(pilot, "third")
        await wait_until(pilot, lambda: len(engine.asked) == 3)
        await send(pilot, "queued")
        await wait_until(pilot, lambda: desk_of(pilot).queue.texts == ["queued"])
        await through_all_sizes(pilot)


@pytest.mark.parametrize("size", [(1, 1), (4, 24)])
async def test_a_chat_that_opens_in_a_small_window(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    async with chat(engine, size) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "question", "an answer")
        await pilot.resize_terminal(80, 24)
        await wait_until(pilot, lambda: "an answer" in text_on(pilot))


async def test_a_list_that_is_not_laid_out_yet_has_no_pages() -> None:
    async with chat(FakeEngine()) as pilot:
        rows = desk_of(pilot).sidebar.list
        rows.fill([(Content("one"), SidebarEntry("1", "one")), (Content("two"), SidebarEntry("2", "two"))])
        rows.action_page_up()
        rows.action_page_down()
