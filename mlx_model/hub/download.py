"""Fetching a model from the Hub: what it takes, then the fetching itself, as a stream of events that can be cancelled.

`prepare` says what there is to do before a byte of a file moves, `fetch` does it:

    plan = prepare("gpt-oss-20b")
    for event in fetch(plan, cancel):
        match event: ...

Where it ends, by `cancel`, an exception or kill -9, the next `fetch` of the same model goes on. A file gets its name
only once it has been read back and has the digest that the Hub announces, so what is half fetched or damaged can't be
loaded; a branch gets its new meaning only when all of its files are there: an older revision stays usable until then.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from urllib.parse import quote

from mlx_model.checkpoint_files import weight_files
from mlx_model.errors import CheckpointError
from mlx_model.hub.client import errors, headers
from mlx_model.hub.environment import endpoint, expanded, free_space, missing_disk
from mlx_model.hub.explain import explain
from mlx_model.hub.folder import File, ModelFolder, Record, copies
from mlx_model.hub.listing import NoModel, NoRevision, list_files
from mlx_model.hub.names import Repository, is_complete, needed_files
from mlx_model.hub.published import DEMO, KNOWN
from mlx_model.hub.spelling import no_name
from mlx_model.hub.transfer import Damaged, Stopped, Transfer, TransferEvent, Verified
from mlx_model.memory.sizes import disk_size
from mlx_model.part import Part
from mlx_model.text import clean

_THREADS = 4  # connections: one alone is often slower than the line
_PERIOD = 0.1  # seconds between two progress events
_SPARE = 64 << 20  # bytes left free on the disk
_SHARD = ".safetensors"


@dataclass(frozen=True)
class Checking:
    """Files that were here already, but not in the record of verified ones, are being read: bytes of bytes."""

    done: int
    total: int


@dataclass(frozen=True)
class Progress:
    """Bytes of the model that are on disk, and that it has. `done` never falls, `total` never changes."""

    done: int
    total: int


@dataclass(frozen=True)
class Downloaded:
    """The model is complete and verified; `folder` is what load() takes."""

    folder: Path


DownloadEvent = TransferEvent | Checking | Progress | Downloaded


@dataclass(frozen=True)
class DownloadPlan:
    """What fetching a model takes; nothing of it has been done yet."""

    repository: Repository
    commit: str
    files: tuple[File, ...]
    target: ModelFolder
    listed: bool
    """Whether the Hub has listed the files; else sizes are those on disk, and right only where the digest is, too."""
    license: str | None
    """As its publisher states it, e.g. "apache-2.0"; None if unknown, as without the network."""
    part: Part | None = None
    """Which part of the model the files are of; None: all of it."""

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def present(self) -> int:
        """Bytes of them that are on disk, in whole and in partial files."""
        return sum(_present(self.target, file) for file in self.files)

    @property
    def free(self) -> int:
        """Bytes free where the model goes."""
        return free_space(self.target.root)

    def check_space(self) -> None:
        """Raises CheckpointError if what is missing doesn't fit on the disk."""
        missing, free = self.total - self.present, self.free
        if missing and missing + _SPARE > free:
            raise CheckpointError(
                f"the disk has {disk_size(free)} free, and {disk_size(missing)} are still to be fetched to "
                f"{self.target.root}: free some space, or put the model elsewhere with --dest or HF_HOME"
            )


def repository_of(name: str) -> Repository:
    """The model on the Hub that a name means. Raises NoModel where it can mean none."""
    if name == DEMO:
        raise NoModel(f"{DEMO} is a part of the program: there is nothing to download")
    if (repository := Repository.parse(name)) is None:
        raise NoModel(no_name(name) or f'"{name}" is no model on the Hub: try {" or ".join(KNOWN)}, or org/name')
    return repository


