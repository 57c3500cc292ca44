"""One file from a scripted network: what is asked for, what is told of it, and when it is given up."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.hub import transfer
from mlx_model.hub.client import _httpx
from mlx_model.hub.folder import File, ModelFolder
from mlx_model.hub.transfer import WAITS, Damaged, Stopped, Transfer, TransferEvent, Verifying, Waiting

httpx = _httpx()
CONTENT = bytes(range(100))
FILE = File("model.safetensors", 100, hashlib.sha256(CONTENT).hexdigest())

Answer = list[bytes | Exception]
"""The pieces of an answer; an exception in place of one ends it."""


class Patience(Event):
    """Notes how long it was waited for, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        return self.is_set()


class Network:
    """Answers one request after the other."""

    def __init__(self, *answers: Answer, ranges: bool = True) -> None:
        self.asked: list[str | None] = []
        self.encodings: set[str] = set()
        self._answers = list(answers)
        self._ranges = ranges

    @contextmanager
    def opened(self, url: str, headers: Mapping[str, str]) -> Iterator[SimpleNamespace]:
        assert url == "http://hub/file" and headers["x"] == "y"
        self.asked.append(headers.get("Range"))
        self.encodings.add(headers["Accept-Encoding"])
        status = 206 if self._ranges and "Range" in headers else 200
        yield SimpleNamespace(status_code=status, iter_bytes=self._pieces)

    def _pieces(self) -> Iterator[bytes]:
        for piece in self._answers.pop(0):
            if isinstance(piece, Exception):
                raise piece
            yield piece


class Fetching:
    """A transfer of FILE into a folder, and what it tells."""

    def __init__(self, folder: Path, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transfer, "opened", network.opened)
        self.target = ModelFolder.of(folder)
        self.told: list[TransferEvent] = []
        self.reached: list[int] = []
        self.stop = Patience()
        self.transfer = Transfer(self.target, tell=self.told.append, reach=self._reach, stop=self.stop)

    def _reach(self, name: str, done: int) -> None:
        assert name == FILE.name
        self.reached.append(done)

    def begin(self, content: bytes) -> None:
        """Leave this as what was fetched before."""
        partial = self.target.partial(FILE)
        partial.parent.mkdir(parents=True)
        partial.write_bytes(content)

    def fetch(self, copy: Path | None = None) -> bytes:
        """What the file is in the end."""
        self.transfer.fetch(FILE, "http://hub/file", {"x": "y"}, copy)
        assert not self.target.partial(FILE).exists()
        return self.target.path(FILE).read_bytes()


@pytest.mark.parametrize("present", [b"", CONTENT[:30]])
def test_what_is_missing_is_asked_for_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: bytes) -> None:
    start = len(present)
    network = Network([CONTENT[start:60], CONTENT[60:]])
    fetching = Fetching(tmp_path, network, monkeypatch)
    if present:
        fetching.begin(present)
    assert fetching.fetch() == CONTENT
    assert network.asked == [f"bytes={start}-99" if start else None] and network.encodings == {"identity"}
    assert fetching.reached[0] == start and fetching.reached[1:] == [60, 100, 100, 100]
    assert fetching.told == [Verifying(FILE.name)] and fetching.stop.waits == []


def test_what_is_whole_is_only_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network()
    fetching = Fetching(tmp_path, network, monkeypatch)
    fetching.begin(CONTENT)
    assert fetching.fetch() == CONTENT and network.asked == [] and fetching.reached == [100, 100]


def test_an_empty_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = Fetching(tmp_path, Network([b""]), monkeypatch)
    empty = File(FILE.name, 0, hashlib.sha256().hexdigest())
    fetching.transfer.fetch(empty, "http://hub/file", {"x": "y"})
    assert fetching.target.path(empty).read_bytes() == b""


@pytest.mark.parametrize("present", [CONTENT[:30], CONTENT + b"more"], ids=["no range", "too long"])
def test_it_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: bytes) -> None:
    fetching = Fetching(tmp_path, Network([CONTENT], ranges=False), monkeypatch)
    fetching.begin(present)
    assert fetching.fetch() == CONTENT
    assert fetching.reached == [min(100, len(present)), 100, 100, 100]


def test_more_than_the_size_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = Fetching(tmp_path, Network([CONTENT[:90], CONTENT[90:] + b"more", b"and more"]), monkeypatch)
    assert fetching.fetch() == CONTENT and max(fetching.reached) == 100


