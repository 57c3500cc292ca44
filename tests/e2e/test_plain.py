"""The chat line by line in a real terminal: where it opens, what it keeps, how it is stopped and left."""

import os
import re
import readline
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.paths import conversations_file, settings_file
from app.store.store import Store
from mlx_model.harmony.message import Message
from tests.fixtures import FIXTURES
from tests.fixtures.terminal import Terminal, needs_tmux

pytestmark = needs_tmux

SCRIPTED = [sys.executable, str(FIXTURES / "scripted_ask.py"), "--model", "demo"]
DEMO = [sys.executable, "-m", "app", "--plain", "--model", "demo", "--temperature", "0"]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A dumb terminal with a scripted model, at the prompt."""
    with Terminal(SCRIPTED, environment={"TERM": "dumb"}) as terminal:
        at_prompt(terminal)
        yield terminal


def at_prompt(terminal: Terminal) -> str:
    """Wait until the last line is an empty prompt."""
    return terminal.wait_for(lambda screen: screen.rstrip().endswith("\n>"))


def send(terminal: Terminal, text: str) -> str:
    """Type a line and wait for the next prompt."""
    terminal.type(text)
    terminal.keys("Enter")
    return terminal.wait_for(lambda screen: f"> {text}\n" in screen and screen.rstrip().endswith("\n>"))


def saved() -> list[list[Message]]:
    """The messages of all conversations on the disk, the latest first."""
    store = Store(conversations_file())
    try:
        loaded = [store.load(summary.id) for summary in store.summaries()]
        return [conversation.messages for conversation in loaded if conversation is not None]
    finally:
        store.close()


def texts(messages: list[Message]) -> list[str]:
    """Prompts and answers, without analysis."""
    return [message.text for message in messages if message.channel != "analysis"]


def test_the_demo_model_has_python_compute_and_answers_with_what_came_of_it() -> None:
    """Wherever the code is confined here or not, the settings have the person asked."""
    settings_file().parent.mkdir(parents=True, exist_ok=True)
    settings_file().write_text('[permissions]\npython = "ask"\n')
    with Terminal(DEMO) as terminal:
        at_prompt(terminal)
        assert "Tools that the model may call: python." in send(terminal, "/tools python")
        terminal.type("How much is 1234 * 5678? Use python")
        terminal.keys("Enter")
        screen = terminal.wait_for(lambda screen: "Allow it?" in screen)
        assert "  | print(1234 * 5678)\n" in screen and "7006652" not in screen
        screen = send(terminal, "y")
        assert re.search(r"^python  print\(1234 \* 5678\) \.\.\. \d+\.\d s$", screen, re.MULTILINE)
        assert "1234 * 5678 = 7006652" in screen
        terminal.keys("C-d")
        assert terminal.exit_code() == 0
    assert [message.recipient for message in saved()[0]] == [None, None, "python", "assistant", None]


def test_a_chat_with_the_demo_model_goes_on_from_the_last_answer() -> None:
    with Terminal(DEMO) as terminal:
        assert "Plain chat.\nCtrl-D or /quit quits" in at_prompt(terminal)
        screen = send(terminal, "How many r's are in strawberry?")
        assert "thinking ... " in screen and " s, " in screen and "3 r's" in screen
        assert "medium" in screen and "reused" not in screen
        assert " reused" in send(terminal, "thanks")
        terminal.keys("Up", "Up")  # lines can be edited and called back here
        terminal.wait_for(lambda screen: screen.rstrip().endswith("> How many r's are in strawberry?"))
        terminal.keys("C-u", "C-d")
        assert terminal.exit_code() == 0
    [messages] = saved()
    assert [message.text for message in messages if message.channel is None] == [
        "How many r's are in strawberry?",
        "thanks",
    ]
    assert len(texts(messages)) == 4


def test_a_dumb_terminal_says_why_and_gets_no_control_sequence(terminal: Terminal) -> None:
    why = "Plain chat: TERM is dumb or not set, so the full-screen chat can't be shown."
    assert f"{why}\nCtrl-D or /quit quits" in terminal.screen()
    send(terminal, "hello")
    terminal.type("exit")
    terminal.keys("Enter")
    assert terminal.exit_code() == 0
    assert [texts(messages) for messages in saved()] == [["hello", "hello"]]


def test_commands(terminal: Terminal) -> None:
    assert "/effort [level]" in send(terminal, "/help")
    assert "effort of the next answer is low." in send(terminal, "/effort LOW")
    assert "The effort is low. /effort low, /effort medium or /effort high" in send(terminal, "/effort")
    assert "The effort can be low, medium or high." in send(terminal, "/effort much")
    assert "The plain chat has no command /theme" in send(terminal, "/theme dark")
    assert "There is no command /efort; did you mean /effort?" in send(terminal, "/efort")
    assert "Seed is 7 from the next answer on." in send(terminal, "/seed 7")
    assert "top_p is 2; it must be above 0" in send(terminal, "/set top_p 2")
    assert "This is a new conversation." in send(terminal, "/clear")
    assert "/new takes no argument." in send(terminal, "/new x")
    send(terminal, "one")
    send(terminal, "/new")
    terminal.type("two\\")
    terminal.keys("Enter")
    terminal.wait_for("\n.")
    terminal.type("lines")
    terminal.keys("Enter")
    assert "two\nlines\n" in at_prompt(terminal)
    assert sorted(texts(messages) for messages in saved()) == [["one", "one"], ["two\nlines", "two\nlines"]]


def test_ctrl_c_stops_the_answer_and_then_leaves(terminal: Terminal) -> None:
    terminal.type("forever")
    terminal.keys("Enter")
    terminal.wait_for(lambda screen: screen.count("on and") > 1)
    terminal.keys("C-c")
    assert "stopped" in at_prompt(terminal)
    assert "hello" in send(terminal, "hello")
    [messages] = saved()
    assert messages[2].text.startswith("on and \non and ")
    terminal.type("half a line")
    terminal.keys("C-c")
    terminal.wait_for("Ctrl-C again quits.")
    send(terminal, "still here")
    terminal.keys("C-c")
    terminal.wait_for(lambda screen: screen.count("again quits") == 2)
    terminal.keys("C-c")
    assert terminal.exit_code() == 0


def test_a_stopped_answer_is_continued_inside_its_message_with_its_effort(terminal: Terminal) -> None:
    assert "The last answer was not cut off." in send(terminal, "/continue")
    terminal.type("forever")
    terminal.keys("Enter")
    terminal.wait_for("on and")
    terminal.keys("C-c")
    assert "7 tokens   stopped" in at_prompt(terminal)
    send(terminal, "/effort high")
    screen = send(terminal, "/continue")
    assert "\nthe medium end\nmedium   10 tokens\n" in screen
    assert "/continue takes no argument." in send(terminal, "/continue x")
    assert send(terminal, "/continue").rstrip().endswith("> /continue\nThe last answer was not cut off.\n>")
    [messages] = saved()
    assert [message.channel for message in messages] == [None, "analysis", "final"]
    assert messages[2].text.startswith("on and \non and ") and messages[2].text.endswith("on and \nthe medium end")


def test_a_second_ctrl_c_leaves_a_model_that_does_not_stop(terminal: Terminal) -> None:
    terminal.type("deaf")
    terminal.keys("Enter")
    terminal.wait_for("on and")
    terminal.keys("C-c")
    terminal.wait_for("still on")
    terminal.keys("C-c")
    assert terminal.exit_code() == 0
    [messages] = saved()
    assert messages[0].text == "deaf" and messages[-1].text.startswith("on and \non and ")


@pytest.mark.skipif("libedit" in (readline.__doc__ or ""), reason="libedit knows no bracketed paste")
def test_a_paste_of_several_lines_is_one_message() -> None:
    with Terminal([*SCRIPTED, "--plain"]) as terminal:
        at_prompt(terminal)
        terminal.paste("one\ntwo \x1b\rthree\n")
        terminal.wait_for("three")
        assert saved() == []
        terminal.keys("Enter")
        at_prompt(terminal)
        [messages] = saved()
        assert messages[0].text.startswith("one\ntwo")


def test_kill_9_in_the_middle_of_an_answer_loses_a_second_of_it(terminal: Terminal) -> None:
    terminal.type("forever")
    terminal.keys("Enter")
    deadline = time.monotonic() + 120
    while not (kept := saved()) or len(kept[0]) < 2:
        assert time.monotonic() < deadline, "the growing answer was not saved"
        time.sleep(0.1)
    os.kill(terminal.pid, signal.SIGKILL)
    [messages] = saved()
    assert messages[0].text == "forever" and "on and" in messages[-1].text


def test_an_error_of_one_turn_leads_back_to_the_prompt(terminal: Terminal) -> None:
    assert "gptoss-chat: the prompt has too many tokens" in send(terminal, "too long")
    assert saved() == []
    send(terminal, "hello")
    assert [texts(messages) for messages in saved()] == [["hello", "hello"]]


def test_commentary_is_shown_and_a_turn_without_an_answer_is_called_that(terminal: Terminal) -> None:
    assert "some commentary\nmedium   ended without an answer\n" in send(terminal, "only commentary")
    assert "token\nmedium   ended without an answer\n" in send(terminal, "only analysis")


def test_a_home_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with Terminal(SCRIPTED, width=200, environment={"TERM": "dumb", "GPTOSS_CHAT_HOME": str(blocked)}) as terminal:
        assert "conversations are not saved" in at_prompt(terminal)
        send(terminal, "one")
        assert send(terminal, "two").count("saved") == 1


def test_a_model_that_is_not_there_is_one_line() -> None:
    with Terminal([*DEMO[:-3], "nope"], environment={"TERM": "dumb"}) as terminal:
        assert terminal.exit_code() == 1
        assert 'gptoss-chat: there is no model "nope"' in terminal.screen()