def prepare(name: str, dest: str | Path | None = None, *, update: bool = False) -> DownloadPlan:
    """What fetching this model takes: "gpt-oss-20b", "org/name", either with "@revision".

    `dest` is a plain folder to put it in instead of the Hub's cache. A model that is there and complete is planned
    without any request; with `update` the Hub is asked for newer files first. Raises NoModel and CheckpointError.
    """
    repository = repository_of(name)
    if dest is None and (problem := missing_disk()) is not None:
        raise CheckpointError(problem)
    folder = expanded(dest).absolute() if dest is not None else repository.snapshot()
    if folder is None or update or not is_complete(folder):
        return _ask_hub(repository, ModelFolder.of(folder) if folder is not None and dest is not None else None)
    target = ModelFolder.of(folder)
    commit = folder.name if target.in_cache else repository.revision
    found = [target.found(name) for name in needed_files(folder)]
    files = tuple(file for file in found if file is not None)
    if len(files) == len(found):
        return DownloadPlan(repository, commit, files, target, listed=False, license=None)
    try:  # what lies there is of that commit, even if there is a newer one
        return _ask_hub(repository, target, commit)
    except NoRevision:
        return _ask_hub(repository, None if target.in_cache else target)


def of_part(plan: DownloadPlan, part: Part) -> DownloadPlan:
    """The same for a part of the model alone.

    Fetches the small files, if they are not there: the index says in which shards the part lies. Raises CheckpointError
    as `fetch` does.
    """
    small = tuple(file for file in plan.files if not file.name.endswith(_SHARD))
    for _ in fetch(replace(plan, files=small, part=part)):
        pass
    shards = {*weight_files(plan.target.folder, part)}
    files = tuple(file for file in plan.files if not file.name.endswith(_SHARD) or file.name in shards)
    return replace(plan, files=files, part=part)


def fetch(
    plan: DownloadPlan, cancel: Event | None = None, *, again: bool = False
) -> Generator[DownloadEvent, None, None]:
    """Do what the plan says; ends with Downloaded, or without it soon after `cancel` was set. Blocks between events.

    `again` reads files that the record calls verified once more. Raises CheckpointError, saying what to do, when the
    network or the disk fails for good or another process fetches the same model; what was fetched is kept.
    """
    run = _Run(plan, cancel or Event(), again)
    try:
        with plan.target.locked():
            yield from run.events()
    except Stopped:
        return
    except CheckpointError:
        raise
    except Exception as error:
        if not isinstance(error, errors()):
            raise
        name, revision = plan.repository.name, plan.repository.revision
        text = explain(error, name, revision, endpoint(), kept=plan.present > 0)
        raise CheckpointError(clean(text)) from None


