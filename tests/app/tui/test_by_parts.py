"""A document that is read by parts on the screen: the cost and the person's yes, progress, Esc, going on, the notes."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from textual.pilot import Pilot

from app.chat.conversation import Conversation
from app.documents import files, kept_texts
from app.documents.attachments import Attachment, join
from app.documents.files import attach
from app.engine.engine import EngineError
from app.tui.parts.by_parts import ASKS, NOTES_KEPT
from app.tui.parts.hints import CUT_OFF, READING_WAITS
from app.tui.text.grace import GRACE_S
from app.tui.widgets.messages import Prompt
from app.tui.widgets.reader import Reader
from mlx_model.documents.parsers import parse
from mlx_model.events import MessageStart, PrefillProgress, TextDelta
from tests.fixtures.fakes import FakeEngine, app_of, chat, desk_of, idle, notified, on_screen, text_on, wait_until
from tests.fixtures.trees import keep

LINES = [f"{n}. A line of the book, which says that number {n * 3} matters." for n in range(1, 121)]
QUESTION = "Which numbers matter?"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("mlx_model.documents.process.read_apart", parse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(tmp_path / "home"))
    files._documents.clear()
    kept_texts._texts.clear()
    Path("book.txt").write_text("\n".join(LINES) + "\n")
    Path("short.txt").write_text("\n".join(LINES[:9]) + "\n")
    yield
    kept_texts._texts.clear()


def engine_that_counts() -> FakeEngine:
    engine = FakeEngine()
    engine.tokens = len
    return engine


async def sent(pilot: Pilot[None], name: str = "book.txt") -> None:
    """A question about the document, typed and sent."""
    await idle(pilot)
    composer = desk_of(pilot).composer
    await pilot.press(*f"@{name}*")
    await pilot.press("space")
    await wait_until(pilot, lambda: composer.attached.attachments, "the file")
    composer.insert(QUESTION)
    await pilot.press("enter")


async def allowed(pilot: Pilot[None]) -> None:
    await on_screen(pilot, f"{ASKS} asks: read all of book.txt?")
    await pilot.pause(GRACE_S + 0.1)
    await pilot.press("f7")


async def test_it_is_read_after_a_yes_and_answered_from_the_notes() -> None:
    engine = engine_that_counts()
    async with chat(engine, (80, 24)) as pilot:
        await sent(pilot)
        await on_screen(pilot, "4 parts, 7,2")
        assert "how long it takes is not known before the first part" in text_on(pilot) and engine.asked == []
        stored = await app_of(pilot).journal.load(app_of(pilot).conversation.id)
        assert stored is not None and QUESTION in stored.path[0].text()  # it is on the disk already
        await allowed(pilot)
        await wait_until(pilot, lambda: len(engine.asked) == 1)
        assert ASKS not in text_on(pilot)
        engine.say(PrefillProgress(500, 1000))
        await on_screen(pilot, "reading part 1 of 4")
        await on_screen(pilot, "lines 1-3")
        engine.say(PrefillProgress(1000, 1000), MessageStart("final"), TextDelta("final", "three mat"))
        await on_screen(pilot, "three mat")
        for number in range(4):
            engine.answer(f"noted {number} [lines 1-9]")
        engine.answer('"number 9 matters" [line 3], "number 8 matters" [line 3].', analysis="Hm.")
        await wait_until(pilot, lambda: len(engine.asked) == 5)
        await idle(pilot)
        prompt = engine.asked[4][0][0].text
        assert prompt.count("noted ") == 4 and prompt.endswith(QUESTION) and "notes on all 4 parts" in prompt
        await on_screen(pilot, "notes on all 4 parts of book.txt, 1,408 tokens read, 88 written")
        await on_screen(pilot, "quote not found")  # in the text, of which the notes say nothing
        assert "noted 3" not in text_on(pilot) and "[line 3], " in text_on(pilot)
        await pilot.click("NotesView FoldTitle")
        await on_screen(pilot, "noted 3 [lines 1-9]")
        await pilot.press("shift+tab", "up", "o")
        await wait_until(pilot, lambda: "noted 3" not in text_on(pilot))
        await pilot.press("escape")
        stored = await app_of(pilot).journal.load(app_of(pilot).conversation.id)
        assert stored is not None and stored.path[0].text() == prompt and len(stored.nodes) == 2
        # A further question has the notes before it, and an answer that is made again comes from them.
        engine.answer("Again.")
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: len(engine.asked) == 6)
        await idle(pilot)
        assert engine.asked[5][0][0].text == prompt and not app_of(pilot).query(Reader)


async def test_without_a_yes_the_message_is_in_the_input_again() -> None:
    engine = engine_that_counts()
    async with chat(engine, (120, 30)) as pilot:
        await sent(pilot)
        await on_screen(pilot, ASKS)
        await pilot.pause(GRACE_S + 0.1)
        await pilot.press("escape")
        await idle(pilot)
        composer = desk_of(pilot).composer
        assert QUESTION in composer.text and [each.name for each in composer.attached.attachments] == ["book.txt*"]
        assert engine.asked == [] and not app_of(pilot).conversation.nodes
        assert not [*Path("home").rglob("*.txt")]  # nothing of the document is on the disk
        await pilot.press("enter")  # and can be sent again
        await on_screen(pilot, ASKS)


async def test_no_notes_are_said_to_be_kept_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, engine = Conversation(), engine_that_counts()
    tree.add_prompt(join(QUESTION, [attach("book.txt*", Path.cwd())]), None)  # killed before the first part was read
    keep(tree)
    async with chat(engine, (120, 30)) as pilot:
        await idle(pilot)
        await app_of(pilot).conversations.open(tree.id)
        await on_screen(pilot, READING_WAITS)
        assert CUT_OFF not in text_on(pilot)
        await pilot.press("ctrl+g")
        await on_screen(pilot, ASKS)
        await pilot.pause(GRACE_S + 0.1)
        await pilot.press("escape")
        await wait_until(pilot, app_of(pilot).conversations.idle.is_set)
        assert not notified(pilot, NOTES_KEPT) and len(app_of(pilot).conversation.nodes) == 1


async def test_enter_on_it_in_the_input_leaves_it_there() -> None:
    """Its text is no text for the message."""
    async with chat(engine_that_counts(), (120, 30)) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        await pilot.press(*"@book.txt*", "space")
        await wait_until(pilot, lambda: composer.attached.attachments, "the file")
        await pilot.press("shift+tab", "enter")
        await wait_until(pilot, lambda: notified(pilot, "book.txt* is read part by part"))
        assert [each.name for each in composer.attached.attachments] == ["book.txt*"]


async def test_esc_in_the_first_part_leaves_nothing_of_the_document_on_the_disk() -> None:
    engine = engine_that_counts()
    async with chat(engine, (120, 30)) as pilot:
        await sent(pilot)
        await allowed(pilot)
        await wait_until(pilot, lambda: len(engine.asked) == 1)
        assert [*Path("home").rglob("*.txt")]
        await pilot.press("escape")
        await wait_until(pilot, app_of(pilot).conversations.idle.is_set)
        assert QUESTION in desk_of(pilot).composer.text and not app_of(pilot).conversation.nodes
        assert not [*Path("home").rglob("*.txt")]


async def test_esc_keeps_the_notes_and_reading_goes_on_after_a_restart() -> None:
    engine = engine_that_counts()
    async with chat(engine, (120, 30)) as pilot:
        await sent(pilot)
        await allowed(pilot)
        engine.answer("first [line 1]")
        engine.answer("second [line 40]")
        await wait_until(pilot, lambda: len(engine.asked) == 3)
        await pilot.press("escape")
        await wait_until(pilot, lambda: notified(pilot, NOTES_KEPT))
        await on_screen(pilot, "notes on 2 of 4 parts of book.txt")
        id = app_of(pilot).conversation.id
    kept_texts._texts.clear()
    Path("book.txt").unlink()  # what was read is kept
    engine = engine_that_counts()
    async with chat(engine, (120, 30)) as pilot:
        await idle(pilot)
        await app_of(pilot).conversations.open(id)
        await on_screen(pilot, "^G reads on, ^S answers from the notes")
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: len(engine.asked) == 1)
        assert "part 3 of 4" in engine.asked[0][0][0].text and ASKS not in text_on(pilot)
        assert text_on(pilot).count("notes on 2 of 4 parts") == 1
        engine.answer("third [line 80]")
        await wait_until(pilot, lambda: len(engine.asked) == 2)
        await pilot.press("ctrl+s")  # enough
        await wait_until(pilot, lambda: engine.cancelled == 1 and len(engine.asked) == 3)
        engine.answer("From three of four.")
        await idle(pilot)
        prompt = engine.asked[2][0][0].text
        assert "notes on 3 of 4 parts" in prompt and "third" in prompt
        await on_screen(pilot, "From three of four.")


async def test_a_document_that_is_gone_can_still_be_read_as_it_was(tmp_path: Path) -> None:
    engine = engine_that_counts()
    async with chat(engine, (160, 30)) as pilot:
        await half_read(pilot, engine)
        await pilot.press("escape")
        await wait_until(pilot, lambda: notified(pilot, NOTES_KEPT))
        Path("book.txt").unlink()
        await app_of(pilot).run_action("read")
        await wait_until(pilot, lambda: app_of(pilot).query(Reader))
        await on_screen(pilot, LINES[5])


async def test_after_a_stop_it_can_be_answered_from_what_was_read() -> None:
    engine = engine_that_counts()
    async with chat(engine, (80, 24)) as pilot:
        await sent(pilot)
        await allowed(pilot)
        await wait_until(pilot, lambda: len(engine.asked) == 1)
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: notified(pilot, "There are no notes yet"))
        engine.answer("first [line 1]")
        await wait_until(pilot, lambda: len(engine.asked) == 2)
        engine.say(EngineError("the GPU failed"))
        await on_screen(pilot, "The GPU failed.")
        await on_screen(pilot, "notes on 1 of 4 parts")
        await idle(pilot)
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: len(engine.asked) == 3)
        engine.answer("From one.")
        await idle(pilot)
        await on_screen(pilot, "From one.")
        assert [node.is_prompt for node in app_of(pilot).conversation.path] == [True, False]


async def half_read(pilot: Pilot[None], engine: FakeEngine, parts: int = 1) -> None:
    """So many parts are read, and the next is under way."""
    await sent(pilot)
    await allowed(pilot)
    for number in range(parts):
        engine.answer(f"noted {number}\n{'It says so. ' * 200}"[:2400])
    await wait_until(pilot, lambda: len(engine.asked) == parts + 1)


async def test_notes_take_no_room_from_themselves_when_the_reading_goes_on() -> None:
    engine = engine_that_counts()
    engine.tokens = lambda text: len(text) // 10
    Path("book.txt").write_text("\n".join(LINES * 11) + "\n")
    async with chat(engine, (120, 30)) as pilot:
        await half_read(pilot, engine, 3)
        await pilot.press("escape")
        await wait_until(pilot, lambda: notified(pilot, NOTES_KEPT))
        await idle(pilot)
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: len(engine.asked) == 5)
        engine.answer(f"noted 3\n{'It says so. ' * 200}"[:2400])
        await wait_until(pilot, lambda: len(engine.asked) == 6)
        assert "Take notes" not in engine.asked[5][0][0].text and "has notes on" not in engine.asked[5][0][0].text
        assert engine.asked[5][0][0].text.endswith(QUESTION)


async def test_an_edited_question_is_read_for_anew() -> None:
    engine = engine_that_counts()
    async with chat(engine, (120, 30)) as pilot:
        await sent(pilot)
        await allowed(pilot)
        for number in range(4):
            engine.answer(f"noted {number} for the first")
        engine.answer("The answer.")
        await on_screen(pilot, "The answer.")
        await idle(pilot)
        await pilot.press("shift+tab", "up", "e")
        composer, conversations = desk_of(pilot).composer, app_of(pilot).conversations
        await wait_until(pilot, lambda: conversations.editing and QUESTION in composer.text)
        [file] = composer.attached.attachments
        assert file.text == "" and file.note.startswith("to be read by parts, text ")
        await pilot.press("escape")  # nothing was changed, so nothing is left of it
        await wait_until(pilot, lambda: not conversations.editing)
        await conversations.save_draft()
        assert not composer.text and not await app_of(pilot).journal.draft(app_of(pilot).conversation.id)
        await pilot.press("shift+tab", "up", "e")
        await wait_until(pilot, lambda: conversations.editing)
        composer.insert(" And why?")
        await pilot.press("enter")
        await allowed(pilot)
        await wait_until(pilot, lambda: len(engine.asked) == 6)
        assert "part 1 of 4" in engine.asked[5][0][0].text and engine.asked[5][0][0].text.endswith("And why?")
        await pilot.press("escape")


async def test_an_engine_that_dies_when_it_is_enough_leaves_nothing_behind() -> None:
    engine = engine_that_counts()
    async with chat(engine, (120, 30)) as pilot:
        await half_read(pilot, engine)

        async def dies() -> None:
            engine.die(asking=True)

        engine.cancel = dies  # type: ignore[method-assign]
        await pilot.press("ctrl+s")
        await on_screen(pilot, "notes on 1 of 4 parts")
        await wait_until(pilot, app_of(pilot).conversations.idle.is_set)
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: len(engine.asked) == 3)
        assert "part 2 of 4" in engine.asked[2][0][0].text


@pytest.mark.parametrize("key", ["escape", "ctrl+s"])
async def test_a_key_between_two_parts_is_not_lost(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_that_counts()
    async with chat(engine, (120, 30)) as pilot:
        await half_read(pilot, engine)
        journal = app_of(pilot).journal
        saving, save = asyncio.Event(), journal.save

        async def slow(conversation: Conversation) -> None:
            if "notes on 2 of" in conversation.path[0].text() and not saving.is_set():
                saving.set()
                await pilot.press(key)
            await save(conversation)

        monkeypatch.setattr(journal, "save", slow)
        engine.answer("second [line 40]")
        await wait_until(pilot, saving.is_set)
        if key == "escape":
            await wait_until(pilot, lambda: notified(pilot, NOTES_KEPT))
            assert len(engine.asked) == 2
        else:
            await wait_until(pilot, lambda: len(engine.asked) == 3)
            assert "notes on 2 of 4" in engine.asked[2][0][0].text and engine.asked[2][0][0].text.endswith(QUESTION)


async def test_esc_while_tokens_are_counted_stops_a_reading_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_that_counts()
    async with chat(engine, (120, 30)) as pilot:
        await half_read(pilot, engine)
        await pilot.press("escape")
        await wait_until(pilot, lambda: notified(pilot, NOTES_KEPT))
        await idle(pilot)
        counting, counted, count = asyncio.Event(), asyncio.Event(), engine.count

        async def slow(texts: Sequence[str]) -> list[int]:
            counting.set()
            await counted.wait()
            return await count(texts)

        monkeypatch.setattr(engine, "count", slow)
        await pilot.press("ctrl+g")
        await wait_until(pilot, counting.is_set)
        await pilot.press("escape")
        await wait_until(pilot, app_of(pilot).conversations.idle.is_set, "the end, though nothing is counted yet")
        counted.set()
        assert len(engine.asked) == 2
        await on_screen(pilot, "notes on 1 of 4 parts")


async def test_who_looks_elsewhere_is_told_of_the_question_and_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    engine = engine_that_counts()
    async with chat(engine, (120, 30)) as pilot:
        await idle(pilot)
        monkeypatch.setattr(desk_of(pilot).attention, "wanted", told.append)
        monkeypatch.setattr("app.tui.parts.attention.LONG_S", 0.0)
        await half_read(pilot, engine)
        title = app_of(pilot).conversation.title
        assert told == [f"{ASKS} asks: {title}"]
        engine.say(EngineError("the GPU failed"))
        await wait_until(pilot, lambda: len(told) == 2)
        assert told[1] == f"The reading has failed: {title}"


async def test_a_document_that_fits_is_asked_about_as_it_is() -> None:
    engine = engine_that_counts()
    async with chat(engine, (80, 24)) as pilot:
        engine.answer("Few.")
        await sent(pilot, "short.txt")
        await wait_until(pilot, lambda: notified(pilot, "short.txt fits into the context"))
        await on_screen(pilot, "Few.")
        assert len(engine.asked) == 1 and LINES[8] in engine.asked[0][0][0].text
        assert "short.txt*" not in engine.asked[0][0][0].text.split("\n")[0]


def test_what_an_imported_prompt_says_of_its_notes_is_inert() -> None:
    note = "9\x1b[2J\u202e; to be read by parts, text 0123456789abcdef"
    prompt, tree = join("What?", [Attachment("a\x1b*", "", note)]), Conversation()
    shown = str(Prompt(tree.add_prompt(prompt, None)).content)
    assert shown == "What?\n+ a\u241b*  9\u241b[2J"
