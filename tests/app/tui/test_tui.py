"""The chat on a scripted engine: answers, every key and command, how it looks."""

import pytest
from textual import events

from app.settings import Settings, load
from app.tui.app import ChatApp
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.messages import AnswerView
from mlx_model.events import Finished, MessageStart, PrefillProgress, TextDelta
from mlx_model.harmony.message import Effort, assistant, user
from mlx_model.options import Options
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
    opened,
    send,
    text_on,
    wait_until,
)

# Answers


async def test_an_answer_shows_its_analysis_while_it_grows_and_closes_it_then() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(PrefillProgress(352, 352), MessageStart("analysis"), *deltas("analysis", "let me count"))
        await send(pilot, "How many r's?")
        await wait_until(pilot, lambda: "let me count" in text_on(pilot))
        assert "▾ thinking for" in text_on(pilot) and "thinking" in desk_of(pilot).status.state
        engine.answer("There are **three**.")
        await idle(pilot)
        screen = text_on(pilot)
        assert "let me count" not in screen and "4 tokens" in screen and "▸ thought for" in screen
        assert "There are three." in screen
        assert "medium \u00b7 42.0 tok/s \u00b7 22 tokens" in screen
        assert "context 374 / 4,096" in screen


async def test_messages_of_the_answer_reach_the_next_question() -> None:
    engine = FakeEngine()
    async with chat(engine, instructions="be brief") as pilot:
        await idle(pilot)
        await ask(pilot, engine, "one", "first", analysis="hm")
        await ask(pilot, engine, "two", "second")
        messages, _, instructions = engine.asked[1]
        assert messages == [user("one"), assistant("hm", "analysis"), assistant("first"), user("two")]
        assert instructions == "be brief"


async def test_commentary_is_shown_apart() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("commentary"), *deltas("commentary", "I look it up first."))
        await send(pilot, "go")
        await wait_until(pilot, lambda: "I look it up first." in text_on(pilot))
        engine.answer("Found.")
        await idle(pilot)
        assert "I look it up first." in text_on(pilot) and "Found." in text_on(pilot)


async def test_escape_stops_and_what_came_is_kept() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.press("escape")
        assert engine.cancelled == 0 or not engine.asked
        engine.say(MessageStart("final"), *deltas("final", "It was a dark and"))
        await send(pilot, "tell me")
        await wait_until(pilot, lambda: "dark and" in text_on(pilot))
        await pilot.press("escape")
        await idle(pilot)
        assert "stopped" in text_on(pilot) and engine.cancelled == 1
        assert app_of(pilot).conversation.messages == [user("tell me"), assistant("It was a dark and")]


async def test_ctrl_c_stops_the_answer_and_says_how_to_quit_when_there_is_none() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), TextDelta("final", "half"))
        await send(pilot, "go")
        await wait_until(pilot, lambda: "half" in text_on(pilot))
        await pilot.press("ctrl+c")
        await wait_until(pilot, lambda: engine.cancelled == 1 and "stopped" in text_on(pilot))
        await idle(pilot)
        await pilot.press("ctrl+c", "ctrl+c", "ctrl+c")
        await wait_until(pilot, lambda: "^Q quits." in text_on(pilot))
        assert engine.cancelled == 1 and text_on(pilot).count("^Q quits.") == 1
        composer = desk_of(pilot).composer
        composer.insert("one\ntwo")
        await pilot.press("ctrl+c")
        await wait_until(pilot, lambda: "Up brings it back. ^Q quits." in text_on(pilot))
        assert composer.text == ""
        await pilot.press("up")
        assert composer.text == "one\ntwo"


async def test_a_new_chat_ends_a_search() -> None:
    engine = FakeEngine()
    async with chat(engine, (120, 30)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "strawberry", "red")
        await pilot.press("ctrl+f", *"straw", "enter")
        await wait_until(pilot, lambda: desk_of(pilot).sidebar.list.has_class("-hits"))
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not desk_of(pilot).sidebar.list.has_class("-hits"))
        assert desk_of(pilot).sidebar.searching == ""


async def test_an_analysis_that_was_stopped_is_not_sent_again() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("analysis"), *deltas("analysis", "endless thought"))
        await send(pilot, "why")
        await wait_until(pilot, lambda: "endless thought" in text_on(pilot))
        await pilot.press("escape")
        await idle(pilot)
        assert "endless thought" in text_on(pilot)
        await ask(pilot, engine, "again", "because")
        assert engine.asked[1][0] == [user("why"), user("again")]


