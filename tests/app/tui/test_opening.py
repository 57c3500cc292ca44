"""What the chat opens with when the command line says so: the last conversation, a prompt."""

import pytest

from app.chat.commands import BUSY
from app.store.errors import StoreError
from app.tui.widgets.composer import Composer
from mlx_model.events import Finished, MessageStart
from tests.fixtures.fakes import (
    STATS,
    FakeEngine,
    app_of,
    ask,
    chat,
    deltas,
    desk_of,
    idle,
    notified,
    on_screen,
    send,
    wait_until,
)
from tests.fixtures.trees import keep, stored, titled


async def test_it_opens_with_a_prompt_which_waits_for_the_engine() -> None:
    engine = FakeEngine(hold=True)
    async with chat(engine, prompt="Why is the sky blue?") as pilot:
        await on_screen(pilot, "Why is the sky blue?")
        assert not engine.asked
        engine.release()
        engine.answer("Because of Rayleigh.")
        await on_screen(pilot, "Because of Rayleigh.")
        await idle(pilot)
        assert desk_of(pilot).composer.text == ""
    assert stored()[0].title == "Why is the sky blue?"


async def test_it_continues_the_conversation_last_used_and_asks_in_it() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "First?", "One.")
        await pilot.press("ctrl+n")
        await ask(pilot, engine, "Second?", "Two.")
    engine = FakeEngine()
    async with chat(engine, resume=True, prompt="And then?") as pilot:
        await wait_until(pilot, lambda: engine.asked)
        messages = engine.asked[0][0]
        assert [message.text for message in messages] == ["Second?", "Two.", "And then?"]
        engine.answer("Three.")
        await on_screen(pilot, "Three.")
        await idle(pilot)
    assert len(stored()) == 2


async def test_an_unsent_draft_of_a_new_chat_stays_where_it_is() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "First?", "One.")
        await pilot.press("ctrl+n")
        desk_of(pilot).composer.insert("a thought")
        await app_of(pilot).conversations.save_draft()
    async with chat(FakeEngine(), resume=True) as pilot:
        await on_screen(pilot, "One.")
        await idle(pilot)
        assert desk_of(pilot).composer.text == ""
    async with chat(FakeEngine()) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "a thought")


async def test_nothing_to_continue_is_a_new_chat() -> None:
    engine = FakeEngine()
    async with chat(engine, resume=True) as pilot:
        await wait_until(pilot, lambda: notified(pilot, "There is no conversation to continue yet."))
        await idle(pilot)
        engine.answer("Hello.")
        await send(pilot, "Hi")
        await on_screen(pilot, "Hello.")
        assert app_of(pilot).conversation.title == "Hi"


async def test_what_is_typed_before_it_is_drawn_goes_to_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """The focus is there from the first moment on, not only once the app has moved it."""
    monkeypatch.setattr(Composer, "focus", lambda composer, scroll_visible=True: composer)
    async with chat(FakeEngine(), (120, 30)) as pilot:
        assert pilot.app.focused is desk_of(pilot).composer


async def test_a_hit_in_the_conversation_that_is_answered_is_shown_if_it_is_mounted() -> None:
    tree = titled("first", 30)
    keep(tree)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        conversations, transcript = app_of(pilot).conversations, desk_of(pilot).transcript
        await conversations.open(tree.id)
        engine.say(MessageStart("final"), *deltas("final", "under way"))
        await send(pilot, "more")
        await on_screen(pilot, "under way")
        assert await conversations.open(tree.id) and transcript.follows and not notified(pilot, BUSY)
        near = tree.path[-10]
        assert await conversations.open(tree.id, near.id)
        await on_screen(pilot, near.messages[-1].text)
        await pilot.pause()
        assert not transcript.follows and not notified(pilot, BUSY)
        assert await conversations.open(tree.id, tree.path[0].id)
        await wait_until(pilot, lambda: notified(pilot, BUSY))
        engine.say(Finished("stop", STATS))
        await idle(pilot)
        assert app_of(pilot).conversation.last_answer() == "under way"


async def test_a_conversation_that_cannot_be_read_is_said_and_the_present_one_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "First?", "One.")

        async def fails(id: str) -> None:
            raise StoreError("the conversations can't be read: the disk is gone")

        monkeypatch.setattr(app_of(pilot).journal, "load", fails)
        desk_of(pilot).composer.insert("unsent")
        assert not await app_of(pilot).conversations.open("another")
        await wait_until(pilot, lambda: notified(pilot, "The conversations can't be read: the disk is gone."))
        assert app_of(pilot).conversation.title == "First?" and desk_of(pilot).composer.text == "unsent"


async def test_what_is_typed_before_the_last_conversation_is_there_goes_into_it_and_the_draft_stays() -> None:
    keep(titled("Strawberry"))
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.press(*"a draft")
        await app_of(pilot).conversations.save_draft()
    async with chat(FakeEngine(), resume=True) as pilot:
        await pilot.press(*"early")
        await wait_until(pilot, lambda: app_of(pilot).conversation.title == "Strawberry")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "early")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "a draft\n\nearly")


async def test_it_opens_at_the_path_that_was_shown_and_a_prompt_brings_the_end_into_sight() -> None:
    tree = titled("first", 30)
    older = tree.path[-1]
    tree.add_prompt("another branch", tree.path[-2].parent)
    tree.select(older.id)
    keep(tree)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        conversations, transcript = app_of(pilot).conversations, desk_of(pilot).transcript
        await conversations.open(tree.id)
        await on_screen(pilot, older.messages[-1].text)
        assert conversations.conversation.leaf == older.id
        await pilot.press("pageup", "pageup")
        await wait_until(pilot, lambda: not transcript.follows)
        engine.say(MessageStart("final"), *deltas("final", "under way"))
        await send(pilot, "more")
        await on_screen(pilot, "under way")
        assert transcript.follows
        engine.say(Finished("stop", STATS))
        await idle(pilot)
