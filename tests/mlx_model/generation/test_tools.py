"""`generate` with tools that are run here: rounds until there is an answer, and what comes back of them."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mlx_model import Model, generate, load, stream_generate, user
from mlx_model.errors import ContextError
from mlx_model.events import Finished, Stats
from mlx_model.generation.runner import Progress, Runner
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Role
from mlx_model.harmony.tools import FunctionTool
from mlx_model.tools.base import MOST_SHOWN, Output, ToolResult
from mlx_model.tools.loop import ToolFinished, ToolOutput, ToolStarted
from tests.mlx_model.generation.test_answer import ids_of

CALL = '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{{"city": "{}"}}<|call|>'
ANSWER = "<|channel|>final<|message|>It rains.<|return|>"


@pytest.fixture(scope="module")
def demo() -> Model:
    return load("demo")


@pytest.fixture
def rounds(demo: Model, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the model writes in each round is put in here; a round without any fails as too long."""
    script: list[str] = []

    def run(self: Runner, prompt: list[int], *_: object, **__: object) -> Iterator[Progress | int]:
        if not script:
            raise ContextError("the prompt has too many tokens")
        self.stats, self.finish_reason = Stats(decode_tokens=2, seed=1), "stop"
        yield from ids_of(demo, script.pop(0))

    monkeypatch.setattr(Runner, "steps", run)
    return script


def weather(city: str) -> str:
    """The weather."""
    return f"rain in {city}"


def lengthy(city: str) -> str:
    """The weather."""
    return ("rain " * 200)[:1_000]


lengthy.__name__ = "weather"


def test_a_function_is_called_until_there_is_an_answer(demo: Model, rounds: list[str]) -> None:
    rounds += [CALL.format("Oslo"), CALL.format("Rome"), ANSWER]
    written = [len(ids_of(demo, text)) for text in rounds]
    result = generate(demo, "Weather?", tools=[weather])
    assert (result.text, result.finish_reason, result.stats.decode_tokens) == ("It rains.", "stop", 6)
    assert [call.result.text for call in result.calls] == ["rain in Oslo", "rain in Rome"]
    assert [call.call.arguments["city"] for call in result.calls] == ["Oslo", "Rome"]
    assert [message.role for message in result.messages] == [*[Role.ASSISTANT, Role.TOOL] * 2, Role.ASSISTANT]
    assert len(result.tokens) == sum(written)


def test_calls_have_a_limit(demo: Model, rounds: list[str]) -> None:
    rounds += [CALL.format("Oslo"), CALL.format("Rome"), ANSWER]
    result = generate(demo, "Weather?", tools=[weather], max_calls=1)
    assert (result.text, result.finish_reason, len(result.calls)) == ("", "tool_limit", 1)
    assert result.messages[-1].recipient == "functions.weather"


def test_a_turn_that_has_outgrown_the_context_keeps_what_it_has(demo: Model, rounds: list[str]) -> None:
    rounds += [CALL.format("Oslo")]
    result = generate(demo, "Weather?", tools=[weather])
    assert (result.finish_reason, len(result.calls)) == ("length", 1)
    with pytest.raises(ContextError):
        generate(demo, "Weather?", tools=[weather])


@pytest.mark.parametrize("tools", [[], [FunctionTool("weather")], ["python", FunctionTool("weather")]])
def test_what_is_only_declared_is_the_callers_to_run(demo: Model, rounds: list[str], tools: list[Any]) -> None:
    rounds += [CALL.format("Oslo"), ANSWER]
    result = generate(demo, "Weather?", tools=tools)
    assert (result.finish_reason, result.calls, len(result.messages)) == ("tool_call", (), 1)


