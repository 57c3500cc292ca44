"""What the line above the conversation says at which width, and that it follows an answer."""

from dataclasses import replace

import pytest

from app.tui.parts import answering
from app.tui.text.progress import Progress, Reading, loading, preparing
from app.tui.text.status_line import GAP, StatusFigures, fitted, memory
from mlx_model.events import Finished, MessageStart, PrefillProgress, Stats, TextDelta
from tests.fixtures.fakes import STATS, FakeEngine, chat, desk_of, idle, send, text_on, wait_until
from tests.fixtures.trees import present

MB, GB = 2**20, 2**30
BUSY = StatusFigures("gpt-oss-20b", 11 * GB, round(11.4 * GB), "answering", 41.2, 0.31, None, 3214, 32_768)
READY = replace(BUSY, state="ready", speed=0.0, ttft=0.0)
HEAD = "gpt-oss-20b · answering 41 tok/s"
FULL = "█" + "░" * 9
THIRD = "███" + "░" * 7
LOADING = StatusFigures("gpt-oss-20b", state="loading", progress=loading(4_140_000_000, 13_800_000_000, 6.2))
PREPARING = StatusFigures("gpt-oss-20b", state="preparing the kernels", progress=preparing(2, 6))
READING = replace(READY, state="reading", progress=Progress(0.3, "1,051 of 3,503, 12 s left", "30%, 12 s left"))


STREAMED = replace(BUSY, slots=13, experts=32)
CONTEXT = f"context 3,214 / 32,768  {FULL} 10%"


@pytest.mark.parametrize(
    ("figures", "width", "left", "right"),
    [
        (STREAMED, 140, f"{HEAD} · first token 0.3 s · memory 11.0 / 11.4 GB · experts 13 of 32", CONTEXT),
        (STREAMED, 116, f"{HEAD} · first token 0.3 s · experts 13 of 32", CONTEXT),
        (STREAMED, 95, f"{HEAD} · experts 13 of 32", CONTEXT),
        (STREAMED, 80, f"{HEAD} · experts 13 of 32", "context 3,214 / 32,768  10%"),
        (replace(READY, slots=13, experts=32), 78, "gpt-oss-20b · ready · experts 13 of 32", CONTEXT),
        (BUSY, 116, f"{HEAD} · first token 0.3 s · memory 11.0 / 11.4 GB", f"context 3,214 / 32,768  {FULL} 10%"),
        (BUSY, 115, f"{HEAD} · first token 0.3 s", f"context 3,214 / 32,768  {FULL} 10%"),
        (BUSY, 91, f"{HEAD} · first token 0.3 s", "context 3,214 / 32,768  10%"),
        (BUSY, 80, HEAD, "context 3,214 / 32,768  10%"),
        (BUSY, 60, HEAD, "context 3,214  10%"),
        (BUSY, 50, HEAD, "context 10%"),
        (BUSY, 36, "answering 41 tok/s", "context 10%"),
        (BUSY, 30, "answering 41 tok/s", ""),
        (BUSY, 3, "answering 41 tok/s", ""),
        (READY, 78, "gpt-oss-20b · ready", f"context 3,214 / 32,768  {FULL} 10%"),
        (READY, 90, "gpt-oss-20b · ready · memory 11.0 / 11.4 GB", f"context 3,214 / 32,768  {FULL} 10%"),
        (replace(BUSY, state="stopping"), 52, "gpt-oss-20b · stopping", "context 3,214 / 32,768  10%"),
        (replace(READY, saves=False), 78, "not saved · gpt-oss-20b · ready", f"context 3,214 / 32,768  {FULL} 10%"),
        (replace(READY, estimated=True), 60, "gpt-oss-20b · ready", "context about 3,214 / 32,768  10%"),
        (StatusFigures(state="starting"), 78, "starting", ""),
        (StatusFigures("a\x1bb", state="loading"), 78, "loading a␛b", ""),
        (StatusFigures("日本" * 8, state="ready", used=5, limit=10), 54, "日本" * 8 + " · ready", "context 50%"),
        (LOADING, 78, f"loading gpt-oss-20b {THIRD} 4.1 of 13.8 GB, 6 s", ""),
        (LOADING, 45, "loading gpt-oss-20b 4.1 of 13.8 GB, 6 s", ""),
        (LOADING, 30, "loading gpt-oss-20b 30%", ""),
        (PREPARING, 78, f"gpt-oss-20b · preparing the kernels {THIRD} 3 of 6", ""),
        (PREPARING, 30, "preparing the kernels 3 of 6", ""),
        (
            READING,
            120,
            f"gpt-oss-20b · reading the prompt {THIRD} 1,051 of 3,503, 12 s left",
            f"context 3,214 / 32,768  {FULL} 10%",
        ),
        (READING, 82, f"gpt-oss-20b · reading the prompt {THIRD} 1,051 of 3,503, 12 s left", "context 10%"),
        (READING, 68, f"reading the prompt {THIRD} 1,051 of 3,503, 12 s left", "context 10%"),
        (READING, 57, "reading the prompt 1,051 of 3,503, 12 s left", "context 10%"),
        (READING, 49, "gpt-oss-20b · reading 30%, 12 s left", "context 10%"),
        (READING, 35, "reading 30%, 12 s left", "context 10%"),
        (READING, 34, "reading 30%, 12 s left", ""),
    ],
)
def test_figures_give_way_in_order(figures: StatusFigures, width: int, left: str, right: str) -> None:
    assert fitted(figures, width) == (left, right)


