"""The program is stopped between two steps of the event loop, never in the middle of one."""

import asyncio
import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from app.tui.terminal.suspension import suspend_between_steps

NUMBERS = (signal.SIGTSTP, signal.SIGCONT)


@pytest.fixture
def calls() -> Iterator[list[str]]:
    """What the handlers were called for, that Textual would set."""
    before = [signal.getsignal(number) for number in NUMBERS]
    calls: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        calls.append(signal.Signals(number).name)

    for number in NUMBERS:
        signal.signal(number, note)
    yield calls
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


def test_stops_when_the_step_is_over(calls: list[str]) -> None:
    async def step() -> None:
        suspend_between_steps(lambda: calls.append("anew"))
        os.kill(os.getpid(), signal.SIGTSTP)
        assert calls == []  # here the step may hold the lock of the output
        await _until(calls, 1)
        os.kill(os.getpid(), signal.SIGCONT)
        assert calls == ["SIGTSTP", "SIGCONT"]

    asyncio.run(step())


def test_takes_the_terminal_anew_after_a_stop_that_it_did_not_hear_of(calls: list[str]) -> None:
    async def step() -> None:
        suspend_between_steps(lambda: calls.append("anew"))
        os.kill(os.getpid(), signal.SIGCONT)
        assert calls == []
        await _until(calls, 1)

    asyncio.run(step())
    assert calls == ["anew"]


def test_leaves_a_program_without_a_terminal_alone() -> None:
    async def step() -> None:
        suspend_between_steps(lambda: None)

    before = [signal.getsignal(number) for number in NUMBERS]
    asyncio.run(step())
    assert [signal.getsignal(number) for number in NUMBERS] == before


async def _until(calls: list[str], count: int) -> None:
    async with asyncio.timeout(120):
        while len(calls) < count:
            await asyncio.sleep(0)
