"""The app's side of the engine process: start it, load a model, stream answers, stop, and say how it died.

Pure asyncio, free of Textual and MLX. The process gets explicit pipes (multiprocessing can't spawn inside
Textual).
"""

import asyncio
import contextlib
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from itertools import count

from app.engine.engine import EngineDied, EngineError
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
    Loading,
    LoadProgress,
    ProtocolError,
    Ready,
    ToEngine,
    decode,
    encode,
)
from mlx_model.events import Finished
from mlx_model.request import Request
from mlx_model.text import clean

# -P: a folder named "app" where the person happens to be must not be taken for this package.
WORKER = (sys.executable, "-P", "-m", "app.engine.worker")
STDERR_LINES = 20
CHUNK = 1 << 16


class EngineClient:
    """One engine process at a time; after a death or `close`, `load` starts another.

    `command` runs the worker. `cancel_grace_s` is how long a cancelled answer may go on (one chunk of
    prefill can take seconds), `close_grace_s` how long the process may take to end, before it is killed. The
    process inherits the descriptors of `pass_fds`; in an `own_session` no signal of the terminal reaches it.
    """

    def __init__(
        self,
        command: Sequence[str] = WORKER,
        *,
        cancel_grace_s: float = 60.0,
        close_grace_s: float = 2.0,
        pass_fds: Sequence[int] = (),
        own_session: bool = False,
    ) -> None:
        self._command = tuple(command)
        self._pass_fds, self._own_session = tuple(pass_fds), own_session
        self._cancel_grace_s = cancel_grace_s
        self._close_grace_s = close_grace_s
        self._numbers = count(1)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[EngineDied] | None = None
        self._inboxes: dict[int | None, asyncio.Queue[FromEngine | EngineDied]] = {}
        self._under_way: set[int] = set()  # the numbers of answers that the engine has not ended, read or not
        self._heard = 0  # replies, but for counts, which come of another thread than answers
        self._killed_because: str | None = None
        self.context_length = 0
        """See Engine."""

    @property
    def alive(self) -> bool:
        """Whether the process runs and can be asked."""
        return self._reader is not None and not self._reader.done()

    async def start(self) -> None:
        """Start the process if none runs. Raises EngineDied when that is impossible."""
        if self.alive:
            return
        self._killed_because = None
        self._under_way.clear()
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=self._pass_fds,
                start_new_session=self._own_session,
            )
        except OSError as error:
            raise EngineDied(f"the engine could not be started: {error.strerror or error}") from None
        self._reader = asyncio.create_task(self._read(process))

    async def load(self, request: Load) -> AsyncIterator[Loading | LoadProgress | Ready]:
        """See Engine. Yields Loading, how far it is, then Ready with what was loaded."""
        await self.start()
        async with contextlib.aclosing(self._replies(None, request)) as replies:
            async for reply in replies:
                if isinstance(reply, Ready):
                    self.context_length = reply.context_length
                if isinstance(reply, Loading | LoadProgress | Ready):
                    yield reply
                if isinstance(reply, Ready):
                    return

    def ask(self, request: Request) -> AsyncGenerator[Answer, None]:
        """See Engine."""
        return self._answers(next(self._numbers), request)

    def share(self) -> "Share":
        """See ServedEngine."""
        return Share(self)

    async def _answers(self, number: int, request: Request) -> AsyncGenerator[Answer, None]:
        """What comes of the request that gets this number."""
        if not self.alive:
            raise EngineDied("the engine isn't running")
        self._under_way.add(number)
        replies = self._replies(number, Ask(number, request))
        try:
            async for reply in replies:
                if isinstance(reply, Answer):
                    yield reply
                    if isinstance(reply.event, Finished):
                        return
        finally:
            await replies.aclose()
            if number in self._under_way and self.alive:
                self._watch(number)
                await self._send(Cancel(number))

    async def cancel(self) -> None:
        """See Engine. Returns at once; the answer's iterator sees how it ends."""
        await self._cancel(self._asked())

    async def answer_now(self) -> None:
        """See Engine."""
        await self._hurry(self._asked())

    async def _cancel(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            await self._send(Cancel(number))
            asyncio.get_running_loop().call_later(self._cancel_grace_s, self._kill_if_asked, number)

    async def _hurry(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            await self._send(AnswerNow(number))

    async def count(self, texts: Sequence[str]) -> list[int]:
        """See Engine."""
        if not self.alive:
            raise EngineDied("the engine isn't running")
        number = next(self._numbers)
        async with contextlib.aclosing(self._replies(number, Count(number, tuple(texts)))) as replies:
            async for reply in replies:
                if isinstance(reply, Counted):
                    return list(reply.tokens)
        raise EngineError("the engine did not count")

    def _asked(self) -> list[int]:
        """The numbers of the answers under way that are read."""
        return [number for number in self._under_way if number in self._inboxes]

    async def died(self) -> EngineDied:
        """See Engine. The very EngineDied that a running load or answer raises."""
        if self._reader is None:
            return EngineDied("the engine isn't running")
        return await asyncio.shield(self._reader)

    async def close(self) -> None:
        """See Engine. Closing its standard input ends the process; if not, it is killed."""
        if self._process is None or self._reader is None:
            return
        self._killed_because = self._killed_because or "the engine was closed"
        if self._process.stdin:
            self._process.stdin.close()
        done, _ = await asyncio.wait([self._reader], timeout=self._close_grace_s)
        if not done:
            self._kill("the engine was closed")
            await asyncio.wait([self._reader])

    async def _replies(self, number: int | None, opening: ToEngine) -> AsyncGenerator[FromEngine, None]:
        """Send `opening` and yield what comes back for `number`; raises what Failed and a death say."""
        inbox = self._inboxes[number] = asyncio.Queue()
        try:
            await self._send(opening)
            while True:
                match await inbox.get():
                    case EngineDied() as death:
                        raise death
                    case Failed(text, _, unusable, too_long, about):
                        raise EngineError(text, unusable, too_long, about)
                    case reply:
                        yield reply
        finally:
            if self._inboxes.get(number) is inbox:
                del self._inboxes[number]

    async def _send(self, message: ToEngine) -> None:
        """Write a message. A broken pipe is no error here: the reader notices and tells all inboxes."""
        if self.alive:
            assert self._process and self._process.stdin
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(encode(message))
                await self._process.stdin.drain()

    async def _read(self, process: asyncio.subprocess.Process) -> EngineDied:
        """Hand every reply to its inbox; when the pipe ends, tell all of them what became of the process."""
        assert process.stdout and process.stderr
        last_lines: deque[str] = deque(maxlen=STDERR_LINES)
        errors = asyncio.create_task(_tail(process.stderr, last_lines))
        try:
            async for line in lines_of(process.stdout):
                reply = decode(line)
                if not isinstance(reply, FromEngine):
                    raise ProtocolError(f"{type(reply).__name__} is a request")
                self._heard += not isinstance(reply, Counted)
                number = None if isinstance(reply, Loading | LoadProgress | Ready) else reply.number
                if isinstance(reply, Failed) or (isinstance(reply, Answer) and isinstance(reply.event, Finished)):
                    self._under_way.discard(number or 0)
                inbox = self._inboxes.get(number)
                if inbox is not None:
                    inbox.put_nowait(reply)
        except Exception as error:  # whatever it is, those who wait must hear of it
            self._kill(f"the engine sent what can't be read ({error}) and was ended")
        try:
            await asyncio.wait_for(process.wait(), self._close_grace_s)
        except TimeoutError:
            self._kill("the engine no longer answered and was ended")
            await process.wait()
        await asyncio.wait([errors], timeout=1.0)  # a child of its own may hold the pipe open
        errors.cancel()
        if self._killed_because is not None:
            death = EngineDied(self._killed_because, last_lines)
        else:
            death = self.death_of(process.returncode or 0, last_lines)
        for inbox in self._inboxes.values():
            inbox.put_nowait(death)
        return death

    def death_of(self, returncode: int, last_lines: Sequence[str]) -> EngineDied:
        """What an exit status of the process says, in words."""
        return death_of(returncode, last_lines)

    def _kill_if_asked(self, number: int) -> None:
        if number in self._asked():
            self._kill(f"the engine did not stop within {self._cancel_grace_s:g} s and was ended")

    def _watch(self, number: int) -> None:
        """For an answer that nobody reads: it has to end, unless another one or a load goes on before it does."""
        asyncio.get_running_loop().call_later(self._cancel_grace_s, self._kill_if_stuck, number, self._heard)

    def _kill_if_stuck(self, number: int, heard: int) -> None:
        if number not in self._under_way:
            return
        if self._heard != heard:
            self._watch(number)
        else:
            self._kill(f"the engine did not stop within {self._cancel_grace_s:g} s and was ended")

    def _kill(self, reason: str) -> None:
        self._killed_because = self._killed_because or reason
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


class Share:
    """See ServedEngine."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self._asked = set[int]()

    @property
    def alive(self) -> bool:
        """See Engine."""
        return self._client.alive

    @property
    def context_length(self) -> int:
        """See Engine."""
        return self._client.context_length

    def load(self, request: Load) -> AsyncIterator[Loading | LoadProgress | Ready]:
        """See Engine."""
        return self._client.load(request)

    async def ask(self, request: Request) -> AsyncGenerator[Answer, None]:
        """See Engine."""
        number = next(self._client._numbers)
        self._asked.add(number)
        try:
            async with contextlib.aclosing(self._client._answers(number, request)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self._asked.remove(number)

    async def cancel(self) -> None:
        """See ServedEngine."""
        await self._client._cancel([*self._asked])

    async def answer_now(self) -> None:
        """See ServedEngine."""
        await self._client._hurry([*self._asked])

    async def count(self, texts: Sequence[str]) -> list[int]:
        """See Engine."""
        return await self._client.count(texts)

    async def died(self) -> EngineDied:
        """See Engine."""
        return await self._client.died()

    async def close(self) -> None:
        """See Engine: ends it for all."""
        await self._client.close()


async def lines_of(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, however long (StreamReader.readline gives up at 64 KiB)."""
    rest = bytearray()
    while chunk := await stream.read(CHUNK):
        *lines, tail = chunk.split(b"\n")
        for line in lines:
            yield bytes(rest + line)
            rest.clear()
        rest += tail
    if rest:
        yield bytes(rest)


async def _tail(stream: asyncio.StreamReader, last: deque[str]) -> None:
    """Keep the last lines of a stream in `last`; read on to its end, so that the process never blocks."""
    async for line in lines_of(stream):
        if text := clean(line.decode(errors="replace")).strip():
            last.append(text[:500])


def death_of(returncode: int, last_lines: Sequence[str]) -> EngineDied:
    """What an exit status says, in words. The system kills what takes too much memory; MLX aborts where the GPU has too
    little, and says so in its last lines."""
    if returncode >= 0:
        code = f" with exit code {returncode}" if returncode else ""
        return EngineDied(f"the engine ended by itself{code}", last_lines)
    if -returncode == signal.SIGKILL:
        return EngineDied("the engine was killed, probably because memory ran out", last_lines, memory=True)
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    if -returncode == signal.SIGBUS:
        reason = "a file of the model can't be read any more (cut off, or its disk is gone)"
        return EngineDied(f"the engine crashed, probably because {reason}", last_lines)
    if -returncode in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return EngineDied(f"the engine was ended from outside ({name})", last_lines)
    if any("memory" in line.lower() for line in last_lines):
        return EngineDied(f"the engine crashed because memory ran out ({name})", last_lines, memory=True)
    return EngineDied(f"the engine crashed ({name})", last_lines)
