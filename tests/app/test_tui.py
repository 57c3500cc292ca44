"""The chat on a scripted engine: every key and command, every state of the engine, what is kept when it fails."""

import pytest
from textual import events

from app.engine.client import EngineError
from app.tui.app import ChatApp
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.messages import AnswerView, Prompt
from mlx_model.events import Finished, MessageStart, PrefillProgress, TextDelta
from mlx_model.harmony.message import Effort, assistant, user
from mlx_model.options import Options
from tests.app.fakes import STATS, FakeEngine, app_of, ask, chat, deltas, idle, opened, send, text_on, told, wait_until

# The engine starting


async def test_typing_is_possible_while_the_model_loads() -> None:
    engine = FakeEngine(hold=True)
    async with chat(engine) as pilot:
        await pilot.press(*"hello")
        assert app_of(pilot).composer.text == "hello"
        assert "gpt-oss-20b · loading" in text_on(pilot)
        engine.release()
        await idle(pilot)
        assert "gpt-oss-20b  11.0 / 11.4 GB · ready" in text_on(pilot)
        assert "context 0 / 4,096" in text_on(pilot)
    assert engine.closed


async def test_a_message_sent_while_loading_is_answered_afterwards() -> None:
    engine = FakeEngine(hold=True)
    async with chat(engine) as pilot:
        await send(pilot, "early")
        await wait_until(pilot, lambda: "waiting for the model" in text_on(pilot))
        assert engine.asked == []
        engine.answer("here you are")
        engine.release()
        await wait_until(pilot, lambda: "here you are" in text_on(pilot))


async def test_escape_takes_back_a_message_that_waits_for_the_model() -> None:
    engine = FakeEngine(hold=True)
    async with chat(engine) as pilot:
        await send(pilot, "early")
        await wait_until(pilot, lambda: "waiting for the model" in text_on(pilot))
        await pilot.press("escape")
        await wait_until(pilot, lambda: app_of(pilot).composer.text == "early")
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
        await wait_until(pilot, lambda: app_of(pilot).composer.text == "hi")
        await ask(pilot, engine, "", "third time lucky")
        assert engine.loads == 3


async def test_the_demo_says_what_it_is_and_how_to_get_the_real_model() -> None:
    async with chat(FakeEngine(model="demo")) as pilot:
        await idle(pilot)
        assert "demo model" in text_on(pilot) and "/download fetches gpt-oss-20b" in text_on(pilot)
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        assert "demo" not in text_on(pilot)


# Answers


async def test_an_answer_shows_its_analysis_while_it_grows_and_closes_it_then() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(PrefillProgress(352, 352), MessageStart("analysis"), *deltas("analysis", "let me count"))
        await send(pilot, "How many r's?")
        await wait_until(pilot, lambda: "let me count" in text_on(pilot))
        assert "▾ thinking for" in text_on(pilot) and "thinking" in app_of(pilot).status.state
        engine.answer("There are **three**.")
        await idle(pilot)
        screen = text_on(pilot)
        assert "let me count" not in screen and "4 tokens" in screen and "▸ thought for" in screen
        assert "There are three." in screen
        assert "medium   42.0 tok/s   first token 0.3 s   22 tokens   312 reused" in screen
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
        assert engine.cancelled == 1 and [each.message for each in app_of(pilot)._notifications] == ["^Q quits."]


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
        assert app_of(pilot).composer.text == "a\nb\nc\nd"
        assert app_of(pilot).composer.size.height == 4
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
        switch = app_of(pilot).effort_switch
        assert switch.effort is Effort.MEDIUM and "[medium]" in text_on(pilot)
        await pilot.press("ctrl+e")
        assert switch.effort is Effort.HIGH
        await pilot.press("ctrl+e")
        assert switch.effort is Effort.LOW
        await pilot.click("#effort-high")
        assert switch.effort is Effort.HIGH and "[high]" in text_on(pilot)
        await send(pilot, "/effort Low")
        await wait_until(pilot, lambda: switch.effort is Effort.LOW)
        await send(pilot, "/effort extreme")
        await wait_until(pilot, lambda: "low, medium or high" in text_on(pilot))
        assert switch.effort is Effort.LOW and app_of(pilot).composer.text == ""
        await ask(pilot, engine, "hi", "hello")
        assert engine.asked[0][1] == Options(effort=Effort.LOW, temperature=0.5)
        assert "low   42.0 tok/s" in text_on(pilot)


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
        await pilot.press("shift+tab", "ctrl+t")
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
        for done, said in (("^T", "shown"), ("^T", "collapsed"), ("/thinking hidden", "hidden")):
            if done == "^T":
                await pilot.press("ctrl+t")
            else:
                await send(pilot, done)
            await wait_until(pilot, lambda: f"Analysis: {said}." in text_on(pilot), said)  # noqa: B023
        app_of(pilot).clear_notifications()
        await send(pilot, "/thinking loudly")
        await wait_until(pilot, lambda: told(pilot, "The analysis is shown, collapsed or hidden."))
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
        app_of(pilot).composer.insert("draft")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not app_of(pilot).query(AnswerView))
        await idle(pilot)
        assert app_of(pilot).conversation.messages == [] and app_of(pilot).composer.text == "draft"
        assert "a long story" not in text_on(pilot) and "context 0" in text_on(pilot)
        await ask(pilot, engine, "", "fresh")
        assert engine.asked[-1][0] == [user("draft")]


