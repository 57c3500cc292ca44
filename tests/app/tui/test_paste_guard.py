"""What a terminal sends while somebody pastes, through Textual's own parser: pasted text never presses a key."""

import os
import sys
import threading
from collections.abc import Iterable

import pytest
from textual import constants, events
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.message import Message

from app.tui.app import ChatApp
from app.tui.terminal.paste_guard import END, START, GuardedParser, PasteFilter

HOSTILE = [
    "\x1b",
    "a\x1b",
    "\x1b\r",  # Alt+Enter, or Enter
    "one\x1b\rtwo\r",
    "\x1b\x1b\r\x1b",
    "\x1b[A\x1b[B\x1bOP\x1b[17~",  # arrows, F1, F6
    "\x1b[106;5u\x1b[27;5;113~\x1b[113;5u",  # ^J and ^Q as terminals with extended keys send them
    "\x1b[31mred\x1b[0m",
    "\x1b]52;c;ZXZpbA==\x07\x1b]0;title\x1b\\",
    "\x1b[<0;1;1M\x1b[I\x1b[O\x1b[5;7R\x1b[48;40;100;400;1000t",  # mouse, focus, cursor, size
    "\x1b[" + 40 * "1",
    "\x1b[200~nested",
    "\x1b[20",  # the end mark begun
    "\x1b[201",
    "\x1b[2\x1b[20\x1b[201\x1b",
    "\x11\x03\x04\x1a tab\t line\r\n",
]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which passes only in tests of it."""
    time = [1.0]
    monkeypatch.setattr("textual._parser.get_time", lambda: time[0])
    monkeypatch.setattr("app.tui.terminal.paste_guard.monotonic", lambda: time[0])
    return time


def parsed(pieces: Iterable[str], parser: XTermParser | None = None) -> list[Message]:
    """The events of what a terminal sends in these pieces."""
    parser = parser or GuardedParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def summary(found: Iterable[Message]) -> list[str]:
    """Keys by name, pastes by text, other events by kind; keys one after the other are joined."""
    out: list[str] = []
    for event in found:
        match event:
            case events.Key(key=key):
                out.append(key)
            case events.Paste(text=text):
                out.append(f"paste {text!r}")
            case _:
                out.append(type(event).__name__)
    return out


def in_pieces(text: str) -> Iterable[list[str]]:
    """As one, cut in two at every place, and character by character."""
    yield [text]
    yield from ([text[:cut], text[cut:]] for cut in range(1, len(text)))
    yield list(text)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_pasted_text_presses_no_key(text: str) -> None:
    sent = f"x{START}{text}{END}y\x1b[A"
    expected = ["x", f"paste {text.replace(chr(27), chr(0x241B))!r}", "y", "up"]
    for pieces in in_pieces(sent):
        assert summary(parsed(pieces)) == expected


def test_without_the_guard_it_does() -> None:
    """The reason for it; once this fails, Textual needs it no more."""
    keys = [event for event in parsed([f"{START}\x1b{END}\x1b\r{END}"], XTermParser()) if isinstance(event, events.Key)]
    assert keys


@pytest.mark.parametrize(
    "sent",
    [
        "plain text, ü 数 \U0001f600\t\r\x7f\x03",
        "\x1b[A\x1bOP\x1b\r\x1bb\x1b[1;5C\x1b[97;5u\x1b[27u",
        "\x1b[<0;10;5M\x1b[<0;10;5m\x1b[I\x1b[O",
        f"{START}one\ntwo{END}{START}{END}{START}three{END}",
        f"\x1b{START}after an Esc{END}",
        f"{END}",
        f"a\x1b[20{START}b{END}",
    ],
)
def test_everything_else_passes_as_it_is(sent: str) -> None:
    for pieces in in_pieces(sent):
        assert "".join(map(PasteFilter().feed, [sent])) == sent
        assert summary(parsed(pieces)) == summary(parsed(pieces, XTermParser()))


def test_a_key_is_never_held_back() -> None:
    passing = PasteFilter()
    for key in ("\x1b", "\x1b[", "\x1b[2", "\x1b[20", "\x1b[200"):
        assert passing.feed(key) == key


@pytest.mark.parametrize(
    ("stated", "seconds", "keys"),
    [
        ("", 0.0, ["alt+a", "b"]),
        ("", 0.02, ["alt+a", "b"]),
        ("", 0.04, ["escape", "a", "b"]),
        ("", 9.0, ["escape", "a", "b"]),
        ("200", 0.15, ["alt+a", "b"]),
        ("200", 0.25, ["escape", "a", "b"]),
    ],
)
def test_a_key_after_esc_is_one_of_its_own(
    stated: str, seconds: float, keys: list[str], clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ESCDELAY", raising=False)
    if stated:
        monkeypatch.setenv("ESCDELAY", stated)
        monkeypatch.setattr(constants, "ESCAPE_DELAY", int(stated) / 1000)
    parser, found = GuardedParser(), list[Message]()
    for piece, pause in (("\x1b", seconds), ("a", 9.0), ("", 0.0), ("b", 0.0)):
        found += parser.feed(piece) if piece else parser.tick()
        clock[0] += pause
    assert summary(found) == keys


def test_an_esc_whose_time_the_driver_has_seen_pass_is_done(clock: list[float]) -> None:
    parser, found = GuardedParser(), list[Message]()
    for piece in ("\x1b", "", "a"):
        found += parser.feed(piece) if piece else parser.tick()
        clock[0] += 0.2
    assert summary(found) == ["escape", "a"]


def test_a_sequence_that_comes_slowly_is_one_key(clock: list[float]) -> None:
    parser, found = GuardedParser(), list[Message]()
    for piece in ("\x1b[", "A"):
        found += parser.feed(piece)
        clock[0] += 0.09
    assert summary(found) == ["up"]


def test_an_end_mark_in_the_text_ends_the_paste() -> None:
    """It can't be told from the real one. What follows it is typed, and the real one is then nothing."""
    assert summary(parsed([f"{START}one{END}two{END}"])) == ["paste 'one'", "t", "w", "o"]


