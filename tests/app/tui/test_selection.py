"""Messages that are selected by keyboard and mouse, their keys, and typing wherever the focus is."""

import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from textual import events
from textual.geometry import Offset
from textual.keys import _character_to_key
from textual.layouts.vertical import VerticalLayout
from textual.pilot import Pilot
from textual.widget import Widget

from app.chat.commands import BUSY
from app.chat.conversation import Conversation
from app.documents.attachments import Attachment, join
from app.engine.engine import EngineError
from app.tui.app import ChatApp
from app.tui.parts.hints import BRANCHING, EDITING
from app.tui.text.messages import quoted
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.attached import Chip
from app.tui.widgets.fold import FoldTitle
from app.tui.widgets.markdown import MarkdownText
from app.tui.widgets.messages import AnswerText, Prompt
from app.tui.widgets.welcome import Choice
from mlx_model.events import Finished, MessageStart, TextDelta
from mlx_model.harmony.message import assistant
from tests.fixtures.fakes import (
    STATS,
    FakeEngine,
    app_of,
    ask,
    chat,
    desk_of,
    idle,
    notified,
    send,
    text_on,
    wait_until,
)
from tests.fixtures.trees import TURN, keep, stored, titled


def burst(pilot: Pilot[None], text: str) -> None:
    """Keys that arrive before the app has dealt with the first of them."""
    for character in text:
        pilot.app.post_message(events.Key(_character_to_key(character), character))


