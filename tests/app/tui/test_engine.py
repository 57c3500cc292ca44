"""The chat and its engine: how it starts, refuses a prompt, and dies."""

from app.engine.engine import EngineError
from app.engine.protocol import LoadProgress
from app.tui.widgets.messages import Prompt
from mlx_model.events import MessageStart
from mlx_model.harmony.message import assistant, user
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, deltas, desk_of, idle, send, text_on, wait_until


async def test_typing_is_possible_while_the_model_loads() -> None:
    engine = FakeEngine(hold=True)
    async with chat(engine) as pilot:
        await pilot.press(*"hello")
        assert desk_of(pilot).composer.text == "hello"
        assert "loading gpt-oss-20b" in text_on(pilot)
        engine.release()
        await idle(pilot)
        assert "gpt-oss-20b · ready" in text_on(pilot)
        assert "context 0 / 4,096" in text_on(pilot)
    assert engine.closed


async def test_a_message_sent_while_loading_is_answered_afterwards() -> None:
    engine = FakeEngine(hold=True)
    engine.load_progress = [LoadProgress(3, 8, kernels=True)]
    async with chat(engine) as pilot:
        await send(pilot, "early")
        await wait_until(pilot, lambda: "waiting for the model" in text_on(pilot))
        assert "preparing the kernels" in text_on(pilot)
        assert "4 of 8" in text_on(pilot)
        assert engine.asked == []
        engine.release()
        await wait_until(pilot, lambda: "reading the prompt" in text_on(pilot))
        engine.answer("here you are")
        await wait_until(pilot, lambda: "here you are" in text_on(pilot))


async def test_escape_takes_back_a_message_that_waits_for_the_model() -> None:
    engine = FakeEngine(hold=True)
    async with chat(engine) as pilot:
        await send(pilot, "early")
        await wait_until(pilot, lambda: "waiting for the model" in text_on(pilot))
        await pilot.press("escape")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "early")
        assert app_of(pilot).conversation.messages == []
        engine.release()
        await idle(pilot)
        await ask(pilot, engine, "", "now")  # Enter sends what was put back
        assert engine.asked[0][0] == [user("early")]


async def test_a_load_that_fails_says_why_gives_the_prompt_back_and_is_tried_again() -> None:
    engine = FakeEngine(load_errors=[EngineError("no such model"), EngineError("still none")])
    async with chat(engine) as pilot:
        await wait_until(pilot, lambda: "no such model" in text_on(pilot))
        await send(pilot, "hi")
        await wait_until(pilot, lambda: "still none" in text_on(pilot))
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "hi")
        await ask(pilot, engine, "", "third time lucky")
        assert engine.loads == 3


async def test_a_prompt_that_does_not_fit_comes_back_before_what_was_typed_since() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "a very long prompt")
        await wait_until(pilot, lambda: engine.asked)
        await pilot.press(*"next")
        engine.say(EngineError("the prompt has 9,999 tokens, the context 4,096", unusable=True))
        await wait_until(pilot, lambda: "9,999 tokens" in text_on(pilot))
        await idle(pilot)
        assert desk_of(pilot).composer.text == "a very long prompt\n\nnext"
        assert "Your message is back in" in text_on(pilot)
        assert app_of(pilot).conversation.messages == [] and not app_of(pilot).query(Prompt)


async def test_an_engine_that_dies_in_an_answer_leaves_everything_on_the_screen() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), *deltas("final", "The answer is"))
        await send(pilot, "tell me")
        await wait_until(pilot, lambda: "The answer is" in text_on(pilot))
        engine.die(asking=True)
        await wait_until(pilot, lambda: desk_of(pilot).status.state == "stopped" and "cut off" in text_on(pilot))
        screen = text_on(pilot)
        assert "memory ran out. Your text is saved." in screen and "out of memory" in screen
        assert "/restart" in screen and "--memory 10GB" in screen and "The answer is" in screen
        assert screen.count("The engine was killed") == 1
        await wait_until(pilot, app_of(pilot).conversations.idle.is_set)
        await pilot.press("ctrl+r")
        await idle(pilot)
        await ask(pilot, engine, "and?", "42")
        assert engine.loads == 2
        assert engine.asked[1][0] == [user("tell me"), assistant("The answer is"), user("and?")]


async def test_what_is_queued_waits_when_the_engine_dies() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), *deltas("final", "half"))
        await send(pilot, "one")
        await wait_until(pilot, lambda: "half" in text_on(pilot))
        await send(pilot, "two")
        await wait_until(pilot, lambda: desk_of(pilot).queue.texts == ["two"])
        engine.die(asking=True)
        await wait_until(pilot, app_of(pilot).conversations.idle.is_set)
        await pilot.pause()
        assert desk_of(pilot).queue.texts == ["two"] and engine.loads == 1


async def test_an_engine_that_dies_while_idle_says_so_and_sending_starts_another() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.die(asking=False)
        await wait_until(pilot, lambda: "The engine was killed" in text_on(pilot))
        engine.answer("back again")
        await send(pilot, "hi")
        await wait_until(pilot, lambda: "back again" in text_on(pilot))
        assert engine.loads == 2


async def test_death_before_the_first_event_gives_the_prompt_back() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "boom")
        await wait_until(pilot, lambda: engine.asked)
        engine.die(asking=True)
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "boom")
        assert app_of(pilot).conversation.messages == []
