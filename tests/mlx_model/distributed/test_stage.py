"""A stage does what it is asked within bounds, and says what it can't do."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlx_model.distributed.frames import Frame, FrameError
from mlx_model.distributed.machine import Files, Machine
from mlx_model.hub import names
from tests.fixtures.direct_stages import DirectRemote

WISHES = {"context": 1000, "dense_bits": 16}


@pytest.fixture(scope="module")
def remote() -> DirectRemote:
    found = DirectRemote("demo")
    found.stage.take(Frame("load", {"start": 3, "stop": 6, **WISHES}))
    found.stage.take(Frame("new", {"cache": 1, "marks": 5}))
    return found


@pytest.fixture
def answers(remote: DirectRemote) -> Any:
    remote._replies.clear()
    return remote._replies


ROW = np.ones(128, np.float32).tobytes()


def forward(**changes: Any) -> Frame:
    fields = {"caches": [1], "positions": [0], "batch": 1, "tokens": 1, "wanted": 1, **changes}
    return Frame("forward", fields, changes.pop("rows", ROW))


@pytest.mark.parametrize(
    "frame",
    [
        Frame("dance"),
        Frame("load", {"start": 5, "stop": 5, **WISHES}),
        Frame("load", {"start": 0, "stop": 7, **WISHES}),
        Frame("load", {"start": 0, "stop": 3, "context": 0, "dense_bits": 16}),
        Frame("load", {"start": "0", "stop": 3}),
        Frame("new", {"cache": 1, "marks": 5}),
        Frame("new", {"cache": 2, "marks": 10**6}),
        Frame("mark", {"cache": 7, "values": [3]}),
        Frame("mark", {"cache": 1, "values": [-3]}),
        Frame("restore", {"cache": 1, "values": [3]}),
        Frame("restore", {"cache": 1, "values": []}),
        Frame("take_back", {"cache": 1, "values": []}),
        Frame("fork", {"cache": 1, "values": [1, 0]}),
        Frame("fork", {"cache": 1, "values": [5, 8]}),
        forward(caches=[]),
        forward(caches=[9]),
        forward(positions=[1]),
        forward(tokens=2),
        forward(tokens=0),
        forward(wanted=2),
        forward(rows=ROW[:-1]),
        forward(batch=1 << 40),
    ],
    ids=lambda frame: f"{frame.kind} {frame.fields}",
)
def test_what_makes_no_sense_is_refused(remote: DirectRemote, frame: Frame) -> None:
    if "start" in frame.fields:
        other = DirectRemote("demo")
        with pytest.raises(FrameError):
            other.stage.take(frame)
        return
    with pytest.raises(FrameError):
        remote.stage.take(frame)


def test_it_computes_after_what_it_has_refused(remote: DirectRemote, answers: Any) -> None:
    assert remote.stage.take(forward())
    assert [frame.kind for frame in answers] == ["rows"] and len(answers[0].rows) == len(ROW)
    assert remote.stage.take(Frame("restore", {"cache": 1, "values": [0]}))


def test_every_message_of_a_long_conversation_can_be_marked(remote: DirectRemote) -> None:
    assert remote.stage.take(Frame("mark", {"cache": 1, "values": list(range(1, 131_072, 7))}))


def test_nothing_is_computed_before_layers_are_loaded() -> None:
    stage = DirectRemote("demo").stage
    for frame in (forward(), Frame("new", {"cache": 1, "marks": 5})):
        with pytest.raises(FrameError, match="no layers"):
            stage.take(frame)


def test_it_says_what_it_is_and_which_files_it_has() -> None:
    remote = DirectRemote("demo")
    remote.stage.take(Frame("hello", {"protocol": 1, "model": "demo"}))
    machine, files = Machine.of(remote._replies[0]), Files.of(remote._replies[1])
    free = {"budget": 0, "reason": ""}  # another amount at another moment
    assert replace(machine, **free) == replace(Machine.here(), **free)  # type: ignore[arg-type]
    assert machine.budget > 0 and machine.way == "compiled"
    assert files == Files.in_folder(names.resolve("demo")) and files.layers == tuple(range(6))


def test_of_another_protocol_it_says_what_it_is_and_no_more() -> None:
    remote = DirectRemote("demo")
    remote.stage.take(Frame("hello", {"protocol": 99}))
    assert [frame.kind for frame in remote._replies] == ["machine"]


def test_a_model_that_is_not_there_and_one_that_does_not_fit_are_said_in_words() -> None:
    remote = DirectRemote("demo")
    remote.stage.take(Frame("hello", {"protocol": 1, "model": "gpt-oss-120b"}))
    assert "not on this computer" in remote._replies[-1].text("text")
    remote.stage._memory = 1 << 20
    remote.stage.take(Frame("hello", {"protocol": 1, "model": "demo"}))
    remote.stage.take(Frame("load", {"start": 0, "stop": 3, **WISHES}))
    assert "this model needs" in remote._replies[-1].text("text")


def test_bye_is_the_last_word(remote: DirectRemote) -> None:
    assert not remote.stage.take(Frame("bye"))


def test_copies_of_a_model_are_compared() -> None:
    files = Files("c", "i", "", {"a": "1", "b": "2"}, (0, 1))
    same = Files("c", "i", "f" * 40, {"b": "2", "c": "3"}, (1,))
    assert files.why_not_with(same) is None
    others = [Files("x", "i", "", {}, ()), Files("c", "x", "", {}, ()), Files("c", "i", "", {"b": "9"}, ())]
    assert all(files.why_not_with(other) for other in others)
    assert same.why_not_with(Files("c", "i", "e" * 40, {}, ()))


@pytest.mark.parametrize(
    "changes", [{"way": "magic"}, {"chip": 3}, {"budget": -1}, {"memory": 1 << 80}, {"reason": "x" * 500}]
)
def test_a_machine_that_can_not_be_is_refused(changes: dict[str, Any]) -> None:
    frame = Machine.here().frame()
    with pytest.raises(FrameError):
        Machine.of(Frame("machine", {**frame.fields, **changes}))
    with pytest.raises(FrameError):
        Files.of(Frame("files", {"digests": {"a": "../x"}, "layers": []}))
