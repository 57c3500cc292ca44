"""The chat in a real terminal (tmux): start, ask, stop, effort, resize, kill either process, quit."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from app.paths import conversations_file
from app.store.store import Store
from app.tui.text.grace import GRACE_S
from tests.fixtures.terminal import CHAT, SCRIPTED_CHAT, Terminal, needs_tmux, wait_gone

pytestmark = needs_tmux


def test_a_chat_with_the_demo_model() -> None:
    with Terminal(CHAT) as terminal:
        before = terminal.title()
        terminal.wait_for("ready")
        assert before != terminal.title() == "gptoss-chat"
        terminal.type("How many r's are in strawberry?")
        terminal.keys("Enter")
        screen = terminal.wait_for(lambda screen: "thought for" in screen and "ready" in screen)
        assert "thought for" in screen and "medium" in screen and "<|" not in screen
        terminal.keys("C-e")
        terminal.wait_for("[high]")
        terminal.type("/new")
        terminal.keys("Enter")
        terminal.wait_for(lambda screen: "thought for" not in screen)
        worker = terminal.worker
        terminal.keys("C-q")
        assert terminal.exit_code() == 0
        wait_gone(worker)
        assert "context" not in terminal.screen() and terminal.title() == before  # the terminal is as it was before


def test_the_demo_model_calculates_with_python() -> None:
    """Confined where this machine has a sandbox; else the person allows the one cell."""
    with Terminal(CHAT, height=30) as terminal:
        terminal.wait_for("ready")
        terminal.type("/tools python")
        terminal.keys("Enter")
        terminal.wait_for("tools: python")
        terminal.type("How much is 1234 * 5678? Use python.")
        terminal.keys("Enter")
        screen = terminal.wait_for(lambda screen: "python asks:" in screen or "\u2192 7006652" in screen)
        if "python asks:" in screen:
            assert "print(1234 * 5678)" in screen
            time.sleep(GRACE_S)
            terminal.type("yes")
            terminal.keys("F7")
        screen = terminal.wait_for(lambda screen: "\u2192 7006652" in screen and "ready" in screen)
        assert screen.count("7006652") > 1  # the answer has it, too


def test_several_lines_and_stop() -> None:
    with Terminal(SCRIPTED_CHAT) as terminal:
        terminal.wait_for("ready")
        terminal.type("one")
        terminal.keys("C-j")
        terminal.type("two")
        terminal.keys("M-Enter")
        terminal.type("three")
        screen = terminal.wait_for("three")
        assert "ready" in screen and "▌ one" not in screen
        terminal.keys("Enter")
        terminal.wait_for(lambda screen: screen.count("three") == 2 and "ready" in screen)
        terminal.type("forever")
        terminal.keys("Enter")
        terminal.wait_for("on on on")
        terminal.keys("Escape")
        terminal.wait_for("stopped")
        terminal.wait_for("ready")


def test_quitting_in_the_middle_of_an_answer() -> None:
    with Terminal(SCRIPTED_CHAT) as terminal:
        terminal.wait_for("ready")
        terminal.type("forever")
        terminal.keys("Enter")
        terminal.wait_for("on on on")
        worker = terminal.worker
        terminal.keys("C-q")
        assert terminal.exit_code() == 0
        wait_gone(worker)


def test_killing_the_engine_keeps_the_screen_and_restarts() -> None:
    with Terminal(SCRIPTED_CHAT) as terminal:
        terminal.wait_for("ready")
        terminal.type("partial")
        terminal.keys("Enter")
        terminal.wait_for("answering")
        os.kill(terminal.worker, signal.SIGKILL)
        screen = terminal.wait_for(lambda screen: "The engine was killed" in screen and "cut off" in screen)
        assert "memory ran out" in screen
        terminal.keys("C-r")
        terminal.wait_for("ready")
        terminal.type("hello again")
        terminal.keys("Enter")
        terminal.wait_for(lambda screen: screen.count("hello again") == 2)


def test_an_engine_that_hangs_is_ended_by_stop() -> None:
    with Terminal(SCRIPTED_CHAT, environment={"CANCEL_GRACE_S": "0.5"}) as terminal:
        terminal.wait_for("ready")
        terminal.type("hang")
        terminal.keys("Enter")
        terminal.wait_for("▌ hang")
        terminal.keys("Escape")
        screen = terminal.wait_for("did not stop within")
        assert "│ hang" in terminal.wait_for("│ hang") and "stopped" in screen


@pytest.mark.parametrize("prompt", ["hello", "hang"])
def test_killing_the_chat_leaves_no_engine(prompt: str) -> None:
    with Terminal(SCRIPTED_CHAT) as terminal:
        terminal.wait_for("ready")
        terminal.type(prompt)
        terminal.keys("Enter")
        terminal.wait_for(f"▌ {prompt}")
        worker = terminal.worker
        os.kill(terminal.pid, signal.SIGKILL)
        wait_gone(worker)


def test_a_polite_kill_gives_the_terminal_back() -> None:
    with Terminal(CHAT) as terminal:
        terminal.wait_for("ready")
        worker = terminal.worker
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.exit_code() == 0
        wait_gone(worker)
        assert "context" not in terminal.screen()


def wait_saved(draft: str, text: str, seconds: float = 120.0) -> None:
    """Wait until both are on the disk, in the one conversation there is."""
    deadline = time.monotonic() + seconds
    store = Store(conversations_file())
    while not (store.search(text) and store.draft(store.summaries()[0].id) == draft):
        assert time.monotonic() < deadline, "the draft or the answer was not saved"
        time.sleep(0.1)
    store.close()


def test_kill_9_loses_nothing_and_two_chats_share_the_conversations() -> None:
    with Terminal(SCRIPTED_CHAT) as terminal:
        terminal.wait_for("ready")
        terminal.type("forever")
        terminal.keys("Enter")
        terminal.wait_for("on on on")
        terminal.type("a thought")
        wait_saved("a thought", "on on on")  # each within about a second
        os.kill(terminal.pid, signal.SIGKILL)
    with Terminal(SCRIPTED_CHAT) as terminal, Terminal(SCRIPTED_CHAT, width=120) as other:
        other.wait_for("forever")
        terminal.wait_for("ready")
        terminal.keys("C-f")
        terminal.type("on on")
        terminal.wait_for("on on on")
        terminal.keys("Down", "Down", "Enter")
        assert "a thought" in terminal.wait_for(lambda screen: "on on on" in screen and "▐" not in screen)
        terminal.keys("C-End")
        terminal.wait_for("not finished: the program ended")
        other.type("hello there")
        other.keys("Enter")
        other.wait_for("▌ hello there")
        terminal.keys("C-b")
        terminal.wait_for("hello there")


def test_a_terminal_that_vanishes_ends_the_chat() -> None:
    with Terminal(SCRIPTED_CHAT) as terminal:
        terminal.wait_for("ready")
        pid, worker = terminal.pid, terminal.worker
    wait_gone(worker)
    wait_gone(pid)


def shows(one: str, other: str, screen: str) -> bool:
    """Whether both stand on the screen."""
    return one in screen and other in screen


def test_resizing() -> None:
    with Terminal(CHAT) as terminal:
        terminal.wait_for("ready")
        terminal.type("hello")
        terminal.keys("Enter")
        terminal.wait_for("tok/s")  # how many more figures fit depends on the machine
        for width, height in ((200, 50), (40, 12), (80, 24)):
            terminal.resize(width, height)
            beside = 40 if width >= 100 else 0  # the sidebar
            border = f"╭{'─' * (min(100, width - 1 - beside) - 2)}╮"
            terminal.wait_for(partial(shows, border, "effort"))


def test_a_folder_called_app_is_not_taken_for_the_program(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise RuntimeError('the wrong app')")
    with Terminal(["sh", "-c", f"cd {tmp_path} && exec {' '.join(SCRIPTED_CHAT)}"]) as terminal:
        terminal.wait_for("ready")