def test_old_results_make_room_where_the_prompt_is_too_long(
    demo: Model, rounds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    play, prompts = Runner.steps, list[str]()

    def run(self: Runner, prompt: list[int], *rest: object, **more: object) -> Iterator[Progress | int | None]:
        assert demo.tokenizer is not None
        prompts.append(demo.tokenizer.decode(prompt))
        if len(prompts) == 3:
            raise ContextError("the prompt has too many tokens")
        return play(self, prompt, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Runner, "steps", run)
    rounds += [CALL.format("Oslo"), CALL.format("Rome"), ANSWER]
    result = generate(demo, "Weather?", tools=[lengthy])
    assert (result.text, result.finish_reason) == ("It rains.", "stop")
    assert [len(call.result.text) for call in result.calls] == [1_000, 1_000]
    assert [prompt.count("rain rain") > 90 for prompt in prompts] == [False, True, True, True]
    assert ["1,000 characters of this result are left out" in prompt for prompt in prompts] == [False] * 3 + [True]


def test_a_thought_that_fills_the_context_goes_on_in_the_same_message(
    demo: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    thought = "<|channel|>analysis<|message|>It may "
    script = [CALL.format("Oslo"), CALL.format("Rome"), thought, f"rain.<|end|><|start|>assistant{ANSWER}"]
    prompts = list[str]()

    def run(self: Runner, prompt: list[int], *_: object, **__: object) -> Iterator[Progress | int]:
        assert demo.tokenizer is not None
        prompts.append(demo.tokenizer.decode(prompt))
        text = script[len(prompts) - 1]
        full = text == thought
        self.stats = Stats(demo.context_length if full else 10, decode_tokens=2, seed=1)
        self.finish_reason = "length" if full else "stop"
        yield from ids_of(demo, text)

    monkeypatch.setattr(Runner, "steps", run)
    result = generate(demo, "Weather?", tools=[lengthy])
    assert (result.text, result.analysis, result.finish_reason) == ("It rains.", "It may rain.", "stop")
    assert len(result.messages) == 6 and prompts[3].endswith("It may ")
    assert ["1,000 characters of this result are left out" in prompt for prompt in prompts] == [False] * 3 + [True]


def test_a_tool_that_crashes_or_floods_is_told_to_the_model(demo: Model, rounds: list[str]) -> None:
    class Bad(Slow):
        async def run(self, call: ToolCall, output: Output, room: int = 0) -> ToolResult:
            if "2" not in str(call.arguments):
                raise RuntimeError("no such table")
            for _ in range(100):
                output("x" * 10_000)
            return ToolResult("y" * 1_000_000)

    rounds += [PYTHON.format(1), PYTHON.format(2), ANSWER]
    events = list(stream_generate(demo, user("Run it."), tools=[Bad()]))
    texts = [event.result.text for event in events if isinstance(event, ToolFinished)]
    assert texts[0] == "Error: the tool has failed (RuntimeError: no such table)." and len(texts[1]) < 40_000
    assert sum(len(event.text) for event in events if isinstance(event, ToolOutput)) == MOST_SHOWN


class Slow:
    """A tool that writes before it is done, on a loop that outlives its calls."""

    name = declaration = "python"

    def __init__(self) -> None:
        self.loops: set[int] = set()
        self.threads: set[str] = set()
        self.cancelled = threading.Event()
        self.ends = True

    async def run(self, call: ToolCall, output: Output, room: int = 0) -> ToolResult:
        self.loops.add(id(asyncio.get_running_loop()))
        self.threads.add(threading.current_thread().name)
        output("1\n")
        try:
            await asyncio.sleep(0) if self.ends else await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        output("2\n")
        return ToolResult("1\n2\n")

    async def close(self) -> None: ...


PYTHON = "<|channel|>analysis to=python code<|message|>print(1); print({})<|call|>"


def test_events_of_tools_come_between_the_models(demo: Model, rounds: list[str]) -> None:
    rounds += [PYTHON.format(2), PYTHON.format(3), ANSWER]
    tool = Slow()
    events = list(stream_generate(demo, user("Run it."), tools=[tool]))
    kinds = [type(event) for event in events if isinstance(event, ToolStarted | ToolOutput | ToolFinished | Finished)]
    assert kinds == [*[ToolStarted, ToolOutput, ToolOutput, ToolFinished] * 2, Finished]
    assert [event.text for event in events if isinstance(event, ToolOutput)] == ["1\n", "2\n"] * 2
    assert len(tool.loops) == 1 and tool.threads == {"tools"}


def test_a_stream_that_is_left_cancels_the_call(demo: Model, rounds: list[str]) -> None:
    rounds += [PYTHON.format(2)]
    tool = Slow()
    tool.ends = False
    events = stream_generate(demo, "Run it.", tools=[tool])
    while not isinstance(next(events), ToolOutput):
        pass
    events.close()  # type: ignore[attr-defined]
    assert tool.cancelled.wait(120)


def test_the_demo_model_calls_python_and_answers_with_its_result(demo: Model) -> None:
    class Calculator(Slow):
        async def run(self, call: ToolCall, output: Output, room: int = 0) -> ToolResult:
            assert call.arguments == {"code": "print(1234 * 5678)"}
            return ToolResult("7006652\n")

    result = generate(demo, "How much is 1234 * 5678? Use python", tools=[Calculator()], temperature=0)
    assert "7006652" in result.text
    assert (result.finish_reason, len(result.calls)) == ("stop", 1)
    # The second round found all of the first in the cache.
    assert result.stats.reused_tokens == 0 and result.stats.prefill_tokens < 300
