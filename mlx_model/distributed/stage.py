"""`gptoss-stage`: holds a part of a model's layers for another computer, which speaks on standard input and output.

    ssh user@mini.local gptoss-stage

Runs until its standard input ends, however that comes about: nothing of it stays behind. It opens no port, and what it
is asked is bounded and checked.
"""

import argparse
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import monotonic, perf_counter
from typing import Any

import mlx.core as mx

from mlx_model.awake import stay_awake
from mlx_model.distributed.frames import MOST_ROWS, PROTOCOL, Channel, Ended, Frame, FrameError
from mlx_model.distributed.machine import Files, Machine
from mlx_model.distributed.rows import array_of, bytes_of
from mlx_model.errors import CheckpointError, GptossError
from mlx_model.hub import names as hub
from mlx_model.hub.download import Checking, Progress, fetch, of_part, prepare
from mlx_model.memory import device
from mlx_model.memory.sizes import parse_memory
from mlx_model.memory.wishes import Wishes
from mlx_model.model import Layers, load_layers
from mlx_model.part import Part
from mlx_model.transformer.config import ModelConfig

_MOST_CACHES = 256
_MOST_MARKS = 4096
_MOST_VALUES = 1 << 17  # positions of one context: each start of a message is marked
_PERIOD_S = 0.25  # between two reports on a load


class Stage:
    """What one side asks in the life of a stage: which model, which layers, then one step after the other.

    `memory` is a budget of this computer's own, in bytes.
    """

    def __init__(self, send: Callable[[Frame], None], memory: int | None = None) -> None:
        self._send = send
        self._memory = memory
        self._folder: Path | None = None
        self._layers: Layers | None = None
        self._caches: dict[int, Any] = {}

    def take(self, frame: Frame) -> bool:
        """Does what a frame asks; whether there may be another. Raises FrameError for one that makes no sense."""
        match frame.kind:
            case "hello":
                self._hello(frame)
            case "echo":
                self._send(Frame("echo", rows=frame.rows))
            case "load" | "fetch":
                try:
                    (self._load if frame.kind == "load" else self._fetch)(frame)
                except FrameError:
                    raise
                except GptossError as error:
                    self._send(Frame("failed", {"text": str(error)}))
            case "forward":
                self._forward(frame)
            case "new":
                self._new(frame)
            case "drop":
                for number in frame.numbers("caches", _MOST_CACHES):
                    self._caches.pop(number, None)
            case "mark" | "snapshot" | "restore" | "take_back" | "fork":
                self._rewind(frame)
            case "bye":
                return False
            case kind:
                raise FrameError(f"nobody knows what {kind[:40]!r} asks")
        return True

    def _hello(self, frame: Frame) -> None:
        """Says what this computer is; then its files of the model, or why it has none."""
        self._send(Machine.here(self._memory).frame())
        if frame.number("protocol") != PROTOCOL:
            return
        try:
            self._folder = hub.resolve(frame.text("model"))
            self._send(Files.in_folder(self._folder).frame())
        except CheckpointError as error:
            self._send(Frame("failed", {"text": str(error)}))

    def _part(self, frame: Frame) -> Part:
        start, stop = frame.number("start", 1000), frame.number("stop", 1000)
        if start >= stop:
            raise FrameError(f"there are no layers from {start} to {stop}")
        return Part(start, stop, ends=False)

    def _load(self, frame: Frame) -> None:
        self._caches.clear()
        self._layers = None
        part = self._part(frame)
        if self._folder is None:
            raise CheckpointError("the model is not on this computer")
        config = ModelConfig.load(self._folder)
        if part.stop > config.num_hidden_layers:
            raise FrameError(f"{part} are not in a model of {config.num_hidden_layers} layers")
        wishes = Wishes(frame.number("context", least=1), frame.number("dense_bits", 16))
        start, due = perf_counter(), 0.0

        def progress(done: int, total: int, kernels: bool = False) -> None:
            nonlocal due
            if kernels or monotonic() >= due:
                due = monotonic() + _PERIOD_S
                self._send(Frame("progress", {"done": done, "total": total, "kernels": int(kernels)}))

        mx.clear_cache()  # what earlier layers left there is free memory
        self._layers = load_layers(
            self._folder,
            config.of_part(part),
            device.budget(self._memory),
            wishes,
            progress=progress,
            preparing=lambda done, total: progress(done, total, True),
        )
        found = {
            "resident": self._layers.residence.resident_bytes,
            "budget": self._layers.plan.budget,
            "total": self._layers.plan.total,
            "seconds": perf_counter() - start,
        }
        self._send(Frame("loaded", found))

    def _fetch(self, frame: Frame) -> None:
        """Downloads what a part of a model lies in."""
        due = 0.0
        for event in fetch(of_part(prepare(frame.text("model")), self._part(frame))):
            if isinstance(event, Progress | Checking) and monotonic() >= due:
                due = monotonic() + _PERIOD_S
                self._send(Frame("progress", {"done": event.done, "total": event.total, "kernels": 0}))
        self._send(Frame("fetched"))

    @property
    def _loaded(self) -> Layers:
        if self._layers is None:
            raise FrameError("no layers are loaded")
        return self._layers

    def _cache(self, number: int) -> Any:
        if number not in self._caches:
            raise FrameError(f"there is no cache {number}")
        return self._caches[number]

    def _new(self, frame: Frame) -> None:
        layers = self._loaded
        dtype = layers.transformer.compute.kv_dtype(layers.plan.kv_bits)
        marks = frame.number("marks", _MOST_MARKS, 1)
        self._keep(frame.number("cache"), layers.transformer.make_cache(most_marks=marks, dtype=dtype))

    def _keep(self, number: int, cache: Any) -> None:
        if number in self._caches or len(self._caches) >= _MOST_CACHES:
            raise FrameError(f"there can be no cache {number}")
        self._caches[number] = cache

    def _rewind(self, frame: Frame) -> None:
        cache = self._cache(frame.number("cache"))
        values = frame.numbers("values", _MOST_VALUES)
        match frame.kind, values:
            case "mark", _:
                cache.mark(values)
            case "snapshot", []:
                cache.snapshot()
            case "take_back", [int(count)] if 0 < count <= cache.offset:
                cache.take_back(count)
            case "restore", [position] if cache.restorable(position) == position:
                cache.restore(position)
            case "fork", [number, position] if cache.restorable(position) == position:
                self._keep(number, cache.fork(position))
            case _:
                raise FrameError(f"the cache can't {frame.kind} {values[:2]}")
        mx.eval(cache.arrays())  # a rewind leaves lazy slices

    def _forward(self, frame: Frame) -> None:
        """Rows through the layers; sends back those that are wanted, and how many seconds it took."""
        start, transformer = perf_counter(), self._loaded.transformer
        caches = [self._cache(number) for number in frame.numbers("caches", _MOST_CACHES)]
        positions = frame.numbers("positions", _MOST_CACHES)
        batch, tokens = frame.number("batch", 1 << 16, 1), frame.number("tokens", 1 << 20, 1)
        x = array_of(frame.rows, (batch, tokens, transformer.config.hidden_size), transformer.compute.dtype)
        if not caches or [cache.offset for cache in caches] != positions or tokens % len(caches):
            raise FrameError(f"rows for {positions[:4]} came out of step")
        wanted = frame.number("wanted", tokens)
        try:
            with device.memory_errors():
                rows = transformer.through(x, caches)
                back = bytes_of(rows[:, tokens - wanted :]) if wanted else b""
                mx.eval([cache.arrays() for cache in caches])
                if tokens > 1:
                    mx.clear_cache()
        except GptossError as error:
            self._send(Frame("failed", {"text": str(error)}))
            return
        self._send(Frame("rows", {"seconds": perf_counter() - start}, back))


