"""A model over processes, as over computers: they start, answer, die, hang, come back, and none is left behind."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mlx_model.distributed import load as loading
from mlx_model.distributed import remote
from mlx_model.distributed.frames import Frame
from mlx_model.distributed.load import load_across, why_not
from mlx_model.distributed.machine import Files, Machine
from mlx_model.distributed.remote import Remote, StageLost
from mlx_model.errors import CheckpointError
from mlx_model.generation.session import Session
from mlx_model.harmony.message import user
from mlx_model.memory.wishes import Wishes
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.request import Request
from tests.fixtures.stages import LocalStages

REQUEST = Request((user("How many r's are in strawberry?"),), Options(seed=1))


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStages]:
    local = LocalStages(tmp_path_factory.mktemp("stages"))
    with pytest.MonkeyPatch.context() as patched:
        for name, value in local.environment().items():
            patched.setenv(name, value)
        yield local


@pytest.fixture(scope="module")
def across(processes: LocalStages) -> Iterator[Model]:
    """The demo over two processes; the program there says something before it starts.

    In the end a stage is left to itself: it ends because its standard input does.
    """
    progress: list[tuple[int, int]] = []
    model = load_across("demo", ["me@noisy"], progress=lambda *step: progress.append(step))
    assert progress[-1][0] == progress[-1][1] > 0
    yield model
    process = pipeline_of(model)._stages[0]._process
    process.stdin.close()
    assert process.wait(120) == 0 and not processes.alive
    pipeline_of(model).lose()


def pipeline_of(model: Model) -> Any:
    return model.transformer.further  # type: ignore[union-attr]


def answer(model: Model, session: Session | None = None) -> list[str]:
    events = list((session or Session(model)).stream(REQUEST))
    return [event.text for event in events if hasattr(event, "text")]


def test_two_processes_answer_as_one(across: Model) -> None:
    assert answer(across) == answer(load("demo"))
    there, way = across.away_s
    assert there > 0 and way > 0


@pytest.mark.parametrize("signalled", [signal.SIGKILL, signal.SIGSTOP])
def test_a_stage_that_dies_or_hangs_costs_one_answer(
    across: Model, processes: LocalStages, signalled: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the midst of it; what came is there. The next one comes from another stage, once there is one."""
    monkeypatch.setattr(remote, "_LEAST_S", 0.2)
    session, whole = Session(across), "".join(answer(across))
    text = ""
    with pytest.raises(StageLost, match=r"^noisy (has stopped answering|no longer answers)"):
        for event in session.stream(REQUEST):
            text += getattr(event, "text", "")
            if len(text) == 10:
                os.kill(processes.processes[-1], signalled)
    assert whole.startswith(text) and text
    assert not processes.alive
    with monkeypatch.context() as patched, pytest.raises(StageLost, match="can't be reached: no route; ask again"):
        patched.setattr(remote, "stage_command", lambda host: ["sh", "-c", "echo no route >&2; exit 255"])
        answer(across, session)
    assert "".join(answer(across, session)) == whole
    assert len(processes.alive) == 1


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("me@missing", "missing can't be reached: ssh: Could not resolve hostname me@missing"),
        ("me@locked", "locked does not let you in without a password: run `ssh-copy-id me@locked`"),
        ("bare", "bare has no gptoss-stage where ssh looks for programs"),
    ],
)
def test_why_a_computer_can_not_be_used(processes: LocalStages, host: str, said: str) -> None:
    with pytest.raises(StageLost) as lost:
        load_across("demo", [host])
    assert str(lost.value).startswith(said) and "\n" not in str(lost.value)
    assert processes.processes[-1] not in processes.alive


def test_a_program_without_an_end_of_its_own_ends(processes: LocalStages) -> None:
    """What is no stage is ended, and what it says is one clean line."""
    command = ["sh", "-c", "printf '\\033[31mhello\\033[0m\\n' >&2; exec cat /dev/zero"]
    other = Remote("zero", command)
    with pytest.raises(StageLost, match=r"^zero can't be used: it writes something else than a stage would$"):
        other.hello("demo")
    assert other._process.returncode is not None


def scripted(monkeypatch: pytest.MonkeyPatch, frames: list[Frame]) -> Remote:
    """A remote whose other side says just this."""
    other = Remote("script", ["cat"])
    channel: Any = other._channel
    monkeypatch.setattr(channel, "receive", lambda patience, most=0: frames.pop(0))
    monkeypatch.setattr(channel, "await_greeting", lambda patience: None)
    return other


@pytest.mark.parametrize(
    "frames",
    [
        [Frame("failed", {"text": "\x1b[2Jno\nmore"})],
        [Frame("rows", {"seconds": 1})],
        [Frame("machine", {"protocol": 7})],
        [Frame("machine", {})],
        [Machine.here().frame(), Frame("failed", {"text": 3})],
        [Machine.here().frame(), Frame("files", {"config": 1})],
        [Frame("machine", {"protocol": 1, "way": "gpu"})],
    ],
)
def test_a_stage_that_says_what_can_not_be_is_lost(monkeypatch: pytest.MonkeyPatch, frames: list[Frame]) -> None:
    other = scripted(monkeypatch, frames)
    with pytest.raises(StageLost) as lost:
        other.hello("demo")
    assert "\x1b" not in str(lost.value) and other._process.returncode is not None


def test_rows_of_another_size_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = scripted(monkeypatch, [Frame("rows", {"seconds": 0.1}, b"123")])
    with pytest.raises(StageLost, match="3 bytes of rows for 8"):
        other.collect(8)


def test_different_versions_and_numbers_are_told_apart() -> None:
    here = Machine.here()
    assert why_not(here, here, "mini") is None
    for changes in ({"program": "0.0"}, {"mlx": "0.0"}, {"way": "gpu"}):
        assert "mini" in str(why_not(here, replace(here, **changes), "mini"))  # type: ignore[arg-type]


def test_what_is_missing_on_a_disk_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    model, files = load("demo"), Files.in_folder(load("demo").folder)
    there = replace(files, layers=(0, 1, 2))
    other = Remote("me@script", ["cat"])
    met = [loading.Met(other, Machine.here(), there)]
    with pytest.raises(CheckpointError, match=r"script does not have layers . to 5 of demo; .*download demo --with me"):
        loading._split("demo", model.config, Machine.here(), files, met, Wishes())
    other.close()
