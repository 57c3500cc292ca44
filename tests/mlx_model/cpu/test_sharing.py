"""How the threads of a team share a program: every chunk once, nobody waits for absentees, failures end it for all."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import psutil
import pytest

from mlx_model.cpu import threads
from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.sharing import abandon, begin, forget, new_state, phase_of, take
from mlx_model.cpu.threads import Team, thread_count

PHASES = 300


@kernel
def count(state, part, chunks, counts, order):  # type: ignore[no-untyped-def]
    """Phase i has chunks[i] chunks; each adds one to counts[i, chunk], and notes how many of the last are done."""
    for phase in range(len(chunks)):
        chunk = take(state, part, chunks[phase])
        while chunk >= 0:
            before = 0
            for earlier in range(chunks[phase - 1] if phase else 0):
                before += counts[phase - 1, earlier]
            order[phase, chunk] = before
            counts[phase, chunk] += 1
            chunk = take(state, part, chunks[phase])


def test_each_chunk_is_done_once_and_phases_follow_each_other() -> None:
    chunks = np.random.default_rng(0).choice([1, 2, 3, 40], PHASES)
    for many in (1, 2, 4):
        team = Team(many)
        for _ in range(3):
            counts, order = np.zeros((PHASES, 40), np.int64), np.zeros((PHASES, 40), np.int64)
            team.run(lambda state, part: count(state, part, chunks, counts, order))  # noqa: B023
            for phase in range(PHASES):
                assert (counts[phase, : chunks[phase]] == 1).all()
                assert not counts[phase, chunks[phase] :].any()
                if phase:
                    assert (order[phase, : chunks[phase]] == chunks[phase - 1]).all()


def test_a_late_thread_skips_what_is_over() -> None:
    state = new_state(2)
    first = phase_of(state)
    begin(state, 0, first)
    assert [take(state, 0, 2) for _ in range(3)] == [0, 1, -1]
    assert [take(state, 0, 1) for _ in range(2)] == [0, -1]
    begin(state, 1, first)
    assert [take(state, 1, 2), take(state, 1, 1)] == [-1, -1]
    assert take(state, 1, 1) == 0, "it has caught up"


@pytest.mark.parametrize("chunks", [1, 5])
def test_what_is_held_while_a_program_is_abandoned_counts_for_nothing(chunks: int) -> None:
    state = new_state(2)
    begin(state, 0, phase_of(state))
    begin(state, 1, phase_of(state))
    assert take(state, 1, chunks) == 0
    abandon(state)
    after = phase_of(state)
    assert take(state, 1, chunks) == -1
    assert phase_of(state) == after, "the late chunk doesn't take the program up again"
    forget(state)
    begin(state, 0, after)
    assert [take(state, 0, chunks) for _ in range(chunks + 1)] == [*range(chunks), -1]


def test_the_phase_may_overflow() -> None:
    state = new_state(1)
    state[0, 0] = np.int64(-1) << 32  # the last phase of 32 bits
    begin(state, 0, phase_of(state))
    assert [take(state, 0, 1) for _ in range(4)] == [0, -1, 0, -1]
    assert phase_of(state) == 1


@pytest.mark.parametrize("guilty", [0, 1])
def test_a_failure_in_any_thread_is_raised_and_the_next_program_runs(guilty: int) -> None:
    """Both hold a chunk when one of them fails; the other's is done after that."""
    team, holding, done = Team(2), threading.Barrier(2), np.zeros(2, np.int64)

    def fails(state: object, part: int) -> None:
        phase = phase_of(state)
        assert take(state, part, 1 << 30) >= 0
        holding.wait()
        if part == guilty:
            raise ZeroDivisionError
        while phase_of(state) == phase:
            time.sleep(0.001)
        done[part] += take(state, part, 1 << 30) < 0

    with pytest.raises(ZeroDivisionError):
        team.run(fails)
    assert done[1 - guilty] == 1, "it was waited for, and found its program over"
    chunks = np.full(PHASES, 5)
    counts, order = np.zeros((PHASES, 5), np.int64), np.zeros((PHASES, 5), np.int64)
    team.run(lambda state, part: count(state, part, chunks, counts, order))
    assert (counts == 1).all()


def test_who_fails_late_and_holds_nothing_spoils_no_other_program() -> None:
    team, may_fail, has_failed = Team(2), threading.Event(), threading.Event()

    def fails_late(state: object, part: int) -> None:
        if part == 1:
            may_fail.wait()
            raise MemoryError

    team.run(fails_late)
    chunks = np.full(PHASES, 5)
    counts, order = np.zeros((PHASES, 5), np.int64), np.zeros((PHASES, 5), np.int64)

    def program(state: object, part: int) -> None:
        if part == 0:
            may_fail.set()
            has_failed.wait()
        has_failed.set()  # by the thread that has, since it is here
        count(state, part, chunks, counts, order)

    team.run(program)
    assert (counts == 1).all()


@pytest.fixture
def interrupts() -> Iterator[list[threading.Event]]:
    """Ctrl-C sets the first of these and takes it out, before it interrupts."""
    events = list[threading.Event]()

    def interrupt(*_: object) -> None:
        events.pop(0).set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    yield events
    signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_leaves_no_thread_at_work_either(interrupts: list[threading.Event]) -> None:
    team, holding, done = Team(2), threading.Barrier(2), list[int]()
    first, second = threading.Event(), threading.Event()
    interrupts += [first, second]

    def program(state: object, part: int) -> None:
        phase = phase_of(state)
        assert take(state, part, 1 << 30) >= 0
        holding.wait()
        if part == 0:
            signal.raise_signal(signal.SIGINT)
        while phase_of(state) == phase:
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        second.wait()
        time.sleep(0.05)  # in which who waits for nobody has gone on
        done.append(part)

    with pytest.raises(KeyboardInterrupt):
        team.run(program)
    assert done == [1]


def test_an_interrupt_may_come_before_all_have_a_program() -> None:
    class Interrupted(SimpleQueue[Any]):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            team._queues[1] = queue
            raise KeyboardInterrupt

    team = Team(3)
    queue = team._queues[1]
    team._queues[1] = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        team.run(lambda state, part: None)

    def fails(state: object, part: int) -> None:
        if part == 0:
            raise ZeroDivisionError

    def run_on() -> None:
        with pytest.raises(ZeroDivisionError):
            team.run(fails)

    running = threading.Thread(target=run_on, daemon=True)
    running.start()
    running.join(60)
    assert not running.is_alive(), "it waits for a thread that was never given anything"


def test_one_thread_alone_leaves_the_others_asleep() -> None:
    team, seen = Team(3), []
    team.run(lambda state, part: seen.append(part), threads=1)
    assert seen == [0]
    assert team.threads == 3


@pytest.mark.parametrize(
    ("limit", "processors"),
    [
        ("max 100000", None),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("nonsense", None),
        (None, None),
    ],
)
def test_a_containers_limit_counts(
    limit: str | None, processors: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = tmp_path / "cpu.max"
    if limit is not None:
        quota.write_text(limit)
    monkeypatch.setattr(threads, "_QUOTA", quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 4)
    assert thread_count() == (processors or 4)
