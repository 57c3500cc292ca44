"""One computer that holds a part of a model, from here: its process, what it is asked, and how it was lost."""

import os
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from time import perf_counter
from typing import TypeVar

from mlx_model.distributed.frames import PROTOCOL, Channel, Ended, Frame, FrameError, Silence
from mlx_model.distributed.hosts import MISSING, plain, stage_command
from mlx_model.distributed.machine import Files, Machine
from mlx_model.errors import CheckpointError, GptossError
from mlx_model.memory.plan import MemoryPlan
from mlx_model.part import Part
from mlx_model.text import clean

T = TypeVar("T")

START_S = 60.0
"""Patience with a computer that is asked to start a stage: ssh gives up after 10 s, Python and MLX may be cold."""

LOAD_S = 300.0
"""Patience with one that loads, between two reports: trying kernels is one piece of work."""

_LEAST_S = 10.0
_USUAL = 20.0
_FIRST_S = 300.0
_SEND_S = 60.0
_DRAIN_S = 1.0

_LAST_LINES = 20
_MOST_ERRORS = 1 << 16  # bytes of standard error in one read


class StageLost(GptossError):
    """A computer that holds layers can't be reached or no longer answers; the text says which one, and what to do."""


class Remote:
    """A stage on `host`, started by `command`. Everything but `close` may raise StageLost, after which it is over."""

    def __init__(self, host: str, command: Sequence[str] | None = None) -> None:
        self.host = host
        self.name = plain(host)
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._usual = {True: 0.0, False: 0.0}  # seconds that the longest step has taken, of one token, of several
        self._asked = (False, 0.0)
        try:
            # In a session of its own, since Ctrl-C in the terminal is for this program alone.
            self._process = subprocess.Popen(
                command or stage_command(host),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise StageLost(f"{self.name} can't be reached: ssh could not be started ({error.strerror})") from None
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._channel = Channel(self._process.stdout.fileno(), self._process.stdin.fileno())
        self._errors = Thread(target=self._read_errors, args=(self._process.stderr.fileno(),), daemon=True)
        self._errors.start()

    def hello(self, model: str) -> tuple[Machine, Files | str]:
        """What it is, and its files of the model or why it has none."""
        try:
            self._channel.await_greeting(START_S)
        except GptossError as error:
            raise self._lost(error, "does not answer") from None
        self.send(Frame("hello", {"protocol": PROTOCOL, "model": model}))
        frame = self.receive("machine", START_S)
        if self._read(frame, lambda frame: frame.number("protocol")) != PROTOCOL:
            self.close()
            raise StageLost(f"{self.name} has another version of gptoss-chat: install the same one on both")
        machine = self._read(frame, Machine.of)
        frame = self.receive("files failed", START_S)
        if frame.kind == "failed":
            return machine, self._read(frame, _text)
        return machine, self._read(frame, Files.of)

    def round_trip(self, nbytes: int, times: int) -> float:
        """Seconds that so many bytes take there and back, in the median."""
        found = []
        for _ in range(times):
            start = perf_counter()
            self.send(Frame("echo", rows=bytes(nbytes)))
            self.receive("echo", _LEAST_S, nbytes)
            found.append(perf_counter() - start)
        return sorted(found)[times // 2]

    def load(self, part: Part, plan: MemoryPlan, progress: Callable[[int, int], None]) -> None:
        """Has it load a part, within the plan's context; returns when that is done. `progress` as of model.load.

        Raises CheckpointError, with its name, for what it says is wrong.
        """
        wishes = {"context": plan.context, "dense_bits": plan.dense_bits}
        self._work(Frame("load", {"start": part.start, "stop": part.stop, **wishes}), "loaded", progress)

    def fetch(self, model: str, part: Part, progress: Callable[[int, int], None]) -> None:
        """Has it download a part of a model; as `load`."""
        self._work(Frame("fetch", {"model": model, "start": part.start, "stop": part.stop}), "fetched", progress)

    def _work(self, frame: Frame, end: str, progress: Callable[[int, int], None]) -> None:
        self.send(frame)
        total = 0
        while (reply := self.receive(f"progress failed {end}", LOAD_S)).kind == "progress":
            done, total = self._read(reply, lambda frame: (frame.number("done"), frame.number("total")))
            progress(done, total)
        if reply.kind == "failed":
            raise CheckpointError(f"{self.name}: {self._read(reply, _text)}")
        progress(total, total)

    def forward(self, places: Sequence[tuple[int, int]], shape: Sequence[int], rows: memoryview, wanted: int) -> None:
        """Hands rows [B, T, hidden] on; `collect` has the `wanted` last ones of each."""
        caches, positions = [number for number, _ in places], [position for _, position in places]
        batch, tokens = shape[:2]
        fields = {"caches": caches, "positions": positions, "batch": batch, "tokens": tokens, "wanted": wanted}
        self._asked = tokens == 1, perf_counter()
        self.send(Frame("forward", fields, rows))

    def collect(self, nbytes: int) -> tuple[memoryview | bytes, float, float]:
        """The rows of what was handed on last, in so many bytes; the seconds it took there, and until they were here.

        What takes twenty times as long as it ever has counts as lost, however well the connection may be.
        """
        is_token, start = self._asked
        usual = self._usual[is_token]
        frame = self.receive("rows", max(_LEAST_S, _USUAL * usual) if usual else _FIRST_S, nbytes)
        if len(frame.rows) != nbytes:
            raise self._lost(FrameError(f"it sent {len(frame.rows)} bytes of rows for {nbytes}"))
        elapsed = perf_counter() - start
        self._usual[is_token] = max(usual, elapsed)
        return frame.rows, min(self._read(frame, lambda frame: frame.seconds("seconds")), elapsed), elapsed

    def send(self, frame: Frame) -> None:
        """Sends what needs no answer."""
        try:
            self._channel.send(frame, _SEND_S)
        except GptossError as error:
            raise self._lost(error) from None
        except BaseException:
            self.close()  # half a frame may have gone
            raise

    def receive(self, kinds: str, patience_s: float, most_rows: int = 0) -> Frame:
        """The next frame, which is of one of these kinds."""
        try:
            frame = self._channel.receive(patience_s, most_rows)
            if frame.kind == "failed" and "failed" not in kinds.split():
                raise FrameError(_text(frame))
            if frame.kind not in kinds.split():
                raise FrameError(f"it sent {frame.kind[:40]!r} in place of {kinds}")
        except GptossError as error:
            raise self._lost(error) from None
        except BaseException:
            self.close()  # half a frame may have been read
            raise
        return frame

    def close(self) -> None:
        """Ends the process; the one on the other computer ends with its connection. Returns once it is gone."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._errors.join(_DRAIN_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _read(self, frame: Frame, reader: Callable[[Frame], T]) -> T:
        try:
            return reader(frame)
        except FrameError as error:
            raise self._lost(error) from None

    def _lost(self, error: GptossError, how: str = "") -> StageLost:
        """What became of it, in words; ends it."""
        match error:
            case Silence():
                what = how or "has stopped answering"
            case Ended():
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_DRAIN_S)
                self._errors.join(_DRAIN_S)
                what = self._ending(self._process.returncode)
            case _:
                what = f"can't be used: {error}"
        self.close()
        return StageLost(f"{self.name} {what}")

    def _ending(self, code: int | None) -> str:
        """Why the process has ended, by its exit code and what it wrote last."""
        said = "\n".join(self._lines)
        last = self._lines[-1] if self._lines else ""
        if code == MISSING:
            return (
                "has no gptoss-stage where ssh looks for programs: install gptoss-chat there as a command "
                "(uv tool install, or pipx)"
            )
        if "Host key verification failed" in said:
            return f"has a key that is not known here, or another one than before: run `ssh {self.host}` once"
        if "Permission denied" in said:
            return f"does not let you in without a password: run `ssh-copy-id {self.host}`"
        if code == 255:  # ssh's own
            return f"can't be reached: {last or 'ssh says no more'}"
        return f"no longer answers: its process ended{f' ({last})' if last else ''}"

    def _read_errors(self, descriptor: int) -> None:
        rest = ""
        with suppress(OSError):
            while data := os.read(descriptor, _MOST_ERRORS):
                *lines, rest = (rest + data.decode("utf-8", "replace"))[-_MOST_ERRORS:].split("\n")
                self._lines.extend(line for each in lines if (line := clean(each).strip()[:300]))
        if text := clean(rest).strip()[:300]:
            self._lines.append(text)


def _text(frame: Frame) -> str:
    """What a stage says has failed, in one line."""
    return " ".join(clean(frame.text("text", 2000)).split())
