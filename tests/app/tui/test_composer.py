"""The input: files with a prompt, folded pastes, prompts of before, the editor."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from app.documents.attachments import Attachment, join
from app.tui.text.recall import MAX_PROMPTS, Recall
from app.tui.widgets.attached import CROSS, Chip
from app.tui.widgets.completion import CompletionList
from app.tui.widgets.messages import Prompt
from mlx_model.harmony.message import user
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, desk_of, idle, notifications, text_on, wait_until

NOTES = Attachment("notes.txt", "first\nsecond\n")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the chat."""
    folder = tmp_path / "work"
    (folder / "src").mkdir(parents=True)
    (folder / NOTES.name).write_text(NOTES.text)
    (folder / "src" / "my [b]main.py").write_text("print(1)")
    (folder / "picture.png").write_bytes(b"\x89PNG\0")
    monkeypatch.chdir(folder)
    return folder


async def paste(pilot: Pilot[None], text: str) -> None:
    desk_of(pilot).composer.post_message(events.Paste(text))
    await pilot.pause()


async def attached(pilot: Pilot[None], count: int) -> list[Attachment]:
    composer = desk_of(pilot).composer
    await wait_until(pilot, lambda: len(composer.attached.attachments) == count, "the attachments")
    await pilot.pause()
    return composer.attached.attachments


# Files


async def test_a_file_is_named_shown_with_its_size_sent_and_shown_in_the_conversation() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        await pilot.press(*"see @")
        await wait_until(pilot, lambda: composer.completion.names == ["notes.txt", "picture.png", "src/"])
        above = desk_of(pilot).transcript.region
        await pilot.press("down", "up", "down", "down", "enter")
        await wait_until(pilot, lambda: composer.completion.names == ["src/my [b]main.py"])
        assert composer.text == "see @src/" and desk_of(pilot).transcript.region == above
        await pilot.press("tab")
        assert composer.text == 'see @"src/my [b]main.py" ' and not composer.completion.display
        await pilot.press(*"and @no")
        await wait_until(pilot, lambda: composer.completion.names == ["notes.txt"])
        await pilot.press("enter")
        files = await attached(pilot, 2)
        assert files == [Attachment("src/my [b]main.py", "print(1)"), NOTES]
        screen = text_on(pilot)
        assert (
            f"{CROSS} src/my [b]main.py  8 bytes, about 4 tokens" in screen
            and f"{CROSS} notes.txt  13 bytes, about" in screen
        )
        engine.answer("I see.")
        text = 'see @"src/my [b]main.py" and @notes.txt '
        await pilot.press("enter")
        await wait_until(pilot, lambda: "I see." in text_on(pilot))
        assert engine.asked[0][0][0].text == join(text, files)
        assert "+ notes.txt  13 bytes" in text_on(pilot) and "second" not in text_on(pilot)
        assert composer.prompt == "" and not pilot.app.query(Chip)
        await pilot.press("alt+up")  # to be edited, with its files
        assert composer.text == text and await attached(pilot, 2) == files
        await pilot.press("escape")
        assert composer.prompt == ""


async def test_a_name_typed_to_its_end_is_a_file_and_escape_leaves_it_text() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        await pilot.press(*"@notes.txt", "space")
        assert await attached(pilot, 1) == [NOTES] and composer.text == "@notes.txt "
        composer.clear_prompt()
        await pilot.press(*"me@no @no")
        await wait_until(pilot, lambda: composer.completion.display)
        engine.answer("ok")
        await pilot.press("escape", "enter")
        await wait_until(pilot, lambda: engine.asked)
        assert engine.asked[0][0][0].text == "me@no @no"
        await idle(pilot)
        await paste(pilot, "@notes.txt")  # what others wrote attaches nothing
        assert not composer.completion.display
        engine.answer("ok")
        await pilot.press("enter")
        await wait_until(pilot, lambda: len(engine.asked) == 2)
        assert engine.asked[1][0][-1].text == "@notes.txt"


