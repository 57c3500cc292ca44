"""Several answers on the screen: F10 and /pro, a line for each, votes, ending early, versions, what a death leaves."""

from dataclasses import replace

from textual.pilot import Pilot

from app.chat.plan import Plan
from app.chat.pro import SampleState
from app.engine.engine import EngineDied
from app.tui.parts.pro_stream import ENDS_EARLY
from app.tui.parts.several import TOOLS_OFF
from app.tui.text.pro_lines import ProFigures, height, pro_lines
from app.tui.widgets.pro import ProView
from mlx_model.events import PrefillProgress
from tests.fixtures.fakes import app_of, chat, desk_of, idle, notified, on_screen, send, text_on, wait_until
from tests.fixtures.several import SeveralEngine

QUESTION = "What is 6 * 7?"
PROSE = "First this,\n\nthen that."


async def asked(pilot: Pilot[None], engine: SeveralEngine, count: int) -> None:
    await wait_until(pilot, lambda: engine.open == count, f"{count} answers under way")


async def test_votes_fall_until_the_rest_is_stopped_and_every_answer_stays() -> None:
    engine = SeveralEngine()
    async with chat(engine, (100, 30)) as pilot:
        await idle(pilot)
        await pilot.press("f10")
        await wait_until(pilot, lambda: notified(pilot, "no message to answer"))
        desk_of(pilot).composer.insert(QUESTION)
        await pilot.press("f10")
        await asked(pilot, engine, 8)
        assert len({options.seed for _, options, _ in engine.asked}) == 8
        engine.to(7, PrefillProgress(3, 9))
        engine.think_to(0, "six times seven, let me see")
        await on_screen(pilot, "thinking   six times seven, let me see")
        await on_screen(pilot, " 8                 reading")
        assert desk_of(pilot).status.state == "thinking" and ENDS_EARLY in text_on(pilot)
        await pilot.press("f10")  # not while they come
        await wait_until(pilot, lambda: notified(pilot, "An answer is under way"))
        engine.end(1, "41")
        for number in (2, 3, 4):
            engine.end(number, f"That is **{42}**.")
        await on_screen(pilot, "votes  42 \u00d73  41 \u00d71")
        await on_screen(pilot, "8 answers at once, 4 ended")
        assert pilot.app.query_one(ProView).size.height == height(8)
        stored = await app_of(pilot).journal.load(app_of(pilot).conversation.id)
        assert stored is not None  # whatever happens now, what has ended is there, and the first of it is the answer
        assert [n.facts.reason for n in stored.nodes.values() if n.facts] == [None, "stop", "stop", "stop", "stop"]
        assert stored.path[-1].text("final") == "41"
        for number in (5, 6):
            engine.end(number, "42")
        await wait_until(pilot, lambda: engine.cancelled == 0)
        engine.end(7, "42")
        await idle(pilot)
        assert engine.cancelled == 1 and not pilot.app.query(ProView)
        await on_screen(pilot, "votes 6 of 7, 1 stopped")
        await on_screen(pilot, "< 3/8 >")
        assert "That is 42." in text_on(pilot)
        await pilot.press("ctrl+o")
        await on_screen(pilot, "answer 4 of 8")
        stored = await app_of(pilot).journal.load(app_of(pilot).conversation.id)
        assert stored is not None
        kept = [node.facts.origin.partition(";")[0] for node in stored.nodes.values() if node.facts]
        assert kept[:3] == ["answer 1 of 8", "answer 2 of 8", "votes 6 of 7, 1 stopped"]


async def test_esc_ends_early_then_one_is_written_and_esc_again_keeps_the_answers() -> None:
    engine = SeveralEngine()
    async with chat(engine, (80, 24)) as pilot:
        await idle(pilot)
        await send(pilot, f"/pro 3 {QUESTION}")
        await asked(pilot, engine, 3)
        engine.end(0, PROSE)
        engine.end(2, PROSE)
        engine.think_to(1, "I wonder")
        await on_screen(pilot, "not comparable \u00d72")
        await pilot.press("escape")
        await asked(pilot, engine, 1)  # the one that is written
        assert QUESTION in engine.asked[-1][0][-2].text and PROSE in engine.asked[-1][0][-1].text
        engine.think_to(3, "Both say the same")
        await on_screen(pilot, "Both say the same")
        await on_screen(pilot, "writing one from 2 answers")
        await pilot.press("escape")
        await idle(pilot)
        await on_screen(pilot, "the first of 2 answers")
        conversation = app_of(pilot).conversation
        assert [node.facts.origin.partition(";")[0] for node in conversation.nodes.values() if node.facts] == [
            "the first of 2 answers", "answer 2 of 3", "answer 3 of 3", "writing one from 2 answers"
        ]  # fmt: skip
        # Now again, for the last message: to its end, with the count and the way of before.
        await send(pilot, "/pro")
        await asked(pilot, engine, 3)
        for number in (4, 5, 6):
            engine.end(number, PROSE)
        await asked(pilot, engine, 1)
        engine.end(7, "The one **answer**.")
        await idle(pilot)
        await on_screen(pilot, "written from 3 answers")
        assert "The one answer." in text_on(pilot) and "< 8/8 >" in text_on(pilot)
        # Who leaves does not wait for what would be made of them.
        await pilot.press("f10")
        await asked(pilot, engine, 3)
        engine.end(8, PROSE)
        engine.end(9, PROSE)
        await on_screen(pilot, "not comparable \u00d72")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: app_of(pilot).conversation is not conversation, "another conversation")
        assert engine.open == 0 and len(engine.asked) == 11