async def test_a_burst_of_typing_reaches_the_input_whole_whatever_has_the_focus() -> None:
    engine = FakeEngine()
    async with chat(engine, (110, 30)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "hi", "hello", analysis="hm")
        app, desk = app_of(pilot), desk_of(pilot)
        await send(pilot, "more")
        await send(pilot, "waits")
        desk.composer.put_back(join("", [Attachment("notes.txt", "x")]))
        await wait_until(pilot, lambda: app.query("Queued") and app.query(Chip))
        places: list[Widget | None] = [app.query("Queued").first(), app.query(Chip).first(), desk.sidebar.list]
        for place in [*places, None]:
            app.set_focus(place)
            await pilot.pause()
            burst(pilot, "hello there world")
            app.post_message(events.Paste(" and"))
            burst(pilot, " more")
            await wait_until(pilot, lambda: desk.composer.text == "hello there world and more", str(place))
            desk.composer.load_text("")
        assert app.desk.queue.texts == ["waits"]
        app.set_focus(desk.sidebar.list)
        burst(pilot, "/word")
        await wait_until(pilot, lambda: desk.sidebar.searching == "word")
        engine.say(Finished("stop", STATS))


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is copied."""
    texts: list[str] = []
    monkeypatch.setattr(ChatApp, "copy_to_clipboard", lambda self, text, what: texts.append(text))
    return texts


# What is selected


def bar(pilot: Pilot[None]) -> list[int]:
    """The rows of the screen beside which the bar of the selected message stands."""
    place = desk_of(pilot).transcript.region
    lines = enumerate(line[place.x : place.right] for line in text_on(pilot).splitlines())
    return [y for y, line in lines if line.startswith("\u2588")]


def rows_of(pilot: Pilot[None]) -> list[int]:
    """The rows that show some of the selected message."""
    transcript = desk_of(pilot).transcript
    place = transcript.selected_views[0].region.intersection(transcript.region)
    return list(range(place.y, place.bottom))


def selects(pilot: Pilot[None], id: str) -> bool:
    """Whether this message is selected."""
    return desk_of(pilot).transcript.selected == id


def holds(pilot: Pilot[None], text: str) -> bool:
    """Whether the input holds this."""
    return desk_of(pilot).composer.text == text


def shown_keys(pilot: Pilot[None]) -> str:
    """The line below the input."""
    return text_on(pilot).splitlines()[-2].strip()


async def reopened(pilot: Pilot[None], tree: Conversation) -> None:
    """Show a conversation that is on the disk."""
    await idle(pilot)
    await app_of(pilot).conversations.open(tree.id)
    await pilot.pause()


async def test_a_message_is_selected_by_keys_and_marked_without_laying_anything_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = titled("first", 40, "A long answer.\n\n" * 8)
    keep(tree)
    laid_out: list[object] = []

    arrange, new_layout = VerticalLayout.arrange, MarkdownText._new_layout

    def arranged(layout: VerticalLayout, parent: Widget, *rest: Any, **named: Any) -> Any:
        laid_out.append(parent)
        return arrange(layout, parent, *rest, **named)

    def laid(text: MarkdownText, *rest: Any) -> Any:
        laid_out.append(text)
        return new_layout(text, *rest)

    monkeypatch.setattr(VerticalLayout, "arrange", arranged)
    monkeypatch.setattr(MarkdownText, "_new_layout", laid)
    async with chat(FakeEngine()) as pilot:
        await reopened(pilot, tree)
        app, transcript, path = app_of(pilot), desk_of(pilot).transcript, [node.id for node in tree.path]
        await pilot.press("shift+tab")
        await wait_until(pilot, lambda: bar(pilot))
        assert transcript.selected == path[-1] and shown_keys(pilot).startswith("c copy  b branch  r again")
        await pilot.pause()
        laid_out.clear()
        for key, at in (("k", -2), ("up", -3), ("j", -2), ("down", -1), ("down", -1), ("k", -2)):
            await pilot.press(key)
            assert transcript.selected == path[at]
            assert transcript.selected_views[0].region.y in bar(pilot)
        assert laid_out == []
        for rows in (-3, 5):  # the bar is where the message is
            transcript.scroll_to(y=transcript.scroll_y + rows, animate=False)
            await wait_until(pilot, lambda: bar(pilot) == rows_of(pilot), "the bar beside the message")
        await pilot.press("tab")
        assert desk_of(pilot).composer.has_focus and transcript.selected is None and not bar(pilot)
        assert "effort" in shown_keys(pilot)
        await pilot.press("tab", "shift+tab", "k", "f1")
        await wait_until(pilot, lambda: "A selected message" in text_on(pilot))
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(app.screen_stack) == 1)
        app.app_focus = False  # another window is in front
        await pilot.pause()
        app.app_focus = True
        await pilot.pause()
        assert transcript.selected == path[-2] and transcript.has_focus
        await pilot.press("escape")
        assert transcript.selected is None and desk_of(pilot).composer.has_focus


async def test_keys_in_a_burst_find_the_message_that_those_before_them_selected(copied: list[str]) -> None:
    tree = titled("first", 3)
    keep(tree)
    async with chat(FakeEngine()) as pilot:
        await reopened(pilot, tree)
        for key in ("shift+tab", "k", "c", "k", "c", "tab", "d", "c", "shift+tab", "c", "escape", "c"):
            pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "dcc")
        assert copied == ["question 2", "answer 1", "answer 2"]


async def test_messages_that_are_not_mounted_yet_are_reached() -> None:
    tree = titled("first", 40)
    keep(tree)
    async with chat(FakeEngine()) as pilot:
        await reopened(pilot, tree)
        transcript, path = desk_of(pilot).transcript, [node.id for node in tree.path]
        await pilot.press("shift+tab")
        for step in range(25):
            await pilot.press("k")
            await wait_until(pilot, partial(selects, pilot, path[-2 - step]), f"step {step}")
        await wait_until(pilot, lambda: bar(pilot))
        await pilot.press("home")
        await wait_until(pilot, lambda: transcript.selected == path[0] and "first" in text_on(pilot))
        await wait_until(pilot, lambda: bar(pilot))
        await pilot.press("end")
        await wait_until(pilot, lambda: transcript.selected == path[-1] and transcript.follows)
        await pilot.press("pageup", "pageup", "pageup", "escape", "shift+tab")
        assert transcript.selected in path[:-1]  # one that is in sight


async def test_letters_are_keys_of_the_selected_message_and_all_else_goes_to_the_input() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.press("shift+tab")
        assert isinstance(pilot.app.focused, Choice)  # there is nothing to select but what the first screen offers
        await pilot.press("down", "down", "down")
        assert desk_of(pilot).composer.has_focus
        await ask(pilot, engine, "hi", "hello")
        for text in ("Hello there", "/", "1 plus", "die"):
            await pilot.press("shift+tab")
            burst(pilot, text)
            await wait_until(pilot, partial(holds, pilot, text), text)
            assert desk_of(pilot).transcript.selected is None
            desk_of(pilot).composer.clear_prompt()
            await pilot.pause()


# What is done with it


async def test_copying_and_quoting_any_message(copied: list[str]) -> None:
    tree = Conversation()
    first = tree.add_prompt(join("Look", [Attachment("notes.txt", "x")]), None)
    blocks = "**Two**:\n\n```python\none\n```\n\n```sh\ntwo\n```"
    tree.add_answer(first.id, TURN, [assistant("hm", "analysis"), assistant(blocks)])
    second = tree.add_prompt("And?", tree.leaf)
    tree.add_answer(second.id, TURN, [assistant("hm", "analysis")])
    keep(tree)
    async with chat(FakeEngine()) as pilot:
        await reopened(pilot, tree)
        composer = desk_of(pilot).composer
        await pilot.press("shift+tab", "c", "x", "k", "k")
        assert "1 2 code" in shown_keys(pilot)
        assert re.findall(r"(python|sh) +(.) copy", text_on(pilot)) == [("python", "1"), ("sh", "2")]
        await pilot.press("c", "1", "2", "x", "k", "c")
        assert copied == ["hm", blocks, "one", "two", "two", "Look"]
        assert notified(pilot, "There is no code block in this message.")
        assert not re.search(r"\d copy", text_on(pilot))
        await pilot.press("q")
        assert composer.text == "> Look\n\n" and composer.has_focus and desk_of(pilot).transcript.selected is None
        composer.insert("so")
        await pilot.press("shift+tab", "home", "j", "o", "q")
        assert composer.text == "> Look\n\nso\n" + quoted(blocks)


async def test_thoughts_open_and_pages_turn_by_keys() -> None:
    tree = titled("first", 1, "word\n\n" * 900)
    keep(tree)
    async with chat(FakeEngine()) as pilot:
        await reopened(pilot, tree)
        await pilot.press("shift+tab")
        assert "o thought" in shown_keys(pilot) and "[ ] page" in shown_keys(pilot)
        await pilot.press("o")
        await wait_until(pilot, lambda: pilot.app.query_one(Analysis).open)
        await pilot.press("space")
        await wait_until(pilot, lambda: not pilot.app.query_one(Analysis).open)
        await pilot.press("]")
        await wait_until(pilot, lambda: "page 2 of 3" in text_on(pilot))
        await pilot.press("[")
        await wait_until(pilot, lambda: "page 1 of 3" in text_on(pilot))
        await pilot.press("k")
        for key, said in (
            ("o", "nothing to open"),
            ("]", "has one page"),
            ("left", "no other versions of this message"),
        ):
            await pilot.press(key)
            assert notified(pilot, said) and desk_of(pilot).composer.text == ""


async def three_turns(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A conversation in which something can be earlier."""
    await idle(pilot)
    for number in range(3):
        await ask(pilot, engine, f"question {number}", f"answer {number}")


