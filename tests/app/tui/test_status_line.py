"""What the line above the conversation says at which width, and that it follows an answer."""

from dataclasses import replace

import pytest

from app.tui.parts import answering
from app.tui.text.status_line import GAP, StatusFigures, fitted, memory
from mlx_model.events import Finished, MessageStart, PrefillProgress, Stats, TextDelta
from tests.fixtures.fakes import STATS, FakeEngine, chat, desk_of, idle, send, text_on, wait_until

MB, GB = 2**20, 2**30
BUSY = StatusFigures("gpt-oss-20b", 11 * GB, round(11.4 * GB), "answering", 41.2, 0.31, 312, 3214, 32_768)
READY = replace(BUSY, state="ready", speed=0.0, ttft=0.0, reused=0)
HEAD = "gpt-oss-20b  11.0 / 11.4 GB \u00b7 "
BAR = "\u2588" + "\u2591" * 9


@pytest.mark.parametrize(
    ("figures", "width", "left", "right"),
    [
        (
            BUSY,
            123,
            f"{HEAD}answering · 41 tok/s · first token 0.3 s · 312 reused",
            f"context 3,214 / 32,768  {BAR} 10%",
        ),
        (BUSY, 122, f"{HEAD}answering · 41 tok/s · first token 0.3 s · 312 reused", "context 3,214 / 32,768  10%"),
        (BUSY, 110, f"{HEAD}41 tok/s · first token 0.3 s · 312 reused", "context 3,214 / 32,768  10%"),
        (BUSY, 98, f"{HEAD}41 tok/s · first token 0.3 s", "context 3,214 / 32,768  10%"),
        (BUSY, 78, f"{HEAD}41 tok/s · first token 0.3 s", "context 3,214  10%"),
        (BUSY, 66, f"{HEAD}41 tok/s", "context 3,214  10%"),
        (BUSY, 50, "gpt-oss-20b · 41 tok/s", "context 3,214  10%"),
        (BUSY, 38, "gpt-oss-20b · 41 tok/s", "10%"),
        (BUSY, 3, "gpt-oss-20b · 41 tok/s", "10%"),
        (READY, 78, f"{HEAD}ready", f"context 3,214 / 32,768  {BAR} 10%"),
        (replace(BUSY, state="stopping"), 78, f"{HEAD}stopping · first token 0.3 s", "context 3,214  10%"),
        (replace(READY, saves=False), 78, f"not saved · {HEAD}ready", "context 3,214 / 32,768  10%"),
        (StatusFigures(state="starting"), 78, "starting", ""),
        (StatusFigures("a\x1bb", state="loading"), 78, "a\u241bb · loading", ""),
        (StatusFigures("日本" * 8, state="ready", used=5, limit=10), 45, "日本" * 8 + " · ready", "50%"),
    ],
)
def test_figures_give_way_in_order(figures: StatusFigures, width: int, left: str, right: str) -> None:
    assert fitted(figures, width) == (left, right)


@pytest.mark.parametrize("figures", [BUSY, READY])
def test_the_line_never_gets_longer_in_a_narrower_terminal(figures: StatusFigures) -> None:
    lengths = [sum(map(len, fitted(figures, width))) for width in range(200)]
    assert lengths == sorted(lengths)
    assert all(length + GAP <= width for width, length in enumerate(lengths) if width >= 38)


@pytest.mark.parametrize(
    ("held", "budget", "text"),
    [
        (11 * GB, round(11.4 * GB), "11.0 / 11.4 GB"),
        (3 * MB, round(20.3 * GB), "3 MB / 20.3 GB"),
        (212 * MB, round(20.3 * GB), "0.2 / 20.3 GB"),
        (4 * MB, 9 * MB, "4 / 9 MB"),
        (11 * GB, 0, "11.0 GB"),
        (0, 0, ""),
    ],
)
def test_memory_is_said_in_the_unit_of_the_budget(held: int, budget: int, text: str) -> None:
    assert memory(held, budget) == text


async def test_the_line_follows_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(answering, "monotonic", lambda: clock[0])
    engine = FakeEngine()
    async with chat(engine, (140, 24)) as pilot:
        await idle(pilot)
        status = desk_of(pilot).status

        def line() -> str:
            return text_on(pilot).splitlines()[0]

        async def shows(*texts: str) -> None:
            await wait_until(pilot, lambda: all(text in line() for text in texts), f"{texts} in {line()}")

        assert "11.0 / 11.4 GB" in line()
        engine.say(PrefillProgress(312, 352), PrefillProgress(352, 352))
        await send(pilot, "go")
        await shows("reading", "312 reused", "context 352")
        clock[0] += 0.4
        engine.say(MessageStart("final"))
        await shows("answering", "first token 0.4 s")
        for tokens in range(1, 5):  # each at a time of its own
            clock[0] += 0.5
            engine.say(TextDelta("final", "word "))
            await shows(f"context {352 + tokens}")
        await shows("2 tok/s", "first token 0.4 s", "312 reused", "context 356")
        engine.say(Finished("stop", replace(STATS, peak_memory_bytes=round(11.3 * GB))))
        await idle(pilot)
        await shows("11.3 / 11.4 GB · ready", "context 374")
        assert (status.speed, status.ttft, status.reused) == (0.0, 0.0, 0)
        engine.say(Finished("cancelled", Stats()))  # before anything was held
        await send(pilot, "again")
        await pilot.pause(0.1)
        await idle(pilot)
        await shows("11.3 / 11.4 GB")


async def test_a_full_context_and_a_dead_engine_stand_out() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        status = desk_of(pilot).status

        def colours() -> set[str]:
            content = status.render()
            return {str(span.style) for span in content.spans}

        status.used = 4096 * 79 // 100
        assert colours() == set()
        status.used = 4096 * 8 // 10 + 1
        assert colours() == {"$warning"}
        status.state = "stopped"
        assert colours() == {"$warning", "$error"}
