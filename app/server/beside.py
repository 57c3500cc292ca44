"""The server beside a chat: other programs ask the model over HTTP, the chat over a pipe, all of them in one line.

    python -m app.server.beside DESCRIPTOR

The chat starts it as it else starts the engine, whose protocol the pipe speaks (app.engine.protocol), and passes on a
socket that listens. It has chosen the model, and may choose another one; the server ends when the chat does, however
that comes about, since its standard input ends then.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import TextIO, cast

from app.engine.client import EngineClient, lines_of
from app.engine.protocol import (
    AnswerNow,
    Ask,
    Cancel,
    Count,
    Counted,
    FromEngine,
    Load,
    Loading,
    LoadProgress,
    Ready,
    decode,
    encode,
)
from app.paths import server_log
from app.server.asked import Asked, failed_reply
from app.server.errors import ApiError, of_engine
from app.server.exchange import Service
from app.server.guard import Policy
from app.server.http import make_app
from app.server.line import Line
from app.server.listening import allow_many_connections
from app.server.log import Log
from app.server.serving import Server, serve


class ChatPipe:
    """What the chat asks on `inbox`, each in a task of its own. `send` passes on what it is to hear."""

    def __init__(self, service: Service, inbox: asyncio.StreamReader, send: Callable[[FromEngine], None]) -> None:
        self._service, self._send = service, send
        self._lines = lines_of(inbox)
        self._asked: dict[int, Asked] = {}
        self._tasks = set[asyncio.Task[None]]()

    async def begin(self) -> None:
        """Until the chat has said which model: others, who may have been waiting, would load the default one."""
        if (line := await anext(self._lines, None)) is not None:
            self.take(decode(line))
            await asyncio.sleep(0)

    async def serve(self) -> None:
        """Until the chat ends. Raises ProtocolError for what is no request."""
        async for line in self._lines:
            self.take(decode(line))

    def take(self, message: object) -> None:
        """One request; what comes of it is sent later."""
        match message:
            case Load():
                self._begin(self._load(message), None)
            case Ask(number=number, request=request):
                try:
                    asked = self._asked[number] = Asked(self._service, number, request)
                except ApiError as error:
                    self._send(failed_reply(error, number))
                else:
                    self._begin(self._answer(number, asked), number)
            case Count(number=number):
                self._begin(self._count(message), number)
            case Cancel(number=number) if number in self._asked:
                self._begin(self._asked[number].run.cancel(), number)
            case AnswerNow(number=number) if number in self._asked:
                self._begin(self._asked[number].answer_now(), number)

    def _begin(self, work: Coroutine[object, object, None], number: int | None) -> None:
        task = asyncio.create_task(self._guarded(work, number))
        self._tasks.add(task)  # or nobody would hold it
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[object, object, None], number: int | None) -> None:
        try:
            await work
        except Exception as error:
            self._send(failed_reply(of_engine(error), number))

    async def _load(self, load: Load) -> None:
        self._send(await self._service.line.load(load))

    async def _answer(self, number: int, asked: Asked) -> None:
        try:
            async for reply in asked.replies():
                if reply is not None:
                    self._send(reply)
        finally:
            del self._asked[number]

    async def _count(self, count: Count) -> None:
        tokens = await self._service.line.engine.count(count.texts)
        self._send(Counted(count.number, tuple(tokens)))


async def _serve(listener: socket.socket, inbox: int, outbox: int) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(inbox, "rb"))
    writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(outbox, "wb"))

    def send(reply: FromEngine) -> None:
        if not writer.is_closing():
            writer.write(encode(reply))

    def announce(reply: Loading | LoadProgress | Ready) -> None:
        if not isinstance(reply, Ready):  # who has asked for the load gets it from there
            send(reply)

    engine = EngineClient()
    line = Line(engine, Load(), announce)
    service = Service(line)
    server = Server(make_app(service, Policy()), line.stop)

    chat = ChatPipe(service, reader, send)

    async def until_the_chat_ends() -> None:
        try:
            await chat.serve()
        finally:
            server.should_exit = True

    allow_many_connections()
    try:
        await chat.begin()
        await serve(server, listener, until_the_chat_ends)
    finally:
        await engine.close()


def main() -> None:
    """Serve until standard input ends. What a library prints lands on standard error, as in the engine's process."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    inbox, outbox = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stderr = cast("TextIO", Log(server_log(), sys.stderr))
    asyncio.run(_serve(listener, inbox, outbox))


if __name__ == "__main__":
    main()
