"""POST /v1/engine: the engine's own protocol, for a gptoss-chat on another computer (see app.engine.hello)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.engine.hello import LINES, Hello, own
from app.engine.protocol import (
    AnswerNow,
    Ask,
    Cancel,
    Count,
    Counted,
    Failed,
    FromEngine,
    Load,
    ProtocolError,
    decode,
    encode,
)
from app.server.asked import Asked, failed_reply
from app.server.errors import ApiError, of_engine
from app.server.exchange import Service
from app.server.line import Run
from app.server.wire import STREAM_HEADERS
from mlx_model.errors import GptossError
from mlx_model.request import Request

OTHER_PROTOCOL = 409
"""The status where client and server are of versions that don't understand each other."""


class EngineRoute:
    """Passes requests on to the engine, in the line with all others."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._runs: dict[tuple[str, int], Asked] = {}  # by client, and its number

    async def respond(self, body: bytes) -> Response:
        """The response to a request with this body. Raises ApiError."""
        first, _, rest = body.partition(b"\n")
        try:
            hello = Hello.of(first)
            if hello.protocol != own().protocol:
                return _lines([], OTHER_PROTOCOL)
            message = await asyncio.to_thread(decode, rest)  # however long it is
        except ProtocolError as error:
            raise ApiError(str(error)) from None
        match message:
            case Load():
                return await self._load(message)
            case Ask(number=number, request=request):
                return self._ask(hello.client, number, request)
            case Count(number=number, texts=texts):
                return await self._count(number, list(texts))
            case Cancel(number=number):
                if asked := self._runs.get((hello.client, number)):
                    await asked.run.cancel()
                return _lines([])
            case AnswerNow(number=number):
                if asked := self._runs.get((hello.client, number)):
                    await asked.answer_now()
                return _lines([])
        raise ApiError(f"{type(message).__name__} is a reply")

    async def _load(self, load: Load) -> Response:
        """Which model is loaded: the owner has chosen it."""
        ready = self._service.line.ready
        if ready is not None and load.model not in (None, ready.model):
            return _lines([Failed(f"this server has {ready.model}, which its owner has chosen, and not {load.model}")])
        if ready is not None:
            return _lines([ready])
        return _Stream(self._loaded(load), None)

    async def _loaded(self, load: Load) -> AsyncIterator[bytes]:
        loading = asyncio.create_task(self._service.line.load())
        loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # the client may have left
        yield own().line()
        while not (await asyncio.wait([loading], timeout=self._service.pulse_s))[0]:
            yield b"\n"
        try:
            yield encode(loading.result())
        except Exception as error:
            yield encode(failed_reply(of_engine(error), None))

    def _ask(self, client: str, number: int, request: Request) -> Response:
        service, key = self._service, (client, number)
        if key in self._runs:
            raise ApiError(f"the request {number} is under way already")
        asked = self._runs[key] = Asked(service, number, request)
        return _Stream(self._lines_of(asked), asked.run, lambda: self._runs.pop(key))

    async def _lines_of(self, asked: Asked) -> AsyncIterator[bytes]:
        ready = self._service.line.ready
        yield own().line() + (b"" if ready is None else encode(ready))
        async for reply in asked.replies():
            yield b"\n" if reply is None else encode(reply)

    async def _count(self, number: int, texts: list[str]) -> Response:
        """At once, beside the line."""
        try:
            return _lines([Counted(number, tuple(await self._service.line.engine.count(texts)))])
        except GptossError as error:
            return _lines([failed_reply(of_engine(error), number)])


class _Stream(StreamingResponse):
    """Lines as they come. `run` ends with the connection, also where that ends before the first line."""

    def __init__(
        self, lines: AsyncIterator[bytes], run: Run | None, ended: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(lines, media_type=LINES, headers=STREAM_HEADERS)
        self._run, self._ended = run, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by Starlette."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()
            if self._run is not None:
                self._run.end()


def _lines(replies: Sequence[FromEngine], status: int = 200) -> Response:
    return Response(b"".join([own().line(), *map(encode, replies)]), status, media_type=LINES)
