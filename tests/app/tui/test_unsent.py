"""What a person has written and not sent is not lost on the way to another conversation, nor to another program."""

import asyncio

import pytest
from textual.events import Key

from app.chat.conversation import Conversation
from app.paths import conversations_file
from app.store.store import Store
from app.tui.parts.journal import Journal
from mlx_model.events import MessageStart, TextDelta
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, desk_of, idle, opened, send, text_on, wait_until
from tests.fixtures.trees import stored


async def test_a_message_that_waits_for_the_model_comes_along_into_a_new_chat() -> None:
    engine = FakeEngine(hold=True)
    async with chat(engine) as pilot:
        await send(pilot, "a long question")
        await wait_until(pilot, lambda: "waiting for the model" in text_on(pilot))
        desk_of(pilot).composer.insert("and more")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "a long question\n\nand more")
        engine.release()
        await idle(pilot)
        assert stored() == [] and not engine.asked


async def test_a_message_that_waits_for_the_model_stays_behind_as_a_draft() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "first", "one")
        await pilot.press("ctrl+n")
        await ask(pilot, engine, "second", "two")
        engine.die(asking=False)
        await wait_until(pilot, lambda: "The engine was killed" in text_on(pilot))
        engine.hold()
        await send(pilot, "a long question")
        await wait_until(pilot, lambda: "waiting for the model" in text_on(pilot))
        app = app_of(pilot)
        await app.conversations.open(next(tree.id for tree in stored() if tree.title == "first"))
        assert app.desk.composer.text == ""
        engine.release()
        await idle(pilot)
        await opened(pilot, "second")
        assert app.desk.composer.text == "a long question"


async def test_what_an_edit_set_aside_survives_and_so_does_the_edit() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "question", "answer")
        app = app_of(pilot)
        app.desk.composer.insert("unsent")
        await pilot.press("alt+up")
        await app.conversations.save_draft()
        store = Store(conversations_file())
        assert store.draft(app.conversation.id) == "unsent"
        await pilot.press("?")
        await app.conversations.save_draft()
        assert store.draft(app.conversation.id) == "unsent\n\nquestion?"
        store.close()
        await pilot.press("ctrl+n")
        await wait_until(
            pilot, lambda: app.desk.composer.text == "unsent\n\nquestion?" and not app.conversations.editing
        )


async def test_what_is_sent_while_another_conversation_opens_stays_in_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer must not grow in the one that was opened."""
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "first", "one")
        await pilot.press("ctrl+n")
        await ask(pilot, engine, "second", "two")
        app = app_of(pilot)
        set_draft = Journal.set_draft

        async def slow(journal: Journal, conversation: str, text: str) -> None:
            monkeypatch.setattr(Journal, "set_draft", set_draft)
            engine.say(MessageStart("final"), TextDelta("final", "late"))
            desk_of(pilot).composer.write("in between")
            await desk_of(pilot).composer.on_key(Key("enter", None))
            await wait_until(pilot, lambda: "late" in text_on(pilot))
            await set_draft(journal, conversation, text)

        monkeypatch.setattr(Journal, "set_draft", slow)
        await app.conversations.open(next(tree.id for tree in stored() if tree.title == "first"))
        await idle(pilot)
        texts = {tree.title: [message.text for message in tree.messages] for tree in stored()}
        assert texts == {"first": ["first", "one"], "second": ["second", "two", "in between", "late"]}
        assert "late" not in text_on(pilot)


async def test_a_new_chat_that_is_overtaken_by_another_keeps_what_was_typed() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        app.desk.composer.rewrite("a draft")
        await app.desk.queue.put("queued")
        before = app.conversation
        first = app.run_worker(app.conversations.new())
        while app.conversation is before:
            await asyncio.sleep(0)
        first.cancel()  # as one more ^N does
        await app.conversations.new()
        assert app.desk.composer.text == "a draft"


async def test_each_text_stays_where_it_was_typed_on_the_way_between_conversations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "first", "one")
        await pilot.press("ctrl+n")
        app, composer = app_of(pilot), desk_of(pilot).composer
        await wait_until(pilot, lambda: not app.conversation.nodes)
        await pilot.press(*"of a new chat")
        load, seen = Journal.load, list[str]()

        async def slow(self: Journal, id: str) -> Conversation | None:
            seen.append(composer.text)
            await pilot.press(*"later")  # which the person types with the other conversation in mind
            return await load(self, id)

        with monkeypatch.context() as patched:
            patched.setattr(Journal, "load", slow)
            await opened(pilot, "first")
        assert seen == [""] and composer.text == "later"
        store = Store(conversations_file())
        assert store.draft("") == "of a new chat"
        store.close()
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: composer.text == "of a new chat\n\nlater")


async def test_a_conversation_that_cannot_be_opened_leaves_the_text_where_it_is() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        desk_of(pilot).composer.insert("unsent")
        assert not await app_of(pilot).conversations.open("gone")
        assert desk_of(pilot).composer.text == "unsent"


async def test_one_more_conversation_that_is_opened_meanwhile_takes_nothing_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        for title in ("first", "second"):
            await ask(pilot, engine, title, "one")
            await pilot.press("ctrl+n")
            await wait_until(pilot, lambda: not app_of(pilot).conversation.nodes)
        await pilot.press(*"unsent")
        ids = {tree.title: tree.id for tree in stored()}
        app, load, gate = app_of(pilot), Journal.load, asyncio.Event()

        async def waits(self: Journal, id: str) -> Conversation | None:
            if id == ids["first"]:
                await gate.wait()
            return await load(self, id)

        monkeypatch.setattr(Journal, "load", waits)
        opening = asyncio.create_task(app.conversations.open(ids["first"]))
        await wait_until(pilot, lambda: app.desk.composer.text == "")
        other = asyncio.create_task(app.conversations.open(ids["second"]))
        opening.cancel()
        assert await other
        assert app.conversation.id == ids["second"] and app.desk.composer.text == ""
        store = Store(conversations_file())
        assert store.draft("") == "unsent"
        store.close()
