"""A run that is killed again and again, each time in a process of its own, and always resumed.

    python -m tests.app.dataset.killed_runs LOG KILLS

Where it is killed is drawn: within an answer, in the midst of a line of the log, or behind one. Prints how many answers
were begun in all, and how many by a run that nobody kills, whose log is LOG with ".whole" behind it.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from app.dataset import log
from app.dataset.log import opened
from app.dataset.run import Run
from mlx_model.events import Event
from mlx_model.request import Request
from tests.app.dataset.made import a_run
from tests.fixtures.item_writer import write_item
from tests.fixtures.scripted_engine import ScriptedEngine


def make(path: Path, run: Run, begun: Path, die: Callable[[str], None]) -> None:
    """The run, up to its end or the kill."""

    def script(request: Request) -> Iterable[Event]:
        with begun.open("a") as file:
            file.write(".")
        for event in write_item(request):
            die("answer")
            yield event

    async def made() -> None:
        with opened(path, {"of": "a test"}, resume=True) as lines:
            run.take_up(lines)
            async for _ in run.outcomes(ScriptedEngine(script), lines, lambda: False):
                die("line")

    asyncio.run(made())


def killed(path: Path, begun: Path, drawn: random.Random) -> None:
    """One process, which is killed at the place that is drawn."""
    place, count = drawn.choice(("answer", "half", "line")), drawn.randint(1, 4)
    if (process := os.fork()) == 0:
        left = {place: count * 12 if place == "answer" else count}
        append = log._append

        def die(at: str) -> None:
            left[at] = left.get(at, 0) - 1
            if left[at] == 0:
                kill()

        def half(file: Any, to: Path, record: Any) -> None:
            append(file, to, record)
            if "try" in record and left.get("half", 0) > 0:
                left["half"] -= 1
                if left["half"] == 0:
                    file.truncate(file.tell() - drawn.randint(1, 60))
                    kill()

        vars(log)["_append"] = half
        make(path, a_run(), begun, die)
        os._exit(1)  # it was to be killed
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status), f"it ended by itself ({place}, {count})"


def kill() -> NoReturn:
    """At once: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def main() -> None:
    """See above."""
    path, kills = Path(sys.argv[1]), int(sys.argv[2])
    drawn = random.Random(7)
    begun, alone = path.with_suffix(".begun"), path.with_suffix(".alone")
    for _ in range(kills):
        killed(path, begun, drawn)
    make(path, a_run(), begun, lambda at: None)
    make(path.with_name(path.name + ".whole"), a_run(), alone, lambda at: None)
    print(begun.stat().st_size, alone.stat().st_size)


if __name__ == "__main__":
    main()