def test_a_megabyte() -> None:
    body = "0123456789abcde\x1b" * 65_536
    sent = START + body + END
    pieces = [sent[at : at + 4096] for at in range(0, len(sent), 4096)]
    [event] = parsed(pieces)
    assert isinstance(event, events.Paste)
    assert event.text == body.replace("\x1b", "\u241b")


def test_a_textual_with_its_parser_elsewhere_costs_the_guard_not_the_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux_driver, "XTermParser", XTermParser)
    monkeypatch.delitem(sys.modules, "app.tui.terminal.paste_guard")
    monkeypatch.delattr("app.tui.terminal.paste_guard")
    monkeypatch.setitem(sys.modules, "textual._xterm_parser", None)
    ChatApp()
    assert vars(linux_driver)["XTermParser"] is XTermParser


def test_the_terminals_driver_uses_the_guarded_parser_and_goes_on_after_any_byte() -> None:
    """Textual makes parser and decoder where it reads the terminal: read from a pipe in its place."""
    driver = linux_driver.LinuxDriver.__new__(linux_driver.LinuxDriver)
    ChatApp()
    reading, writing = os.pipe()
    found: list[events.Event] = []
    driver.fileno, driver._debug, driver.exit_event = reading, False, threading.Event()

    def take(event: events.Event) -> None:
        found.append(event)
        if isinstance(event, events.Paste):
            driver.exit_event.set()

    driver.process_message = take  # type: ignore[method-assign, assignment]
    try:
        os.write(writing, b"\xe9x" + f"{START}one\x1b\rtwo{END}".encode())
        driver.run_input_thread()
    finally:
        os.close(reading)
        os.close(writing)
    assert summary(found) == ["replacement_character", "x", "paste 'one\u241b\\rtwo'"]
