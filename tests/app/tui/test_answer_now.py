"""Ending a thought from the screen: by key, by click, and the hints that offer it."""

import pytest

from app.tui.parts.hints import CIRCLING, NEARLY_FULL, ROOM_TO_ANSWER
from app.tui.text.answer_parts import last_sentence
from app.tui.widgets.analysis import OFFER, Analysis
from mlx_model.events import Finished, MessageEnd, MessageStart, PrefillProgress
from mlx_model.harmony.message import assistant
from tests.fixtures.fakes import (
    STATS,
    FakeEngine,
    chat,
    deltas,
    desk_of,
    idle,
    notified,
    on_screen,
    send,
    text_on,
    wait_until,
)

PASSAGE = "We need to add up the squares of these numbers. "


async def test_a_key_ends_the_thought_while_there_is_one() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: notified(pilot, "No answer is under way."))
        await send(pilot, "Squares?")
        engine.say(PrefillProgress(1, 9))
        await wait_until(pilot, lambda: desk_of(pilot).status.state == "reading")
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: notified(pilot, "It will answer without thinking."))
        engine.say(MessageStart("analysis"), *deltas("analysis", PASSAGE))
        await on_screen(pilot, OFFER)
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: engine.hurried == 2)
        engine.say(MessageEnd(assistant(PASSAGE, "analysis")), MessageStart("final"), *deltas("final", "385"))
        await wait_until(pilot, lambda: desk_of(pilot).status.state == "answering")
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: notified(pilot, "The answer has begun already."))
        assert engine.hurried == 2
        await wait_until(pilot, lambda: OFFER not in text_on(pilot))
        engine.say(Finished("stop", STATS))
        await idle(pilot)


async def test_a_click_on_the_offer_ends_it_and_one_on_the_title_closes_it() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "Squares?")
        engine.say(MessageStart("analysis"), *deltas("analysis", PASSAGE))
        await on_screen(pilot, OFFER)
        analysis = pilot.app.screen.query_one(Analysis)
        at = next(line for line in text_on(pilot).split("\n") if OFFER in line).index(OFFER)
        assert at + len(OFFER) == analysis.title.region.right  # at the end of the line
        await pilot.click(analysis.title, offset=(at - analysis.title.region.x + 2, 0))
        await wait_until(pilot, lambda: engine.hurried == 1)
        assert analysis.open
        await pilot.click(analysis.title, offset=(2, 0))
        await wait_until(pilot, lambda: not analysis.open)
        assert engine.hurried == 1
        await on_screen(pilot, "tokens: We need to add up the")
        engine.say(Finished("stop", STATS))
        await idle(pilot)
        await on_screen(pilot, "medium \u00b7 42.0 tok/s \u00b7 22 tokens")
        await pilot.click(analysis.title, offset=(70, 0))  # on the figures, which do nothing
        await wait_until(pilot, lambda: analysis.open)


async def test_a_thought_that_repeats_itself_is_offered_to_end() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "Squares?")
        engine.say(MessageStart("analysis"), *deltas("analysis", PASSAGE * 2))
        await on_screen(pilot, OFFER)
        assert CIRCLING not in text_on(pilot)
        engine.say(*deltas("analysis", PASSAGE * 2))
        await on_screen(pilot, CIRCLING)
        engine.say(MessageEnd(assistant(PASSAGE * 4, "analysis")), MessageStart("final"), *deltas("final", "385"))
        await wait_until(pilot, lambda: CIRCLING not in text_on(pilot), "the hint to go")
        engine.say(Finished("stop", STATS))
        await idle(pilot)


async def test_a_thought_that_fills_the_context_is_offered_to_end() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "Squares?")
        engine.say(PrefillProgress(4000, 4000), MessageStart("analysis"), *deltas("analysis", PASSAGE))
        await on_screen(pilot, ROOM_TO_ANSWER)
        engine.say(MessageEnd(assistant(PASSAGE, "analysis")), MessageStart("final"), *deltas("final", "385"))
        await on_screen(pilot, NEARLY_FULL)
        engine.say(Finished("stop", STATS))
        await idle(pilot)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ""),
        ("We need", "We need"),
        ("First we add them all up. Then", "First we add them all up."),
        ("First we add them all up. Hmm. 1. Then we divide by ten! Wa", "Then we divide by ten!"),
        ("A list of numbers:\n- the first of them\n- th", "- the first of them"),
        ("Version 3.5 is the newest one. x", "5 is the newest one."),
        ("x" * 5000 + " and so on it goes. Y", "and so on it goes."),
    ],
)
def test_what_is_being_thought_about(text: str, sentence: str) -> None:
    assert last_sentence(text).endswith(sentence)
    assert "\n" not in last_sentence(text)
