"""One kernel: a worker in a child process, asked over two pipes. What comes from it is untrusted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from metal.files import parse_json
from mlx_model.tools.python.result import MOST_CHARACTERS, CellOutput

START_S = 30.0
GRACE_S = 3.0
"""From the interrupt to the kill."""
MOST_CODE = 1_000_000
"""Characters of a cell."""
_TICK_S = 0.5
_PIECE = 65_536
_MOST_PIECES = 100
_MOST_REPLIES = 65_536
"""Bytes that the worker may reply for one cell."""
_LEAST_DISK = 1 << 30
"""A cell is stopped before less than this is free, or half of what was."""


class KernelError(Exception):
    """The worker did not start; the text says why."""


class Ending(Enum):
    """How a cell ended: by itself, at a limit, or because the kernel died."""

    DONE = "done"
    ERROR = "error"
    TIMEOUT = "timeout"
    FLOOD = "flood"
    MEMORY = "memory"
    DISK = "disk"
    DIED = "died"


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of a cell: its text, how it ended, and whether the kernel and its variables are still there."""

    text: str
    ending: Ending
    is_alive: bool


class Kernel:
    """A running worker. It runs one cell at a time; `start` makes one."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        requests: asyncio.WriteTransport,
        replies: int,
        output: int,
        folder: Path,
    ) -> None:
        self._process = process
        self._requests = requests
        self._replies = replies
        self._output = output
        self._folder = folder

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Kernel:
        """Starts `command`, to which the numbers of two pipes are added, and waits until it is ready.

        Raises KernelError; no process is left then.
        """
        loop = asyncio.get_running_loop()
        (asked, ask), (answers, answer), (output, out) = os.pipe(), os.pipe(), os.pipe()
        for descriptor in (answers, output):
            os.set_blocking(descriptor, False)
        pipe, requests = os.fdopen(ask, "wb", buffering=0), None
        try:
            requests, _ = await loop.connect_write_pipe(asyncio.Protocol, pipe)
            process = await asyncio.create_subprocess_exec(
                *command,
                str(asked),
                str(answer),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(asked, answer),
                start_new_session=True,
                env=dict(environment),
                cwd=folder,
            )
        except BaseException as error:
            if requests is None:
                pipe.close()
            else:
                requests.abort()
            for descriptor in (answers, output):
                os.close(descriptor)
            if isinstance(error, OSError):
                raise KernelError(f"{command[0]}: {error.strerror or error}") from None
            raise
        finally:
            for descriptor in (asked, answer, out):
                os.close(descriptor)
        kernel = cls(process, requests, answers, output, folder)
        try:
            ready = await kernel._run("", None, lambda _: None, START_S, sys.maxsize)
        except BaseException:
            await kernel.stop()
            raise
        if ready.ending is not Ending.DONE:
            await kernel.stop()
            raise KernelError(ready.text or "it did not start")
        return kernel

    @property
    def is_alive(self) -> bool:
        """Whether it can run a cell."""
        return self._process.returncode is None and not self._requests.is_closing()

    async def run(
        self, code: str, show: Callable[[str], None], seconds: float, memory: int, most: int = MOST_CHARACTERS
    ) -> Cell:
        """Runs a cell for at most so many seconds, and bytes of memory in all its processes.

        `show` gets what it writes, piece by piece; the cell's text has `most` characters. When cancelled it interrupts
        the cell, kills the kernel if that doesn't help, and raises CancelledError.
        """
        return await self._run(secrets.token_hex(8), code, show, seconds, memory, most)

    async def _run(
        self,
        number: str,
        code: str | None,
        show: Callable[[str], None],
        seconds: float,
        memory: int,
        most: int = MOST_CHARACTERS,
    ) -> Cell:
        output = CellOutput()
        ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        with self._reading(number, output, show, ended):
            if code is not None:
                self._send({"id": number, "code": code})
            try:
                limit = await self._watch(number, output, ended, seconds, memory)
            except asyncio.CancelledError:
                await self._wind_down(number, ended)
                raise
            self._drain(output, show)
        if not ended.done() or ended.result() is Ending.DIED:
            await self.stop()
        ending = limit or (ended.result() if ended.done() else Ending.DIED)
        return Cell(output.text(most), ending, self.is_alive)

    async def stop(self) -> None:
        """Kills the worker and its processes, and forgets them. It may be called twice."""
        if self._replies < 0:
            return
        if not self._requests.is_closing():
            self._requests.abort()
        for descriptor in (self._replies, self._output):
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
        self._replies = self._output = -1
        self._kill()
        # Bounded: a process inside may hold up one that has to be waited for.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), GRACE_S)

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # Only then: subprocess looks whether the process has ended first, and would take its end from asyncio,
            # which complains.
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _watch(
        self, number: str, output: CellOutput, ended: asyncio.Future[Ending], seconds: float, memory: int
    ) -> Ending | None:
        """Waits for the end of a cell. At a limit it interrupts the cell, gives it some time, and returns the limit."""
        stop_at, limit = time.monotonic() + seconds, None
        least_disk = min(_LEAST_DISK, _free(self._folder) // 2)
        while not ended.done() and self.is_alive:
            left = stop_at - time.monotonic()
            if limit and left <= 0:
                break
            await asyncio.wait({ended}, timeout=min(_TICK_S, max(left, 0)))
            if limit or ended.done():
                continue
            if output.is_flood:
                limit = Ending.FLOOD
            elif time.monotonic() >= stop_at:
                limit = Ending.TIMEOUT
            elif _free(self._folder) < least_disk:
                limit = Ending.DISK
            elif await asyncio.to_thread(memory_of, self._process.pid) > memory:
                return Ending.MEMORY
            if limit:
                self._send({"interrupt": number})
                stop_at = time.monotonic() + GRACE_S
        return limit

    async def _wind_down(self, number: str, ended: asyncio.Future[Ending]) -> None:
        """Interrupts a cell whose result nobody waits for; without success in time, or when cancelled again, kills."""
        self._send({"interrupt": number})
        try:
            await asyncio.wait({ended}, timeout=GRACE_S)
        finally:
            if ended.done() and ended.result() is not Ending.DIED:
                self._drain(CellOutput(), lambda _: None)
            else:
                await self.stop()

    @contextlib.contextmanager
    def _reading(
        self, number: str, output: CellOutput, show: Callable[[str], None], ended: asyncio.Future[Ending]
    ) -> Iterator[None]:
        """Reads what the worker sends. Outside of it the pipes fill up, and who writes into them has to wait."""
        loop = asyncio.get_running_loop()
        replies = _Replies(number, ended)

        def on_output() -> None:
            data = _read(self._output)
            if data == b"":  # the cell has closed it
                loop.remove_reader(self._output)
            elif data and (text := output.add(data)):
                show(text)

        def on_reply() -> None:
            data = _read(self._replies)
            if data is not None and not replies.add(data):
                loop.remove_reader(self._replies)

        loop.add_reader(self._output, on_output)
        loop.add_reader(self._replies, on_reply)
        try:
            yield
        finally:
            if self._replies >= 0:
                loop.remove_reader(self._output)
                loop.remove_reader(self._replies)

    def _drain(self, output: CellOutput, show: Callable[[str], None]) -> None:
        """Takes what was written before the reply; not without end, for a process of the cell's may write on."""
        for _ in range(_MOST_PIECES):
            data = _read(self._output) if self._output >= 0 else None
            if not data:
                return
            if text := output.add(data):
                show(text)

    def _send(self, message: dict[str, str]) -> None:
        self._requests.write(json.dumps(message).encode() + b"\n")


