"""A turn whose model calls tools: events and record, permission, cancelling, failures."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.chat.answer import AnswerRecord
from app.chat.conversation import CallFacts, Conversation
from app.chat.loop import CUT_OFF, SWITCHED_OFF, TurnEvent, TurnTools, turn
from app.engine.engine import EngineError
from app.engine.protocol import Answer
from app.tools.switched_on import Approval
from mlx_model.errors import ContextError, GptossError
from mlx_model.events import Event, Finished, MessageEnd, Stats
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Effort, Message, Role, assistant, user
from mlx_model.request import Request
from mlx_model.tools.base import Output, ToolResult
from mlx_model.tools.loop import CANCELLED, ToolDenied, ToolFinished, ToolOutput, ToolStarted
from mlx_model.tools.toolbox import Toolbox
from tests.app.chat.test_loop import Scripted, engine_of

CALL = Message(Role.ASSISTANT, "print(6 * 7)", None, "analysis", "python", "code")
THOUGHT, ANSWER = assistant("hm", "analysis"), assistant("42.")
CALLING: list[Event] = [MessageEnd(THOUGHT), MessageEnd(CALL), Finished("tool_call", Stats(10, 0, 5, seed=3))]
ANSWERING: list[Event] = [MessageEnd(ANSWER), Finished("stop", Stats(4, 15, 2, seed=3))]
REQUEST = Request((user("q"),))


class Rounds(Scripted):
    """A backend that plays another script for each request, and notes the requests."""

    def __init__(self, *rounds: list[Event] | GptossError) -> None:
        super().__init__()
        self.rounds = list(rounds)
        self.requests: list[Request] = []

    def stream(
        self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
    ) -> Iterator[Event]:
        self.requests.append(request)
        script = self.rounds.pop(0)
        if isinstance(script, GptossError):
            raise script
        yield from script


class Tool:
    """Writes a line, and then its result, or waits for ever."""

    name = declaration = "python"

    def __init__(self, *, ends: bool = True) -> None:
        self.ends = ends
        self.runs = 0
        self.cancelled = False

    async def run(self, call: ToolCall, output: Output, room: int = 0) -> ToolResult:
        self.runs += 1
        output("working\n")
        try:
            await asyncio.sleep(0) if self.ends else await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return ToolResult("42\n", files=(Path("plot.png"),), seconds=2.5, outcome="a number")

    async def close(self) -> None: ...


async def allow(call: ToolCall) -> Approval:
    return Approval(by="the test")


def kinds(events: list[TurnEvent]) -> list[type]:
    return [type(event.event if isinstance(event, Answer) else event) for event in events]


RESULT = Message(Role.TOOL, "42\n", "python", "analysis", "assistant")


async def test_a_call_is_recorded_run_and_answered() -> None:
    tool, record, events = Tool(), AnswerRecord(Effort.LOW), list[TurnEvent]()
    backend = Rounds(CALLING, ANSWERING)
    async for event in turn(await engine_of(backend), REQUEST, record, TurnTools(Toolbox([tool]), allow)):
        events.append(event)
        if isinstance(event, ToolStarted):
            assert record.messages == [THOUGHT, CALL] and tool.runs == 0  # time to save it
        if isinstance(event, ToolFinished):
            assert record.messages[-1] == RESULT
            assert record.finished is None
    assert kinds(events) == [MessageEnd, MessageEnd, ToolStarted, ToolOutput, ToolFinished, MessageEnd, Finished]
    assert record.messages == [THOUGHT, CALL, RESULT, ANSWER]
    assert [request.tools for request in backend.requests] == [("python",), ("python",)]
    assert backend.requests[1].messages == (user("q"), THOUGHT, CALL, RESULT)
    assert record.finished == Finished("stop", Stats(14, 0, 7, seed=3, first_prompt_tokens=10))
    assert (record.text, record.calls) == ("42.", [CALL])
    facts = CallFacts(2.5, allowed="the test", outcome="a number", files=("plot.png",))
    assert record.facts(0.0).calls == (facts,)


async def test_a_call_that_is_not_allowed_is_told_to_the_model() -> None:
    async def deny(call: ToolCall) -> Approval:
        return Approval(refusal="The user declined this call: too slow")

    tool, record, events = Tool(), AnswerRecord(Effort.LOW), list[TurnEvent]()
    backend = Rounds(CALLING, ANSWERING)
    async for event in turn(await engine_of(backend), REQUEST, record, TurnTools(Toolbox([tool]), deny)):
        events.append(event)
    assert kinds(events) == [MessageEnd, MessageEnd, ToolDenied, MessageEnd, Finished]
    assert tool.runs == 0
    assert backend.requests[1].messages[-1].text == "The user declined this call: too slow"
    assert record.facts(0.0).calls == (CallFacts(error=True, outcome="not allowed"),)


async def test_cancelling_ends_the_call_and_the_turn() -> None:
    tool, record, events = Tool(ends=False), AnswerRecord(Effort.LOW), list[TurnEvent]()
    tools = TurnTools(Toolbox([tool]), allow)
    async for event in turn(await engine_of(Rounds(CALLING)), REQUEST, record, tools):
        events.append(event)
        if isinstance(event, ToolOutput):
            tools.cancel()
    assert tool.cancelled
    assert kinds(events)[-2:] == [ToolFinished, Finished]
    assert record.messages[-1].text == CANCELLED
    assert record.finished == Finished("cancelled", Stats(10, 0, 5, seed=3))


@pytest.mark.parametrize("when", ["while the person is asked", "before"])
async def test_cancelling_before_a_call_is_run_leaves_it_to_be_decided_on_later(when: str) -> None:
    async def approve(call: ToolCall) -> Approval:
        assert when != "before"
        tools.cancel()
        return Approval(refusal="no")

    tool, record = Tool(), AnswerRecord(Effort.LOW)
    tools = TurnTools(Toolbox([tool]), approve)
    async for event in turn(await engine_of(Rounds(CALLING)), REQUEST, record, tools):
        if when == "before" and isinstance(event, Answer) and event.event == MessageEnd(CALL):
            tools.cancel()
    assert tool.runs == 0
    assert record.messages == [THOUGHT, CALL]
    assert record.finished is not None and record.finished.reason == "cancelled"


@pytest.mark.parametrize("when", ["while it runs", "while the person is asked", "before"])
async def test_switching_tools_off_ends_the_call_and_the_model_answers_without(when: str) -> None:
    async def approve(call: ToolCall) -> Approval:
        assert when != "before"
        if when == "while the person is asked":
            tools.switch_off()
        return Approval(by="the test")

    tool, record, backend = Tool(ends=False), AnswerRecord(Effort.LOW), Rounds(CALLING, CALLING, ANSWERING)
    tools = TurnTools(Toolbox([tool]), approve)
    if when == "before":
        tools.switch_off()
    async for event in turn(await engine_of(backend), REQUEST, record, tools):
        if isinstance(event, ToolOutput):
            tools.switch_off()
    runs = int(when == "while it runs")
    assert (tool.runs, tool.cancelled) == (runs, bool(runs))
    results = [message.text for message in record.messages if message.role is Role.TOOL]
    assert results == [CANCELLED if runs else SWITCHED_OFF, SWITCHED_OFF]
    assert record.finished is not None and record.finished.reason == "stop"


async def test_a_call_that_ran_when_the_program_ended_is_not_run_again() -> None:
    conversation = Conversation()
    node = conversation.add_prompt("q", None)
    tool, record = Tool(), AnswerRecord(Effort.LOW, node)
    async for event in turn(await engine_of(Rounds(CALLING)), REQUEST, record, TurnTools(Toolbox([tool]), allow)):
        if isinstance(event, Answer):
            continue
        record.keep_in(conversation, 0.0)  # as it is saved before the call is run; then the program is killed
        break
    (kept,) = (each for each in conversation.nodes.values() if each.facts)
    assert kept.messages == (THOUGHT, CALL) and record.cut_off_call == CALL
    record, backend, events = AnswerRecord(Effort.LOW, kept), Rounds(ANSWERING), list[TurnEvent]()
    request = Request((user("q"), *kept.messages))
    async for event in turn(await engine_of(backend), request, record, TurnTools(Toolbox([tool]), allow)):
        events.append(event)
    told = Message(Role.TOOL, CUT_OFF, "python", "analysis", "assistant")
    assert backend.requests[0].messages == (user("q"), THOUGHT, CALL, told)
    assert kinds(events)[0] is ToolFinished and tool.runs == 0
    assert record.messages == [THOUGHT, CALL, told, ANSWER]
    assert record.facts(0.0).calls == (CallFacts(error=True, allowed="the test", outcome="cut off"),)


async def test_closing_a_turn_cancels_its_tool() -> None:
    tool = Tool(ends=False)
    events = turn(
        await engine_of(Rounds(CALLING)), REQUEST, AnswerRecord(Effort.LOW), TurnTools(Toolbox([tool]), allow)
    )
    while not isinstance(await anext(events), ToolOutput):
        pass
    await events.aclose()
    assert tool.cancelled


async def test_a_failure_in_a_later_round_keeps_the_call_and_its_result() -> None:
    record = AnswerRecord(Effort.LOW)
    engine = await engine_of(Rounds(CALLING, GptossError("no memory")))
    with pytest.raises(EngineError, match="no memory"):
        async for _ in turn(engine, REQUEST, record, TurnTools(Toolbox([Tool()]), allow)):
            pass
    assert record.messages == [THOUGHT, CALL, RESULT]
    assert record.finished is None


async def test_results_that_leave_no_room_for_an_answer_end_the_turn_as_cut_off() -> None:
    record, tools = AnswerRecord(Effort.LOW), TurnTools(Toolbox([Tool()]), allow)
    engine = await engine_of(Rounds(CALLING, ContextError("the prompt has 9,000 tokens")))
    async for _ in turn(engine, REQUEST, record, tools):
        pass
    assert record.messages == [THOUGHT, CALL, RESULT]
    assert record.finished == Finished("length", Stats(10, 0, 5, seed=3))
    engine = await engine_of(Rounds(ContextError("the prompt has 9,000 tokens")))
    with pytest.raises(EngineError, match="9,000"):  # it is the person's to shorten
        async for _ in turn(engine, REQUEST, record, tools):
            pass


async def test_a_turn_has_so_many_calls_and_a_call_that_can_not_be_read_is_one() -> None:
    unknown = Message(Role.ASSISTANT, "{}", None, "commentary", "container.exec")
    rounds: list[list[Event]] = [[MessageEnd(unknown), Finished("tool_call")], CALLING, CALLING]
    tool, record = Tool(), AnswerRecord(Effort.LOW)
    tools = TurnTools(Toolbox([tool]), allow, most_calls=2)
    async for _ in turn(await engine_of(Rounds(*rounds)), REQUEST, record, tools):
        pass
    assert record.messages[1].text == "Error: there is no tool container.exec. Tools: python."
    assert tool.runs == 1
    assert record.finished is not None and record.finished.reason == "tool_limit"
