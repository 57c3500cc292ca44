"""Branches of a conversation: answered again, edited, continued; and messages that wait in the queue."""

from dataclasses import replace

from textual.pilot import Pilot

from app.chat.conversation import Conversation
from app.engine.engine import EngineError
from app.paths import conversations_file
from app.store.store import Store
from app.tui.parts.hints import CUT_OFF, EDITING
from app.tui.widgets.messages import Prompt
from app.tui.widgets.queue import Queued
from app.tui.widgets.selection import EDITED
from app.tui.widgets.versions import VersionSwitch
from mlx_model.events import Finished, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.message import Effort, assistant, user
from tests.fixtures.fakes import (
    STATS,
    FakeEngine,
    app_of,
    ask,
    chat,
    deltas,
    desk_of,
    idle,
    opened,
    send,
    text_on,
    wait_until,
)
from tests.fixtures.trees import keep, stored, titled

# Versions


async def asked(pilot: Pilot[None], engine: FakeEngine, times: int) -> None:
    """Wait until the engine has been asked so often."""
    await wait_until(pilot, lambda: len(engine.asked) == times)


async def under_way(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A first question whose answer has begun and goes on."""
    engine.say(MessageStart("final"), TextDelta("final", "wait"))
    await send(pilot, "first")
    await wait_until(pilot, lambda: "wait" in text_on(pilot))


async def test_answering_again_keeps_both_and_switches_between_them() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: "no message to answer yet" in text_on(pilot))
        await ask(pilot, engine, "How many?", "two")
        await ask(pilot, engine, "Sure?", "yes")
        await pilot.press("ctrl+e")
        engine.answer("three, sorry")
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: "three, sorry" in text_on(pilot))
        await idle(pilot)
        assert engine.asked[2][0] == engine.asked[1][0] and engine.asked[2][1].effort == "high"
        assert "< 2/2 >" in text_on(pilot) and "yes" not in text_on(pilot) and len(pilot.app.query(Prompt)) == 2
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: "yes" in text_on(pilot) and "< 1/2 >" in text_on(pilot))
        await pilot.click("VersionSwitch", offset=(6, 0))
        await wait_until(pilot, lambda: "three, sorry" in text_on(pilot))
        await pilot.press("shift+tab", "left")
        await wait_until(pilot, lambda: "yes" in text_on(pilot))
        await pilot.press("escape")
        await ask(pilot, engine, "And?", "so")
        assert [m.text for m in engine.asked[-1][0]] == ["How many?", "two", "Sure?", "yes", "And?"]
        tree = stored()[0]
        assert len(tree.nodes) == 7 and tree.path[3].text("final") == "yes"


async def test_the_context_meter_is_that_of_the_version_shown() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "How many?", "two")
        engine.say(MessageStart("final"), TextDelta("final", "3"), MessageEnd(assistant("3")))
        engine.say(Finished("stop", replace(STATS, decode_tokens=1_000)))
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: desk_of(pilot).status.used == 40 + 312 + 1_000)
        await idle(pilot)
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: desk_of(pilot).status.used == 40 + 312 + 22)


async def test_the_figures_take_one_line_beside_the_switch_with_a_gap() -> None:
    engine = FakeEngine()
    async with chat(engine, size=(100, 30)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "How many?", "two")
        engine.answer("three, sorry")
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: "  < 2/2 >" in text_on(pilot))
        switch = pilot.app.query_one(VersionSwitch)
        figures = next(each for each in switch.siblings if each.has_class("footer"))
        assert figures.region.height == 1 and switch.region.x >= figures.region.right + 2


async def test_an_answer_again_that_comes_to_nothing_leaves_the_old_one() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "How many?", "two")
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: len(engine.asked) == 2)
        engine.say(EngineError("no"))
        await idle(pilot)
        await wait_until(pilot, lambda: "two" in text_on(pilot))
        assert desk_of(pilot).composer.text == "" and len(app_of(pilot).conversation.nodes) == 2


async def test_editing_an_earlier_message_branches_and_destroys_nothing() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "/edit")
        await wait_until(pilot, lambda: "no message to edit yet" in text_on(pilot))
        for number in range(3):
            await ask(pilot, engine, f"question {number}", f"answer {number}")
        app = app_of(pilot)
        app.desk.composer.insert("unsent")
        await pilot.press("alt+up")
        assert app.desk.composer.text == "question 2" and EDITING in text_on(pilot)
        await pilot.press("alt+up")
        assert app.desk.composer.text == "question 1"
        await pilot.press("escape")
        assert app.desk.composer.text == "unsent" and "editing" not in text_on(pilot)
        await pilot.press("alt+up", "alt+up")
        engine.answer("other answer")
        await pilot.press("!", "enter")
        await idle(pilot)
        await wait_until(pilot, lambda: "other answer" in text_on(pilot))
        assert app.desk.composer.text == "unsent"
        assert [m.text for m in engine.asked[-1][0]] == ["question 0", "answer 0", "question 1!"]
        screen = text_on(pilot)
        assert "question 1!" in screen and "< 2/2 >" in screen and "question 2" not in screen
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: "answer 2" in text_on(pilot), "the other branch")
        await pilot.press("alt+up", "alt+up", "escape")  # nothing has changed
        engine.answer("again")
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: "again" in text_on(pilot))
        await idle(pilot)
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: "other answer" in text_on(pilot), "the edited prompt")
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: "answer 2" in text_on(pilot), "the first path")
        assert len(stored()[0].nodes) == 9 and stored()[0].leaf == app.conversation.leaf


async def test_what_is_typed_right_after_an_edit_stands_alone() -> None:
    async with chat(FakeEngine()) as pilot:
        composer = desk_of(pilot).composer
        composer.insert("typed")
        composer.put_back("")
        assert composer.text == "typed"


async def test_an_edit_that_comes_to_nothing_shows_what_was_there() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "question", "the answer")
        await pilot.press("alt+up", "!", "enter")
        await wait_until(pilot, lambda: len(engine.asked) == 2)
        engine.say(EngineError("no"))
        await wait_until(pilot, lambda: "the answer" in text_on(pilot))
        await idle(pilot)
        assert desk_of(pilot).composer.text == "question!" and len(app_of(pilot).conversation.nodes) == 2


async def test_continuing_an_answer_that_was_cut_off() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        app = app_of(pilot)
        await idle(pilot)
        await ask(pilot, engine, "Count to ten", "one")
        await send(pilot, "/continue")
        await wait_until(pilot, lambda: "was not cut off" in text_on(pilot))
        engine.think("by ones")
        engine.say(MessageStart("final"), TextDelta("final", "one two"), Finished("length", STATS))
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: "cut off:" in text_on(pilot))
        await idle(pilot)
        await wait_until(pilot, lambda: CUT_OFF in text_on(pilot))
        await pilot.press("ctrl+e")
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: len(engine.asked) == 3)
        begun = [assistant("by ones", "analysis"), assistant("one two")]
        assert engine.asked[-1][0] == [user("Count to ten"), *begun]
        assert engine.asked[-1][1].effort is Effort.MEDIUM  # that of the answer, not of the next one
        assert app.desk.transcript.query(".-cut-off").first()
        await wait_until(pilot, lambda: CUT_OFF not in text_on(pilot))
        engine.say(TextDelta("final", " three"))
        await wait_until(pilot, lambda: "one two three" in text_on(pilot))
        assert not app.desk.transcript.query(".-cut-off")
        assert "cut off:" not in text_on(pilot)
        engine.say(MessageEnd(assistant("one two three")), Finished("stop", STATS))
        await wait_until(pilot, lambda: "44 tokens" in text_on(pilot))
        await idle(pilot)
        assert text_on(pilot).count("one two") == 1
        assert "thought for" in text_on(pilot)
        assert app.conversation.messages[1:] == [begun[0], assistant("one two three")]
        (turn,) = (node.facts for node in app.conversation.path if node.facts)
        assert (turn.reason, turn.stats.decode_tokens, turn.analysis_tokens) == ("stop", 44, 3)
        assert len(app.conversation.nodes) == 3
    assert stored()[0].messages == app.conversation.messages


async def test_continuing_an_analysis_that_was_cut_off() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("analysis"), *deltas("analysis", "let me"), Finished("cancelled", STATS))
        await send(pilot, "Count to ten")
        await wait_until(pilot, lambda: "stopped" in text_on(pilot))
        await idle(pilot)
        engine.say(*deltas("analysis", " see"))
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: "let me see" in text_on(pilot) and "thinking" in text_on(pilot))
        engine.say(MessageEnd(assistant("let me see", "analysis")))
        engine.answer("one")
        await wait_until(pilot, lambda: "\u25b8 thought" in text_on(pilot))
        await idle(pilot)
        assert app_of(pilot).conversation.messages[1:] == [assistant("let me see", "analysis"), assistant("one")]


async def test_an_answer_that_can_not_go_on_stays_as_it_was() -> None:
    """The engine refuses, or dies: what was there is kept, on the screen and on the disk."""
    engine = FakeEngine()
    async with chat(engine) as pilot:
        app = app_of(pilot)
        await idle(pilot)
        engine.say(MessageStart("final"), TextDelta("final", "one two"), Finished("length", STATS))
        await send(pilot, "Count to ten")
        await wait_until(pilot, lambda: "cut off:" in text_on(pilot))
        await idle(pilot)
        before = app.conversation.everything()
        engine.say(EngineError("the prompt is too long"))
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: "The prompt is too long" in text_on(pilot))
        await idle(pilot)
        assert app.conversation.everything() == before
        assert "one two" in text_on(pilot) and "cut off:" in text_on(pilot)
        engine.say(TextDelta("final", " three"))
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: "one two three" in text_on(pilot))
        engine.die(asking=True)
        await wait_until(pilot, lambda: "the engine stopped" in text_on(pilot))
        await wait_until(pilot, app.conversations.idle.is_set)
        assert app.conversation.messages[1:] == [assistant("one two three")]
        (turn,) = (node.facts for node in app.conversation.path if node.facts)
        assert (turn.reason, turn.stats) == ("died", STATS)


async def test_what_was_said_of_an_answers_end_goes_when_it_goes_on() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), TextDelta("final", "one two"))
        await send(pilot, "Count to ten")
        await wait_until(pilot, lambda: "one two" in text_on(pilot))
        engine.die(asking=True)
        await wait_until(
            pilot, lambda: "The engine was killed" in text_on(pilot) and app_of(pilot).conversations.idle.is_set()
        )
        engine.say(TextDelta("final", " three"), Finished("stop", STATS))
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: "one two three" in text_on(pilot))
        await idle(pilot)
        assert "The engine was killed" not in text_on(pilot)


async def test_continuing_a_prompt_without_an_answer_answers_it() -> None:
    tree = Conversation()
    tree.add_prompt("Count to ten", None)
    keep(tree)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await opened(pilot, "Count to ten")
        engine.answer("one two")
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: "one two" in text_on(pilot))
        assert engine.asked[-1][0] == [user("Count to ten")]


# The queue


async def test_messages_sent_while_busy_wait_and_follow_in_order() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await under_way(pilot, engine)
        for text in ("second", "third", "fourth"):
            await send(pilot, text)
        await wait_until(pilot, lambda: "queued  fourth" in text_on(pilot))
        app = app_of(pilot)
        assert app.desk.composer.text == "" and len(engine.asked) == 1
        await pilot.click("Queued")
        assert app.desk.composer.text == "second"
        app.query(Queued).first().focus()
        await pilot.press("delete")
        await wait_until(pilot, lambda: app.desk.queue.texts == ["fourth"])
        await send(pilot, " now")
        await wait_until(pilot, lambda: app.desk.queue.texts == ["fourth", "second now"])
        engine.say(Finished("stop", STATS))
        for number, text in ((2, "fourth"), (3, "second now")):
            await asked(pilot, engine, number)
            assert engine.asked[-1][0][-1] == user(text)
            engine.answer("ok")
        await idle(pilot)
        assert not app.query(Queued)


async def test_stopping_holds_the_queue_and_leaving_makes_it_a_draft() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await under_way(pilot, engine)
        await send(pilot, "second")
        await wait_until(pilot, lambda: "queued  second" in text_on(pilot))
        await pilot.press("escape")
        await idle(pilot)
        assert desk_of(pilot).queue.texts == ["second"] and len(engine.asked) == 1
        await pilot.press("ctrl+n")  # what is queued belongs to its conversation
        await wait_until(pilot, lambda: app_of(pilot).conversation.messages == [])
        assert desk_of(pilot).queue.texts == [] and desk_of(pilot).composer.text == ""
        await opened(pilot, "first")
        assert desk_of(pilot).composer.text == "second"
        engine.answer("here")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "here" in text_on(pilot) and not desk_of(pilot).queue.texts)


async def test_what_is_queued_survives_as_a_draft() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await under_way(pilot, engine)
        await send(pilot, "second")
        await pilot.press(*"third", "ctrl+q")
        await wait_until(pilot, lambda: not pilot.app.is_running)
    store = Store(conversations_file())
    assert store.draft(stored()[0].id) == "second\n\nthird"
    store.close()


async def test_enter_in_an_empty_input_goes_on_with_the_queue() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await under_way(pilot, engine)
        await send(pilot, "second")
        await wait_until(pilot, lambda: "queued  second" in text_on(pilot))
        await app_of(pilot).conversations.open(app_of(pilot).conversation.id, app_of(pilot).conversation.path[0].id)
        assert not engine.cancelled  # to look at one's own question stops nothing
        await send(pilot, "third")
        await pilot.press("escape")
        await idle(pilot)
        await wait_until(pilot, lambda: "queued (Enter in an empty input sends)  second" in text_on(pilot))
        await pilot.press("enter")
        await wait_until(pilot, lambda: "queued  third" in text_on(pilot))
        engine.answer("here")
        engine.answer("there")
        await wait_until(pilot, lambda: "there" in text_on(pilot) and not desk_of(pilot).queue.texts)


async def test_a_message_of_which_nothing_comes_leaves_the_turns_before_it_on_the_screen() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.press("enter", "space", "enter")  # nothing to ask
        await idle(pilot)
        assert engine.asked == [] and not app_of(pilot).conversation.nodes
        await ask(pilot, engine, "one", "first answer")
        engine.say(EngineError("the model is broken"))
        await send(pilot, "two")
        await wait_until(pilot, lambda: "The model is broken" in text_on(pilot))
        await idle(pilot)
        assert "first answer" in text_on(pilot) and desk_of(pilot).composer.text == "two"


async def test_showing_another_version_ends_a_branch() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "one", "1")
        await ask(pilot, engine, "two", "2")
        app = app_of(pilot)
        engine.answer("2b")
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: "2/2" in text_on(pilot))
        await idle(pilot)
        await app.conversations.branch(app.conversation.path[1])
        assert app.conversations.branching
        await app.conversations.switch(1)
        assert not app.conversations.branching


async def test_the_message_being_edited_is_marked_and_in_sight() -> None:
    tree = titled("first", 40)
    keep(tree)
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        transcript = desk_of(pilot).transcript
        await opened(pilot, "first")
        await wait_until(pilot, lambda: "answer 39" in text_on(pilot))
        prompts = [node.id for node in tree.path if node.is_prompt]

        def marked() -> list[str]:
            found = [id for id, views in transcript._views.items() if any(view.has_class(EDITED) for view in views)]
            assert not found or transcript.region.contains_region(transcript._views[found[0]][0].region)
            return found

        for at in (-1, -2, -3, -4, -5):
            await pilot.press("alt+up")
            await pilot.pause()
            assert marked() == [prompts[at]]
        assert not transcript.follows
        await pilot.press("escape")
        await wait_until(pilot, lambda: transcript.follows)
        assert marked() == []
