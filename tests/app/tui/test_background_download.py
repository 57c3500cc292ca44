"""A download in the background and what the first run says, without a screen: figures, pauses, words."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from app.tui.parts.background_download import Download
from app.tui.parts.computer import examine
from app.tui.text.first_run import DEMO_GREETING, ComputerFacts, welcome
from mlx_model.hub import names as hub
from mlx_model.hub.download import DownloadEvent, Progress
from mlx_model.hub.progress import Phase
from tests.fixtures.fakes import COMPUTER
from tests.fixtures.hub_server import HubServer

MB = 1_000_000
SHARD = "model-00001-of-00002.safetensors"

# What is found


@pytest.mark.parametrize(
    ("computer", "words"),
    [
        (
            COMPUTER,
            "This computer: Apple M2, 16 GB of memory, 210.3 GB free on the disk.\ngpt-oss-20b fits: 10.2 GB of",
        ),
        (COMPUTER, "\n\n^L or /download fetches gpt-oss-20b (13.8 GB) in the background; the demo keeps answering."),
        (None, "\n\n^L or /download fetches gpt-oss-20b (13.8 GB) in the background; the demo keeps answering."),
        (
            replace(COMPUTER, fits=False, fit="Budget: 2 GB. It does not fit."),
            "gpt-oss-20b does not fit: Budget: 2 GB.",
        ),
        (replace(COMPUTER, missing="Metal needs a Mac."), "free on the disk.\nMetal needs a Mac.\ngpt-oss-20b fits"),
        (replace(COMPUTER, free=3 * 10**9), "The download needs 13.8 GB on the disk. Free some space first."),
        (
            replace(COMPUTER, present=11 * 10**9),
            "11 GB of its 13.8 GB are already on this computer: ^L or /download fetches the",
        ),
        (
            replace(COMPUTER, complete=True, present=14 * 10**9),
            "not verified yet: ^L or /download verifies it, without fetching",
        ),
        (
            replace(COMPUTER, complete=True, verified=True),
            "is on this computer: ^L or /model gpt-oss-20b switches to it.",
        ),
    ],
)
def test_what_the_welcome_says(computer: ComputerFacts | None, words: str) -> None:
    text = welcome(computer, downloading=False)
    assert text.startswith(DEMO_GREETING) and words in text
    assert ("The download needs" in text) == (computer is not None and computer.free < 10**10)
    assert "^L" not in welcome(computer, downloading=True)


async def test_the_facts_come_from_this_computer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    seen = await examine()
    assert seen is not None and seen.chip and seen.memory > 2**30 and seen.free > 0 and seen.present == 0
    assert "of weights" in seen.fit or "fit" in seen.fit


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "print('{}')", "print('no JSON')"])
async def test_an_examination_that_fails_leaves_the_offer(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tui.parts.computer.DOCTOR", (sys.executable, "-S", "-c", code))
    assert await examine() is None


# The thread


def test_a_thread_that_meets_a_bug_says_so(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tui.parts.background_download.prepare", lambda name: 1 // 0)
    download = Download("gpt-oss-20b")
    download.start()
    while download.active:
        time.sleep(0.01)
    assert download.state.phase is Phase.FAILED and "ZeroDivisionError" in download.state.note


def test_what_comes_after_a_pause_changes_nothing(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching, paused, passed_on = Event(), Event(), Event()

    def events(*_: object) -> Iterator[DownloadEvent]:
        yield Progress(10, 100)
        fetching.set()
        assert paused.wait(10)
        yield Progress(50, 100)
        passed_on.set()

    monkeypatch.setattr("app.tui.parts.background_download.fetch", events)
    download = Download("gpt-oss-20b")
    download.start()
    assert fetching.wait(10)
    download.pause()
    paused.set()
    assert passed_on.wait(10)
    assert (download.state.phase, download.state.done) == (Phase.PAUSED, 10)


def test_going_on_waits_for_the_thread_of_before(server: HubServer) -> None:
    server.hold(100_000)
    download = Download("gpt-oss-20b")
    for _ in range(5):  # else the second would find the model locked by the first
        download.start()
        download.pause()
    server.release()
    download.start()
    while download.active:
        time.sleep(0.01)
    assert download.state.phase is Phase.DONE and hub.default_model() == "gpt-oss-20b"