class _Run:
    """One fetch(): the threads that read, and what they have reached."""

    def __init__(self, plan: DownloadPlan, cancel: Event, again: bool) -> None:
        self._plan = plan
        self._cancel = cancel
        self._again = again
        self._stop = Event()
        self._outbox: SimpleQueue[TransferEvent | Exception | None] = SimpleQueue()
        self._reached: dict[str, int] = {}
        self._record = Record(plan.target.root)
        self._transfer = Transfer(plan.target, tell=self._outbox.put, reach=self._reach, stop=self._stop)

    def events(self) -> Iterator[DownloadEvent]:
        target, files = self._plan.target, self._plan.files
        for _ in range(2):
            unsure, self._again = self._unsure(), False
            yield from self._all(unsure, self._check, partial(Checking, total=sum(file.size for file in unsure)))

        if not self._plan.listed and any(not target.path(file).exists() for file in files):
            asked = _ask_hub(self._plan.repository, self._plan.target, self._plan.commit)
            names = {file.name for file in files}
            here = asked.files if self._plan.part is None else tuple(f for f in asked.files if f.name in names)
            self._plan = replace(asked, files=here, part=self._plan.part)
            files = self._plan.files
        self._plan.check_space()
        self._reached = {file.name: _present(target, file) for file in files}
        missing = sorted((f for f in files if not target.path(f).exists()), key=lambda file: file.size)
        total = self._plan.total
        yield from self._all(missing, self._fetch, lambda done: Progress(done, total))

        for file in files:
            target.link(file)
        if self._plan.part is not None:
            # A whole model of another revision stays what the branch means.
            if self._plan.repository.snapshot() is None:
                target.name_revision(self._plan.repository.revision)
            yield Downloaded(target.folder)
            return
        if not is_complete(target.folder):
            raise CheckpointError(
                f"{self._plan.repository.name} is incomplete on the Hub: a file that the model needs isn't there. What "
                "was fetched is kept, but can't be loaded; tell the publisher"
            )
        target.name_revision(self._plan.repository.revision)
        target.clear_partials()
        yield Downloaded(target.folder)

    def _unsure(self) -> list[File]:
        """Files that are here and not known to be intact. One that was damaged is gone, but another may be in its
        place: a blob behind a file of the snapshot's own."""
        target = self._plan.target
        here = [file for file in self._plan.files if target.path(file).exists()]
        return [f for f in here if self._again or not self._record.holds(target.path(f), f.digest)]

    def _check(self, file: File) -> None:
        path = self._plan.target.path(file)
        if self._transfer.check(file, path):
            self._record.add(path, file.digest)
            self._outbox.put(Verified(file.name))
            return
        if not self._plan.target.in_cache and self._record.digest(path) is None:
            raise CheckpointError(
                f"{path} is not the file of that name in {self._plan.repository.name}, and no download put it there: "
                "nothing was changed; choose another folder, or move that file away"
            )
        path.unlink()
        self._outbox.put(Damaged(file.name))

    def _fetch(self, file: File) -> None:
        plan, target = self._plan, self._plan.target
        url = f"{endpoint()}/{plan.repository.name}/resolve/{quote(plan.commit, safe='')}/{quote(file.name)}"
        self._transfer.fetch(file, url, headers(), next(copies(plan.repository.cache, file), None))
        target.link(file)
        self._record.add(target.path(file), file.digest)
        self._outbox.put(Verified(file.name))

    def _reach(self, name: str, done: int) -> None:
        self._reached[name] = max(done, self._reached.get(name, 0))

    def _all(
        self, files: list[File], work: Callable[[File], None], progress: Callable[[int], Checking | Progress]
    ) -> Iterator[DownloadEvent]:
        """Do `work` for all files, some at a time; yields their events, and progress in between."""
        if not files:
            return
        waiting = deque(files)

        def worker() -> None:
            try:
                while waiting and not self._stop.is_set():
                    with suppress(IndexError):
                        work(waiting.popleft())
            except Stopped:
                pass
            except Exception as error:
                self._outbox.put(error)
            self._outbox.put(None)

        threads = [Thread(target=worker, daemon=True) for _ in range(min(_THREADS, len(files)))]
        for thread in threads:
            thread.start()
        running, last_done, next_time = len(threads), -1, 0.0
        try:
            while running:
                if self._cancel.is_set():
                    raise Stopped
                event: TransferEvent | Exception | None = None
                with suppress(Empty):
                    event = self._outbox.get(timeout=_PERIOD)
                    if event is None:
                        running -= 1
                    elif isinstance(event, Exception):
                        raise event
                    else:
                        yield event
                done = sum(self._reached.values())
                if done != last_done and (not running or time.monotonic() >= next_time):
                    last_done, next_time = done, time.monotonic() + _PERIOD
                    yield progress(done)
        except BaseException:  # GeneratorExit and Ctrl-C, too
            # A thread that waits for the network sees it at its next byte or time-out, and writes nothing after that:
            # nobody has to wait for it.
            self._stop.set()
            for thread in threads:
                thread.join(timeout=_PERIOD)
            raise


def _ask_hub(repository: Repository, target: ModelFolder | None, revision: str | None = None) -> DownloadPlan:
    """The plan that the Hub's list of files gives; None: for the Hub's cache. Raises CheckpointError."""
    found = list_files(repository, revision or repository.revision, kept=revision is not None)
    target = target or ModelFolder(repository.cache, repository.cache / "snapshots" / found.commit)
    return DownloadPlan(repository, found.commit, found.files, target, listed=True, license=found.license)


def _present(target: ModelFolder, file: File) -> int:
    """Bytes of a file that are on disk, whole or partial."""
    for path in (target.path(file), target.partial(file)):
        with suppress(OSError):
            return min(path.stat().st_size, file.size)
    return 0
