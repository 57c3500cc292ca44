"""The plain lines of `gptoss-chat download` where there is no terminal."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from app.cli import download
from mlx_model.hub.download import Checking, Downloaded, DownloadEvent, Progress
from mlx_model.hub.meter import Meter
from mlx_model.hub.transfer import Damaged, Verified, Verifying, Waiting

MB = 1_000_000


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lines_of(events: Iterable[DownloadEvent], seconds: float, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is printed of events that come every so many seconds."""
    clock = Clock()
    lines, meter = download.Lines(clock), Meter(clock)
    for event in events:
        meter.take(event)
        lines.show(meter.read())
        clock.now += seconds
    return capsys.readouterr().err.splitlines()


def test_a_line_every_ten_percent(capsys: pytest.CaptureFixture[str]) -> None:
    said = lines_of((Progress(percent * MB, 100 * MB) for percent in range(20, 101)), 0.1, capsys)
    assert [int(re.findall(r"(\d+)%", line)[0]) for line in said] == [20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert said[0] == "downloading: 20%, 20 MB of 100 MB"  # what was here already makes no speed
    assert said[3] == "downloading: 50%, 50 MB of 100 MB, 10.0 MB/s, 5 s left"
    assert said[-1] == "downloading: 100%, 100 MB of 100 MB"


def test_a_line_every_half_minute_on_a_slow_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = lines_of((Progress(second * MB, 13_800 * MB) for second in range(121)), 1, capsys)
    assert len(said) == 5 and said[-1] == "downloading: 0%, 120 MB of 13.8 GB, 1.0 MB/s, 4 h left"


def test_reading_what_is_here_has_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[DownloadEvent] = [*(Checking(done * MB, 10 * MB) for done in (0, 5, 10)), Progress(10 * MB, 40 * MB)]
    assert lines_of(events, 1, capsys) == [
        "checking what is here: 0%, 0 MB of 10 MB",
        "checking what is here: 50%, 5 MB of 10 MB, 5.0 MB/s, 1 s left",
        "checking what is here: 100%, 10 MB of 10 MB",
        "downloading: 25%, 10 MB of 40 MB",
    ]


def test_what_is_printed_of_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[DownloadEvent] = [
        Checking(5 * MB, 5 * MB),
        Damaged("model-00000-of-00002.safetensors"),
        Progress(0, MB),
        Waiting("model-\x1b[31m.safetensors", "the connection was lost", 4.0),
        Verifying("config.json"),
        Verified("config.json"),
        Verified("model-00000-of-00002.safetensors"),
        Downloaded(Path("/models/x")),
    ]
    assert download._follow(iter(events), download.Lines(), Meter()) == "/models/x"
    assert capsys.readouterr().err.splitlines() == [
        "checking what is here: 100%, 5 MB of 5 MB",
        "model-00000-of-00002.safetensors was damaged; it is fetched again",
        "downloading: 0%, 0 MB of 1 MB",
        "model-␛[31m.safetensors: the connection was lost; trying again in 4 s",
        "model-00000-of-00002.safetensors verified",
    ]
