"""What is computed for the next request of a conversation: only what is new, whatever a client drops on its way."""

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from app.engine.protocol import Answer, Load
from app.server.chat_completions.reading import read_chat
from app.server.exchange import ChatExchange, ResponseExchange, Service, read_through
from app.server.line import Line
from app.server.responses.reading import read_response
from mlx_model import Model, load
from mlx_model.events import Finished, MessageEnd
from mlx_model.generation.session import Session
from mlx_model.harmony.message import Message
from mlx_model.request import Request
from tests.fixtures.quick_model import write_quick_model
from tests.fixtures.scripted_engine import ScriptedEngine, Share

FUNCTION: dict[str, Any] = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
NESTED: dict[str, Any] = {"type": "function", "function": FUNCTION}
LONG = "What is the weather in the town of Oslo today, and what will it be tomorrow? " * 2
THOUGHT, SPOKEN, ARGUMENTS, ANSWER = "Ask.", "Hm.", '{"a":1}', "Rain."


class Says:
    """A constraint that leaves the model no choice."""

    def __init__(self, ids: Sequence[int], vocab_size: int) -> None:
        self._ids, self._vocab_size = list(ids), vocab_size

    def mask(self) -> mx.array:
        return mx.arange(self._vocab_size) == self._ids[0]

    def accept(self, token: int) -> bool:
        assert token == self._ids.pop(0)
        return True

    def forced(self) -> Sequence[int]:
        return ()


class SessionEngine(ScriptedEngine):
    """A real session on a quick model, which says what it is told to, letter by letter, as no text is split."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.session, self.model = Session(model), model
        self.answers: Iterator[str] = iter(())
        self.computed: list[int] = []
        """Tokens prefilled for each request."""
        self.new: list[int] = []
        """Tokens of each prompt that were in no prompt before it, and not sampled."""
        self._known: list[int] = []

    async def answered(self, request: Request, asker: Share) -> AsyncGenerator[Answer, None]:
        said = self._ids(next(self.answers))
        prompt = self.session.prompt(request)
        self.new.append(len(prompt) - _common(prompt, self._known))
        answer: list[Message] = []
        for event in self.session.stream(request, constraint=Says(said, self.model.config.vocab_size)):
            match event:
                case Finished(_, stats):
                    self.computed.append(stats.prefill_tokens)
                case MessageEnd(message):
                    answer.append(message)
            yield Answer(1, event)
        self._known = [*prompt, *self.session.tokens]
        if answer[-1].channel == "final":  # as the engine's process does while nobody asks
            for _ in self.session.settle(request, answer):
                pass

    def _ids(self, text: str) -> list[int]:
        """The ids of a text with markup, each character by itself."""
        tokenizer = self.model.tokenizer
        assert tokenizer is not None
        ids: list[int] = []
        while text:
            piece = next((name for name in (*tokenizer.special, *HEADERS) if text.startswith(name)), text[0])
            ids += [tokenizer.special[piece]] if piece in tokenizer.special else tokenizer.encode(piece)
            text = text.removeprefix(piece)
        return ids


def _common(ids: Sequence[int], others: Sequence[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(ids, others, strict=False)) if a != b), min(len(ids), len(others)))


HEADERS = ("analysis", "commentary", "final", "assistant")
CALL = (
    f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>commentary<|message|>{SPOKEN}<|end|>"
    f"<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{ARGUMENTS}<|call|>"
)
FINAL = f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder: Path = write_quick_model(tmp_path_factory.mktemp("quick"))
    return load(str(folder))


@pytest.fixture
def engine(model: Model) -> SessionEngine:
    engine = SessionEngine(model)
    engine.answers = iter([CALL, FINAL, FINAL])
    return engine


@pytest.fixture
def service(engine: SessionEngine) -> Service:
    return Service(Line(engine, Load()))


async def chat(service: Service, messages: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    asked = read_chat({"messages": messages, "tools": [NESTED], **fields}, service.thoughts)
    exchange = ChatExchange(service, asked)
    await read_through(exchange.stream())
    assert exchange.error is None
    message: dict[str, Any] = exchange.writer.completion["choices"][0]["message"]
    return message


async def respond(service: Service, **body: Any) -> dict[str, Any]:
    asked = read_response({"tools": [FUNCTION], **body}, service.thoughts, service.stored)
    exchange = ResponseExchange(service, asked)
    await read_through(exchange.stream())
    assert exchange.error is None
    return exchange.writer.response


def check(engine: SessionEngine) -> None:
    """The second request has prefilled the result, and the token that ended the call; the third, the new question."""
    first, result, question = engine.computed
    assert first > 150  # the question, the function
    assert result == engine.new[1] + 1 and question < result < 30


@pytest.mark.parametrize("choice", ["auto", "required"])
async def test_a_chat_whose_client_drops_the_thoughts(service: Service, engine: SessionEngine, choice: str) -> None:
    """A call that had to be made costs the next request no more than another one."""
    dropped = ("reasoning", "reasoning_content")
    messages: list[dict[str, Any]] = [{"role": "user", "content": LONG}]
    turn = await chat(service, messages, tool_choice=choice)
    messages.append({key: value for key, value in turn.items() if key not in dropped})
    messages.append({"role": "tool", "tool_call_id": turn["tool_calls"][0]["id"], "content": "rain"})
    turn = await chat(service, messages)
    assert turn["content"] == ANSWER
    messages += [{key: value for key, value in turn.items() if key not in dropped}, {"role": "user", "content": "Why?"}]
    await chat(service, messages)
    check(engine)


async def test_responses_that_are_sent_back_without_the_thoughts(service: Service, engine: SessionEngine) -> None:
    items: list[Any] = [{"role": "user", "content": LONG}]
    output = json.loads(json.dumps((await respond(service, input=items, store=False))["output"]))
    items += [item for item in output if item["type"] != "reasoning"]
    items.append({"type": "function_call_output", "call_id": output[-1]["call_id"], "output": "rain"})
    items += (await respond(service, input=items, store=False))["output"]
    await respond(service, input=[*items, {"role": "user", "content": "Why?"}], store=False)
    check(engine)


async def test_responses_that_are_stored(service: Service, engine: SessionEngine) -> None:
    response = await respond(service, input=LONG)
    output = {"type": "function_call_output", "call_id": response["output"][-1]["call_id"], "output": "rain"}
    response = await respond(service, input=[output], previous_response_id=response["id"])
    await respond(service, input="Why?", previous_response_id=response["id"])
    check(engine)
