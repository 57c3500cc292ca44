"""F1: every key and command, beginning with the focused widget."""

from collections.abc import Iterator

from textual.pilot import Pilot
from textual.widget import Widget

from app.chat.commands import COMMANDS, GROUPS
from app.documents.attachments import Attachment, join
from app.tui.screens.help import WIDGETS, HelpScreen
from app.tui.widgets.download_panel import DownloadPanel, Step
from app.tui.widgets.queue import Queued
from tests.fixtures.fakes import (
    FakeEngine,
    app_of,
    ask,
    chat,
    idle,
    send,
    text_on,
    wait_until,
)


def test_every_key_and_command_fits_an_old_terminal() -> None:
    rows = [row for keys in WIDGETS for row in keys.rows]
    rows += [(", ".join(filter(None, (c.shown_key, c.usage))), f"{c.help} *" * c.waits or c.help) for c in COMMANDS]
    assert max(len(keys) for keys, _ in rows) + 2 + max(len(what) for _, what in rows) <= 80 - 7
    assert all(keys and what for keys, what in rows)


def test_the_help_knows_every_widget_that_says_what_its_keys_do() -> None:
    def below(kind: type[Widget]) -> Iterator[type[Widget]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    own = [vars(widget)["KEY_HELP"] for widget in below(Widget) if "KEY_HELP" in vars(widget)]
    assert len(own) > 8 and all(help in WIDGETS for help in own)


async def helped(pilot: Pilot[None], title: str) -> str:
    """Press F1 and return what stands on the screen, which begins with the help of one widget."""
    await pilot.press("f1")
    await wait_until(
        pilot, lambda: isinstance(pilot.app.screen, HelpScreen) and f"{title} (focused)" in text_on(pilot), title
    )
    screen = text_on(pilot)
    assert f"{title} (focused)" in screen.splitlines()[1]
    await pilot.press("escape")
    await wait_until(pilot, lambda: len(pilot.app.screen_stack) == 1)
    return screen


async def test_f1_begins_with_the_focused_widget() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        await ask(pilot, engine, "one", "1", analysis="hm")
        engine.answer("2")
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: "2/2" in text_on(pilot))
        await idle(pilot)
        assert "send, or queue while an answer is under way" in await helped(pilot, "The message")
        await pilot.press("ctrl+b")
        await wait_until(pilot, lambda: app.desk.sidebar.list.has_focus)
        assert "delete, and restore" in await helped(pilot, "The list of conversations")
        await pilot.press("ctrl+f")
        assert "search all conversations" in await helped(pilot, "The search")
        await pilot.press("escape")
        app.desk.transcript.focus()
        await pilot.pause()
        selected = app.desk.transcript.selected
        assert "Left, Right" in await helped(pilot, "A selected message (Shift+Tab)")
        assert selected is not None and app.desk.transcript.selected == selected
        app.desk.composer.put_back(join("", [Attachment("notes.txt", "x")]))
        app.desk.composer.focus()
        await pilot.pause()
        await pilot.press("shift+tab")
        assert "write its text into the message" in await helped(pilot, "An attached file or text")
        app.desk.composer.clear_prompt()
        app.desk.composer.focus()
        await pilot.pause()
        engine.think("well")
        await send(pilot, "two")
        await send(pilot, "three")
        await wait_until(pilot, lambda: app.query(Queued))
        app.query(Queued).first().focus()
        await pilot.pause()
        assert "take it back into the input" in await helped(pilot, "A queued message")
        app.query_one(DownloadPanel).display = True
        app.query(Step).first().focus()
        await pilot.pause()
        assert "do what the highlighted word says" in await helped(pilot, "The download")


async def test_the_help_has_all_groups_and_widgets_once_and_scrolls_by_keys() -> None:
    async with chat(FakeEngine(), (80, 185)) as pilot:
        await idle(pilot)
        await pilot.press("f1")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen) and "Ctrl key" in text_on(pilot))
        titles = [line.strip("\u2502 ") for line in text_on(pilot).splitlines()]
        for title in (*GROUPS, *(keys.title for keys in WIDGETS)):
            assert titles.count(title) + titles.count(f"{title} (focused)") == 1, title
        for command in COMMANDS:
            assert command.help in text_on(pilot)
        await pilot.resize_terminal(40, 260)  # there is no room beside the keys
        await wait_until(pilot, lambda: "\u2502  /rename [title]      " in text_on(pilot))
        shown = [line.strip("\u2502 ") for line in text_on(pilot).splitlines()]
        at = shown.index("/rename [title]")
        assert shown[at + 1] == "rename this conversation" and shown[at + 2] == "/delete"
        await pilot.resize_terminal(160, 60)  # room for both
        await wait_until(
            pilot,
            lambda: any(WIDGETS[0].title in row and WIDGETS[1].title in row for row in text_on(pilot).splitlines()),
        )
        await pilot.resize_terminal(80, 24)
        await pilot.press("end")
        await wait_until(pilot, lambda: "Ctrl key" in text_on(pilot))
        await pilot.press("q")
        await wait_until(pilot, lambda: len(pilot.app.screen_stack) == 1)