async def test_a_cut_off_answer_says_so() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), TextDelta("final", "half"), Finished("length", STATS))
        await send(pilot, "go")
        await wait_until(pilot, lambda: "cut off" in text_on(pilot))


# Keys and commands


async def test_newline_keys_and_enter() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.press("a", "shift+enter", "b", "alt+enter", "c", "ctrl+j", "d")
        assert desk_of(pilot).composer.text == "a\nb\nc\nd"
        assert desk_of(pilot).composer.size.height == 4
        engine.answer("ok")
        await pilot.press("enter")
        await idle(pilot)
        assert engine.asked[0][0] == [user("a\nb\nc\nd")]
        await send(pilot, "  \n ")
        await pilot.pause()
        assert len(engine.asked) == 1


async def test_effort_by_key_click_and_command_applies_to_the_next_answer() -> None:
    engine = FakeEngine()
    async with chat(engine, options=Options(temperature=0.5)) as pilot:
        await idle(pilot)

        def effort() -> Effort:
            return desk_of(pilot).effort_switch.effort

        assert effort() is Effort.MEDIUM and "[medium]" in text_on(pilot)
        await pilot.press("ctrl+e")
        assert effort() is Effort.HIGH
        await pilot.press("ctrl+e")
        assert effort() is Effort.LOW
        await pilot.click("#effort-high")
        assert effort() is Effort.HIGH and "[high]" in text_on(pilot)
        await send(pilot, "/effort Low")
        await wait_until(pilot, lambda: effort() is Effort.LOW)
        await send(pilot, "/effort extreme")
        await wait_until(pilot, lambda: notified(pilot, "low, medium or high"))
        assert effort() is Effort.LOW and desk_of(pilot).composer.text == ""
        await ask(pilot, engine, "hi", "hello")
        assert engine.asked[0][1] == Options(effort=Effort.LOW, temperature=0.5)
        assert "low \u00b7 42.0 tok/s" in text_on(pilot)
    assert load().options == {"effort": Effort.LOW}  # and to those after the next start


async def test_analysis_is_shown_and_hidden_by_key_and_by_click() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "hi", "hello", analysis="a secret thought")
        assert "a secret thought" not in text_on(pilot)
        await pilot.press("ctrl+t")
        await wait_until(pilot, lambda: "a secret thought" in text_on(pilot))
        await pilot.press("ctrl+t")
        await wait_until(pilot, lambda: "a secret thought" not in text_on(pilot))
        await pilot.click("AnalysisTitle")
        await wait_until(pilot, lambda: "a secret thought" in text_on(pilot))
        await pilot.press("ctrl+t")
        engine.say(MessageStart("analysis"), *deltas("analysis", "collapsed, so it opens"))
        await send(pilot, "more")
        await wait_until(pilot, lambda: "so it opens" in text_on(pilot))
        await pilot.press("ctrl+t")
        await wait_until(pilot, lambda: "so it opens" not in text_on(pilot))
        engine.answer("yes")
        await idle(pilot)
        engine.say(MessageStart("analysis"), *deltas("analysis", "hidden while it grows"))
        await send(pilot, "more")
        await wait_until(pilot, lambda: "thinking for" in text_on(pilot))
        assert "hidden while" not in text_on(pilot)


async def test_without_an_analysis_to_open_the_choice_is_said() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        for done, message in (("^T", "shown"), ("^T", "collapsed"), ("/thinking hidden", "hidden")):
            if done == "^T":
                await pilot.press("ctrl+t")
            else:
                await send(pilot, done)
            await wait_until(pilot, lambda: f"Analysis: {message}." in text_on(pilot), message)  # noqa: B023
        desk_of(pilot).clear_notifications()
        await send(pilot, "/thinking loudly")
        await wait_until(pilot, lambda: notified(pilot, "The analysis can be shown, collapsed or hidden."))
        assert "Analysis:" not in text_on(pilot)
        await ask(pilot, engine, "hi", "hello", analysis="hm")
        await pilot.press("ctrl+t")
        await wait_until(pilot, lambda: "hm" in text_on(pilot))
        assert "Analysis:" not in text_on(pilot)