def main() -> int:
    """The program. Returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="gptoss-stage",
        description="Hold a part of a model's layers for `gptoss-chat --with` on another computer, which starts this "
        "by ssh and speaks with it on standard input and output. It ends when its standard input does.",
    )
    parser.add_argument(
        "--memory", metavar="SIZE", help='use at most this much memory, as in "10GB" (default: what is free)'
    )
    arguments = parser.parse_args()
    try:
        memory = None if arguments.memory is None else parse_memory(arguments.memory)
    except GptossError as error:
        parser.error(str(error))
    if sys.stdin.isatty() or sys.stdout.isatty():
        print("gptoss-stage speaks with gptoss-chat, not with people: gptoss-chat --with user@host", file=sys.stderr)
        return 2
    serve(memory)
    return 0


def serve(memory: int | None) -> None:
    """Runs a stage on this process's standard input and output, until the first ends.

    Both are moved to descriptors of their own first: what a library prints lands on standard error.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other side to interpret
    inbox, outbox = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    stay_awake()
    # The thread that computes reads, too: handing frames from one thread to another would cost each token a switch.
    Thread(target=_end_with, args=(inbox,), name="watch", daemon=True).start()
    channel = Channel(inbox, outbox)
    stage = Stage(channel.send, memory)
    try:
        channel.greet()
        while stage.take(channel.receive(most_rows=MOST_ROWS)):
            pass
    except Ended:
        pass
    except FrameError as error:
        _last_words(channel, f"gptoss-stage was asked for what it can't do: {error}")
    except Exception as error:
        traceback.print_exc()
        _last_words(channel, f"gptoss-stage failed with {type(error).__name__}: {error}")
    sys.stderr.flush()
    os._exit(0)  # at once: nothing here outlives who asks


def _last_words(channel: Channel, text: str) -> None:
    with suppress(GptossError):
        channel.send(Frame("failed", {"text": text[:1000]}), patience_s=1.0)


def _end_with(inbox: int) -> None:
    """Ends the process when the other end of a pipe is closed, whatever the main thread is computing.

    Where a system does not report that, the main thread finds the end once it has computed.
    """
    poll = select.poll()
    poll.register(inbox, 0)
    if any(event & select.POLLHUP for _, event in poll.poll()):
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
