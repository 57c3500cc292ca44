"""`gptoss-chat download`: what it will take, one progress bar or plain lines, and how to go on.

The folder of the model is all that goes to standard output; the rest is for a person, on standard error.
"""

import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from mlx_model.errors import CheckpointError
from mlx_model.hub.download import Checking, DownloadEvent, Finished, Plan, Progress, fetch, prepare
from mlx_model.hub.names import KNOWN
from mlx_model.hub.transfer import Damaged, Verified, Verifying, Waiting
from mlx_model.memory.sizes import gigabytes
from mlx_model.text import clean

if TYPE_CHECKING:
    import rich.progress

_LINE_PERIOD = 30.0  # seconds between two plain lines, where ten percent take longer


def download(name: str, dest: str | None = None, *, update: bool = False, verify: bool = False) -> int:
    """Fetch a model and print its folder; returns the exit code. Raises CheckpointError and KeyboardInterrupt."""
    plan = prepare(name, dest, update=update)
    _announce(plan)
    plan.check_space()
    meter: Meter = Bar() if _is_terminal() else Lines()
    try:
        with meter.shown():
            folder = _follow(fetch(plan, again=verify), meter)
    except KeyboardInterrupt:
        kept = f"{gigabytes(plan.present)} of {gigabytes(plan.total)} are kept"
        _say(f"interrupted; {kept}: the same command goes on from there")
        raise
    _say(f"complete and verified; open the chat with: gptoss-chat --model {shlex.quote(folder if dest else name)}")
    print(clean(folder))
    return 0


class Meter(Protocol):
    """Shows how far a download is."""

    def shown(self) -> AbstractContextManager[object]: ...

    def update(self, what: str, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...


class Bar:
    """One bar on a terminal, with speed and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as Speed

        self._progress: rich.progress.Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%", markup=False),
            DownloadColumn(),
            Speed(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def shown(self) -> AbstractContextManager[object]:
        return self._progress

    def update(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, completed=done)
        self._progress.update(self._tasks[what], completed=done)

    def note(self, text: str) -> None:
        self._progress.console.print(clean(text), markup=False, highlight=False)


class Lines:
    """A plain line every ten percent, and at least every half minute."""

    def __init__(self) -> None:
        self._what = ""
        self._first = self._percent = 0
        self._start = self._last = 0.0

    def shown(self) -> AbstractContextManager[object]:
        return nullcontext()

    def update(self, what: str, done: int, total: int) -> None:
        now, percent = time.monotonic(), 100 * done // max(total, 1)
        if what != self._what:
            self._what, self._first, self._start = what, done, now
        elif percent // 10 == self._percent // 10 and now - self._last < _LINE_PERIOD:
            return
        self._percent, self._last = percent, now
        speed = (done - self._first) / (now - self._start) if now > self._start else 0
        rest = f", {gigabytes(int(speed))}/s, {duration((total - done) / speed)} left" if speed and done < total else ""
        _say(f"{what}: {percent}%, {gigabytes(done)} of {gigabytes(total)}{rest}")

    def note(self, text: str) -> None:
        _say(text)


def _follow(events: Iterator[DownloadEvent], meter: Meter) -> str:
    """Show the events of a download; returns the folder of the model."""
    for event in events:
        match event:
            case Checking(done, total):
                meter.update("checking what is here", done, total)
            case Progress(done, total):
                meter.update("downloading", done, total)
            case Waiting(name, reason, seconds):
                meter.note(f"{name}: {reason}; trying again in {seconds:.0f} s")
            case Damaged(name):
                meter.note(f"{name} is not what the Hub has; it is fetched again")
            case Verified(name) if name.endswith(".safetensors"):
                meter.note(f"{name} verified")
            case Verifying() | Verified():
                pass  # takes a few seconds a shard, beside the others
            case Finished(folder):
                return str(folder)
    raise CheckpointError("the download was cancelled; what was fetched is kept")


def _announce(plan: Plan) -> None:
    """Before a byte: what it is, how large, under which licence, and whether it fits."""
    license_name = f", licence {plan.license}" if plan.license else ""
    _say(f"{plan.repository.name} at {plan.commit[:12]}{license_name}")
    present, total = plan.present, plan.total
    where = plan.place.root.parent if plan.place.in_cache else plan.place.root
    if present == total:
        _say(f"{gigabytes(total)} in {len(plan.files)} files, all of it here already, in {where}")
        return
    here = f", {gigabytes(present)} of it here already" if present else ""
    _say(f"{gigabytes(total)} in {len(plan.files)} files{here}; to {where}")
    _say(f"{gigabytes(total - present)} to fetch, {gigabytes(plan.free)} free on the disk")
    short = next((short for short, repository in KNOWN.items() if repository == plan.repository.name), None)
    if short is not None:
        _say(f"in this computer's memory: {_memory(short)}")


def _memory(model: str) -> str:
    """How a published model would be held here, or that it would not fit: nobody should fetch it in vain."""
    from app.cli.doctor import describe
    from mlx_model.memory import device
    from mlx_model.transformer.config import PUBLISHED

    plan = describe(PUBLISHED[model], device.budget(), on_gpu=device.on_gpu())
    return str(plan["summary"] if plan["fits"] else plan["problem"])


def duration(seconds: float) -> str:
    """So long, in one unit: "40 s", "4 min", "3 h"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _say(text: str) -> None:
    print(clean(text), file=sys.stderr, flush=True)
