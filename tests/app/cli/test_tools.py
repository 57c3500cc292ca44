"""Tools of `ask` and the plain chat: a line a call, permission at the terminal, what is switched on and kept."""

import asyncio
import io
import json
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app import settings
from app.chat.answer import AnswerRecord
from app.chat.commands import CommandLine, parse
from app.cli import ask
from app.cli.answer_printing import AnswerPrinter, call_line
from app.cli.approval import NOBODY, ask_person, remember
from app.cli.arguments import Start, start
from app.cli.plain import PlainChat
from app.engine.local import LocalEngine, drive
from app.engine.protocol import Load
from app.lines import visible
from app.paths import settings_file
from app.store.saver import Saver
from app.tools import python_kit
from app.tools.permission import Decision, Wish
from app.tools.verdict import Keep, Verdict
from mlx_model.events import Event, Finished
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role, assistant
from mlx_model.options import Options
from mlx_model.tools.base import Output, ToolResult
from mlx_model.tools.loop import ToolDenied, ToolFinished, ToolOutput, ToolStarted
from tests.app.chat.test_loop_tools import CALL, Rounds
from tests.app.cli.test_ask import whole

CALLING: list[Event] = [*whole(assistant("hm", "analysis")), *whole(CALL), Finished("tool_call")]
ANSWERING: list[Event] = [*whole(assistant("42.")), Finished("stop")]
YES, NO = Verdict(allowed=True), Verdict(allowed=False)
START = Start(Load(), Options(), None, False, ("python",))
CELL = ToolCall("python", "print(6 * 7)", "analysis", {"code": "print(6 * 7)"})


class Python:
    """A kernel that gives 42 and a file, and says that it is confined, or not."""

    name = declaration = "python"
    confined, why_not, data = True, "no sandbox", "/mnt/data"
    usable, closed = True, 0

    def __init__(self, folder: Path, **_: Any) -> None:
        self.folder = folder

    async def prepare(self) -> None: ...

    async def run(self, call: ToolCall, output: Output, room: int = 0) -> ToolResult:
        return ToolResult("42\n", files=(self.folder / "plot.png",), seconds=0.25)

    async def close(self) -> None:
        Python.closed += 1


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rounds:
    """The model calls python and answers; what it is asked is noted."""
    backend = Rounds(CALLING, ANSWERING)
    monkeypatch.setattr(python_kit, "Python", Python)
    monkeypatch.setattr(ask, "LocalEngine", lambda: LocalEngine(backend))
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(tmp_path))
    return backend


@pytest.fixture
def unconfined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Python, "confined", False)


def test_a_line_a_call_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    before = Python.closed
    assert ask.answer("q", START) == 0
    out, err = capsys.readouterr()
    assert out == "42.\n"
    first, second = err.splitlines()
    assert first == "python  print(6 * 7) ... 0.2 s"
    assert second.startswith("file: ") and second.endswith("plot.png")
    assert Python.closed == before + 1


def test_calls_in_json(capsys: pytest.CaptureFixture[str], scripted: Rounds) -> None:
    assert ask.answer("q", START, as_json=True) == 0
    out, err = capsys.readouterr()
    (call,) = json.loads(out)["calls"]
    files = call.pop("files")
    assert call == {
        "tool": "python",
        "text": "print(6 * 7)",
        "result": "42\n",
        "allowed": True,
        "error": False,
        "seconds": 0.25,
    }
    assert len(files) == 1 and err == ""
    assert scripted.requests[0].tools == ("python",)
    assert "'/mnt/data'" in (scripted.requests[0].instructions or "")


@pytest.mark.usefixtures("unconfined")
def test_without_a_terminal_nothing_is_run_that_has_to_be_asked(
    capsys: pytest.CaptureFixture[str], scripted: Rounds
) -> None:
    assert ask.answer("q", START) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "gptoss-chat: python  print(6 * 7) was not run: it is not confined here: no sandbox, and without a terminal "
        "nobody can allow it",
        "python  print(6 * 7) ... not allowed",
    ]
    assert scripted.requests[1].messages[-1].text == f"The user declined this call: {NOBODY}"


def test_without_tools_the_call_says_how_to_switch_them_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask.answer("q", Start(Load(), Options(), None, False)) == 1
    assert "the model called the tool python; --tools python switches it on" in capsys.readouterr().err


