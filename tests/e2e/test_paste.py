"""Hostile text pasted into the chat in a real terminal: it stands in the input and does nothing."""

from tests.fixtures.terminal import SCRIPTED_CHAT, Terminal, needs_tmux

pytestmark = needs_tmux


def test_pasted_text_neither_sends_itself_nor_runs_commands() -> None:
    with Terminal(SCRIPTED_CHAT, width=160, height=40) as terminal:
        terminal.wait_for("ready")
        terminal.paste("one\x1b\rtwo\x1b[113;5u\x1b[17~")  # Enter, ^Q, F6
        terminal.paste("\x1b")
        terminal.paste("three\x1b[A\x1bOP\r")  # Up, F1
        screen = terminal.wait_for("\u241bthree")
        assert "one\u241b " in screen and "two\u241b[113;5u\u241b[17~\u241bthree\u241b[A\u241bOP" in screen
        terminal.paste("0123456789abcde\x1b" * 65_536)
        terminal.wait_for("[pasted text 1]")
        terminal.type("end")
        screen = terminal.wait_for("[pasted text 1]end")
        assert "▌" not in screen and "ready" in screen  # nothing was sent
        terminal.keys("Enter")
        terminal.wait_for("▌ one\u241b")


def test_an_end_mark_in_the_text_ends_the_paste() -> None:
    """As in every program: what follows is typed. Most terminals remove such a mark from what they paste."""
    with Terminal(SCRIPTED_CHAT) as terminal:
        terminal.wait_for("ready")
        terminal.paste("one\x1b[201~two\rthree")
        terminal.wait_for("▌ onetwo")
        terminal.wait_for("│ three")
