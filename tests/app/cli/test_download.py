"""The plain lines of `gptoss-chat download` where there is no terminal."""

import re
from pathlib import Path

import pytest

from app.cli import download
from mlx_model.hub.download import Checking, DownloadEvent, Finished, Progress
from mlx_model.hub.transfer import Damaged, Verified, Verifying, Waiting

MB = 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which stands still until a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(download.time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_ten_percent(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines = download.Lines()
    for percent in range(20, 101):
        lines.update("downloading", percent * MB, 100 * MB)
        clock[0] += 0.1
    said = capsys.readouterr().err.splitlines()
    assert [int(re.findall(r"(\d+)%", line)[0]) for line in said] == [20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert said[0] == "downloading: 20%, 20.0 MB of 100.0 MB"  # what was here already makes no speed
    assert said[3] == "downloading: 50%, 50.0 MB of 100.0 MB, 10.0 MB/s, 5 s left"
    assert said[-1] == "downloading: 100%, 100.0 MB of 100.0 MB"


def test_a_line_every_half_minute_on_a_slow_line(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines = download.Lines()
    for second in range(121):
        lines.update("downloading", second * MB, 13_800 * MB)
        clock[0] += 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 5 and said[-1] == "downloading: 0%, 120.0 MB of 13.80 GB, 1.0 MB/s, 4 h left"


def test_what_is_told_of_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[DownloadEvent] = [
        Checking(5 * MB, 5 * MB),
        Damaged("model-00000-of-00002.safetensors"),
        Progress(0, MB),
        Waiting("model-\x1b[31m.safetensors", "the connection was lost", 4.0),
        Verifying("config.json"),
        Verified("config.json"),
        Verified("model-00000-of-00002.safetensors"),
        Finished(Path("/models/x")),
    ]
    assert download._follow(iter(events), download.Lines()) == "/models/x"
    assert capsys.readouterr().err.splitlines() == [
        "checking what is here: 100%, 5.0 MB of 5.0 MB",
        "model-00000-of-00002.safetensors is not what the Hub has; it is fetched again",
        "downloading: 0%, 0.0 MB of 1.0 MB",
        "model-␛[31m.safetensors: the connection was lost; trying again in 4 s",
        "model-00000-of-00002.safetensors verified",
    ]