async def test_a_death_in_the_middle_loses_nothing_that_had_ended() -> None:
    engine = SeveralEngine()
    async with chat(engine, (80, 24)) as pilot:
        await idle(pilot)
        app_of(pilot).tools.switch(app_of(pilot).conversation.id, "python")
        desk_of(pilot).toast.hide()
        await send(pilot, f"/pro 3 {QUESTION}")
        await asked(pilot, engine, 3)
        assert engine.tools == [()] * 3
        await on_screen(pilot, TOOLS_OFF)
        engine.end(1, "42")
        engine.think_to(0, "I wonder")
        await on_screen(pilot, "I wonder")
        engine.alive = False
        engine.to(0, EngineDied("the engine was killed"))
        await on_screen(pilot, "The engine was killed")
        await wait_until(pilot, lambda: app_of(pilot).conversations.idle.is_set())
        conversation = app_of(pilot).conversation
        ends = {node.text("final"): node.facts.reason for node in conversation.nodes.values() if node.facts}
        assert ends == {"": "died", "42": "stop"}
        assert conversation.path[-1].text("final") == "42"
        await send(pilot, "/set temperature 0")
        await send(pilot, "/pro")
        await wait_until(pilot, lambda: notified(pilot, "all the same"))
        await send(pilot, "/set temperature 1")
        engine.alive = True
        await send(pilot, "/pro 2")
        await asked(pilot, engine, 2)
        await pilot.press("escape")
        await wait_until(pilot, lambda: app_of(pilot).conversations.idle.is_set())
        assert len(conversation.nodes) == 4  # nothing has come: one version says so


FIGURES = ProFigures(
    [
        SampleState(0, "waiting"),
        SampleState(1612, "thinking", "so it is \u65e5\u672c\u8a9e and then\n\x1b[31m some more"),
        SampleState(540, "done", "42"),
        SampleState(812, "done", "a long answer that goes on and on, so that it has to be cut before its end"),
        SampleState(3, "stopped"),
    ],
    [("42", 5), ("an answer that is too long to be counted so", 2), ("41", 1)],
    2,
    cost=("3,912 tokens, 12 s", "2.6 times one answer's"),
    memory="11.0 / 11.4 GB",
    notes=(ENDS_EARLY, TOOLS_OFF),
)


def test_lines_fit_every_width() -> None:
    for width in range(1, 120):
        lines = pro_lines(FIGURES, width)
        assert len(lines) == height(5)
        assert all(line.cell_length <= width for line in lines), width
        assert not any("\x1b" in line.plain or "\n" in line.plain for line in lines)
    assert [line.plain for line in pro_lines(FIGURES, 74)] == [
        " 1                 waiting",
        " 2   1,612 tokens  thinking   so it is \u65e5\u672c\u8a9e and then \u241b[31m some more",
        " 3     540 tokens  done       42",
        " 4     812 tokens  done       a long answer that goes on and on, so that \u2026",
        " 5       3 tokens  stopped",
        "votes  42 \u00d75  an answer that is too l\u2026 \u00d72  41 \u00d71  not comparable \u00d72",
        "5 answers at once, 3 ended \u00b7 3,912 tokens, 12 s \u00b7 2.6 times one answer's",
        "Esc ends early with what there is \u00b7 tools are off meanwhile",
    ]
    assert pro_lines(FIGURES, 40)[1].plain == " 2   1,612 tokens  thinking   \u2026some more"
    assert pro_lines(FIGURES, 60)[6].plain == "5 answers at once, 3 ended \u00b7 3,912 tokens, 12 s"
    assert "11.4 GB" in pro_lines(FIGURES, 100)[6].plain


async def test_options_that_have_changed_since_it_was_asked_for_are_said_and_the_message_comes_back() -> None:
    engine = SeveralEngine()
    async with chat(engine, (80, 24)) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        app.preferences.options = replace(app.preferences.options, temperature=0.0)  # while documents were read, say
        await app.conversations.submit(QUESTION, Plan(3))
        await wait_until(pilot, lambda: notified(pilot, "Samples at temperature 0 are all the same"))
        await wait_until(pilot, app.conversations.idle.is_set)
        assert desk_of(pilot).composer.text == QUESTION and not app.conversation.nodes and engine.asked == []