@pytest.mark.parametrize("figures", [BUSY, READY, READING, STREAMED])
def test_the_line_never_gets_longer_in_a_narrower_terminal(figures: StatusFigures) -> None:
    lengths = [sum(map(len, fitted(figures, width))) for width in range(200)]
    assert lengths == sorted(lengths)
    assert all(length + GAP <= width for width, length in enumerate(lengths) if width >= 24)


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


def test_the_time_left_follows_from_the_speed_once_that_is_known() -> None:
    reading = Reading()
    assert reading.take(1000, 9000, 50.0) == Progress(1 / 9, "1,000 of 9,000", "11%")  # those the cache had
    texts = [present(reading.take(*at)).text for at in ((3000, 9000, 54.0), (7900, 9000, 63.8), (8100, 9000, 64.2))]
    assert texts == ["3,000 of 9,000, 12 s left", "7,900 of 9,000, 2 s left", "8,100 of 9,000"]  # then in a moment


def test_a_short_prompt_has_no_figures_unless_it_takes_long() -> None:
    reading = Reading()
    assert reading.take(1000, 1400, 50.0) is None and reading.take(1064, 1400, 50.2) is None
    assert present(reading.take(1100, 1400, 51.0)).text == "1,100 of 1,400, 3 s left"
    assert Reading().take(0, 0, 1.0) is None


def test_a_load_is_told_in_bytes_and_seconds() -> None:
    assert loading(4_140_000, 13_800_000, 0.4).text == "4.1 of 13.8 MB, 0 s"


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

        assert "memory 11.0 / 11.4 GB" in line()
        await send(pilot, "go")  # before the engine has said anything
        await shows("reading")
        assert "reading the prompt" in text_on(pilot)
        engine.say(PrefillProgress(312, 3520))
        await shows("reading the prompt \u2588", "312 of 3,520")
        clock[0] += 4.0
        engine.say(PrefillProgress(1312, 3520))
        await shows("1,312 of 3,520, 9 s left")
        assert "reading the prompt: 1,312 of 3,520, 9 s left" in text_on(pilot)
        engine.say(PrefillProgress(3520, 3520))
        await shows("context 3,520 / 4,096")
        clock[0] += 0.4
        engine.say(MessageStart("final"))
        await shows("gpt-oss-20b \u00b7 answering", "first token 4.4 s")
        assert "of 3,520" not in text_on(pilot)
        await wait_until(pilot, lambda: text_on(pilot).count("answering") == 2)  # as long as there is no text
        for tokens in range(1, 5):  # each at a time of its own
            clock[0] += 0.5
            engine.say(TextDelta("final", "word "))
            await shows(f"context {3520 + tokens:,}")
        await shows("answering 2 tok/s", "first token 4.4 s", "context 3,524")
        engine.say(Finished("stop", replace(STATS, peak_memory_bytes=round(11.3 * GB))))
        await idle(pilot)
        await shows("ready · memory 11.3 / 11.4 GB", "context 374")
        assert (status.speed, status.ttft, status.progress) == (0.0, 0.0, None)
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
