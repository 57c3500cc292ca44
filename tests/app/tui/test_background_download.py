"""A download in the background and what the first run says, without a screen: figures, pauses, words."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from app.tui.parts.background_download import Download
from app.tui.parts.computer import examine
from app.tui.text.computer import ComputerFacts, ModelFacts
from app.tui.text.download_offer import DownloadOffer
from app.tui.text.first_run import OF_DEMO, OF_OTHERS, THE_DEMO, FirstScreen, first_screen
from mlx_model.hub import names as hub
from mlx_model.hub.download import DownloadEvent, Progress
from mlx_model.hub.progress import Phase
from tests.fixtures.fakes import COMPUTER
from tests.fixtures.hub_server import HubServer

MB = 1_000_000
SHARD = "model-00001-of-00002.safetensors"

# What is found


def of(**facts: object) -> ComputerFacts:
    """This computer with other facts of gpt-oss-20b."""
    demo, default, large = COMPUTER.models
    return replace(COMPUTER, models=(demo, replace(default, **facts), large))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("computer", "line", "action"),
    [
        (COMPUTER, "Apple M2, 16 GB: gpt-oss-20b fits, 4-bit, up to 12k context", "Get gpt-oss-20b, 13.8 GB"),
        (None, "", "Get gpt-oss-20b, 13.8 GB"),
        (
            of(dense_bits=16, context=131_072),
            "Apple M2, 16 GB: gpt-oss-20b fits, up to 131k context",
            "Get gpt-oss-20b",
        ),
        (of(dense_bits=0, context=0), "Apple M2, 16 GB: gpt-oss-20b needs 10.4 GB of memory", ""),
        (
            replace(COMPUTER, has_gpu=False),
            "Apple M2, 16 GB, no Metal GPU: gpt-oss-20b fits, 4-bit, up to 12k context, slowly",
            "Get",
        ),
        (of(present=11 * 10**9), "Apple M2", "Resume gpt-oss-20b, 11 GB of 13.8 GB here"),
        (of(complete=True, present=1, size=13_761_300_984), "Apple M2", "Verify gpt-oss-20b, 13.8 GB that are here"),
        (of(complete=True, verified=True), "Apple M2", "Use gpt-oss-20b"),
    ],
)
def test_what_the_first_screen_says(computer: ComputerFacts | None, line: str, action: str) -> None:
    screen = first_screen("demo", computer, examined=True)
    assert screen.computer is not None and screen.action is not None
    assert (
        screen.computer[0].startswith(line) and screen.action.startswith(action) and bool(screen.action) == bool(action)
    )
    assert list(screen.computer) == sorted(screen.computer, key=len, reverse=True)
    assert screen.note == THE_DEMO and screen.suggestions == OF_DEMO
    assert first_screen("demo", computer, examined=True, downloading=True).action == ""
    assert first_screen("demo", None, examined=False).action == ""  # an offer would have to be taken back


def test_another_model_has_other_suggestions_and_needs_no_action() -> None:
    assert first_screen("gpt-oss-20b", COMPUTER, examined=True) == FirstScreen(None, None, None, OF_OTHERS)
    assert first_screen("", None, examined=False).suggestions == ("", "", "")


@pytest.mark.parametrize(
    ("tokens", "words"), [(768, "768"), (1024, "1k"), (8191, "8k"), (73_472, "73k"), (131_072, "131k")]
)
def test_the_context_is_a_round_figure(tokens: int, words: str) -> None:
    assert ModelFacts("x", needs=1, dense_bits=8, context=tokens).fit == f"fits, 8-bit, up to {words} context"
    assert ModelFacts("x").fit == ""


def test_the_question_before_a_download() -> None:
    model = COMPUTER.model("gpt-oss-20b")
    offer = DownloadOffer(model, 210_300_000_000, "/hub", is_demo=True)
    assert offer.missing == 13_800_000_000 and offer.warning == ""
    assert dict(offer.rows) == {"Size": "13.8 GB", "Free disk": "210.3 GB", "Folder": "/hub", "Memory": model.fit}
    resumed = replace(offer, model=replace(model, present=11 * 10**9), free=2 * 10**9)
    assert dict(resumed.rows)["Size"] == "13.8 GB, of which 11 GB are here"
    assert resumed.warning == "The disk has no space for it: free 800 MB more first."
    assert "too little memory" in replace(offer, model=COMPUTER.model("gpt-oss-120b")).warning
    assert replace(offer, is_demo=False).meanwhile.startswith("The chat goes on meanwhile.")


async def test_the_facts_come_from_this_computer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    seen = await examine()
    assert seen is not None and seen.chip and seen.memory > 2**30 and seen.free > 0
    assert [model.name for model in seen.models] == ["demo", "gpt-oss-20b", "gpt-oss-120b"]
    assert "fit" in seen.default.fit and seen.default.present == 0 and seen.models[0].verified


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "print('{}')", "print('no JSON')"])
async def test_an_examination_that_fails_leaves_the_offer(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tui.parts.computer.DOCTOR", (sys.executable, "-S", "-c", code))
    assert await examine() is None


async def test_a_chat_that_ends_leaves_no_process_that_examines(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(*command: Any, **pipes: Any) -> subprocess.Popen[bytes]:
        started.append(start(*command, **pipes))
        return started[-1]

    monkeypatch.setattr("app.tui.parts.computer.DOCTOR", (sys.executable, "-S", "-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(subprocess, "Popen", noted)
    examining = asyncio.create_task(examine())
    while not started:
        await asyncio.sleep(0)
    examining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await examining
    assert started[0].wait(120) == -signal.SIGKILL


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
        assert paused.wait(120)
        yield Progress(50, 100)
        passed_on.set()

    monkeypatch.setattr("app.tui.parts.background_download.fetch", events)
    download = Download("gpt-oss-20b")
    download.start()
    assert fetching.wait(120)
    download.pause()
    paused.set()
    assert passed_on.wait(120)
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
