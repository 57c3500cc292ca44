"""The chat is stopped as job control does, and comes back with `fg`: the screen is whole, the engine alive."""

import os
import shlex
import signal
import time

from tests.fixtures.terminal import CHAT, SCRIPTED_CHAT, Terminal, children, is_running, needs_tmux

pytestmark = needs_tmux


def test_stopped_and_continued() -> None:
    with Terminal(["bash", "--norc", "--noprofile", "-i"], environment={"PS1": "$ "}) as terminal:
        terminal.wait_for("$")
        terminal.type(shlex.join(SCRIPTED_CHAT))
        terminal.keys("Enter")
        terminal.wait_for("ready")
        terminal.type("forever")
        terminal.keys("Enter")
        terminal.wait_for("on on on")
        [chat] = children(terminal.pid)
        [worker] = children(chat)
        os.kill(chat, signal.SIGTSTP)
        screen = terminal.wait_for("Stopped")
        assert "on on on" not in screen
        terminal.type("fg")
        terminal.keys("Enter")
        terminal.wait_for(lambda screen: "on on on" in screen and "effort" in screen and "╰──" in screen)
        terminal.keys("Escape")
        terminal.wait_for("stopped")
        assert is_running(worker)
        terminal.type("hello again")
        terminal.keys("Enter")
        terminal.wait_for(lambda screen: screen.count("hello again") == 2)
        terminal.type("undone")
        terminal.wait_for("│ undone")
        terminal.keys("C-z")  # takes back what was typed, as in an editor
        terminal.wait_for(lambda screen: "undone" not in screen)
        os.kill(chat, signal.SIGSTOP)  # of which the chat hears nothing, so that the shell writes over its screen
        terminal.wait_for("Stopped")
        terminal.type("fg")
        terminal.keys("Enter")
        terminal.wait_for(lambda screen: "Stopped" not in screen)
        terminal.type("and on")
        terminal.wait_for("│ and on ")
        terminal.keys("C-z")
        terminal.keys("C-q")
        terminal.wait_for("$ fg")


def test_the_terminal_goes_while_it_is_stopped() -> None:
    """Shells let a stopped program run once more to hear of it: there is nothing to draw on any more."""
    with Terminal(["bash", "--norc", "--noprofile", "-i"], environment={"PS1": "$ "}) as terminal:
        terminal.wait_for("$")
        terminal.type(shlex.join(CHAT))
        terminal.keys("Enter")
        terminal.wait_for("ready")
        [chat] = children(terminal.pid)
        processes = [chat, *children(chat)]
        os.kill(chat, signal.SIGTSTP)
        terminal.wait_for("Stopped")
    deadline = time.monotonic() + 120
    while any(map(is_running, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