async def test_new_chat_stops_the_answer_forgets_the_messages_and_keeps_the_draft() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), *deltas("final", "a long story"))
        await send(pilot, "go")
        await wait_until(pilot, lambda: "a long story" in text_on(pilot))
        desk_of(pilot).composer.insert("draft")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not app_of(pilot).query(AnswerView))
        await idle(pilot)
        assert app_of(pilot).conversation.messages == [] and desk_of(pilot).composer.text == "draft"
        assert "a long story" not in text_on(pilot) and "context 0" in text_on(pilot)
        await ask(pilot, engine, "", "fresh")
        assert engine.asked[-1][0] == [user("draft")]


@pytest.mark.parametrize(
    ("typed", "message"), [("/frobnicate", "no command /frobnicate"), ("/new york", "takes no argument")]
)
async def test_a_command_that_makes_no_sense_says_so(typed: str, message: str) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, typed)
        await wait_until(pilot, lambda: message in text_on(pilot))
        assert not engine.asked


async def test_help_opens_and_closes_and_quit_quits() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        for opening, closing in (("f1", "escape"), ("f1", "f1"), ("/help", "q"), ("/", "enter")):
            if opening == "f1":
                await pilot.press("f1")
            else:
                await send(pilot, opening)
            await wait_until(pilot, lambda: "Keys and commands" in text_on(pilot))
            await wait_until(pilot, lambda: "/effort [level]" in text_on(pilot))
            await pilot.press("end")
            await wait_until(pilot, lambda: "^ is the Ctrl key" in text_on(pilot), "the end of the help")
            await pilot.press(closing)
            await wait_until(pilot, lambda: "Keys and commands" not in text_on(pilot))
        await send(pilot, "/quit")
        await wait_until(pilot, lambda: not pilot.app.is_running)


async def test_quitting_in_the_middle_of_an_answer() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), *deltas("final", "a long story"))
        await send(pilot, "go")
        await wait_until(pilot, lambda: "a long" in text_on(pilot))
        engine.say(*deltas("final", "that goes on " * 50))
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: not pilot.app.is_running)
    assert engine.closed and pilot.app.return_code == 0


async def test_typing_reaches_the_input_whatever_has_the_focus() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "hi", "hello", analysis="hm")
        await pilot.press("shift+tab")
        assert not desk_of(pilot).composer.has_focus
        await pilot.press("z", "e")
        assert desk_of(pilot).composer.text == "ze" and desk_of(pilot).composer.has_focus


async def test_scrolling_up_is_respected_while_text_arrives_and_end_returns() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        transcript = desk_of(pilot).transcript
        engine.say(MessageStart("final"), *deltas("final", "line\n\n" * 30))
        await send(pilot, "go")
        await wait_until(pilot, lambda: transcript.max_scroll_y > 30 and transcript.follows)
        await pilot.press("pageup", "pageup")
        await wait_until(pilot, lambda: "more below" in text_on(pilot))
        top = transcript.scroll_y
        engine.say(*deltas("final", "line\n\n" * 10))
        full = transcript.max_scroll_y
        await wait_until(pilot, lambda: transcript.max_scroll_y >= full + 15)
        assert transcript.scroll_y == top
        await pilot.press("end")
        await wait_until(pilot, lambda: transcript.follows and "more below" not in text_on(pilot))
        engine.say(*deltas("final", "line\n\n" * 10))
        full = transcript.max_scroll_y
        await wait_until(pilot, lambda: transcript.max_scroll_y > full)
        await wait_until(pilot, lambda: transcript.scroll_y >= transcript.max_scroll_y - 1)


async def test_a_conversation_that_outgrows_the_screen_is_followed() -> None:
    """Without a word that there were more below: the end is in sight."""
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        transcript = desk_of(pilot).transcript
        lines = 1
        while transcript.max_scroll_y <= 0:
            await ask(pilot, engine, "go", "line\n\n" * lines)
            lines += 1
        await ask(pilot, engine, "go", "the last one")
        await wait_until(pilot, lambda: "the last one" in text_on(pilot) and "more below" not in text_on(pilot))
        await pilot.pause(0.2)
        assert "more below" not in text_on(pilot)