def test_tries_are_counted_anew_whenever_a_byte_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = httpx.ReadTimeout("lost")
    nothing: list[Answer] = [[lost] for _ in WAITS]
    fetching = Fetching(tmp_path, Network(*nothing, [CONTENT[:1], lost], *nothing, [CONTENT[1:]]), monkeypatch)
    assert fetching.fetch() == CONTENT
    assert fetching.stop.waits == [*WAITS, WAITS[0], *WAITS]
    waits = [event.seconds for event in fetching.told if isinstance(event, Waiting)]
    assert waits == fetching.stop.waits and len(fetching.told) == len(waits) + 1


def test_after_the_last_try_the_failure_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(*[[httpx.ReadTimeout("lost")] for _ in range(len(WAITS) + 1)])
    fetching = Fetching(tmp_path, network, monkeypatch)
    with pytest.raises(httpx.ReadTimeout):
        fetching.fetch()
    assert fetching.stop.waits == list(WAITS) == [1.0, 2.0, 4.0, 8.0, 16.0] and len(network.asked) == len(WAITS) + 1


def test_answers_that_end_early_are_a_failure_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty: list[Answer] = [[] for _ in range(len(WAITS) + 1)]
    fetching = Fetching(tmp_path, Network(*empty), monkeypatch)
    with pytest.raises(CheckpointError, match=r"sent less of model\.safetensors than it announced; try again later"):
        fetching.fetch()


def test_an_error_that_came_with_the_last_byte_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = Fetching(tmp_path, Network([CONTENT[:99], httpx.ReadTimeout("lost")], [CONTENT[99:]]), monkeypatch)
    assert fetching.fetch() == CONTENT and fetching.stop.waits == [1.0]


def test_what_no_second_try_mends_is_raised_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network([httpx.UnsupportedProtocol("ftp")])
    with pytest.raises(httpx.UnsupportedProtocol):
        Fetching(tmp_path, network, monkeypatch).fetch()
    assert len(network.asked) == 1


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_it_stops_at_its_next_byte_and_keeps_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    fetching = Fetching(tmp_path, Network([CONTENT[:50], CONTENT[50:99]], [CONTENT[99:]]), monkeypatch)

    def reach(name: str, done: int) -> None:
        if done == (0, 50, 99)[moment]:
            fetching.stop.set()

    fetching.transfer._reach = reach
    with pytest.raises(Stopped):
        fetching.fetch()
    assert fetching.target.partial(FILE).read_bytes() == CONTENT[: (0, 50, 99)[moment]]


def test_once_it_is_stopped_it_cuts_off_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer, which begins anew, comes when another download may long have gone on with the file."""
    fetching = Fetching(tmp_path, Network([CONTENT], ranges=False), monkeypatch)
    fetching.begin(CONTENT[:50])
    fetching.transfer._reach = lambda name, done: fetching.stop.set()
    with pytest.raises(Stopped):
        fetching.fetch()
    assert fetching.target.partial(FILE).read_bytes() == CONTENT[:50]


def test_a_check_stops_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = Fetching(tmp_path, Network(), monkeypatch)
    (tmp_path / FILE.name).write_bytes(CONTENT)
    fetching.stop.set()
    with pytest.raises(Stopped):
        fetching.transfer.check(FILE, tmp_path / FILE.name)


def test_a_copy_goes_on_where_the_partial_file_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(CONTENT)
    network = Network()
    fetching = Fetching(tmp_path / "here", network, monkeypatch)
    fetching.begin(CONTENT[:30])
    assert fetching.fetch(copy) == CONTENT and network.asked == []
    assert fetching.reached == [100, 100, 100]


def test_a_damaged_copy_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(CONTENT[::-1])
    fetching = Fetching(tmp_path / "here", Network([CONTENT]), monkeypatch)
    assert fetching.fetch(copy) == CONTENT
    assert fetching.told == [Verifying(FILE.name), Damaged(FILE.name), Verifying(FILE.name)]


def test_what_is_wrong_twice_is_discarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = Fetching(tmp_path, Network([CONTENT[::-1]], [CONTENT[::-1]]), monkeypatch)
    with pytest.raises(CheckpointError, match="arrived twice"):
        fetching.fetch()
    assert fetching.told[-1] == Damaged(FILE.name)
    assert not fetching.target.partial(FILE).exists() and not fetching.target.path(FILE).exists()