def test_the_settings_say_how_many_calls_a_turn_has(
    capsys: pytest.CaptureFixture[str], scripted: Rounds, plain: PlainChat
) -> None:
    scripted.rounds[:] = [CALLING, CALLING]
    assert ask.answer("q", replace(START, most_calls=1)) == 1
    assert "as often as it may ([tools] most_calls in settings.toml), or" in capsys.readouterr().err
    settings_file().write_text("[tools]\nmost_calls = 1\n")
    scripted.rounds[:] = [CALLING, CALLING]
    with closing(Saver(print)) as saver:
        chat = PlainChat(plain._engine, start(Namespace(), settings.load()), saver, edits_lines=False)
        command(chat, "python")
        chat._ask("q")
        chat.close()
    facts = chat._conversation.path[-1].facts
    assert facts is not None and (facts.reason, len(facts.calls)) == ("tool_limit", 1)


class Terminal(io.StringIO):
    """Lines that a person types; None is Ctrl-C."""

    def __init__(self, *lines: str | None) -> None:
        super().__init__()
        self.lines = list(lines)

    def isatty(self) -> bool:
        return True

    def readline(self, *_: object) -> str:  # type: ignore[override]  # typeshed has the base class say bytes
        line = self.lines.pop(0)
        if line is None:
            raise KeyboardInterrupt
        return line