@pytest.mark.parametrize(
    ("typed", "warning"),
    [
        ("what of @nope.txt, and @nope.txt?", "@nope.txt is not a file"),
        ("join @src/a.py @b.c ", "@src/a.py, @b.c are not files"),
        ('see @"no such.txt" ', '@"no such.txt" is not a file'),
        ("look at @fake.pdf ", "@fake.pdf is not attached"),
        ("what is in @src ", "@src is not attached"),
    ],
)
async def test_a_mention_without_its_file_is_held_back_once(folder: Path, typed: str, warning: str) -> None:
    (folder / "fake.pdf").write_bytes(b"%PDF-1.7 and no more")
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        await pilot.press(*typed)
        await pilot.pause()
        await wait_until(pilot, lambda: composer.attached.reading is None)
        await pilot.press("enter")
        await wait_until(pilot, lambda: f"{warning}; Enter again sends the message as text." in notifications(pilot))
        assert composer.text == typed and not engine.asked
        engine.answer("ok")
        await pilot.press("enter")
        await wait_until(pilot, lambda: engine.asked)
        assert engine.asked[0][0][-1].text == typed
        await idle(pilot)
        assert warning not in notifications(pilot)
        composer.insert(typed)  # another message: it may be wrong anew
        await wait_until(pilot, lambda: composer.attached.reading is None)
        await pilot.press("enter")
        await wait_until(pilot, lambda: warning in notifications(pilot))
        assert len(engine.asked) == 1


@pytest.mark.parametrize(
    "typed", ["ask @someone, or me@web.de", "@app.route(x) @a@web.social", "@ /b. @. x", "/rename @a.b"]
)
async def test_what_names_no_file_is_not_held_back(typed: str) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.answer("ok")
        await pilot.press(*typed, "enter")
        await wait_until(pilot, lambda: not desk_of(pilot).composer.text)
        assert "Enter again" not in notifications(pilot)


async def test_a_file_that_is_removed_leaves_its_name_as_text() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.press(*"see @notes.txt", "space")
        await attached(pilot, 1)
        await pilot.press("shift+tab", "delete")
        engine.answer("ok")
        await pilot.press("enter")
        await wait_until(pilot, lambda: engine.asked)
        assert engine.asked[0][0][-1].text == "see @notes.txt "


async def test_what_a_file_lacks_is_seen_on_its_line_and_read_by_the_model(folder: Path) -> None:
    (folder / "run.log").write_bytes(b"\x1b[1mFAIL\x1b[0m")
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.press(*"see @run.log", "space")
        await attached(pilot, 1)
        assert "escape sequences (colours) left out" in " ".join(text_on(pilot).split())
        engine.answer("ok")
        await pilot.press("enter")
        await wait_until(pilot, lambda: engine.asked)
        note = '[file "run.log"; escape sequences (colours) left out]'
        assert engine.asked[0][0][-1].text == f"{note}\n```\nFAIL\n```\n\nsee @run.log "
        await wait_until(pilot, lambda: "+ run.log  4 bytes" in text_on(pilot))
        assert "escape sequences (colours) left out" in " ".join(text_on(pilot).split())


async def test_an_empty_input_says_what_fits_in_a_line() -> None:
    async with chat(FakeEngine()) as pilot:
        for width in (70, 40, 80):
            await pilot.resize_terminal(width, 24)
            await pilot.pause()
            assert pilot.app.size.width == width
            await wait_until(pilot, lambda: "/ for commands " in text_on(pilot))


async def test_enter_before_the_last_message_was_taken_sends_what_was_typed_since() -> None:
    """On a busy computer keys are pressed faster than widgets hear of each other."""
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        composer.attached.add(NOTES)
        await attached(pilot, 1)
        for text in ("one", "/effort high", "two", "three"):
            composer.write(text)
            await composer.on_key(events.Key("enter", None))
        composer.write("four")
        await wait_until(pilot, lambda: len(engine.asked) == 1 and composer.text == "four")
        assert engine.asked[0][0] == [user(join("one", [NOTES]))]
        assert desk_of(pilot).queue.texts == ["two", "three"]
        assert desk_of(pilot).effort_switch.effort == "high"
        assert composer.attached.attachments == []


