"""Titles by the model in the chat: asked for after the first answer, given up for a prompt, never over a person's."""

from textual.pilot import Pilot

from app.chat.titles import PROMPT
from app.tui.parts.titles import DEMO
from mlx_model.events import Finished, MessageStart
from tests.fixtures.fakes import STATS, FakeEngine, app_of, ask, chat, deltas, desk_of, idle, send, wait_until
from tests.fixtures.trees import stored, titled


async def asked_for_title(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A first turn, and wait until the model is asked for its title."""
    await ask(pilot, engine, "Name a fruit", "Pear.")
    await wait_until(pilot, lambda: engine.asked[-1][0][-1].text == PROMPT and engine.waits, "the title")


async def test_the_model_names_a_conversation_after_its_first_answer_and_never_again() -> None:
    engine = FakeEngine()
    async with chat(engine, titles="model") as pilot:
        await idle(pilot)
        await asked_for_title(pilot, engine)
        assert app_of(pilot).conversations.idle.is_set() and stored()[0].title == "Name a fruit"
        engine.answer('"Fruits."')
        await wait_until(pilot, lambda: stored()[0].title == "Fruits")
        assert app_of(pilot).conversation.title == "Fruits" and len(stored()[0].nodes) == 2
        await ask(pilot, engine, "Another", "Plum.")
        await pilot.pause()
        assert len(engine.asked) == 3


async def test_a_prompt_does_not_wait_for_a_title_and_a_chosen_one_stays() -> None:
    engine = FakeEngine()
    async with chat(engine, titles="model") as pilot:
        await idle(pilot)
        await asked_for_title(pilot, engine)
        engine.say(MessageStart("final"), *deltas("final", "Fru"))
        await send(pilot, "Another")
        await wait_until(pilot, lambda: engine.asked[-1][0][-1].text == "Another", "the prompt")
        engine.answer("Plum.")
        await idle(pilot)
        await wait_until(pilot, lambda: app_of(pilot).conversation.last_answer() == "Plum.")
        assert stored()[0].title == "Name a fruit"
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not app_of(pilot).conversation.nodes)
        await asked_for_title(pilot, engine)
        await send(pilot, "/rename Mine")
        await wait_until(pilot, lambda: stored()[0].title == "Mine")
        engine.answer("Theirs")
        await wait_until(pilot, lambda: not engine.waits and not engine.busy)
        await pilot.press("ctrl+n")  # another conversation ends the asking
        assert stored()[0].title == "Mine"
        await wait_until(pilot, lambda: not app_of(pilot).conversation.nodes)
        await asked_for_title(pilot, engine)
        await app_of(pilot).conversations.new()
        await wait_until(pilot, lambda: not engine.busy)


async def test_what_is_cut_off_or_fails_leaves_the_first_words() -> None:
    engine = FakeEngine()
    async with chat(engine, titles="model") as pilot:
        await idle(pilot)
        await asked_for_title(pilot, engine)
        engine.say(MessageStart("final"), *deltas("final", "A conversation about"), Finished("length", STATS))
        await wait_until(pilot, lambda: not engine.busy)
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not app_of(pilot).conversation.nodes)
        await asked_for_title(pilot, engine)
        engine.die(asking=True)
        await wait_until(pilot, lambda: desk_of(pilot).status.state == "stopped")
        assert [tree.title for tree in stored()] == ["Name a fruit"] * 2


async def test_the_first_words_stay_where_they_are_wanted_and_with_the_demo() -> None:
    for model, titles in (("gpt-oss-20b", "words"), (DEMO, "model")):
        engine = FakeEngine(model=model)
        async with chat(engine, titles=titles) as pilot:
            await idle(pilot)
            await ask(pilot, engine, "Name a fruit", "Pear.")
            await pilot.pause()
            assert len(engine.asked) == 1
            assert titled("Name a fruit").title == app_of(pilot).conversation.title
