"""The file that remembers: which subjects it keeps, how it is written, and when an unended try is still going on."""

import json
import os
import time
from pathlib import Path

import pytest

from metal.trust.remember import Note, Notes, begun, default_path, is_going_on, is_unended, tries

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> dict[int, BaseException | None]:
    """Processes by id: None for one that may be signalled, else what the system says. Others don't exist."""
    processes: dict[int, BaseException | None] = {}

    def kill(process: int, signal: int) -> None:
        assert signal == 0, "it only asks"
        error = processes.get(process, ProcessLookupError())
        if error is not None:
            raise error

    monkeypatch.setattr(os, "kill", kill)
    return processes


OTHER = os.getpid() + 1


@pytest.mark.parametrize(
    ("age", "going_on"),
    [(0, True), (1, True), (600, True), (601, False), (86_400, False), (-1, True), (-600, True), (-601, False)],
)
def test_a_try_goes_on_for_ten_minutes_at_most(
    alive: dict[int, BaseException | None], age: int, going_on: bool
) -> None:
    """Later the number belongs to another process. So it does where the clock was set back by as much."""
    alive[OTHER] = None
    assert is_going_on({"tries": 1, "by": OTHER, "since": int(NOW) - age}) == going_on


@pytest.mark.parametrize(
    ("error", "going_on"),
    [(None, True), (PermissionError(), True), (ProcessLookupError(), False), (OSError(), False)],
)
def test_a_process_is_alive_though_it_is_another_users(
    alive: dict[int, BaseException | None], error: BaseException | None, going_on: bool
) -> None:
    alive[1] = alive[OTHER] = error
    assert is_going_on({"by": OTHER, "since": int(NOW)}) == going_on
    assert is_going_on({"by": 1, "since": int(NOW)}) == going_on


def test_the_note_of_another_process_is_understood(alive: dict[int, BaseException | None]) -> None:
    alive[OTHER] = None
    assert is_going_on(json.loads(json.dumps(begun({}) | {"by": OTHER})))


def test_this_very_process_is_no_other_one(alive: dict[int, BaseException | None]) -> None:
    """A note of its own number is left by an earlier process that had the same."""
    alive[os.getpid()] = None
    assert not is_going_on(begun({}))


@pytest.mark.parametrize("by", [0, -1, "1", None, [], 2**70])
def test_what_is_no_process_is_not_going_on(by: object) -> None:
    assert not is_going_on({"by": by, "since": int(NOW)})


@pytest.mark.parametrize("since", ["now", None, NOW, [], {}])
def test_without_a_time_it_is_not_going_on(alive: dict[int, BaseException | None], since: object) -> None:
    alive[OTHER] = None
    assert not is_going_on({"by": OTHER, "since": since})
    assert not is_going_on({"by": OTHER})


def test_tries_are_counted_until_one_comes_back() -> None:
    first = begun({})
    assert first == {"tries": 1, "by": os.getpid(), "since": 1_800_000_000}
    assert begun(first)["tries"] == tries(begun(first)) == 2
    assert [tries(note) for note in ({}, {"tries": "3"}, {"tries": None}, {"tries": 7})] == [0, 0, 0, 7]
    assert is_unended(first)
    assert not is_unended({"tries": 2})


def test_the_newest_subjects_are_kept(tmp_path: Path) -> None:
    """Newest by the last write, whatever was written to them."""
    notes = Notes(tmp_path / "kernels.json")
    for number in range(16):
        notes.write(f"subject {number}", "down", {"reason": str(number)})
    notes.write("subject 0", "route", {"reason": "again"})
    notes.write("subject 16", "down", {"reason": "16"})
    assert list(notes.subjects()) == [*(f"subject {number}" for number in range(2, 16)), "subject 0", "subject 16"]
    assert notes.subjects()["subject 0"] == {"down": {"reason": "0"}, "route": {"reason": "again"}}


def test_a_note_takes_the_place_of_an_earlier_one_and_of_no_other(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "deep" / "folder" / "kernels.json")
    assert notes.subjects() == notes.read("a", "down") == {}
    notes.write("a", "down", {"tries": 1, "by": 5})
    notes.write("a", "route", {"reason": "1"})
    notes.write("b", "down", {"reason": "2"})
    notes.write("a", "down", {"reason": "3"})
    expected: dict[str, dict[str, Note]] = {
        "b": {"down": {"reason": "2"}},
        "a": {"down": {"reason": "3"}, "route": {"reason": "1"}},
    }
    assert notes.subjects() == json.loads(notes.path.read_text()) == expected
    assert (notes.read("a", "down"), notes.read("a", "other"), notes.read("c", "down")) == ({"reason": "3"}, {}, {})


def test_a_note_is_on_the_disk_before_the_kernel_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that hangs may end in holding the power button down."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    notes = Notes(tmp_path / "kernels.json")
    notes.write("a", "down", begun({}))
    assert len(synced) == 2, "the content, and the name"
    notes.write("a", "down", {"reason": "faster"})
    assert len(synced) == 2, "what can be found out again need not wait for the disk"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, None),
        ("{}", None),
        ("[1]", "is damaged"),
        ('{"a": {"b": 1}}', "is damaged"),
        ('{"a": {"b": {}}, "c": 1}', "is damaged"),
        ('{"a": {"b": {}, "c": 1}}', "is damaged"),
    ],
)
def test_a_problem_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None, says: str | None
) -> None:
    notes = Notes(tmp_path / "kernels.json")
    if content is not None:
        notes.path.write_text(content)
    assert notes.subjects() == notes.subjects() == {}
    lines = [record.getMessage() for record in caplog.records]
    assert lines == (
        [] if says is None else [f"{notes.path} {says}; kernels are chosen again, and the file is replaced"]
    )


def test_a_file_that_can_not_be_read_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes(tmp_path / "kernels.json")
    notes.path.mkdir()
    assert notes.subjects() == notes.subjects() == {}
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{notes.path} can't be read (")
    assert line.endswith("); kernels are chosen again")


def test_the_file_is_in_the_users_cache_folder() -> None:
    assert default_path().parts[-2:] == ("gptoss-chat", "kernels.json")