async def test_editing_and_answering_again_in_the_middle() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await three_turns(pilot, engine)
        conversation, desk = app_of(pilot).conversation, desk_of(pilot)
        await pilot.press("shift+tab")
        for key, said in (("e", "Only messages of yours"), ("g", "cut off can be continued")):
            await pilot.press(key)
            assert notified(pilot, said)
        await pilot.press("k", "b")
        assert notified(pilot, "A branch begins at an answer") and desk.composer.text == ""
        await pilot.press("up", "up", "e")
        assert desk.composer.text == "question 1" and EDITING in text_on(pilot) and desk.composer.has_focus
        await pilot.press("escape", "shift+tab", "k", "k")
        engine.answer("other answer 1")
        await pilot.press("r")
        await wait_until(pilot, lambda: "other answer 1" in text_on(pilot))
        await idle(pilot)
        assert [m.text for m in engine.asked[-1][0]] == ["question 0", "answer 0", "question 1"]
        assert "question 2" not in text_on(pilot) and len(conversation.nodes) == 7
        await pilot.press("shift+tab", "less_than_sign")
        await wait_until(pilot, lambda: "answer 2" in text_on(pilot))
        transcript = desk.transcript
        assert transcript.has_focus and conversation.nodes[transcript.selected or ""].text("final") == "answer 1"
        await pilot.press("right")
        await wait_until(pilot, lambda: "other answer 1" in text_on(pilot))
        await pilot.press("k", "k", "k", "r")  # a prompt
        await wait_until(pilot, lambda: len(engine.asked) == 5)
        assert [m.text for m in engine.asked[-1][0]] == ["question 0"]
        engine.say(EngineError("no"))  # nothing comes of it
        await idle(pilot)
        await wait_until(pilot, lambda: "other answer 1" in text_on(pilot))


async def test_a_branch_keeps_what_came_after_and_can_be_left() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await three_turns(pilot, engine)
        app, desk = app_of(pilot), desk_of(pilot)
        leaf = app.conversation.leaf
        await pilot.press("shift+tab", *["k"] * 4, "b")
        await wait_until(pilot, lambda: BRANCHING in text_on(pilot) and "question 1" not in text_on(pilot))
        assert desk.composer.has_focus and "answer 0" in text_on(pilot)
        await pilot.press("escape")
        await wait_until(pilot, lambda: "answer 2" in text_on(pilot) and BRANCHING not in text_on(pilot))
        assert app.conversation.leaf == leaf
        await pilot.press("shift+tab", *["k"] * 4, "b")
        await send(pilot, "aside")
        await wait_until(pilot, lambda: len(engine.asked) == 4)
        assert [m.text for m in engine.asked[-1][0]] == ["question 0", "answer 0", "aside"]
        engine.say(EngineError("no"))  # nothing comes of it
        await wait_until(pilot, lambda: "answer 2" in text_on(pilot))
        await idle(pilot)
        assert desk.composer.text == "aside" and app.conversation.leaf == leaf
        await pilot.press("shift+tab", *["k"] * 4, "b")
        engine.answer("by the way")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "by the way" in text_on(pilot) and "< 2/2 >" in text_on(pilot))
        await idle(pilot)
        assert BRANCHING not in text_on(pilot) and len(app.conversation.nodes) == 8
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: "answer 2" in text_on(pilot))
        await pilot.press("shift+tab", "k", "k", "b")  # and never used
        await wait_until(pilot, lambda: BRANCHING in text_on(pilot))
        await send(pilot, "/rename other")
        await wait_until(pilot, lambda: app.conversation.title == "other")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not app.conversation.nodes)
    assert stored()[0].leaf == leaf


