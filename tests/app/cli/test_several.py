"""`ask --samples` and /pro of the plain chat: what goes to which stream, the exit code, JSON, what is kept."""

import argparse
import io
import json
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from app.chat.plan import Plan
from app.cli import ask, several
from app.cli.arguments import Start
from app.cli.plain import PlainChat
from app.documents.attachments import Attachment, join
from app.engine.engine import EngineError
from app.engine.local import LocalEngine
from app.engine.protocol import Load, Loading, Ready
from app.store.saver import Saver
from mlx_model.errors import BudgetError, RequestError
from mlx_model.events import Event, Finished, Warned
from mlx_model.generation.formats import answer_format
from mlx_model.options import Options
from mlx_model.pro.samples import Combine
from mlx_model.request import Request
from tests.fixtures.scripted_engine import says

PROSE = says("First this,\n\nthen \x1b[31mthat.", analysis="Hm.")
FORTY_TWO = says("It is **42**.", analysis="6 * 7")


class Scripted:
    """A backend that answers by the seed of each request; answers that are read in turn come in that turn."""

    def __init__(self, *answers: Sequence[Event]) -> None:
        self.answers = answers
        self.asked: list[Request] = []

    def load(self, wanted: Load, announce: Callable[[Loading], None]) -> Ready:
        return Ready("scripted", 4096, 7, 0, 0.5)

    def stream(
        self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
    ) -> Iterator[Event | None]:
        self.asked.append(request)
        yield None
        for event in self.answers[(request.options.seed or 0) % len(self.answers)]:
            if cancelled():
                yield Finished("cancelled")
                return
            yield event

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def settle(self) -> Generator[object, None, None]:
        yield from ()


def answer(
    monkeypatch: pytest.MonkeyPatch, *answers: Sequence[Event], combine: Combine = "vote", count: int = 3, **start: Any
) -> int:
    monkeypatch.setattr(ask, "LocalEngine", lambda: LocalEngine(Scripted(*answers)))
    as_json, shows, prompt = start.pop("as_json", False), start.pop("show_analysis", False), start.pop("prompt", "q")
    setup = Start(Load(), Options(seed=0), None, shows, plan=Plan(count, combine), **start)
    return ask.answer(prompt, setup, as_json=as_json)


