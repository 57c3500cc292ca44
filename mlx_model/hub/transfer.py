"""One file of a model from the Hub to the disk: continued where it stopped, tried again, and verified.

huggingface_hub gives the list of files, the login, the proxies and the connections. The reading is done here, by plain
HTTP: since 1.18 its own downloads begin a file anew when they were interrupted (its issue 4196), those through hf-xet
always did, and a shard has 4.8 GB. Every byte goes to the partial file as it comes, so that kill -9 costs no more than
what the network had under way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from threading import Event

from mlx_model.errors import CheckpointError
from mlx_model.hub.client import opened
from mlx_model.hub.explain import asked_to_wait, is_transient, reason
from mlx_model.hub.folder import File, ModelFolder, is_intact

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further try. The count starts anew when a byte arrives, so a slow or shaky network ends nothing;
half a minute without a single one does."""

_COPIED = 1 << 20  # bytes


@dataclass(frozen=True)
class Waiting:
    """A request failed and will be sent again in so many seconds."""

    name: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class Verifying:
    """The file is complete and is being read once more, to compare its digest with the Hub's."""

    name: str


@dataclass(frozen=True)
class Verified:
    """The file is complete, has the Hub's digest, and is in its place."""

    name: str


@dataclass(frozen=True)
class Damaged:
    """The file is not what the Hub has; it was removed and will be fetched again, alone."""

    name: str


TransferEvent = Waiting | Verifying | Verified | Damaged


class Stopped(Exception):
    """The download was cancelled; what was fetched is kept."""


class Transfer:
    """Fetches files of one model. Safe to use from several threads, one file each.

    `tell` gets events; `reach` a file's name and how many of its bytes were fetched or, in a check, read, which falls
    back where a file begins anew. Both are called from the thread that fetches. Once `stop` is set, every method
    raises Stopped at its next byte.
    """

    def __init__(
        self,
        target: ModelFolder,
        *,
        tell: Callable[[TransferEvent], None],
        reach: Callable[[str, int], None],
        stop: Event,
    ) -> None:
        self._target = target
        self._tell = tell
        self._reach = reach
        self._stop = stop

    def fetch(self, file: File, url: str, headers: dict[str, str], copy: Path | None = None) -> None:
        """Bring a file to its place, from `copy` if that has the same content, else from the network.

        Raises CheckpointError when the content is wrong twice, OSError for the disk, and what huggingface_hub's client
        raises when the network fails for good.
        """
        partial = self._target.partial(file)
        partial.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            if copy is not None:
                self._copy(file, copy, partial)
            self._fill(file, url, headers, partial)
            if self.check(file, partial):
                self._target.take(file)
                return
            partial.unlink()
            copy = None
            self._tell(Damaged(file.name))
        raise CheckpointError(
            f"{file.name} arrived twice with contents that don't match the Hub's digest, so it was discarded; a proxy "
            "may have changed it. The other files are kept: try again, if necessary on another network"
        )

    def check(self, file: File, path: Path) -> bool:
        """Read a complete file; whether it is what the Hub has. Raises OSError."""
        self._tell(Verifying(file.name))

        def on_read(done: int) -> None:
            self._go_on()
            self._reach(file.name, done)

        return path.stat().st_size == file.size and is_intact(path, file.digest, on_read)

    def _fill(self, file: File, url: str, headers: dict[str, str], partial: Path) -> None:
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's or httpx2's

        tries = 0
        while True:
            self._go_on()
            start = partial.stat().st_size if partial.exists() else 0
            self._reach(file.name, min(start, file.size))
            if start == file.size and partial.exists():
                return
            failure: Exception = CheckpointError(f"the Hub sent less of {file.name} than it announced; try again later")
            try:
                self._append(file, url, headers, partial)
            except HTTPError as error:
                if not is_transient(error):
                    raise
                failure = error
            have = partial.stat().st_size
            if have == file.size:
                continue
            tries = 0 if have > start else tries + 1
            if tries > len(WAITS):
                raise failure
            seconds = asked_to_wait(failure) or WAITS[max(tries - 1, 0)]
            self._tell(Waiting(file.name, reason(failure), seconds))
            if self._stop.wait(seconds):
                raise Stopped

    def _append(self, file: File, url: str, headers: dict[str, str], partial: Path) -> None:
        """One request for what is missing, and its answer to the end of the partial file."""
        with partial.open("ab", buffering=0) as out:
            start = out.tell()
            if start > file.size:  # can't be a beginning of this file
                out.truncate(start := 0)
            with _opened(url, headers, start, file.size) as (first, pieces):
                self._go_on()
                if first != start:  # the server ignored the range and sends everything
                    out.truncate(start := first)
                for piece in pieces:
                    self._go_on()
                    start += _write(out, piece[: file.size - start])
                    self._reach(file.name, start)
                    if start == file.size:
                        return

    def _copy(self, file: File, copy: Path, partial: Path) -> None:
        with copy.open("rb", buffering=0) as content, partial.open("ab", buffering=0) as out:
            content.seek(out.tell())
            while piece := content.read(_COPIED):
                self._go_on()
                _write(out, piece)
                self._reach(file.name, out.tell())

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Stopped


def _write(out: FileIO, piece: bytes) -> int:
    """Write all of it: an unbuffered file may take a part only, as when the disk is nearly full. Raises OSError."""
    rest = memoryview(piece)
    while rest:
        rest = rest[out.write(rest) :]
    return len(piece)


@contextmanager
def _opened(url: str, headers: dict[str, str], start: int, size: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """The answer to a request for the bytes from `start`: where it really starts, and its pieces."""
    # Compression would make the length of the answer another than that of the file.
    request = {**headers, "Accept-Encoding": "identity"}
    if start:
        request["Range"] = f"bytes={start}-{size - 1}"
    with opened(url, request) as response:
        yield (start if response.status_code == 206 else 0), response.iter_bytes()
