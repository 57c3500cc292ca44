"""The chat in a terminal, killed at random moments: what the screen confirmed is in the store. KILLS says how often."""

import os
import random
import signal
import time
from functools import partial

import pytest

from app.paths import conversations_file
from app.store.store import Store
from tests.fixtures.terminal import SCRIPTED_CHAT, Terminal, is_running, needs_tmux, wait_gone

pytestmark = needs_tmux

KILLS = int(os.environ.get("KILLS", "40"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def stored() -> str:
    """Prompts, answers and drafts on the disk."""
    store = Store(conversations_file())
    try:
        trees = [tree for summary in store.summaries() if (tree := store.load(summary.id)) is not None]
        texts = [message.text for tree in trees for node in tree.nodes.values() for message in node.messages]
        return "\n".join([*texts, *(store.draft(id) for id in ("", *(tree.id for tree in trees)))])
    finally:
        store.close()


def has_twice(text: str, screen: str) -> bool:
    return screen.count(text) > 1


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_at_a_random_moment(seed: int) -> None:
    chance = random.Random(seed)
    number = SIGNALS[seed % len(SIGNALS)]
    with Terminal(SCRIPTED_CHAT) as terminal:
        if chance.random() < 0.2:  # while it starts
            time.sleep(chance.random())
            pid, screen = terminal.pid, terminal.screen()
        else:
            terminal.wait_for("ready")
            pid = terminal.pid
            for turn in range(chance.randrange(1, 4)):
                terminal.type(f"prompt-{turn}")
                terminal.keys("Enter")
                if chance.random() < 0.7:
                    terminal.wait_for(partial(has_twice, f"prompt-{turn}"))  # the prompt and its answer
                elif chance.random() < 0.5:
                    terminal.keys(chance.choice(("C-r", "C-n", "Escape", "C-p")))
            if chance.random() < 0.5:
                terminal.type("forever")
                terminal.keys("Enter")
                terminal.wait_for(lambda screen: "on on on" in screen or "forever" not in screen.splitlines()[-5:])
            terminal.type("draft-words")
            time.sleep(chance.random() * 3)
            screen = terminal.screen()
        os.kill(pid, number)
        if number in (signal.SIGTERM, signal.SIGINT):
            terminal.wait_for(lambda _: not is_running(pid))
            assert "Traceback" not in terminal.screen()
        wait_gone(pid)
    if not conversations_file().exists():
        assert "prompt-" not in screen
        return
    kept = stored()
    sent = {word for line in screen.splitlines() if "\u258c" in line for word in line.split() if "prompt-" in word}
    assert sent <= set(kept.split()), f"{number.name}: {sent} are not in {kept!r}; the screen showed\n{screen}"
    # The list of commands has a line of its own for what is typed, of which nothing is kept.
    if number != signal.SIGKILL and "\u2502 draft-words" in screen and "\u256d\u2500 Commands" not in screen:
        assert "draft-words" in kept
