"""Signals that end the chat, in a real terminal: the draft is saved, and Ctrl-C in an editor is the editor's."""

import os
import signal
from pathlib import Path

import pytest

from app.paths import conversations_file
from app.store.store import Store
from tests.fixtures.terminal import SCRIPTED_CHAT, Terminal, needs_tmux, wait_gone

pytestmark = needs_tmux


def draft() -> str:
    store = Store(conversations_file())
    try:
        return store.draft("")
    finally:
        store.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_chat_and_saves_the_draft(number: signal.Signals) -> None:
    with Terminal(SCRIPTED_CHAT) as terminal:
        terminal.wait_for("ready")
        worker = terminal.worker
        terminal.type("a thought")
        terminal.wait_for("│ a thought")
        os.kill(terminal.pid, number)
        assert terminal.exit_code() == 0
        assert "Traceback" not in terminal.screen() and "effort" not in terminal.screen()
        wait_gone(worker)
    assert draft() == "a thought"


def editor(folder: Path, script: str) -> dict[str, str]:
    """An environment with an editor that runs this script on its file, "$1"."""
    program = folder / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"EDITOR": str(program), "VISUAL": ""}


def test_ctrl_c_in_the_editor_is_the_editors(tmp_path: Path) -> None:
    script = "trap 'echo caught' INT\necho in the editor\nread line\nread line\nprintf ' and more' >> \"$1\""
    with Terminal(SCRIPTED_CHAT, environment=editor(tmp_path, script)) as terminal:
        terminal.wait_for("ready")
        terminal.type("a thought")
        terminal.keys("F4")
        terminal.wait_for("in the editor")
        terminal.keys("C-c")
        terminal.wait_for("caught")
        terminal.keys("Enter")
        terminal.wait_for("│ a thought and more")
        terminal.keys("Enter")
        terminal.wait_for("▌ a thought and more")


def test_a_polite_kill_ends_the_editor_too_and_keeps_what_it_saved(tmp_path: Path) -> None:
    script = "printf ' and more' >> \"$1\"\necho in the editor\nexec sleep 100"
    with Terminal(SCRIPTED_CHAT, environment=editor(tmp_path, script)) as terminal:
        terminal.wait_for("ready")
        terminal.type("a thought")
        terminal.keys("F4")
        terminal.wait_for("in the editor")
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.exit_code() == 0
    assert draft() == "a thought and more"
