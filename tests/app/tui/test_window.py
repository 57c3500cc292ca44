"""The arithmetic of what is mounted, and the names of days."""

import datetime

import pytest

from app.tui.text.days import day_of
from app.tui.text.window import MAX_MOUNTED, TAIL, Window


@pytest.mark.parametrize("total", [0, 1, TAIL, TAIL + 1, 200])
def test_the_tail_ends_at_the_end_and_all_can_be_reached_from_it(total: int) -> None:
    window = Window.tail(total)
    assert window.end == total and window.end - window.start == min(TAIL, total)
    while window.start:
        wider = window.earlier()
        assert 0 <= wider.start < window.start and wider.end == total
        window = wider
    assert window.earlier() == window


@pytest.mark.parametrize("index", range(200))
def test_a_window_around_a_node_has_it_with_something_before_and_is_small(index: int) -> None:
    window = Window.around(200, index)
    assert window.start <= max(0, index - 1) and index < window.end and window.end - window.start == TAIL
    while window.end < 200:
        assert window.later().end > window.end
        window = window.later()
    assert window.later() == window


def test_a_growing_conversation_stays_small_and_keeps_its_end() -> None:
    window, most = Window.tail(0), 0
    for total in range(1, 500):
        window = window.grown()
        assert window.end == window.total == total and window.start >= 0
        most = max(most, window.end - window.start)
    assert most == MAX_MOUNTED


def test_the_days_of_conversations() -> None:
    def at(year: int, month: int, day: int, hour: int, minute: int) -> float:
        return datetime.datetime(year, month, day, hour, minute).timestamp()

    now = at(2026, 3, 2, 0, 30)
    for moment, name in (
        (at(2026, 3, 2, 0, 1), "Today"),
        (at(2026, 3, 3, 0, 1), "Today"),  # a clock that was set back
        (at(2026, 3, 1, 23, 59), "Yesterday"),
        (at(2026, 2, 28, 23, 59), "Last 7 days"),
        (at(2026, 2, 24, 12, 0), "Last 7 days"),
        (at(2026, 2, 23, 12, 0), "February 2026"),
        (at(2025, 2, 23, 12, 0), "February 2025"),
    ):
        assert day_of(moment, now) == name
