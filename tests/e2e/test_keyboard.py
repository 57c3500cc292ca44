"""The chat in a real terminal (tmux) without a mouse: what is reached by keys, and who has the mouse."""

from pathlib import Path

from tests.fixtures.terminal import CHAT, SCRIPTED_CHAT, Terminal, needs_tmux

pytestmark = needs_tmux


def test_the_mouse_belongs_to_the_chat_unless_it_is_left_to_the_terminal(tmp_path: Path) -> None:
    with Terminal(CHAT) as terminal:
        terminal.wait_for("ready")
        assert terminal.watches_mouse()
    with Terminal([*CHAT, "--no-mouse"]) as terminal:
        terminal.wait_for("ready")
        assert not terminal.watches_mouse()
    (tmp_path / "settings.toml").write_text("mouse = false\n")
    with Terminal(CHAT, environment={"GPTOSS_CHAT_HOME": str(tmp_path)}) as terminal:
        terminal.wait_for("ready")
        assert not terminal.watches_mouse()


def test_commands_help_palette_and_sidebar_by_keys_alone() -> None:
    with Terminal(SCRIPTED_CHAT) as terminal:
        terminal.wait_for("ready")
        terminal.type("hello")
        terminal.keys("Enter")
        terminal.wait_for("\u258c hello")
        terminal.wait_for("ready")
        terminal.type("/")
        terminal.wait_for("/effort [level]")
        terminal.type("eff")
        terminal.keys("Tab", "Down", "Down", "Down", "Enter", "Enter")  # all at once: the list may lag behind
        terminal.wait_for("[high]")
        terminal.keys("F1")
        terminal.wait_for("The message (focused)")
        terminal.keys("End")
        terminal.wait_for("^ is the Ctrl key")
        terminal.keys("q")
        terminal.wait_for("[high]")
        terminal.keys("C-p")
        terminal.wait_for("find a command")
        terminal.type("chats")
        terminal.wait_for("show or hide the conversations")
        terminal.keys("Enter")
        terminal.wait_for("search all")
        terminal.keys("Delete")
        terminal.wait_for("No conversations yet")
        terminal.keys("C-z")
        terminal.wait_for("\u258c hello")
        terminal.keys("C-q")
        assert terminal.exit_code() == 0


def test_values_that_textual_does_not_know_do_not_end_the_chat() -> None:
    with Terminal(CHAT, environment={"TEXTUAL_COLOR_SYSTEM": "odd", "TEXTUAL_DRIVER": "odd:Driver"}) as terminal:
        terminal.wait_for("ready")
