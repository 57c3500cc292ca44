"""Several answers over the engine protocol: asked for at once, stopped early, ended by the person, and what is kept."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from app.chat.answer import AnswerRecord
from app.chat.conversation import Conversation
from app.chat.plan import USUAL, Plan, read_plan
from app.chat.pro import Further, Pro, SampleState, alone_speed, is_whole
from app.engine.engine import EngineDied, EngineError
from app.engine.protocol import Load
from mlx_model.errors import GptossError, RequestError
from mlx_model.events import Event, Finished, MessageStart, PrefillProgress, Queued, TextDelta
from mlx_model.harmony.message import Effort, user
from mlx_model.options import Options
from mlx_model.pro.samples import Combine, Outcome
from mlx_model.request import Request
from tests.fixtures.scripted_engine import STATS, Script, ScriptedEngine, says

FORTY_TWO = says("It is **42**.", analysis="6 * 7")
PROSE = says("First,\n\nthis.", analysis="Hm.")


class Scene:
    """A question to an engine, and what comes of several answers to it."""

    def __init__(
        self, *samples: Iterable[Event | Exception | None], combine: Combine = "vote", further: Script
    ) -> None:
        self.engine = ScriptedEngine(self._script)
        self.conversation = Conversation()
        self.prompt = self.conversation.add_prompt("What is 6 * 7?", None)
        self.seen: list[int | Further] = []
        self.is_stopped = False
        self._samples, self._further = samples, further
        request = Request(self.conversation.for_engine(), Options(seed=0))
        self.pro = Pro(request, [self.record() for _ in samples], combine)

    def record(self) -> AnswerRecord:
        return AnswerRecord(Effort.LOW, self.prompt, model="m")

    def _script(self, request: Request) -> Iterable[Event | Exception | None]:
        seed = request.options.seed or 0
        return self._samples[seed] if seed < len(self._samples) else self._further(request)

    async def play(self) -> Outcome | None:
        async for _ in self.engine.load(Load()):
            pass
        async for event in self.pro.events(self.engine, self.record, lambda: self.is_stopped):
            self.seen.append(event)
        return self.pro.outcome

    def keep(self, unfinished: str | None = None) -> list[tuple[str, str, str | None]]:
        """Text, origin and end of each version, the one on the screen first."""
        self.pro.keep_in(self.conversation, unfinished=unfinished)
        leaf = self.conversation.leaf
        nodes = [node for node in self.conversation.nodes.values() if node.facts is not None]
        return [
            (node.text("final"), node.facts.origin.partition(";")[0], node.facts.reason)
            for node in sorted(nodes, key=lambda node: node.id != leaf)
            if node.facts is not None
        ]


def scene(*samples: Any, combine: Combine = "vote", further: Script | None = None) -> Scene:
    return Scene(*samples, combine=combine, further=further or (lambda request: says("All of it.", analysis="Two.")))


async def test_votes_are_counted_and_the_rest_is_stopped() -> None:
    waits = [MessageStart("analysis"), TextDelta("analysis", "Let me think about"), None]
    played = scene(waits, *[FORTY_TWO] * 4, [Queued(3), None], says("41"), says("41\n\nor so"))
    outcome = await played.play()
    assert outcome is not None and (outcome.how, outcome.chosen) == ("votes 4 of 6, 2 stopped", 1)
    assert [request.options.seed for request in played.engine.asked] == [*range(8)]
    states = played.pro.states
    assert states[1] == SampleState(22, "done", "42")
    assert states[7].text == "41\n\nor so"
    assert [state.state for state in states] == ["stopped", *["done"] * 4, "stopped", "done", "done"]
    assert played.pro.votes == "42 \u00d74, 41 \u00d71"
    kept = played.keep()
    assert kept[0] == ("It is **42**.", "votes 4 of 6, 2 stopped", "stop")
    assert ("", "answer 1 of 8", "cancelled") in kept and len(kept) == 7  # of one there is nothing
    assert played.conversation.leaf is not None
    assert played.conversation.nodes[played.conversation.leaf].text("analysis") == "6 * 7"


async def test_what_is_seen_while_they_come() -> None:
    played = scene(
        [Queued(2), None], [PrefillProgress(1, 9), None], [MessageStart("analysis"), TextDelta("analysis", "So"), None]
    )
    async for _ in played.engine.load(Load()):
        pass
    assert [state.state for state in played.pro.states] == ["waiting"] * 3
    events = played.pro.events(played.engine, played.record, lambda: False)
    for _ in range(4):
        await anext(events)
    assert played.pro.states == [
        SampleState(0, "in line"), SampleState(0, "reading"), SampleState(1, "thinking", "So")
    ]  # fmt: skip
    assert (played.pro.tokens, played.pro.context) == (1, 10)
    assert played.pro.answer is played.pro.records[2]
    assert played.keep() == [("", "answer 3 of 3", None)]  # a kill now leaves what there is
    await events.aclose()
    assert played.engine.given_up == 3


async def test_answers_that_can_not_be_counted_are_written_into_one() -> None:
    played = scene(PROSE, PROSE, says("41"))
    outcome = await played.play()
    assert outcome == Outcome("written from 3 answers", None, outcome.votes if outcome else ())
    kept = played.keep()
    assert kept[0] == ("All of it.", "written from 3 answers", "stop") and len(kept) == 4
    last = played.engine.asked[-1]
    assert last.messages[0] == user("What is 6 * 7?") and "First,\n\nthis." in last.messages[-1].text
    assert [type(event) for event in played.seen[-3:]] == [Further] * 3
    assert "times one answer's" in played.pro.cost(0.0)[1]  # the written one has run alone


async def test_a_choice_is_no_answer_of_its_own() -> None:
    played = scene(PROSE, says("Second.", analysis="x"), combine="select", further=lambda request: says("2"))
    outcome = await played.play()
    assert outcome is not None and outcome.how == "chosen by the model from 2 answers"
    assert played.keep()[0][0] in ("First,\n\nthis.", "Second.") and len(played.keep()) == 2


async def test_what_is_too_long_together_is_asked_with_less() -> None:
    asked = list[str]()

    def further(request: Request) -> Iterable[Event | Exception | None]:
        asked.append(request.messages[-1].text)
        if len(asked) == 1:
            yield EngineError("too long", True, True)
        yield from says("Of two.")

    played = scene(PROSE, PROSE, says("Much longer,\n\nand more."), further=further)
    outcome = await played.play()
    assert outcome is not None and outcome.how == "written from 2 answers"
    assert "Much longer" in asked[0] and "Much longer" not in asked[1]


async def test_the_person_ends_them_and_gets_what_there_is() -> None:
    played = scene(FORTY_TWO, [MessageStart("final"), TextDelta("final", "4"), None], FORTY_TWO, [None])
    played.is_stopped = True
    outcome = await played.play()
    assert outcome is not None and (outcome.how, outcome.chosen) == ("votes 2 of 2, 2 stopped", 0)
    assert played.keep()[1:] == [
        ("4", "answer 2 of 4", "cancelled"),
        ("It is **42**.", "answer 3 of 4", "stop"),
    ]


async def test_a_writing_that_is_stopped_stays_and_is_not_the_answer() -> None:
    cut_off: list[Event | Exception | None] = [
        MessageStart("final"),
        TextDelta("final", "All"),
        Finished("cancelled", STATS),
    ]
    played = scene(PROSE, PROSE, further=lambda request: cut_off)
    outcome = await played.play()
    assert outcome is not None and outcome.how == "the first of 2 answers; the model wrote none from them"
    kept = played.keep()
    assert kept[0][:2] == ("First,\n\nthis.", "the first of 2 answers")
    assert ("All", "writing one from 2 answers", "cancelled") in kept


async def test_nothing_is_made_of_them_for_who_has_left() -> None:
    played = scene(PROSE, PROSE)
    played.pro.is_abandoned = True
    outcome = await played.play()
    assert outcome is not None and outcome.chosen == 0 and len(played.engine.asked) == 2


async def test_a_death_keeps_what_had_ended() -> None:
    begun = [MessageStart("final"), TextDelta("final", "4")]
    played = scene(FORTY_TWO, [*begun, EngineDied("killed")], [None])
    with pytest.raises(EngineDied):
        await played.play()
    assert played.keep("died") == [("It is **42**.", "answer 1 of 3", "stop"), ("4", "answer 2 of 3", "died")]
    assert played.pro.answer is played.pro.records[0]


async def test_one_that_fails_is_no_reason_to_lose_the_others() -> None:
    busy = [EngineError("busy")]
    played = scene(FORTY_TWO, busy, FORTY_TWO)
    outcome = await played.play()
    assert outcome is not None and outcome.how == "votes 2 of 2"
    assert played.pro.states[1].state == "no answer"
    with pytest.raises(EngineError, match="busy"):
        await scene(busy, busy).play()
    nothing = scene([Finished("no_answer", STATS)], says("4", reason="length"))
    outcome = await nothing.play()
    assert outcome is not None and outcome.how == "none of 2 came to an answer"
    assert nothing.pro.answer is nothing.pro.records[1] and not is_whole(nothing.pro.records[1])
    nothing = scene([PrefillProgress(1, 9), None], [None])
    nothing.is_stopped = True
    await nothing.play()
    assert nothing.keep() == [("", "none of 2 came to an answer", "cancelled")]


async def test_the_cost_is_that_of_all_beside_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, *[22.0] * 99])
    monkeypatch.setattr("app.chat.pro.monotonic", lambda: next(times))
    played = scene(FORTY_TWO, FORTY_TWO, combine="all")
    assert played.pro.cost(10.0) == ("0 tokens, 0.0 s",)
    await played.play()
    assert played.pro.cost(0.0) == ("44 tokens, 12 s",)
    assert played.pro.cost(5.0) == ("44 tokens, 12 s", "2.7 times one answer's")  # 22 tokens alone take 4.4 s


def test_the_speed_of_one_alone_is_that_of_the_same_model() -> None:
    conversation = Conversation()
    prompt = conversation.add_prompt("q", None)
    record = AnswerRecord(Effort.LOW, prompt, model="m")
    for event in FORTY_TWO:
        record.take(event, 0.0)
    record.keep_in(conversation, 0.0)
    assert alone_speed(conversation, "m") == STATS.decode_tok_s
    assert alone_speed(conversation, "other") == 0.0
    node = conversation.path[-1]
    assert node.facts is not None
    conversation.update_answer(node.id, replace(node.facts, origin="answer 1 of 8"), node.messages)
    assert alone_speed(conversation, "m") == 0.0


@pytest.mark.parametrize(
    ("argument", "plan"),
    [
        ("", Plan(USUAL)),
        ("4", Plan(4)),
        (" 4  select ", Plan(4, "select")),
        ("Synthesise", Plan(USUAL, "synthesise")),
        ("select: which one?", Plan(USUAL, "select", "which one?")),
        ("3 Synthesise : which: this?", Plan(3, "synthesise", "which: this?")),
        ("all:", Plan(USUAL, "all")),
        ("note: a or b?", Plan(USUAL, question="note: a or b?")),
        ("vote for whom?", Plan(USUAL, question="vote for whom?")),
        ("4 Who wrote Faust?", Plan(4, question="Who wrote Faust?")),
        ("4.5 of what?", Plan(USUAL, question="4.5 of what?")),
    ],
)
def test_what_follows_the_command(argument: str, plan: Plan) -> None:
    assert read_plan(argument, Options()) == plan
    assert read_plan("", Options(), Plan(3, "all", "q")) == Plan(3, "all")


@pytest.mark.parametrize("argument", ["1", "0", "17", "9" * 40])
def test_a_number_that_can_not_be_is_refused(argument: str) -> None:
    with pytest.raises(GptossError, match="from 2 to 16"):
        read_plan(argument, Options())
    with pytest.raises(RequestError, match="all the same"):
        read_plan("", Options(temperature=0))