async def test_files_are_removed_by_key_and_click_and_chosen_by_click() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        composer.put_back(join("x", [NOTES, Attachment("b", "b"), Attachment("c", "c")]))
        await attached(pilot, 3)
        await pilot.press("shift+tab", "delete")
        assert [each.name for each in await attached(pilot, 2)] == ["notes.txt", "b"] and composer.has_focus
        await pilot.click(Chip, offset=(20, 0))
        await pilot.click(Chip, offset=(0, 0))
        assert [each.name for each in await attached(pilot, 1)] == ["b"]
        composer.clear_prompt()
        await pilot.press("@")
        await wait_until(pilot, lambda: composer.completion.display)
        await pilot.pause()
        await pilot.click(CompletionList, offset=(3, 1))
        assert await attached(pilot, 1) == [NOTES] and composer.text == "@notes.txt "


async def test_what_cannot_be_attached_is_said_and_the_text_stays(folder: Path) -> None:
    async with chat(FakeEngine(), (120, 30)) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        await pilot.press(*"@pic")
        await wait_until(pilot, lambda: composer.completion.display)
        await pilot.press("enter")
        await wait_until(pilot, lambda: "picture.png is a picture; the model reads text alone" in notifications(pilot))
        assert composer.text == "@picture.png " and not composer.attached.attachments
        composer.attached.expect("slow.pdf")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "sent once slow.pdf is read" in text_on(pilot))
        assert composer.text == "@picture.png "


async def test_files_survive_a_withdrawn_prompt_the_queue_and_the_end_of_the_program() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        app.desk.composer.put_back(join("one", [NOTES]))
        await attached(pilot, 1)
        await pilot.press("enter")
        await wait_until(pilot, lambda: engine.asked)
        app.desk.composer.put_back(join("two", [Attachment("b", "b")]))
        await attached(pilot, 1)
        await pilot.press("enter")
        await wait_until(pilot, lambda: "queued  two" in text_on(pilot))
        assert app.desk.composer.prompt == ""
        engine.die(asking=True)
        await wait_until(pilot, lambda: app.desk.composer.text == "one")
        assert await attached(pilot, 1) == [NOTES]
        await pilot.press("ctrl+q")
    async with chat(FakeEngine()) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "two\n\none")
        assert await attached(pilot, 2) == [Attachment("b", "b"), NOTES]


# Pastes


async def test_a_paste_goes_to_the_input_from_wherever_the_focus_is_but_the_search() -> None:
    engine = FakeEngine()
    async with chat(engine, size=(120, 40)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "q", "a", analysis="hm")
        app = app_of(pilot)
        for widget in (app.query_one("FoldTitle"), app.desk.sidebar.list):
            app.set_focus(widget)
            app.post_message(events.Paste("x\x1b"))
            await wait_until(pilot, lambda: app.desk.composer.text == "x\u241b" and app.desk.composer.has_focus)
            app.desk.composer.clear_prompt()
        await pilot.press("ctrl+f")
        app.post_message(events.Paste("word"))
        await wait_until(pilot, lambda: app.query_one("#search", Input).value == "word")
        assert app.desk.composer.text == ""


async def test_a_long_paste_is_folded_sent_whole_and_unfolded() -> None:
    engine = FakeEngine()
    long, wide = "\n".join(f"line {n}\x1b" for n in range(11)), "x" * 2001
    async with chat(engine) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        await paste(pilot, "\n".join("short"))
        assert composer.text == "s\nh\no\nr\nt" and not composer.attached.attachments
        composer.clear_prompt()
        await pilot.press(*"a ")
        await paste(pilot, long.replace("\n", "\r\n"))
        await pilot.press(*" b ")
        await paste(pilot, wide)
        assert composer.text == "a [pasted text 1] b [pasted text 2]"
        texts = [Attachment("pasted text 1", long.replace("\x1b", "\u241b")), Attachment("pasted text 2", wide)]
        assert await attached(pilot, 2) == texts
        await pilot.press("shift+tab", "shift+tab", "enter")
        assert composer.text == f"a {texts[0].text} b [pasted text 2]" and await attached(pilot, 1) == texts[1:]
        engine.answer("ok")
        await pilot.press("enter")
        await wait_until(pilot, lambda: engine.asked)
        assert engine.asked[0][0][0].text == join(f"a {texts[0].text} b [pasted text 2]", texts[1:])


# Prompts of before


