"""Runs with a scripted model: what is kept, where it stands, and going on where one was stopped or killed."""

import asyncio
import errno
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.dataset.checks import Drop
from app.dataset.item import Item
from app.dataset.log import opened
from app.dataset.report import report
from app.dataset.run import MOST_IN_VAIN, Outcome, Run
from app.engine.engine import EngineDied, EngineError
from mlx_model.errors import RequestError
from mlx_model.events import Event, Finished
from mlx_model.harmony.message import Effort
from mlx_model.request import Request
from tests.app.dataset.made import RECIPE, SOURCES, a_run, source
from tests.fixtures import ROOT
from tests.fixtures.item_writer import write_item
from tests.fixtures.scripted_engine import Script, ScriptedEngine, message, says

SETTING = {"of": "a test"}


def carry_out(run: Run, path: Path, script: Script = write_item, at_once: int = 1, most: int = 10**9) -> ScriptedEngine:
    """The run, stopped behind `most` tries."""
    engine, done = ScriptedEngine(script), list[Outcome]()

    async def made() -> None:
        with opened(path, SETTING, resume=True) as log:
            run.take_up(log)
            async for outcome in run.outcomes(engine, log, lambda: len(done) >= most, at_once):
                done.append(outcome)

    asyncio.run(made())
    return engine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.log.jsonl"


def test_items_stand_where_they_say(path: Path) -> None:
    run = a_run()
    engine = carry_out(run, path)
    assert len(run.items) == 36 and run.is_in_vain  # six of each ten machines, of sixty
    for item in run.items:
        page = next(each for each in SOURCES if each.name == item.file).document.pages[item.page - 1]
        assert page.text[slice(*item.span)] == item.quote and item.context in page.text
        first, last = item.lines
        assert item.quote in "\n".join(page.text.split("\n")[first - 1 : last])
        assert item.where == f"page {item.page}" and item.sha256 == item.file * 8
        assert item.answer.split()[0] in item.quote and "\n" not in item.quote
        assert item.asked_alone == () and Item.from_json(json.loads(json.dumps(item.to_json()))) == item
    assert len({item.id for item in run.items}) == 36
    assert {item.file for item in run.items[:6]} == {"a.pdf", "b.pdf"}
    assert {item.difficulty for item in run.items} == {"easy", "medium", "hard"}
    assert run.drops[Drop.QUOTE] and run.drops[Drop.UNGROUNDED] and run.drops[Drop.LEANING] and run.drops[Drop.NOTHING]
    assert run.tries == len(run.items) + run.drops.total() == len(engine.asked)
    assert len({request.options.seed for request in engine.asked}) == run.tries
    first_request = engine.asked[0]
    assert first_request.form is not None and first_request.response_format is not None
    assert first_request.form.schema == first_request.response_format.schema


def test_the_report_counts_every_try(path: Path) -> None:
    run = a_run(replace(RECIPE, count=10, drop_known=True))
    carry_out(run, path)
    text = report(run, "gpt-oss-20b", "jsonl", Path("test.jsonl"), Path("test.yaml"), ["c.png is a picture"])
    rows = dict(re.findall(r"^\| (.+) \| ([\d,]+) \|$", text, re.MULTILINE))
    counts = {reason: int(rows[reason.value]) for reason in Drop if reason.value in rows}
    assert counts == run.drops and int(rows["kept"]) == 10
    assert "- c.png is a picture" in text and "| a.pdf | 2 |" in text and "3 times without the document" in text


def test_several_at_once_make_the_same_items(path: Path) -> None:
    one, three = a_run(), a_run()
    carry_out(one, path)
    engine = carry_out(three, path.with_suffix(".three"), at_once=8)
    assert [item.to_json() for item in three.items] == [item.to_json() for item in one.items]
    assert three.drops == one.drops
    assert engine.given_up == 0


def test_what_the_model_knows_anyway_is_dropped(path: Path) -> None:
    run = a_run(replace(RECIPE, drop_known=True, count=36))
    engine = carry_out(run, path)
    assert run.drops[Drop.KNOWN] >= 1 and "M15" not in " ".join(item.question for item in run.items)
    assert all(item.asked_alone == ("I don't know.",) for item in run.items)
    alone = [request for request in engine.asked if "Write one item" not in request.messages[-1].text]
    counts = Counter(request.messages[-1].text for request in alone)
    assert {count for text, count in counts.items() if "M15" not in text} == {1}
    assert next(count for text, count in counts.items() if "M15" in text) % 3 == 0
    assert all(request.form is None and request.options.effort is Effort.LOW for request in alone)
    # What the set has already is not asked about again.
    assert not {text for text, count in counts.items() if count > 1 and "M15" not in text}