@pytest.mark.parametrize(("typed", "said"), [("/frobnicate", "no command /frobnicate"), ("/new york", "takes nothing")])
async def test_a_command_that_makes_no_sense_says_so(typed: str, said: str) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, typed)
        await wait_until(pilot, lambda: said in text_on(pilot))
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
        assert not app_of(pilot).composer.has_focus
        await pilot.press("x", "y")
        assert app_of(pilot).composer.text == "xy"


async def test_scrolling_up_is_respected_while_text_arrives_and_end_returns() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        transcript = app_of(pilot).transcript
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
        transcript = app_of(pilot).transcript
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
        assert app_of(pilot).transcript.max_scroll_y <= 0
        await pilot.press("shift+tab", "enter")
        await wait_until(pilot, lambda: "more below" in text_on(pilot))
        await pilot.press("enter")
        await wait_until(pilot, lambda: "more below" not in text_on(pilot))


# What goes wrong


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
        assert app_of(pilot).composer.text == "a very long prompt\n\nnext"
        assert app_of(pilot).conversation.messages == [] and not app_of(pilot).query(Prompt)


async def test_an_engine_that_dies_in_an_answer_leaves_everything_on_the_screen() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), *deltas("final", "The answer is"))
        await send(pilot, "tell me")
        await wait_until(pilot, lambda: "The answer is" in text_on(pilot))
        engine.die(asking=True)
        await wait_until(pilot, lambda: app_of(pilot).status.state == "stopped" and "broken off" in text_on(pilot))
        screen = text_on(pilot)
        assert "SIGKILL" in screen and "out of memory" in screen and "^R" in screen and "The answer is" in screen
        assert screen.count("The engine stopped") == 1
        await wait_until(pilot, app_of(pilot).chat.idle.is_set)
        await pilot.press("ctrl+r")
        await idle(pilot)
        await ask(pilot, engine, "and?", "42")
        assert engine.loads == 2
        assert engine.asked[1][0] == [user("tell me"), assistant("The answer is"), user("and?")]


async def test_an_engine_that_dies_while_idle_says_so_and_sending_starts_another() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.die(asking=False)
        await wait_until(pilot, lambda: "The engine stopped" in text_on(pilot))
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
        await wait_until(pilot, lambda: app_of(pilot).composer.text == "boom")
        assert app_of(pilot).conversation.messages == []


# Looks


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (40, 12)])
async def test_everything_is_on_the_screen(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    async with ChatApp(engine=engine).run_test(size=size) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "hi", "hello " * 50, analysis="hm " * 50)
        app = app_of(pilot)
        for widget in (app.status, app.transcript, app.composer, app.effort_switch):
            assert widget.region.height > 0 and app.screen.region.contains_region(widget.region)
        assert app.transcript.region.height >= size[1] - 8


async def test_a_long_prompt_does_not_push_the_conversation_off_the_screen() -> None:
    async with chat(FakeEngine()) as pilot:
        app_of(pilot).composer.insert("word " * 2000)
        await pilot.pause()
        assert app_of(pilot).composer.region.height == 9 and app_of(pilot).transcript.region.height >= 6


async def test_in_a_small_terminal_a_long_prompt_keeps_its_border_and_the_status_its_model() -> None:
    engine = FakeEngine()
    async with chat(engine, size=(40, 12)) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        app.composer.insert("line\n" * 30)
        app.status.used = 400
        app.status.limit = 131_072
        app.status.state = "answering"
        await pilot.pause()
        assert app.screen.region.contains_region(app.effort_switch.region)
        assert app.screen.region.contains_region(app.composer.region) and app.transcript.region.height >= 2
        status = text_on(pilot).splitlines()[0]
        assert "gpt-oss-20b" in status and "answering" in status and status.rstrip().endswith("0%")
        await pilot.resize_terminal(76, 12)
        await wait_until(pilot, lambda: "context 400 / 131,072  0%" in text_on(pilot), "the limit")
        await pilot.resize_terminal(90, 12)
        await wait_until(pilot, lambda: "context 400 / 131,072  \u2591" in text_on(pilot), "the bar")


async def test_old_answers_keep_their_text_at_every_width() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        for number in range(7):
            await ask(pilot, engine, f"q{number}", f"# Title\n\nanswer **{number}**\n\n```python\nprint({number})\n```")
        app_of(pilot).transcript.scroll_home(animate=False)
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
        await pilot.pause(0.2)
        assert app_of(pilot).composer.text == text


async def test_a_conversation_keeps_its_instructions() -> None:
    engine = FakeEngine()
    async with chat(engine, (120, 40)) as pilot:
        await idle(pilot)
        app_of(pilot).preferences.set_instructions("Be brief.")
        await ask(pilot, engine, "hi", "hello")
    engine = FakeEngine()
    async with chat(engine, (120, 40)) as pilot:
        await idle(pilot)
        await opened(pilot, "hi")
        await ask(pilot, engine, "again", "hello")
        assert engine.asked[-1][2] == "Be brief."