async def test_what_opens_below_the_end_is_announced() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "go", "line", analysis="thought\n" * 30)
        assert desk_of(pilot).transcript.max_scroll_y <= 0
        await pilot.press("shift+tab", "enter", "escape")
        await wait_until(pilot, lambda: "more below" in text_on(pilot))
        await pilot.press("shift+tab", "enter", "escape")
        await wait_until(pilot, lambda: "more below" not in text_on(pilot))


# Looks


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (40, 12)])
async def test_everything_is_on_the_screen(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    async with ChatApp(engine=engine, settings=Settings(titles="words")).run_test(size=size) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "hi", "hello " * 50, analysis="hm " * 50)
        app = app_of(pilot)
        for widget in (app.desk.status, app.desk.transcript, app.desk.composer, app.desk.effort_switch):
            assert widget.region.height > 0 and app.screen.region.contains_region(widget.region)
        assert app.desk.transcript.region.height >= size[1] - 8


async def test_a_long_prompt_does_not_push_the_conversation_off_the_screen() -> None:
    async with chat(FakeEngine()) as pilot:
        desk_of(pilot).composer.insert("word " * 2000)
        await pilot.pause()
        assert desk_of(pilot).composer.region.height == 9 and desk_of(pilot).transcript.region.height >= 6


async def test_in_a_small_terminal_a_long_prompt_keeps_its_border_and_the_status_its_model() -> None:
    engine = FakeEngine()
    async with chat(engine, size=(40, 12)) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        app.desk.composer.insert("line\n" * 30)
        app.desk.status.used = 400
        app.desk.status.limit = 131_072
        app.desk.status.state = "answering"
        await pilot.pause()
        assert app.screen.region.contains_region(app.desk.effort_switch.region)
        assert app.screen.region.contains_region(app.desk.composer.region) and app.desk.transcript.region.height >= 2
        status = text_on(pilot).splitlines()[0]
        assert "gpt-oss-20b" in status and "answering" in status and status.rstrip().endswith("0%")
        await pilot.resize_terminal(60, 12)
        await wait_until(pilot, lambda: "context 400 / 131,072  0%" in text_on(pilot), "the limit")
        await pilot.resize_terminal(90, 12)
        await wait_until(pilot, lambda: "context 400 / 131,072  \u2591" in text_on(pilot), "the bar")


async def test_old_answers_keep_their_text_at_every_width() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        for number in range(7):
            await ask(pilot, engine, f"q{number}", f"# Title\n\nanswer **{number}**\n\n```python\nprint({number})\n```")
        desk_of(pilot).transcript.scroll_home(animate=False)
        await wait_until(pilot, lambda: "answer 0" in text_on(pilot))
        assert "Title" in text_on(pilot) and "print(0)" in text_on(pilot)
        await pilot.resize_terminal(50, 20)
        await wait_until(pilot, lambda: "answer 0" in text_on(pilot))


async def test_a_hidden_analysis_is_not_rendered() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "hi", "hello", analysis="x" * 5000)
        analysis = app_of(pilot).query_one(Analysis)
        assert analysis.part.text == "x" * 5000 and analysis.region.height == 1


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (["a", "b", "c", "backspace", "backspace", "X", "Y"], "aXY"),
        (["a", "b", "c", "left", "Z"], "abZc"),
        (["a", "b", "home", "Z", "end", "c"], "Zabc"),
        (["a", "b", "ctrl+w", "c"], "c"),
    ],
)
async def test_keys_that_arrive_together_act_in_their_order(keys: list[str], text: str) -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        for key in keys:  # as the terminal's reader posts them, without waiting for each to take effect
            app_of(pilot).post_message(events.Key(key, key if len(key) == 1 else None))
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == text, text)
        await pilot.pause()
        assert desk_of(pilot).composer.text == text


async def test_a_conversation_keeps_its_instructions() -> None:
    engine = FakeEngine()
    async with chat(engine, (120, 40)) as pilot:
        await idle(pilot)
        app_of(pilot).preferences.set_instructions(app_of(pilot).conversation.id, "Be brief.")
        await ask(pilot, engine, "hi", "hello")
    engine = FakeEngine()
    async with chat(engine, (120, 40)) as pilot:
        await idle(pilot)
        await opened(pilot, "hi")
        await ask(pilot, engine, "again", "hello")
        assert engine.asked[-1][2] == "Be brief."
