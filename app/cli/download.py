"""`gptoss-chat download`: what it will take, one progress bar or plain lines, and how to go on.

The folder of the model is all that goes to standard output; the rest is for a person, on standard error.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from app.cli.printing import is_dumb
from app.cli.usage import UsageError
from app.lines import counted
from mlx_model.distributed.hosts import hosts_of
from mlx_model.errors import CheckpointError
from mlx_model.hub.download import Checking, Downloaded, DownloadEvent, DownloadPlan, Progress, fetch, prepare
from mlx_model.hub.meter import Meter, damage
from mlx_model.hub.progress import DownloadState, Phase, pace
from mlx_model.hub.published import DEFAULT, KNOWN
from mlx_model.hub.transfer import Damaged, Verified, Verifying, Waiting
from mlx_model.memory.sizes import disk_size
from mlx_model.text import clean

if TYPE_CHECKING:
    import rich.progress

_LINE_PERIOD = 30.0  # seconds between two plain lines, where ten percent take longer


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "download",
        help="download a model's weights",
        description="Download a model's weights into the Hub's cache and verify them. After an interruption, the same "
        "command continues where it stopped. If the model is complete and verified, no request is made.",
        epilog="HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY and SSL_CERT_FILE are respected.",
    )
    parser.add_argument(
        "name",
        nargs="?",
        default=DEFAULT,
        metavar="NAME",
        help="gpt-oss-20b (13.8 GB, the default), gpt-oss-120b (65.2 GB) or org/name; @revision may follow",
    )
    parser.add_argument(
        "--with",
        dest="hosts",
        metavar="HOSTS",
        help="download only the layers that this computer holds when it shares the model with these, and have each of "
        "them download its own, as in user@mini.local",
    )
    parser.add_argument("--dest", metavar="DIR", help="download into this folder instead of the Hub's cache")
    parser.add_argument("--update", action="store_true", help="look for newer files even if the model is complete")
    parser.add_argument("--verify", action="store_true", help="verify files again that were verified before")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fetch a model and print its folder; returns 0. Raises CheckpointError and KeyboardInterrupt."""
    if arguments.hosts is not None:
        if arguments.dest or arguments.update:
            raise UsageError("--with downloads into the Hub's caches, what is not there: leave out --dest and --update")
        from app.cli.download_parts import download_parts

        print(clean(download_parts(arguments.name, hosts_of(arguments.hosts), _fetched)))
        return 0
    plan = prepare(arguments.name, arguments.dest, update=arguments.update)
    _announce(plan)
    plan.check_space()
    folder = _fetched(plan, again=arguments.verify)
    model = shlex.quote(folder if arguments.dest else arguments.name)
    _say(f"complete and verified; open the chat with: gptoss-chat --model {model}")
    print(clean(folder))
    return 0


def _fetched(plan: DownloadPlan, again: bool = False) -> str:
    """Fetches what a plan says, and shows it; returns the folder of the model."""
    display: Display = Bar() if sys.stderr.isatty() and not is_dumb() else Lines()
    try:
        with display.open():
            return _follow(fetch(plan, again=again), display, Meter())
    except KeyboardInterrupt:
        share = f"{disk_size(plan.present)} of {disk_size(plan.total)}"
        _say(f"interrupted; {share} are kept: the same command goes on from there")
        raise


class Display(Protocol):
    """Shows how far a download is."""

    def open(self) -> AbstractContextManager[object]:
        """Show within it."""
        ...

    def show(self, state: DownloadState) -> None:
        """Bring it up to date."""
        ...

    def note(self, text: str) -> None:
        """Say something beside it."""
        ...


class Bar:
    """One bar a phase on a terminal, with speed and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        self._progress: rich.progress.Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%", markup=False),
            DownloadColumn(),
            TextColumn("{task.fields[pace]}", markup=False),
            console=Console(stderr=True),
        )
        self._tasks: dict[Phase, rich.progress.TaskID] = {}

    def open(self) -> AbstractContextManager[object]:
        return self._progress

    def show(self, state: DownloadState) -> None:
        done, total = state.step
        if state.phase not in self._tasks:
            self._tasks[state.phase] = self._progress.add_task(str(state.phase), total=total, pace="")
        self._progress.update(self._tasks[state.phase], completed=done, pace="  ".join(pace(state)))

    def note(self, text: str) -> None:
        self._progress.console.print(clean(text), markup=False, highlight=False)


class Lines:
    """A plain line every ten percent, and at least every half minute. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phase: Phase | None = None
        self._tenth = 0
        self._last = 0.0

    def open(self) -> AbstractContextManager[object]:
        return nullcontext()

    def show(self, state: DownloadState) -> None:
        now, (done, total) = self._clock(), state.step
        percent = 100 * done // max(total, 1)
        is_due = percent // 10 != self._tenth or now - self._last >= _LINE_PERIOD
        if state.phase is self._phase and not is_due:
            return
        self._phase, self._tenth, self._last = state.phase, percent // 10, now
        share = f"{state.phase}: {percent}%, {disk_size(done)} of {disk_size(total)}"
        _say(", ".join([share, *pace(state)]))

    def note(self, text: str) -> None:
        _say(text)


def _follow(events: Iterator[DownloadEvent], display: Display, meter: Meter) -> str:
    """Show the events of a download; returns the folder of the model."""
    for event in events:
        meter.take(event)
        match event:
            case Checking() | Progress():
                display.show(meter.read())
            case Waiting(name, reason, seconds):
                display.note(f"{name}: {reason}; trying again in {seconds:.0f} s")
            case Damaged(name):
                display.note(damage(name))
            case Verified(name) if name.endswith(".safetensors"):
                display.note(f"{name} verified")
            case Verifying() | Verified():
                pass  # takes a few seconds a shard, beside the others
            case Downloaded(folder):
                return str(folder)
    raise CheckpointError("the download was cancelled; what was downloaded is kept")


def _announce(plan: DownloadPlan) -> None:
    """Before a byte: what it is, how large, under which licence, and whether it fits."""
    license_name = f", licence {plan.license}" if plan.license else ""
    _say(f"{plan.repository.name} at {plan.commit[:12]}{license_name}")
    present, total = plan.present, plan.total
    where = plan.target.root.parent if plan.target.in_cache else plan.target.root
    if present == total:
        _say(f"{disk_size(total)} in {counted(len(plan.files), 'file')}, all of them here already, in {where}")
        return
    here = f", of which {disk_size(present)} are here already" if present else ""
    _say(f"{disk_size(total)} in {counted(len(plan.files), 'file')}{here}; to {where}")
    _say(f"{disk_size(total - present)} to download, {disk_size(plan.free)} free on the disk")
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


def _say(text: str) -> None:
    print(clean(text), file=sys.stderr, flush=True)
