"""A download in the background and what the first run says, without a screen: figures, pauses, words."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from app.tui.parts.background_download import Download
from app.tui.text.first_run import DEMO, Found, examine, welcome
from mlx_model.hub import names as hub
from mlx_model.hub.download import DownloadEvent, Progress
from mlx_model.hub.progress import Phase
from tests.fixtures.fakes import FOUND
from tests.fixtures.hub_server import HubServer

MB = 1_000_000
SHARD = "model-00001-of-00002.safetensors"

# What is found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (FOUND, "This computer: Apple M2, 16 GB of memory, 210.30 GB free on the disk.\ngpt-oss-20b fits: 10.98 GB of"),
        (FOUND, "\n\n^L or /download fetches gpt-oss-20b (13.8 GB) in the background, while the demo answers."),
        (None, "\n\n^L or /download fetches gpt-oss-20b (13.8 GB) in the background, while the demo answers."),
        (
            replace(FOUND, fits=False, fit="Budget: 2.00 GB. It does not fit."),
            "gpt-oss-20b does not fit: Budget: 2.00 GB.",
        ),
        (replace(FOUND, missing="Metal needs a Mac."), "free on the disk.\nMetal needs a Mac.\ngpt-oss-20b fits"),
        (replace(FOUND, free=3 * 10**9), "The download needs 13.80 GB on the disk: free some space first."),
        (
            replace(FOUND, present=11 * 10**9),
            "11.00 GB of its 13.8 GB are here from before: ^L or /download goes on with the",
        ),
        (
            replace(FOUND, complete=True, present=14 * 10**9),
            "not verified yet: ^L or /download reads it once, and fetches",
        ),
        (replace(FOUND, complete=True, verified=True), "is on this computer: ^L or /model gpt-oss-20b switches to it."),
    ],
)
def test_what_the_welcome_says(given: Found | None, said: str) -> None:
    text = welcome(given, on_its_way=False)
    assert text.startswith(DEMO) and said in text
    assert ("The download needs" in text) == (given is not None and given.free < 10**10)
    assert "^L" not in welcome(given, on_its_way=True)


async def test_the_facts_come_from_this_computer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    seen = await examine()
    assert seen is not None and seen.chip and seen.memory > 2**30 and seen.free > 0 and seen.present == 0
    assert "of weights" in seen.fit or "fit" in seen.fit


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "print('{}')", "print('no JSON')"])
async def test_an_examination_that_fails_leaves_the_offer(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tui.text.first_run.DOCTOR", (sys.executable, "-S", "-c", code))
    assert await examine() is None


# The thread


def test_a_thread_that_meets_a_bug_says_so(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tui.parts.background_download.prepare", lambda name: 1 // 0)
    download = Download("gpt-oss-20b")
    download.start()
    download.join()
    assert download.reached.phase is Phase.FAILED and "ZeroDivisionError" in download.reached.note


def test_what_comes_after_a_pause_changes_nothing(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, paused = Event(), Event()

    def events(*_: object) -> Iterator[DownloadEvent]:
        yield Progress(10, 100)
        begun.set()
        assert paused.wait(10)
        yield Progress(50, 100)

    monkeypatch.setattr("app.tui.parts.background_download.fetch", events)
    download = Download("gpt-oss-20b")
    download.start()
    assert begun.wait(10)
    download.pause()
    paused.set()
    download.join()
    assert (download.reached.phase, download.reached.done) == (Phase.PAUSED, 10)


def test_going_on_waits_for_the_thread_of_before(server: HubServer) -> None:
    server.hold(100_000)
    download = Download("gpt-oss-20b")
    for _ in range(5):  # else the second would find the model locked by the first
        download.start()
        download.pause()
    server.release()
    download.start()
    download.join()
    assert download.reached.phase is Phase.DONE and hub.default_model() == "gpt-oss-20b"