def test_a_run_that_was_stopped_goes_on(path: Path) -> None:
    whole, stopped = a_run(), a_run()
    carry_out(whole, path.with_suffix(".whole"))
    carry_out(stopped, path, most=7)
    assert stopped.tries == 7 and not stopped.is_over
    more = a_run(replace(RECIPE, count=12))
    carry_out(more, path)
    assert len(more.items) == 12 and more.items[: len(stopped.items)] == stopped.items
    rest = a_run()
    engine = carry_out(rest, path, at_once=3)
    assert rest.items == whole.items and rest.drops == whole.drops
    assert len(engine.asked) <= whole.tries - more.tries + 2
    assert path.read_bytes() == path.with_suffix(".whole").read_bytes()
    assert not carry_out(a_run(), path).asked  # nothing is left to be done


def test_a_run_that_is_killed_twenty_times_loses_at_most_the_item_under_way(path: Path) -> None:
    command = [sys.executable, "-m", "tests.app.dataset.killed_runs", str(path), "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    begun, alone = map(int, done.stdout.split())
    assert alone < begun <= alone + 20
    assert path.read_bytes() == path.with_name(f"{path.name}.whole").read_bytes()


def test_answers_that_are_none(path: Path) -> None:
    answers: Iterator[Iterable[Event | Exception | None]] = iter(
        [
            [*message('{"quote": "Mach'), Finished("length")],
            [EngineError("the prompt has too many tokens", True, True)],
            says("no JSON"),
            [Finished("no_answer")],
        ]
    )
    run = a_run(replace(RECIPE, count=1))
    carry_out(run, path, lambda request: next(answers, None) or write_item(request))
    assert run.drops[Drop.CUT_OFF] == 3 and run.drops[Drop.TOO_LONG] == 1 and len(run.items) == 1


def test_an_engine_that_fails_ends_the_run_and_loses_nothing(path: Path) -> None:
    asked: list[int] = []

    def script(request: Request) -> Iterable[Event | Exception | None]:
        asked.append(1)
        return [EngineDied("the engine is gone")] if len(asked) == 9 else write_item(request)

    run = a_run()
    with pytest.raises(EngineDied):
        carry_out(run, path, script, at_once=3)
    assert 0 < run.tries < 9
    rest, whole = a_run(), a_run()
    carry_out(rest, path)
    carry_out(whole, path.with_suffix(".whole"))
    assert rest.items == whole.items


def test_a_stop_ends_the_answers_under_way(path: Path) -> None:
    """None of the script waits until the answer is cancelled."""
    run, stops = a_run(), list[bool]()
    engine = ScriptedEngine(lambda request: [None])

    async def made() -> None:
        with opened(path, SETTING, resume=False) as log:
            outcomes = run.outcomes(engine, log, lambda: bool(stops), 3)
            waiting = asyncio.ensure_future(anext(outcomes, None))
            while len(engine.asked) < 3:
                await asyncio.sleep(0)
            stops.append(True)
            await engine.cancel()
            assert await waiting is None

    asyncio.run(made())
    assert run.tries == 0


def test_a_model_that_writes_nothing_is_given_up(path: Path) -> None:
    run = a_run()
    carry_out(run, path, lambda request: says("{}"))
    assert run.tries == MOST_IN_VAIN and run.is_over and not run.items


def test_what_a_log_is_refused_for(path: Path) -> None:
    is_locked = pytest.raises(RequestError, match="another gptoss-chat")
    with opened(path, SETTING, resume=False), is_locked, opened(path, SETTING, resume=True):
        pass
    with opened(path, {"of": "another"}, resume=False):  # nothing had been tried
        pass
    carry_out(a_run(), path.with_suffix(".b"), most=2)
    for setting, resume, words in ((SETTING, False, "--resume goes on"), ({"of": "b"}, True, 'of "a test", not "b"')):
        with pytest.raises(RequestError, match=words), opened(path.with_suffix(".b"), setting, resume=resume):
            pass
    lines = path.with_suffix(".b").read_text().splitlines(keepends=True)
    for damage in ([*lines[:1], *lines[2:]], [lines[0], "{}\n"], [lines[0], "nothing\n", lines[1]]):
        path.write_text("".join(damage))
        with pytest.raises(RequestError, match="log"), opened(path, SETTING, resume=True) as log:
            a_run().take_up(log)


def test_a_full_disk_leaves_the_log_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out(a_run(), path, most=3)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match=path.name):
        patch.setattr(os, "fsync", full)
        carry_out(a_run(), path)
    assert path.read_bytes() == before
    run = a_run()
    carry_out(run, path, most=1)
    assert run.tries == 4


def test_files_without_a_passage() -> None:
    with pytest.raises(RequestError, match="no passage"):
        Run(RECIPE, [source("a.pdf", "Too short.")])