def test_recall_walks_back_and_forth_and_keeps_what_was_typed() -> None:
    recall = Recall()
    assert recall.older("x") is None and recall.newer("x") is None
    recall.add("one")
    recall.add("one")
    recall.add(" ")
    recall.add("two")
    recall.learn(["zero", "one"])
    assert [recall.older("typed"), recall.older("two"), recall.older("one"), recall.older("zero")] == [
        *("two", "one", "zero", None)
    ]
    assert [recall.newer("zero"), recall.newer("one"), recall.newer("two")] == ["one", "two", "typed"]
    assert recall.newer("typed") is None
    assert recall.older("typed") == "two" and recall.newer("two, changed") is None
    assert recall.older("two, changed") == "two" and recall.newer("two") == "two, changed"
    recall.learn(map(str, range(2 * MAX_PROMPTS)))
    walked = [recall.older("x"), *(recall.older("two") for _ in "x")]
    assert walked == ["two", "one"]


async def test_up_and_down_recall_prompts_of_this_start_and_of_those_before() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "first", "1")
        await ask(pilot, engine, "second\nline", "2")
        await ask(pilot, engine, join("third", [NOTES]), "3")
    async with chat(engine) as pilot:
        composer = desk_of(pilot).composer
        await idle(pilot)
        await wait_until(pilot, lambda: composer.recall.older("") is not None)
        composer.recall.newer(join("third", [NOTES]))
        await pilot.press(*"typed", "up")
        assert composer.text == "third" and await attached(pilot, 1) == [NOTES]
        await pilot.press("up")
        assert composer.text == "second\nline" and composer.cursor_location[0] == 0
        assert composer.attached.attachments == []
        await pilot.press("down", "up")  # within the lines
        assert composer.text == "second\nline"
        await pilot.press("up", "up")
        assert composer.text == "first"
        await pilot.press("down")
        assert composer.text == "second\nline" and composer.cursor_location == (1, 4)
        await pilot.press("down", "down", "down")
        assert composer.text == "typed"


# The editor


@pytest.mark.parametrize(
    ("script", "text", "warning"),
    [
        ('cat "$1" > seen; printf "written\\r\\nthere\\n" > "$1"', "written\nthere", ""),
        ("exit 3", "draft", "ended with code 3; the message is unchanged"),
        ('printf "\\377" > "$1"', "draft", "not UTF-8; the message is unchanged"),
        ('rm "$1"', "draft", "No such file or directory; the message is unchanged"),
        (None, "draft", "There is no editor"),
    ],
)
async def test_the_editor(
    script: str | None, text: str, warning: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = folder / "my editor"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{program}'")
    async with chat(FakeEngine(), (120, 30)) as pilot:
        app = app_of(pilot)
        await idle(pilot)
        monkeypatch.setattr(app, "suspend", nullcontext)  # a test has no terminal to lend; tests/e2e has
        app.desk.composer.put_back(join("draft", [NOTES]))
        await attached(pilot, 1)
        await pilot.press("f4")
        await wait_until(pilot, lambda: "editor" not in {worker.group for worker in app.workers}, "the editor's end")
        await wait_until(pilot, lambda: app.desk.composer.text == text and warning in notifications(pilot))
        assert app.desk.composer.attached.attachments == [NOTES]
        if not warning:
            assert (folder / "seen").read_text() == "draft"


async def test_a_terminal_that_cannot_be_lent_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "true")
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        await pilot.press(*"x", "f4")
        await wait_until(pilot, lambda: "This terminal cannot run an editor" in text_on(pilot))
        assert desk_of(pilot).composer.text == "x"


async def test_prompts_with_files_of_before_are_shown_folded() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, join("look", [NOTES]), "I see")
        id = app_of(pilot).conversation.id
    async with chat(engine) as pilot:
        await idle(pilot)
        await app_of(pilot).conversations.open(id)
        await wait_until(pilot, lambda: pilot.app.query(Prompt))
        await wait_until(pilot, lambda: "+ notes.txt  13 bytes" in text_on(pilot))
        assert "second" not in text_on(pilot)


async def test_prompts_of_a_deleted_conversation_are_not_recalled() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "a secret", "1")
        journal, id = app_of(pilot).journal, app_of(pilot).conversation.id
        assert await journal.prompts() == ["a secret"]
        await journal.delete(id)
        assert await journal.prompts() == []
