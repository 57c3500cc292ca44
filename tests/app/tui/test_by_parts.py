"""A document that is read by parts on the screen: the cost and the person's yes, progress, Esc, going on, the notes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from app.documents import files, kept_texts
from app.engine.engine import EngineError
from app.tui.parts.by_parts import ASKS, NOTES_KEPT
from app.tui.parts.tools import GRACE_S
from app.tui.widgets.reader import Reader
from mlx_model.documents.parsers import parse
from mlx_model.events import MessageStart, PrefillProgress, TextDelta
from tests.fixtures.fakes import FakeEngine, app_of, chat, desk_of, idle, notified, on_screen, text_on, wait_until

LINES = [f"{n}. A line of the book, which says that number {n * 3} matters." for n in range(1, 121)]
QUESTION = "Which numbers matter?"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("mlx_model.documents.process.read_apart", parse)
    monkeypatch.chdir(tmp_path)
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
        await pilot.press("enter")  # and can be sent again
        await on_screen(pilot, ASKS)


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
        engine.answer("third [line 80]")
        await wait_until(pilot, lambda: len(engine.asked) == 2)
        await pilot.press("ctrl+s")  # enough
        await wait_until(pilot, lambda: engine.cancelled == 1 and len(engine.asked) == 3)
        engine.answer("From three of four.")
        await idle(pilot)
        prompt = engine.asked[2][0][0].text
        assert "notes on 3 of 4 parts" in prompt and "third" in prompt
        await on_screen(pilot, "From three of four.")


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


async def test_a_document_that_fits_is_asked_about_as_it_is() -> None:
    engine = engine_that_counts()
    async with chat(engine, (80, 24)) as pilot:
        engine.answer("Few.")
        await sent(pilot, "short.txt")
        await wait_until(pilot, lambda: notified(pilot, "short.txt fits into the context"))
        await on_screen(pilot, "Few.")
        assert len(engine.asked) == 1 and LINES[8] in engine.asked[0][0][0].text
        assert "short.txt*" not in engine.asked[0][0][0].text.split("\n")[0]
