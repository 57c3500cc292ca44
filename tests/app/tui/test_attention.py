"""What reaches a person who looks elsewhere: notifications by the terminal's own means, the title of the window."""

import io
import sys

import pytest
from textual.app import App
from textual.driver import Driver

from app.tui.parts import asking, attention
from app.tui.parts.attention import window_title
from app.tui.terminal.notification import MOST_TEXT, notification
from app.tui.terminal.output import write
from app.tui.terminal.window_title import POP, PUSH, WindowTitle, set_title
from mlx_model.events import MessageStart
from tests.fixtures.fakes import FakeEngine, app_of, chat, deltas, desk_of, idle, send, wait_until

OSC_9 = "\x1b]9;gptoss-chat: done; 1\a"
OSC_777 = "\x1b]777;notify;gptoss-chat;done, 1\a"
OSC_99 = "\x1b]99;i=gptoss-chat:d=0;gptoss-chat\x1b\\\x1b]99;i=gptoss-chat:p=body;done; 1\x1b\\"


@pytest.mark.parametrize(
    ("environment", "sequence"),
    [
        ({}, "\a"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "\a"),
        ({"TERM_PROGRAM": "vscode"}, "\a"),
        ({"TERM_PROGRAM": "iTerm.app"}, OSC_9),
        ({"LC_TERMINAL": "iTerm2", "SSH_CONNECTION": "x"}, OSC_9),
        ({"TERM_PROGRAM": "WezTerm"}, OSC_9),
        ({"TERM": "xterm-ghostty"}, OSC_777),
        ({"TERM": "rxvt-unicode-256color"}, OSC_777),
        ({"TERM": "foot-extra"}, OSC_777),
        ({"WT_SESSION": "1"}, f"{OSC_777}\a"),
        ({"TERM": "xterm-kitty"}, OSC_99),
        ({"KITTY_WINDOW_ID": "1", "TERM": "xterm-256color"}, OSC_99),
        ({"TMUX": "x", "TERM": "tmux-256color"}, "\a"),
        ({"TMUX": "x", "LC_TERMINAL": "iTerm2"}, "\a\x1bPtmux;\x1b\x1b]9;gptoss-chat: done; 1\a\x1b\\"),
        ({"TMUX": "x", "KITTY_WINDOW_ID": "1"}, "\a\x1bPtmux;" + OSC_99.replace("\x1b", "\x1b\x1b") + "\x1b\\"),
        ({"STY": "x", "TERM_PROGRAM": "iTerm.app"}, "\a"),
    ],
)
def test_each_terminal_is_asked_by_the_sequence_it_knows(environment: dict[str, str], sequence: str) -> None:
    assert notification(environment, "gptoss-chat", "done; 1") == sequence


@pytest.mark.parametrize("term", ["xterm-kitty", "foot", "wezterm"])
def test_no_text_ends_a_sequence(term: str) -> None:
    evil = "a\x1b\\b\ac\x9cd\n\x1b]52;c;x\a" + "long " * 100
    sequence = notification({"TERM": term}, "gptoss-chat", evil)
    safe = notification({"TERM": term}, "gptoss-chat", "plain")
    assert [char for char in sequence if ord(char) < 32] == [char for char in safe if ord(char) < 32]
    assert "\x9c" not in sequence and len(sequence) < len(safe) + MOST_TEXT
    assert set_title(evil).count("\x1b") == 2 and "\a" not in set_title(evil)


def test_the_title_is_written_where_it_changes_and_taken_back() -> None:
    written: list[str] = []
    takes = False

    def write(sequence: str) -> bool:
        written.append(sequence) if takes else None
        return takes

    title = WindowTitle(write)
    title.show("one")
    title.restore()  # nothing was taken, so nothing is to be taken back
    assert written == []
    takes = True
    for each in ("one", "one", "two"):
        title.show(each)
    title.restore()
    title.restore()
    assert written == [PUSH + set_title("one"), set_title("two"), set_title("") + POP]


def test_the_title_says_what_goes_on_else_what_the_conversation_is_about() -> None:
    assert window_title("chat", "thinking", "Letters") == "chat: thinking\u2026"
    assert window_title("chat", "reading part 3 of 12:", "Letters") == "chat: reading part 3 of 12\u2026"
    assert window_title("chat", "ready", "Letters") == "Letters"
    assert window_title("chat", "ready", "") == "chat"
    assert window_title("chat", "no model", "Letters") == "chat: no model"


@pytest.mark.parametrize(
    ("term", "terminal", "headless", "written"),
    [
        ("xterm-256color", True, False, ["x"]),
        ("dumb", True, False, []),
        ("linux", True, False, []),
        ("xterm-256color", False, False, []),
        ("xterm-256color", True, True, []),
    ],
)
def test_nothing_is_written_to_what_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, term: str, terminal: bool, headless: bool, written: list[str]
) -> None:
    app: App[None] = App()
    assert not write(app, {"TERM": term}, "x")  # it does not run
    sent: list[str] = []

    class Recorder(Driver):
        is_headless = headless

        def write(self, data: str) -> None:
            sent.append(data)

        def start_application_mode(self) -> None: ...
        def disable_input(self) -> None: ...
        def stop_application_mode(self) -> None: ...

    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "__stderr__", stream)
    monkeypatch.setattr(app, "_driver", Recorder.__new__(Recorder))
    assert write(app, {"TERM": term}, "x") == bool(written)
    assert sent == written


async def test_long_work_that_ends_unseen_is_announced_and_the_title_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(asking, "monotonic", lambda: clock[0])
    written: list[str] = []

    def taken(app: object, environment: object, sequence: str) -> bool:
        written.append(sequence)
        return True

    monkeypatch.setattr(attention, "write", taken)
    monkeypatch.setattr(attention, "notification", lambda environment, title, text: f"{title}: {text}")
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)

        async def said(seconds: float, *, focus: bool = False, notify: str = "auto") -> list[str]:
            """The notifications of an answer that takes so long."""
            before = len(written)
            desk_of(pilot).attention.notify = notify
            engine.say(MessageStart("analysis"), *deltas("analysis", "hm"))
            await send(pilot, "Count to ten.")
            await wait_until(pilot, lambda: set_title("gptoss-chat: thinking\u2026") in written[before:])
            app_of(pilot).app_focus = focus  # typing has brought it back
            clock[0] += seconds
            engine.answer("One to ten.")
            await idle(pilot)
            await wait_until(pilot, lambda: set_title("Count to ten.") in written[before:])
            return [each for each in written[before:] if "\x1b" not in each]

        assert await said(20, focus=True) == []
        assert await said(9) == []  # soon enough
        assert await said(11) == ["gptoss-chat: The answer has ended: Count to ten."]
        assert await said(11, notify="off") == []
        assert len(await said(11, focus=True, notify="always")) == 1
        engine.die(asking=False)
        await wait_until(pilot, lambda: set_title("gptoss-chat: stopped") in written)
    assert written[0].startswith(PUSH) and written[-1].endswith(POP)


async def test_the_end_of_the_chat_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        monkeypatch.setattr(desk_of(pilot).attention, "wanted", told.append)
        monkeypatch.setattr(attention, "LONG_S", 0.0)
        await send(pilot, "Hello?")
        await wait_until(pilot, lambda: engine.busy)
        await app_of(pilot).action_quit()
    assert told == []