async def test_an_answer_that_was_cut_off_is_continued() -> None:
    tree = Conversation()
    prompt = tree.add_prompt("Count", None)
    tree.add_answer(prompt.id, replace(TURN, reason="length"), [assistant("one")])
    keep(tree)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await reopened(pilot, tree)
        await pilot.press("shift+tab")
        assert "g continue" in shown_keys(pilot)
        engine.say(TextDelta("final", " two"), Finished("stop", STATS))
        await pilot.press("g")
        await wait_until(pilot, lambda: "one two" in text_on(pilot))
        await idle(pilot)


async def test_during_an_answer_what_would_disturb_it_waits(copied: list[str]) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "first", "one")
        engine.say(MessageStart("final"), TextDelta("final", "under way"))
        await send(pilot, "second")
        await wait_until(pilot, lambda: "under way" in text_on(pilot))
        await pilot.press("shift+tab", "c")  # nothing of it is kept yet
        assert notified(pilot, "There is no text in this message yet.") and copied == []
        await pilot.press("k", "k", "c")
        assert copied == ["one"] and not notified(pilot, BUSY)
        for key in ("b", "r", "g", "left", "e"):
            pilot.app.clear_notifications()
            await pilot.press(key)
            assert notified(pilot, BUSY), key
        assert len(engine.asked) == 2 and desk_of(pilot).transcript.has_focus
        await pilot.press("escape")
        assert engine.cancelled == 0
        await pilot.press("shift+tab", "end")
        assert "continue" not in shown_keys(pilot)
        engine.say(Finished("length", STATS))
        await idle(pilot)
        await wait_until(pilot, lambda: "g continue" in shown_keys(pilot))


# By mouse


async def drag(pilot: Pilot[None], start: Offset, columns: int) -> None:
    """Select text of one line with the mouse."""
    for kind, x in ((events.MouseDown, 0), (events.MouseMove, columns), (events.MouseUp, columns)):
        pilot.app.post_message(kind(None, start.x + x, start.y, 0, 0, 1, False, False, False))
        await pilot.pause()


async def test_a_click_selects_and_its_actions_are_clicked(copied: list[str]) -> None:
    tree = titled("first", 2)
    keep(tree)
    async with chat(FakeEngine(), (80, 40)) as pilot:
        await reopened(pilot, tree)
        desk, path = desk_of(pilot), [node.id for node in tree.path]
        transcript, keys = desk.transcript, desk.message_keys
        await pilot.click(Prompt, offset=(3, 0))
        assert transcript.selected == path[0] and desk.composer.has_focus and bar(pilot)
        assert shown_keys(pilot).startswith("copy  edit  again  quote  back")
        await pilot.click(keys, offset=(3, 0))
        assert copied == ["first"] and transcript.selected == path[0]
        await pilot.click(Prompt, offset=(3, 0))
        assert transcript.selected is None and not bar(pilot) and "effort" in shown_keys(pilot)
        await pilot.click(FoldTitle, offset=(3, 0))
        assert transcript.selected is None  # that has its own use for a click
        await pilot.click(Prompt, offset=(3, 0), times=2)  # selects the text too
        assert transcript.selected == path[0] and desk.selected_text == "first"
        await pilot.click(AnswerText, offset=(1, 0))
        assert transcript.selected == path[1]
        await pilot.press("c")  # a letter
        assert desk.composer.text == "c" and transcript.selected is None
        await drag(pilot, pilot.app.query(AnswerText).first().region.offset, 5)
        assert transcript.selected is None and desk.selected_text == "answer"
        await pilot.press("shift+tab")
        selected = desk.selected_text
        await pilot.click(keys, offset=(shown_keys(pilot).index("quote") + 2, 0))
        assert desk.composer.text == "c\n" + quoted(selected)
        await pilot.click(Prompt, offset=(3, 0))
        await pilot.press("escape")
        assert transcript.selected is None
