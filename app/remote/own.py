"""A gptoss-chat as the server: the engine's protocol over HTTP (see app.engine.hello)."""

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from app.engine.engine import EngineDied, EngineError
from app.engine.hello import LINES, PATH, Hello, own
from app.engine.protocol import (
    Answer,
    AnswerNow,
    Ask,
    Cancel,
    Count,
    Counted,
    Failed,
    FromEngine,
    Load,
    ProtocolError,
    Ready,
    ToEngine,
    decode,
    encode,
)
from app.lines import one_line
from app.remote.connection import Connection, Reply
from mlx_model.request import Request

SILENCE_S = 60.0
"""For how long nothing may come: the server gives a sign each 10 seconds."""
REACTION_S = 5.0
"""The same where a person waits for the end of an answer: the server reacts at once, whatever it computes."""
CANCEL_S = 60.0
"""How long a cancelled answer may go on: one chunk of prefill can take seconds."""
_SPOKEN = (200, 409)
_ELSE = (401, 403, 407, 429, *range(500, 600))
"""Statuses of servers that may well be one, and say why they don't answer."""
_LONGEST_ERROR = 500


class OwnServer:
    """One gptoss-chat."""

    cancel_s = CANCEL_S
    """How long a cancelled answer may go on."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._hello = own(secrets.token_hex(16))
        self._model = ""

    async def load(self, load: Load) -> Ready | None:
        """What it has loaded; None if it is no gptoss-chat. Raises EngineError or EngineDied."""
        body = self._hello.line() + encode(load)
        async with self._connection.request("POST", PATH, body, LINES, silence_s=SILENCE_S) as reply:
            if reply.status not in _SPOKEN or reply.type != LINES:
                if reply.status in _ELSE:
                    raise await reply.refusal()
                return None
            async with aclosing(self._read(reply)) as replies:
                async for each in replies:
                    if isinstance(each, Ready):
                        self._model = each.model
                        return each
        raise EngineDied(f"{self._connection.host} did not say which model it has")

    async def ask(self, number: int, request: Request) -> AsyncGenerator[Answer, None]:
        """The events of an answer. Raises EngineError or EngineDied."""
        async with aclosing(self._replies(Ask(number, request))) as replies:
            async for each in replies:
                if isinstance(each, Ready) and each.model != self._model:
                    raise EngineDied(f"{self._connection.host} has another model now: {one_line(each.model)[:200]}")
                if isinstance(each, Answer):
                    yield each

    async def cancel(self, number: int) -> None:
        """Asks for the end of an answer. Raises EngineError or EngineDied."""
        await self._tell(Cancel(number))

    async def answer_now(self, number: int) -> None:
        """Asks for the end of its thought. Raises EngineError or EngineDied."""
        await self._tell(AnswerNow(number))

    async def count(self, number: int, texts: Sequence[str]) -> list[int]:
        """The tokens of each text. Raises EngineError or EngineDied."""
        async with aclosing(self._replies(Count(number, tuple(texts)))) as replies:
            async for each in replies:
                if isinstance(each, Counted) and len(each.tokens) == len(texts):
                    return list(each.tokens)
        raise EngineError(f"{self._connection.host} did not count")

    async def _tell(self, message: ToEngine) -> None:
        async with aclosing(self._replies(message, REACTION_S)) as replies:
            async for _ in replies:
                pass

    async def _replies(self, message: ToEngine, silence_s: float | None = None) -> AsyncGenerator[FromEngine, None]:
        silence_s = SILENCE_S if silence_s is None else silence_s
        body = self._hello.line() + encode(message)
        async with self._connection.request("POST", PATH, body, LINES, silence_s=silence_s) as reply:
            if reply.type != LINES:
                raise await reply.refusal()
            async with aclosing(self._read(reply)) as replies:
                async for each in replies:
                    yield each

    async def _read(self, reply: Reply) -> AsyncGenerator[FromEngine, None]:
        """What follows the greeting. Raises EngineError for Failed, and EngineDied for what can't be read."""
        host, has_greeted = self._connection.host, False
        try:
            async with aclosing(reply.lines()) as lines:
                async for line in lines:
                    if not has_greeted:
                        self._greet(Hello.of(line))
                        has_greeted = True
                    elif line:
                        yield self._checked(decode(line))
        except ProtocolError as error:
            raise EngineDied(f"{host} sent what can't be read ({one_line(str(error))[:_LONGEST_ERROR]})") from None

    def _greet(self, hello: Hello) -> None:
        if hello.protocol != self._hello.protocol:
            theirs, ours = one_line(hello.program) or "unknown", self._hello.program or "unknown"
            raise EngineError(
                f"{self._connection.host} runs gptoss-chat {theirs}, this is {ours}, and they don't understand each "
                "other: install the same version on both computers"
            )

    def _checked(self, message: object) -> FromEngine:
        if isinstance(message, Failed):
            raise EngineError(one_line(message.text)[:_LONGEST_ERROR], message.unusable, message.too_long)
        if not isinstance(message, FromEngine):
            raise ProtocolError(f"{type(message).__name__} is a request")
        return message