@pytest.fixture
def interrupts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals that came to the handler which was there before the person was asked."""
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    yield came
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("y\n", YES),
        ("YES\n", YES),
        ("c\n", Verdict(allowed=True, keep=Keep.CONVERSATION)),
        ("A\n", Verdict(allowed=True, keep=Keep.ALWAYS)),
        ("n\n", NO),
        ("\n", NO),
        ("", NO),
        ("yes, but slower\n", Verdict(allowed=False, reason="yes, but slower")),
        (None, NO),
    ],
)
async def test_the_person_decides(
    line: str | None,
    verdict: Verdict,
    interrupts: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(line))
    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    wish = Wish(("python",), Decision.ASK, "it is not confined", "a = 1\nprint('\x1b[2J\u202e')")
    assert await ask_person(CELL, wish) == verdict
    asked = shown.getvalue()
    assert asked.startswith("python asks: it is not confined\n  | a = 1\n  | print('\\u001b[2J\\u202e')\nAllow it? y")
    assert interrupts == ([signal.SIGINT] if line is None else [])


async def test_what_is_asked_each_time_can_be_allowed_once_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("a\n"))
    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    assert await ask_person(CELL, Wish(("python",), Decision.ASK, "", "", always=False)) == YES
    assert "Allow it? y once; any" in shown.getvalue()


async def test_what_was_typed_before_the_question_is_no_answer_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    person, terminal = os.openpty()
    os.write(person, b"y\n")  # meant as the next message

    class Screen(Terminal):
        def write(self, text: str) -> int:
            os.write(person, b"better not\n" if "Allow it?" in text else b"")
            return super().write(text)

    with open(terminal) as stdin:  # noqa: PTH123  # a descriptor
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stderr", Screen())
        verdict = await ask_person(CELL, Wish(("python",), Decision.ASK, "", ""))
    os.close(person)
    assert verdict == Verdict(allowed=False, reason="better not")


def test_a_yes_that_always_holds_is_a_rule_of_the_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    remember("browser.open example.org")
    assert settings.load().permissions == {"browser.open example.org": "allow"}
    (tmp_path / "settings.toml").write_text("[")
    remember("f")
    assert "the file is left as it is" in capsys.readouterr().err


def test_how_calls_are_written() -> None:
    assert call_line(CELL) == "python  print(6 * 7)"
    assert call_line(ToolCall("python", "", arguments={"code": "a\nb\n"})) == "python  2 lines"
    assert call_line(ToolCall("functions.f", '{"a":\n 1}', arguments={"a": 1})) == 'functions.f  {"a": 1}'
    assert call_line(ToolCall("functions.f", "x" * 99)) == f"functions.f  {'x' * 60}..."
    assert call_line(ToolCall("f\x1b", "\x1b[2J")) == "f\u241b  \u241b[2J"
    assert visible("a\tb\n\u200b\r\x7f é💖") == "a\tb\n\\u200b\\u000d\\u007f é💖"
    assert visible("a\u2800\u3164b") == "a\\u2800\\u3164b"


@pytest.mark.parametrize("shown", [False, True])
def test_lines_of_calls_and_results_where_the_analysis_is_shown(
    shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    printer = AnswerPrinter(show_analysis=shown)
    for event in (
        *(ToolStarted(CELL), ToolOutput(CELL, "x"), ToolFinished(CELL, ToolResult("e", error=True, seconds=2))),
        *(
            ToolFinished(CELL, ToolResult("42")),
            ToolFinished(CELL, ToolResult("e", error=True)),
            ToolDenied(CELL, "no"),
        ),
    ):
        printer.show(event)
    lines = [
        ("python  print(6 * 7) ... failed, 2.0 s", "e"),
        ("python  print(6 * 7) ... not run again", "42"),
        ("python  print(6 * 7) ... can not be run", "e"),
        ("python  print(6 * 7) ... not allowed", "no"),
    ]
    written = capsys.readouterr().err.splitlines()
    assert written == [line for pair in lines for line in (pair if shown else pair[:1])]


@pytest.fixture
def plain(scripted: Rounds) -> Iterator[PlainChat]:
    engine = LocalEngine(scripted)
    drive(_load(engine))
    with closing(Saver(print)) as saver:
        chat = PlainChat(engine, Start(Load(), Options(), None, False), saver, edits_lines=False)
        yield chat
        chat.close()


async def _load(engine: LocalEngine) -> None:
    async for _ in engine.load(Load()):
        pass


def command(chat: PlainChat, argument: str) -> str:
    return chat._command(line_of(argument))


def line_of(argument: str) -> CommandLine:

    line = parse(f"/tools {argument}".strip())
    assert line is not None and line.command is not None and line.command.slash == "tools"
    return line


def test_the_plain_chat_switches_tools_on_and_off(plain: PlainChat, scripted: Rounds) -> None:
    assert command(plain, "").startswith("The model may call no tools. /tools NAME switches one on: python, ")
    assert command(plain, "nmap").startswith("There is no tool 'nmap'; there is: python, ")
    said = command(plain, "python")
    assert said.startswith("Tools that the model may call: python. /tools off switches them off. In a context of 4,0")
    plain._ask("q")
    assert command(plain, "off").startswith("The model may call no tools.")
    scripted.rounds.append(ANSWERING)
    plain._ask("q2")
    assert [request.tools for request in scripted.requests] == [("python",), ("python",), ()]
    assert [request.instructions is None for request in scripted.requests] == [False, False, True]
    # Of the first turn, its call and result are left out of what is computed, not of what is kept.
    assert [message.role for message in scripted.requests[2].messages].count(Role.TOOL) == 1


def test_a_call_is_on_the_disk_before_it_is_run(plain: PlainChat, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[list[Message]] = []

    async def run(self: Python, call: ToolCall, output: Output, room: int) -> ToolResult:
        last = plain._saver.last()
        assert last is not None
        saved.append(last.messages)
        return ToolResult("42\n")

    monkeypatch.setattr(Python, "run", run)
    command(plain, "python")
    plain._ask("q")
    assert saved[0][-1] == CALL
    assert plain._conversation.messages[-2].text == "42\n"


def test_ctrl_c_ends_a_call_and_the_answer(plain: PlainChat, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(self: Python, call: ToolCall, output: Output, room: int) -> ToolResult:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Python, "run", run)
    command(plain, "python")
    assert plain._ask("q")
    node = plain._conversation.path[-1]
    assert node.facts is not None and node.facts.reason == "cancelled"
    assert node.messages[-1].text == "[Cancelled by the user.]"


def test_ctrl_c_while_a_tool_gets_ready_takes_the_message_back(
    plain: PlainChat, scripted: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prepare(self: Python) -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(Python, "prepare", prepare)
    command(plain, "python")
    assert plain._ask("q")
    assert scripted.requests == [] and plain._conversation.path == []


def test_an_answer_without_tools_needs_no_event_loop(plain: PlainChat, scripted: Rounds) -> None:
    scripted.rounds[:] = [ANSWERING]
    record = AnswerRecord(Options().effort)
    prompt = plain._conversation.add_prompt("q", None)
    drive(plain._show(prompt, record, AnswerPrinter(show_analysis=False)))
    assert record.text == "42."