class _Replies:
    """Finds the reply to one request among what comes: any code in the kernel can write into that pipe."""

    def __init__(self, number: str, ended: asyncio.Future[Ending]) -> None:
        self._number = number
        self._ended = ended
        self._data = b""

    def add(self, data: bytes) -> bool:
        """Takes bytes, none at the end of the pipe; returns whether more may come."""
        self._data += data
        *lines, _ = self._data.split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                reply = parse_json(line)
                if isinstance(reply, dict) and reply.get("id") == self._number and not self._ended.done():
                    self._ended.set_result(Ending.DONE if reply.get("status") == "ok" else Ending.ERROR)
        if (not data or len(self._data) > _MOST_REPLIES) and not self._ended.done():
            self._ended.set_result(Ending.DIED)
        return not self._ended.done()


def _read(descriptor: int) -> bytes | None:
    """What is there, empty at the end; None: nothing yet."""
    try:
        return os.read(descriptor, _PIECE)
    except BlockingIOError:
        return None


def _free(folder: Path) -> int:
    """Bytes that are free where the folder is."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def memory_of(pid: int) -> int:
    """Bytes of memory that a process holds with all that it has started, which may have lost their parents."""
    import psutil

    found = {pid: psutil.Process(pid)} if psutil.pid_exists(pid) else {}
    with contextlib.suppress(psutil.Error):
        found |= {child.pid: child for child in found[pid].children(recursive=True)} if found else {}
    total = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if process.pid in found or os.getsid(process.pid) == pid:
                total += process.memory_info().rss
    return total
