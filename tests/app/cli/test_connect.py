"""--connect: `ask` and the plain chat over a server, and the token that is asked for once."""

import io
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from app.chat.answer import AnswerRecord
from app.cli import connecting, plain
from app.cli.answer_printing import AnswerPrinter
from app.cli.arguments import start
from app.cli.beside import SharedEngine
from app.cli.main import main
from app.engine.protocol import Answer
from app.paths import settings_file, tokens_file
from app.server.guard import Policy
from app.settings import load
from mlx_model.events import PrefillProgress, Queued
from mlx_model.generation import grammars
from mlx_model.harmony.message import assistant, user
from mlx_model.request import Form
from tests.fixtures.running_server import RunningServer, running
from tests.fixtures.scripted_engine import ScriptedEngine, message, says

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def running_one() -> Iterator[RunningServer]:
    with running(policy=Policy(token=TOKEN)) as server:
        yield server


@pytest.fixture
def server(running_one: RunningServer, monkeypatch: pytest.MonkeyPatch) -> RunningServer:
    running_one.engine.script = lambda request: says("Hello from there.", analysis="Hm.")
    running_one.engine.asked.clear()
    monkeypatch.delenv("GPTOSS_CHAT_TOKEN", raising=False)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    return running_one


def typed(monkeypatch: pytest.MonkeyPatch, *tokens: str) -> list[str]:
    """What the person types when a token is asked for; returns the questions."""
    questions: list[str] = []
    answers = iter(tokens)

    def getpass(question: str) -> str:
        questions.append(question)
        return next(answers)

    monkeypatch.setattr(connecting, "getpass", getpass)
    monkeypatch.setattr(connecting, "_has_terminal", lambda: True)
    return questions


def test_a_token_is_asked_for_once_and_kept(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = typed(monkeypatch, "wrong", TOKEN)
    ask = ["ask", "--connect", server.url, "Hi"]
    assert main(ask) == 1 and "refuses this token" in capsys.readouterr().err and not tokens_file().exists()
    assert main(ask) == 0
    out, err = capsys.readouterr()
    assert out == "Hello from there.\n" and "is kept in" in err and TOKEN not in err
    assert main(["ask", "--connect", server.url, "--json", "--tools", "python", "Hi"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["text"], answer["analysis"], answer["stats"]["reused_tokens"]) == ("Hello from there.", "Hm.", 312)
    assert len(questions) == 2 and server.engine.asked[-1].tools == ("python",)
    monkeypatch.setenv("GPTOSS_CHAT_TOKEN", "another")
    assert main(ask) == 1 and "refuses the token of GPTOSS_CHAT_TOKEN" in capsys.readouterr().err


def test_the_server_binds_an_answer_also_where_nothing_here_can(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPTOSS_CHAT_TOKEN", TOKEN)
    monkeypatch.setattr(grammars, "find_spec", lambda name: None)
    assert main(["ask", "--connect", server.url, "--regex", "Hello.*", "Hi"]) == 0
    assert capsys.readouterr().out == "Hello from there.\n" and server.engine.asked[-1].form == Form(regex="Hello.*")


def test_where_nobody_can_be_asked(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connecting, "_has_terminal", lambda: False)
    assert main(["ask", "--connect", server.url, "Hi"]) == 1
    assert "wants a token: give it with --token-file FILE" in capsys.readouterr().err
    for words, said in (
        (["--connect", "ftp://x"], "is no address"),
        (["--connect", server.url, "--model", "gpt-oss-120b", "--token-file", "TOKEN"], "its owner has chosen"),
    ):
        settings_file().parent.mkdir(parents=True, exist_ok=True)
        token_file = settings_file().with_name("t")
        token_file.write_text(TOKEN)
        words = [str(token_file) if word == "TOKEN" else word for word in words]
        assert main(["ask", *words, "Hi"]) == 1 and said in capsys.readouterr().err
    assert server.engine.asked == []


def test_the_plain_chat_over_a_server_of_the_settings(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPTOSS_CHAT_TOKEN", TOKEN)
    settings_file().parent.mkdir(parents=True, exist_ok=True)
    settings_file().write_text(f'connect = "{server.url}"\nmodel = "gpt-oss-120b"\n')
    server.engine.script = lambda request: [*message("Half an")[:-1], None]
    lines = iter(["/continue", "/quit"])
    keep, stopped = plain.PlainChat._keep, list[str]()

    def stop_and_keep(chat: plain.PlainChat, record: AnswerRecord, unfinished: str | None = None) -> None:
        if record.text and not stopped:  # once: another one could come when the next answer is under way
            stopped.append(record.text)
            chat._engine.stop()  # as Ctrl-C does
        keep(chat, record, unfinished)

    def next_line(edits_lines: bool) -> str:
        server.engine.script = lambda request: message(assistant("Half an answer."))[1:] + says("")[-1:]
        return next(lines)

    monkeypatch.setattr(plain, "CHECKPOINT_S", 0)
    monkeypatch.setattr(plain.PlainChat, "_keep", stop_and_keep)
    monkeypatch.setattr(plain, "read_message", next_line)
    assert plain.chat(start(Namespace(), load()), "Hi") == 0
    out, err = capsys.readouterr()
    assert "gpt-oss-20b answers at 127.0.0.1" in out and "Half an" in out and "stopped" in err
    assert [request.messages[-1] for request in server.engine.asked] == [user("Hi"), assistant("Half an")]


def test_a_line_says_who_is_answered_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    printer = AnswerPrinter(show_analysis=False)
    for event in (Queued(2), Queued(1), PrefillProgress(9, 9)):
        printer.show(Answer(1, event))
    first, second, last = (line.rstrip() for line in capsys.readouterr().err.split("\r")[1:4])
    assert first == "waiting: 2 requests of other programs come first"
    assert second == "waiting: another program is answered first" and last == ""


def test_the_plain_chat_says_where_others_find_its_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    class Shared(ScriptedEngine):
        url = "http://127.0.0.1:8080/v1"

    monkeypatch.setattr(plain, "read_message", lambda edits_lines: "/quit")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    shared = Shared(lambda request: says("Hello from here."))
    setup = replace(start(Namespace(connect="none"), load()), shared=cast("SharedEngine", shared))
    assert plain.chat(setup, "Hi") == 0
    out = capsys.readouterr().out
    assert f"gpt-oss-20b answers. Other programs find it at {Shared.url}." in out and "Hello from here." in out
    assert not shared.alive  # it has been closed
