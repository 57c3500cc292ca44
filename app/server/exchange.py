"""From a request that was read to what goes out: stands in line, writes what comes, keeps what is returned to."""

import sys
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.chat.loop import TurnEvent
from app.engine.engine import Engine
from app.engine.protocol import Answer
from app.server.answering import OwnTools, Work
from app.server.chat_completions.reading import AskedChat
from app.server.chat_completions.writing import ChatWriter
from app.server.errors import ApiError, failed, of_engine
from app.server.line import Line, Run
from app.server.metrics import Metrics
from app.server.responses.reading import AskedResponse
from app.server.responses.writing import ResponseWriter
from app.server.stored import Stored, StoredResponse
from app.server.thoughts import Thoughts
from app.server.wire import COMMENT, DONE, data, named_event
from mlx_model.events import Finished, Warned
from mlx_model.harmony.fold import FoldedAnswer
from mlx_model.harmony.message import Message, Role
from mlx_model.text import clean
from mlx_model.tools.loop import ToolDenied, ToolFinished

PULSE_S = 10.0
"""Seconds without an event after which a client hears that it is not forgotten. Codex waits 300 by default."""


@dataclass(frozen=True, slots=True)
class Service:
    """What all requests share."""

    line: Line
    own: OwnTools = field(default_factory=OwnTools)
    withholds_reasoning: bool = False
    strict_model: bool = False
    thoughts: Thoughts = field(default_factory=Thoughts)
    stored: Stored = field(default_factory=Stored)
    metrics: Metrics = field(default_factory=Metrics)
    pulse_s: float = PULSE_S
    active: "dict[str, ResponseExchange]" = field(default_factory=dict)
    """Responses under way, by their ids."""


class Kept:
    """The messages of an answer, for the next request of the conversation. The owner reads what the engine warns of."""

    def __init__(self) -> None:
        self._fold = FoldedAnswer()

    def take(self, event: TurnEvent) -> None:
        """Adds what came."""
        if isinstance(event, Answer):
            if isinstance(event.event, Warned):
                print(clean(f"a request is kept to in part: {event.event.text}"), file=sys.stderr, flush=True)
            self._fold.take(event.event)
        elif isinstance(event, ToolFinished | ToolDenied):
            self._fold.add(event.message)

    def messages(self, *, is_whole: bool) -> list[Message]:
        """The messages; one that was cut off ends before a thought or a call that leads nowhere."""
        messages = [*self._fold.complete]
        while not is_whole and messages and messages[-1].role is Role.ASSISTANT and _leads_nowhere(messages[-1]):
            messages.pop()
        return messages


def _leads_nowhere(message: Message) -> bool:
    return message.channel == "analysis" or message.calls_tool


class ResponseExchange:
    """One request of the Responses API. Raises ApiError if it can't stand in line."""

    def __init__(self, service: Service, asked: AskedResponse) -> None:
        self.writer = ResponseWriter(asked, int(time.time()), withholds_reasoning=service.withholds_reasoning)
        self.asked = asked
        self._service = service
        self._kept = Kept()
        asks = _Nothing() if asked.is_empty else Work(asked.request, asked.declared, service.own)
        self.run: Run = service.line.join(asks)

    @property
    def error(self) -> ApiError | None:
        """Why it came to nothing."""
        return self.writer.error

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The events as they go out; the last one is terminal, whatever happens."""
        service, writer, has_ended = self._service, self.writer, False
        service.active[writer.id] = self
        try:
            yield b"".join(map(named_event, writer.opening()))
            error = failed("the answer broke off")
            try:
                async for event in self.run.events(service.pulse_s):
                    if written := writer.waiting(self.run.place) if event is None else self._take(event):
                        yield b"".join(map(named_event, written))
                        has_ended = writer.is_closed
            except Exception as raised:
                error = _said(raised, self.asked.places)
            if not has_ended:
                yield b"".join(map(named_event, writer.fail(error)))
        finally:
            self.run.end()
            del service.active[writer.id]

    def _take(self, event: TurnEvent) -> list[dict[str, Any]]:
        self._kept.take(event)
        written = self.writer.take(event)
        if isinstance(event, Answer) and isinstance(event.event, Finished):
            self._service.metrics.add(event.event.stats)
            self._keep()
        return written

    def _keep(self) -> None:
        """Before the client hears of the end: its next request may come at once."""
        asked, writer, service = self.asked, self.writer, self._service
        answer = self._kept.messages(is_whole=writer.response["status"] == "completed")
        if writer.call_id is not None:
            service.thoughts.remember(writer.call_id, asked.request.messages, answer)
        if asked.is_stored:
            messages = (*_answered(asked.messages), *answer)
            service.stored.add(StoredResponse(writer.response, asked.input, messages, writer.call_id))


class ChatExchange:
    """One request of the Chat Completions API. Raises ApiError if it can't stand in line."""

    def __init__(self, service: Service, asked: AskedChat) -> None:
        self.writer = ChatWriter(asked, int(time.time()), withholds_reasoning=service.withholds_reasoning)
        self.error: ApiError | None = None
        """Why it came to nothing."""
        self._asked = asked
        self._service = service
        self._kept = Kept()
        self.run: Run = service.line.join(Work(asked.request, asked.declared, service.own, asked.choices))

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The chunks as they go out; at the end [DONE] or an error, whatever happens."""
        writer = self.writer
        try:
            yield b"".join(map(data, writer.opening()))
            async for event in self.run.events(self._service.pulse_s):
                if event is None:
                    yield COMMENT + b"".join(map(data, writer.waiting()))
                elif written := self._take(event):
                    yield b"".join(map(data, written))
            usage = data(writer.usage_chunk()) if self._asked.has_usage else b""
            yield usage + DONE
        except Exception as error:
            self.error = _said(error, self._asked.places)
            yield data(self.error.to_json())
        finally:
            self.run.end()

    def _take(self, event: TurnEvent) -> list[dict[str, Any]]:
        self._kept.take(event)
        written = self.writer.take(event)
        if isinstance(event, Answer) and isinstance(event.event, Finished):
            self._service.metrics.add(event.event.stats)
            if (call_id := self.writer.call_id) is not None:
                answer = self._kept.messages(is_whole=True)
                self._service.thoughts.remember(call_id, self._asked.request.messages, answer)
            self._kept = Kept()
        return written


class _Nothing:
    """Where there is nothing to answer: the engine is ready then, which is all that was wanted."""

    async def events(self, engine: Engine) -> AsyncGenerator[TurnEvent, None]:
        """See Work."""
        yield Answer(0, Finished("no_answer"))

    async def cancel(self, engine: Engine) -> None:
        """See Work."""


def _answered(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The conversation without an answer that was cut off: what continues it has all of it."""
    return messages[:-1] if messages and messages[-1].role is Role.ASSISTANT else messages


def _said(error: Exception, places: Mapping[str, str]) -> ApiError:
    """An exception as the client hears of it, with the path of the field at fault. One that nobody expects is shown to
    the owner."""
    said = of_engine(error)
    if said.param is None:
        said.param = places.get(said.about)
    if not isinstance(error, ApiError):
        traceback.print_exc()
    return said


async def read_through(stream: AsyncIterator[bytes]) -> None:
    """For a client that wants the whole at the end."""
    async for _ in stream:
        pass
