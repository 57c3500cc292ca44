"""How far a download is: phases, bytes, speed, time left, and the note on what is going on."""

from itertools import pairwise
from pathlib import Path

import pytest

from mlx_model.hub.download import Checking, Downloaded, DownloadEvent, Progress
from mlx_model.hub.meter import Meter
from mlx_model.hub.progress import DownloadState, Phase, duration, pace
from mlx_model.hub.transfer import Damaged, Verified, Verifying, Waiting

MB = 1_000_000
SHARD = "model-00001-of-00002.safetensors"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_speed_and_time_left_follow_the_last_seconds_and_a_stall_ends_them() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.take(Progress(40 * MB, 200 * MB))  # what was there already makes no speed
    assert meter.read().speed == 0 and meter.read().seconds_left is None
    for second in range(1, 11):
        clock.now += 1
        meter.take(Progress((40 + second) * MB, 200 * MB))
    assert meter.read() == DownloadState(Phase.FETCHING, 50 * MB, 200 * MB, MB)
    assert meter.read().seconds_left == 150 and meter.read().percent == 25
    for second in range(1, 6):
        clock.now += 1
        meter.take(Progress((50 + 10 * second) * MB, 200 * MB))
    assert meter.read().speed == 10 * MB
    clock.now += 60
    assert meter.read().speed == 0


def test_the_bar_never_falls_and_a_hundred_per_cent_is_all_of_it() -> None:
    meter, seen = Meter(Clock()), []
    first: list[DownloadEvent] = [Progress(50 * MB, 100 * MB), Damaged(SHARD), Progress(30 * MB, 100 * MB)]
    for event in [*first, Verifying("x")]:
        meter.take(event)
        seen.append(meter.read().done)
    meter.end(Phase.PAUSED)
    seen.append(meter.read().done)
    meter.begin()
    later: list[DownloadEvent] = [Checking(1 * MB, 60 * MB), Progress(20 * MB, 100 * MB)]
    for event in [*later, Progress(100 * MB - 1, 100 * MB)]:
        meter.take(event)
        seen.append(meter.read().done)
        assert meter.read().percent <= 99
    meter.take(Downloaded(Path("/models/x")))
    assert meter.read().percent == 100 and meter.read().phase is Phase.DONE
    assert all(one <= two for one, two in pairwise(seen)) and seen[0] == 50 * MB


def test_the_note_says_what_is_waited_for_and_for_how_long() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.take(Progress(10, 100))
    meter.take(Verifying(SHARD))
    assert meter.read().note == f"verifying {SHARD}"
    meter.take(Waiting("other", "the connection was lost", 4.0))
    clock.now += 1
    meter.take(Progress(20, 100))  # of a file that does come
    assert meter.read().note == "the connection was lost; trying again in 3 s"
    clock.now += 3.2
    assert meter.read().note == "the connection was lost; trying again"
    meter.take(Progress(30, 100))
    assert meter.read().note == f"verifying {SHARD}"
    meter.take(Verified(SHARD))
    assert meter.read().note == ""
    meter.take(Damaged(SHARD))
    assert meter.read().note == f"{SHARD} was damaged; it is fetched again"


def test_files_that_are_read_first_have_a_measure_and_a_speed_of_their_own() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.take(Checking(0, 60 * MB))
    clock.now += 2
    meter.take(Checking(20 * MB, 60 * MB))
    assert meter.read() == DownloadState(Phase.CHECKING, speed=10 * MB, checked=20 * MB, to_check=60 * MB)
    assert meter.read().step == (20 * MB, 60 * MB) and pace(meter.read()) == ["10.0 MB/s", "4 s left"]
    meter.take(Progress(60 * MB, 100 * MB))
    assert meter.read().step == (60 * MB, 100 * MB) and pace(meter.read()) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (29, "29 s"), (59, "1 min"), (7100, "118 min"), (7200, "2 h"), (90_000, "25 h")]
)
def test_a_duration_has_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
