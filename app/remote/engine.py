"""The engine on another computer, for a chat: finds out which kind of server it is, asks it, and connects again."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TypeVar

from app.engine.engine import EngineDied, EngineError
from app.engine.protocol import Answer, Load, Loading, LoadProgress, Ready
from app.lines import one_line
from app.remote.address import Address
from app.remote.connection import Connection
from app.remote.foreign import ForeignServer
from app.remote.own import OwnServer
from mlx_model.errors import GptossError, RequestError
from mlx_model.events import Finished
from mlx_model.request import Request

T = TypeVar("T")

_LONGEST_NAME = 200


@dataclass(slots=True)
class _Asked:
    """An answer under way: whether its end has been asked for, or that of its thought, and what ends it at once when it
    is set."""

    is_cancelled: bool = False
    is_hurried: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class RemoteEngine:
    """See Engine. Each request is a connection of its own, so that an idle chat survives sleep and a change of network.

    A lost connection is a death: the next `load`, or `ask`, connects again. Tools run where the chat does. A server
    that is no gptoss-chat is spoken to in OpenAI's Responses API; Ready.note says what it can't do.
    """

    def __init__(self, address: Address, token: str | None = None, token_place: str = "") -> None:
        """`token_place` is where the token comes from, for people."""
        self._connection = Connection(address, token, token_place)
        self._numbers = count(1)
        self._load = Load()
        self._server: OwnServer | ForeignServer | None = None
        self._death: asyncio.Future[EngineDied] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: dict[int, _Asked] = {}
        self.context_length = 0
        """See Engine."""

    @property
    def host(self) -> str:
        """The server, for people."""
        return self._connection.host

    @property
    def alive(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._server is not None

    async def load(self, request: Load) -> AsyncIterator[Loading | LoadProgress | Ready]:
        """See Engine. The server has chosen its model, or, if it is a foreign one with several, `request` does."""
        ready = await self._connect(request)
        yield Loading(ready.model, default=False)
        yield ready

    async def ask(self, request: Request) -> AsyncGenerator[Answer, None]:
        """See Engine."""
        number, asked = next(self._numbers), _Asked()
        self._asked[number] = asked
        try:
            if self._server is None:
                await self._connect(self._load)
            assert self._server is not None
            server, stop, has_begun = self._server, asked.stop, False
            if asked.is_cancelled:
                yield Answer(number, Finished("cancelled"))
                return
            async with aclosing(_until(server.ask(number, request), stop)) as answers:
                async for answer in answers:
                    if not has_begun:
                        await self._say_again(number, asked)
                    has_begun = True
                    yield answer
                    if isinstance(answer.event, Finished):
                        return
            if stop.is_set() and self._server is server and isinstance(server, ForeignServer):
                yield Answer(number, Finished("cancelled", server.stats))
                return
            what = "did not stop the answer" if stop.is_set() else "broke off the answer"
            raise EngineDied(f"{self.host} {what}")
        except EngineDied as death:
            raise self._lost(death) from None
        finally:
            del self._asked[number]

    async def cancel(self) -> None:
        """See Engine."""
        for number, asked in [*self._asked.items()]:
            asked.is_cancelled = True
            grace = await self._cancel(number)
            asyncio.get_running_loop().call_later(grace, asked.stop.set)

    async def _cancel(self, number: int) -> float:
        """Asks the server for the end of an answer; returns the seconds that may take, 0 where it can't be asked."""
        if isinstance(self._server, OwnServer):
            with suppress(GptossError):
                await self._server.cancel(number)
                return self._server.cancel_s
        return 0.0

    async def _say_again(self, number: int, asked: _Asked) -> None:
        """Asks once more for what has been asked for: it may have come to the server before the request, or to none."""
        if asked.is_cancelled:
            await self._cancel(number)
        elif asked.is_hurried and self._server is not None:
            with suppress(GptossError):
                await self._server.answer_now(number)

    def stop(self) -> None:
        """Ask the running answer to end. Returns at once, and may be called in a signal handler."""
        if (loop := self._loop) is not None:
            loop.call_soon_threadsafe(lambda: loop.create_task(self.cancel()))

    async def answer_now(self) -> None:
        """See Engine. Raises EngineError where the server can't."""
        for number, asked in [*self._asked.items()]:
            asked.is_hurried = True
            if self._server is not None:
                await self._server.answer_now(number)

    async def count(self, texts: Sequence[str]) -> list[int]:
        """See Engine. A foreign server can't: EngineError."""
        if self._server is None:
            raise EngineDied(f"{self.host} is not connected")
        return await self._server.count(next(self._numbers), texts)

    async def died(self) -> EngineDied:
        """See Engine: it is noticed by the request that comes to nothing."""
        if self._death is None:
            return EngineDied(f"{self.host} is not connected")
        return await asyncio.shield(self._death)

    async def close(self) -> None:
        """See Engine. What is under way ends, on the server too."""
        self._lost(EngineDied("the connection was closed"))
        for asked in self._asked.values():
            asked.stop.set()
        await self._connection.close()

    async def _connect(self, load: Load) -> Ready:
        self._load, self._loop = load, asyncio.get_running_loop()
        if self._death is None or self._death.done():
            self._death = self._loop.create_future()
        try:
            server: OwnServer | ForeignServer = OwnServer(self._connection)
            ready = await server.load(load)
            if ready is None:
                server = ForeignServer(self._connection)
                ready = await server.load(load)
        except EngineDied as death:
            raise self._lost(death) from None
        except RequestError as error:
            raise EngineError(str(error)) from error
        self._server, self.context_length = server, ready.context_length
        return replace(ready, model=one_line(ready.model)[:_LONGEST_NAME] or self.host)

    def _lost(self, death: EngineDied) -> EngineDied:
        """The death of this connection, which is the first that is noticed."""
        self._server = None
        if self._death is None:
            return death
        if not self._death.done():
            self._death.set_result(death)
        return self._death.result()


async def _until(items: AsyncGenerator[T, None], stop: asyncio.Event) -> AsyncGenerator[T, None]:
    """The items, until they end or `stop` is set, also while one is waited for."""
    stopping = asyncio.ensure_future(stop.wait())
    coming: asyncio.Future[T] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(items))
            await asyncio.wait((coming, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                return
            try:
                item = coming.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        stopping.cancel()
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])
            _ = coming.cancelled() or coming.exception()  # of an end that nobody waits for
        await items.aclose()