@pytest.mark.parametrize(
    ("answers", "combine", "code", "out", "error"),
    [
        ([says("41"), FORTY_TWO, says("42")], "vote", 0, "It is **42**.\n", "votes 2 of 3 (42 \u00d72, 41 \u00d71); "),
        ([*[PROSE] * 3, says("All.")], "vote", 0, "All.\n", "written from 3 answers; 88 tokens, "),
        ([PROSE, PROSE, says("x"), says("3")], "select", 0, None, "chosen by the model from 3 answers; "),
        ([PROSE, says("4", reason="length"), says(" ")], "all", 0,
         "[1 of 3]\nFirst this,\n\nthen \u241b[31mthat.\n\n[2 of 3, cut off]\n4\n\n", "the only answer of 3; "),
        ([says("4", reason="length")] * 3, "vote", 1, "", "no answer: none of 3 came to an answer within the token"),
        ([[Finished("no_answer")]] * 3, "vote", 1, "", "no answer: none of 3 came to an answer; "),
    ],
)  # fmt: skip
def test_the_exit_code_and_the_streams(
    answers: list[list[Event]],
    combine: Combine,
    code: int,
    out: str | None,
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert answer(monkeypatch, *answers, combine=combine) == code
    printed = capsys.readouterr()
    assert out is None or printed.out == out
    assert printed.err.startswith(f"gptoss-chat: {error}") and len(printed.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("answers", "out", "how"),
    [
        ([PROSE, PROSE, PROSE], "First this,", "the first of 3 answers; the rest was cut off"),
        ([FORTY_TWO, says("41"), FORTY_TWO], "It is **42**.\n", "votes 2 of 3; the rest was cut off"),
    ],
)
def test_what_has_come_is_printed_where_the_engine_fails(
    answers: list[list[Event]],
    out: str,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Eight answers may have taken their time; the exit code says that it was not all."""

    class Fails(Scripted):
        def stream(
            self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
        ) -> Iterator[Event | None]:
            if len(self.asked) == len(answers):  # what would make one of them
                raise BudgetError("memory ran out")
            yield from super().stream(request, cancelled, answer_now)

    monkeypatch.setattr(ask, "LocalEngine", lambda: LocalEngine(Fails(*answers)))
    for as_json in (False, True):
        setup = Start(Load(), Options(seed=0), None, False, plan=Plan(3, "synthesise"))
        assert ask.answer("q", setup, as_json=as_json) == 1
        printed = capsys.readouterr()
        assert (json.loads(printed.out)["text"] if as_json else printed.out).startswith(out.strip("\n"))
        first, last = printed.err.splitlines()
        assert first == "gptoss-chat: memory ran out" and last.startswith(f"gptoss-chat: {how}")
    monkeypatch.setattr(ask, "LocalEngine", lambda: LocalEngine(Fails()))
    answers.clear()
    with pytest.raises(EngineError, match="memory ran out"):
        ask.answer("q", setup, as_json=False)


def test_json_has_every_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(monkeypatch, says("41"), FORTY_TWO, says("42"), as_json=True) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["text"], printed["analysis"], printed["finish_reason"]) == ("It is **42**.", "6 * 7", "stop")
    assert (printed["combine"], printed["outcome"], printed["chosen"]) == ("vote", "votes 2 of 3", 1)
    assert printed["votes"] == [{"answer": "42", "samples": [1, 2]}, {"answer": "41", "samples": [0]}]
    assert [each["text"] for each in printed["samples"]] == ["41", "It is **42**.", "42"]
    assert printed["stats"]["decode_tokens"] == 66 and printed["stats"]["load_s"] == 0.5
    assert printed["samples"][1]["stats"]["decode_tokens"] == 22
    assert answer(monkeypatch, [Finished("no_answer")], as_json=True) == 1
    nothing = json.loads(capsys.readouterr().out)
    assert (nothing["text"], nothing["chosen"], nothing["votes"]) == ("", None, [])


def test_a_quote_that_is_not_in_the_file_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = join("how many?", [Attachment("a.pdf", "[page 1]\nThe router picks four.")])
    wrong, right = says('As "the router picks nine" [p. 1].'), says('As "the router picks four" [p. 1].')
    flaw = 'gptoss-chat: [p. 1]: quote not found: "the router picks nine"'
    assert answer(monkeypatch, right, wrong, combine="all", count=2, prompt=prompt) == 0
    assert capsys.readouterr().err.splitlines()[0] == flaw
    assert answer(monkeypatch, wrong, wrong, right, prompt=prompt, combine="select") == 0
    assert capsys.readouterr().err.splitlines()[0] == flaw  # the first of them, since none is chosen
    assert answer(monkeypatch, right, wrong, prompt=prompt, as_json=True, combine="all", count=2) == 0
    out, err = capsys.readouterr()
    printed = json.loads(out)
    assert [each["ok"] for each in printed["citations"]] == [True] and flaw not in err
    assert [each["citations"][0]["ok"] for each in printed["samples"]] == [True, False]


def test_data_is_counted_whatever_its_spaces(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    form = answer_format({"type": "object"})
    answers = [says('{"n": 1}'), says('{"n":2}'), [Warned("a keyword"), *says('{ "n": 2 }')]]
    assert answer(monkeypatch, *answers, form=form, as_json=True) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["parsed"] == {"n": 2}
    assert printed.err.splitlines()[0] == "a keyword"


def test_a_terminal_is_shown_how_far_they_are_and_the_thought_of_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(several, "PROGRESS_S", 0.0)
    assert answer(monkeypatch, FORTY_TWO, FORTY_TWO, show_analysis=True) == 0
    shown = terminal.getvalue()
    assert "\r2 of 3 answers, " in shown and "42 \u00d72" in shown
    assert "6 * 7" in shown.rpartition("\r")[2]  # the line is gone then
    assert capsys.readouterr().out == "It is **42**.\n"


@pytest.mark.parametrize(
    ("samples", "combine", "changes", "why"),
    [
        (None, "select", {}, "add --samples N"),
        (4, None, {"tools": ("python",)}, "can't use tools"),
        (1, None, {}, "from 2 to 16"),
        (4, None, {"options": Options(temperature=0)}, "all the same"),
    ],
)
def test_what_can_not_be_asked_for(samples: int | None, combine: str | None, changes: Any, why: str) -> None:
    setup = Start(**{"load": Load(), "options": Options(), "instructions": None, "show_analysis": False} | changes)
    with pytest.raises(RequestError, match=why):
        several.plan_of(argparse.Namespace(samples=samples, combine=combine), setup)
    assert several.plan_of(argparse.Namespace(samples=None, combine=None), setup) is None


def test_the_plain_chat_keeps_every_answer(capsys: pytest.CaptureFixture[str]) -> None:
    backend = Scripted(says("41"), FORTY_TWO, says("42"), PROSE)
    engine = LocalEngine(backend)
    engine.alive = True
    with closing(Saver(print)) as saver:
        chat = PlainChat(engine, Start(Load(), Options(seed=0), None, False), saver, edits_lines=False)
        assert chat._several("3") is False and "no message to answer" in capsys.readouterr().out
        assert chat._several("17 q") is False and "from 2 to 16" in capsys.readouterr().out
        chat._tools.names = ("python",)
        assert chat._several("3 What is 6 * 7?") is False
        printed = capsys.readouterr()
        assert printed.out == "It is **42**.\n"
        assert printed.err.splitlines()[:3] == [
            "Tools are off meanwhile.", "answer 1 of 3: 41, 22 tokens", "answer 2 of 3: 42, 22 tokens"
        ]  # fmt: skip
        assert "votes 2 of 3; 66 tokens" in printed.err
        assert chat._several("") is False  # the same again: three more versions
        last = saver.last()
        chat.close()
    assert last is not None and last.path[-1].text("final") == "It is **42**."
    origins = [node.facts.origin.partition(";")[0] for node in last.nodes.values() if node.facts]
    assert origins == ["answer 1 of 3", "votes 2 of 3", "answer 3 of 3"] * 2
    assert {request.tools for request in backend.asked} == {()}


def test_ctrl_c_in_the_plain_chat_ends_early(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = LocalEngine(Scripted(FORTY_TWO, FORTY_TWO, [says("41")[2], *says("41")]))
    engine.alive = True
    with closing(Saver(print)) as saver:
        chat = PlainChat(engine, Start(Load(), Options(seed=0), None, False), saver, edits_lines=False)
        prompt = chat._conversation.add_prompt("q", None)

        def answered(number: int) -> bool:
            engine.stop()  # as Ctrl-C does
            return True

        monkeypatch.setattr("app.cli.plain_several.PlainSeveral._say_sample", lambda each, number: answered(number))
        chat._answer_several(Plan(3, "all"), prompt)
        chat.close()
    reasons = [node.facts.reason for node in chat._conversation.nodes.values() if node.facts]
    assert reasons == ["stop", "stop", "cancelled"]
