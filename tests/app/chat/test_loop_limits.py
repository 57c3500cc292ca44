"""A turn whose tools hang, flood, crash or fill the context: the engine and the conversation stay whole."""

import asyncio

import pytest

from app.chat import loop
from app.chat.answer import AnswerRecord
from app.chat.conversation import AnswerFacts, Conversation
from app.chat.loop import TurnEvent, TurnTools, turn
from app.engine.protocol import Answer
from mlx_model.errors import ContextError
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Stats, TextDelta
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Effort, Message, Role, assistant
from mlx_model.request import Request
from mlx_model.tools.base import MOST_SHOWN, Output, ToolResult
from mlx_model.tools.loop import CANCELLED, ToolFinished, ToolOutput
from mlx_model.tools.toolbox import Toolbox
from tests.app.chat.test_loop import engine_of
from tests.app.chat.test_loop_tools import ANSWER, ANSWERING, CALL, CALLING, REQUEST, THOUGHT, Rounds, Tool, allow


class Hostile(Tool):
    """Does one bad thing, and notes the room it was given."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.rooms: list[int] = []
        self.cancels = 0
        self.let_go = asyncio.Event()

    async def run(self, call: ToolCall, output: Output, room: int = 0) -> ToolResult:
        self.rooms.append(room)
        output("working\n")
        match self.what:
            case "crashes":
                raise RuntimeError("no such table")
            case "floods":
                for _ in range(1_000):
                    output("x" * 10_000)
                return ToolResult("y" * 10_000_000)
            case "hangs":
                while not self.let_go.is_set():
                    try:
                        await self.let_go.wait()
                    except asyncio.CancelledError:
                        self.cancels += 1
            case "winds down":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.cancels += 1
                    await asyncio.sleep(0)
                    raise
        return ToolResult("word " * 400)


async def run(tool: Tool, *rounds: list[Event] | ContextError, record: AnswerRecord | None = None) -> list[TurnEvent]:
    """A turn with this tool, whose person presses Esc at the first output of one that does not end by itself."""
    tools, events = TurnTools(Toolbox([tool]), allow), list[TurnEvent]()
    record = record or AnswerRecord(Effort.LOW)
    engine = await engine_of(Rounds(*rounds))
    async for event in turn(engine, REQUEST, record, tools):
        events.append(event)
        if isinstance(event, ToolOutput) and getattr(tool, "what", "") in ("hangs", "winds down"):
            tools.cancel()
    # Whatever the tool did, the engine answers.
    assert [answer.event async for answer in engine.ask(REQUEST)][-1] == ANSWERING[-1]
    return events


def result_of(events: list[TurnEvent]) -> ToolResult:
    return next(event.result for event in events if isinstance(event, ToolFinished))


async def test_a_tool_that_crashes_is_told_to_the_model() -> None:
    record = AnswerRecord(Effort.LOW)
    events = await run(Hostile("crashes"), CALLING, ANSWERING, ANSWERING, record=record)
    assert result_of(events) == ToolResult("Error: the tool has failed (RuntimeError: no such table).", error=True)
    assert record.messages[-1] == ANSWER


async def test_a_flood_is_cut_on_the_screen_and_for_the_model() -> None:
    record = AnswerRecord(Effort.LOW)
    events = await run(Hostile("floods"), CALLING, ANSWERING, ANSWERING, record=record)
    assert sum(len(event.text) for event in events if isinstance(event, ToolOutput)) == MOST_SHOWN
    text = result_of(events).text
    assert len(text) < 20_000 and "characters left out" in text  # half of the context, 4,096 tokens
    assert record.messages[2].text == text and record.messages[-1] == ANSWER


async def test_esc_leaves_a_tool_that_does_not_end_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CANCEL_S", 0.01)
    tool, record = Hostile("hangs"), AnswerRecord(Effort.LOW)
    events = await run(tool, CALLING, ANSWERING, record=record)
    assert result_of(events) == ToolResult(CANCELLED, error=True) and tool.cancels == 2
    assert record.finished is not None and record.finished.reason == "cancelled"
    tool.let_go.set()


async def test_a_tool_that_winds_down_is_cancelled_once() -> None:
    """Python kills its kernel at the second time, and variables are lost."""
    tool = Hostile("winds down")
    events = await run(tool, CALLING, ANSWERING)
    assert result_of(events).text == CANCELLED and tool.cancels == 1


async def test_results_leave_the_request_where_the_engine_has_no_room_and_stay_in_the_record() -> None:
    tool, record = Hostile("answers at length"), AnswerRecord(Effort.LOW)
    other = [MessageEnd(Message(Role.ASSISTANT, f"print({n})", None, "analysis", "python", "code")) for n in range(2)]
    rounds: list[list[Event] | ContextError] = [
        [other[0], Finished("tool_call", Stats(1_000, 0, 5))],
        [other[1], Finished("tool_call", Stats(3_000, 0, 5))],
        ContextError("the prompt has 4,100 tokens"),
        ANSWERING,
    ]
    backend = Rounds(*rounds)
    tools = TurnTools(Toolbox([tool]), allow)
    async for _ in turn(await engine_of(backend), REQUEST, record, tools):
        pass
    # The scripted engine's context is 4,096 tokens.
    assert tool.rooms == [(4_096 - 1_005) // 8, 256]
    texts = [[m.text for m in request.messages if m.role is Role.TOOL] for request in backend.requests]
    stub = "[2,000 characters of this result are left out to save room]"
    assert texts == [[], ["word " * 400], ["word " * 400] * 2, [stub, "word " * 400]]
    assert [m.text for m in record.messages if m.role is Role.TOOL] == ["word " * 400] * 2
    assert record.messages[-1] == ANSWER


async def test_a_thought_that_fills_the_context_goes_on_in_the_same_message() -> None:
    record, whole = AnswerRecord(Effort.LOW), assistant("I think so", "analysis")
    other = Message(Role.ASSISTANT, "print(2)", None, "analysis", "python", "code")
    half = MessageEnd(assistant("I think", "analysis"))
    full = Finished("length", Stats(2_000, 0, 2_096))
    backend = Rounds(
        [MessageEnd(CALL), Finished("tool_call", Stats(1_000, 0, 5))],
        [MessageEnd(other), Finished("tool_call", Stats(1_500, 0, 5))],
        [MessageStart("analysis"), TextDelta("analysis", "I think"), half, full],
        [TextDelta("analysis", " so"), MessageEnd(whole), *ANSWERING],
    )
    events = list[TurnEvent]()
    tools = TurnTools(Toolbox([Hostile("answers at length")]), allow)
    async for event in turn(await engine_of(backend), REQUEST, record, tools):
        events.append(event)
    assert [m for m in record.messages if m.role is Role.ASSISTANT] == [CALL, other, whole, ANSWER]
    assert half not in [e.event for e in events if isinstance(e, Answer)]
    assert backend.requests[3].messages[-1].text == "I think"
    assert sum("left out" in message.text for message in backend.requests[3].messages) == 1


@pytest.mark.parametrize("reason", [None, "tool_limit", "cancelled", "died"])
async def test_a_call_that_was_not_run_is_run_when_the_answer_goes_on(reason: str | None) -> None:
    """The app was killed before the result, or the turn ended there: nothing runs again by itself, and "go on" asks the
    model, which ends the call, and then the person."""
    conversation = Conversation()
    prompt = conversation.add_prompt("q", None)
    facts = AnswerFacts("m", Effort.LOW, reason, Stats(10, 0, 5))
    node = conversation.add_answer(prompt.id, facts, [THOUGHT, CALL])
    assert conversation.unfinished == node
    record, tool = AnswerRecord(Effort.LOW, node), Tool()
    goes_on: list[Event] = [MessageEnd(CALL), Finished("tool_call", Stats(20, 0, 1))]
    backend = Rounds(goes_on, ANSWERING)
    request = Request(conversation.for_engine(node.id))
    assert request.messages[-1] == CALL
    async for _ in turn(await engine_of(backend), request, record, TurnTools(Toolbox([tool]), allow)):
        assert tool.runs <= 1
    record.keep_in(conversation, 1.0)
    result = Message(Role.TOOL, "42\n", "python", "analysis", "assistant")
    assert conversation.nodes[node.id].messages == (THOUGHT, CALL, result, ANSWER)
    assert backend.requests[1].messages[-2:] == (CALL, result)


async def test_an_answer_that_was_cut_off_behind_a_result_goes_on_with_a_new_message() -> None:
    conversation = Conversation()
    prompt = conversation.add_prompt("q", None)
    result = Message(Role.TOOL, "42\n", "python", "analysis", "assistant")
    node = conversation.add_answer(prompt.id, AnswerFacts("m", Effort.LOW), [THOUGHT, CALL, result])
    record, tool, backend = AnswerRecord(Effort.LOW, node), Tool(), Rounds(ANSWERING)
    request = Request(conversation.for_engine(node.id))
    async for _ in turn(await engine_of(backend), request, record, TurnTools(Toolbox([tool]), allow)):
        pass
    assert tool.runs == 0 and record.messages == [THOUGHT, CALL, result, ANSWER]
