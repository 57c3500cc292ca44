"""The engine process: owns the model, takes requests on standard input, answers in events on standard output.

    python -m app.engine.worker

Four threads. The main one computes, all answers under way together. The reader takes requests, so that a
cancel is seen before the next token, and ends the process the moment standard input closes: an app that was
killed leaves no process behind that holds the model. The writer sends, so that a slow reader at the other end
never holds up the model. The counter counts tokens, which takes no interpreter lock: neither a long text nor a
chunk of prefill keeps the other waiting.
"""

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import BinaryIO

from app.engine.backend import Backend, ModelBackend
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
    ToEngine,
    decode,
    encode,
)
from mlx_model.errors import ContextError, GptossError, RequestError
from mlx_model.events import Event, TextDelta


class Outbox:
    """Sends replies from a thread of its own, in order. What piled up goes out in one write."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._pending: queue.SimpleQueue[FromEngine] = queue.SimpleQueue()
        threading.Thread(target=self._write, name="outbox", daemon=True).start()

    def put(self, reply: FromEngine) -> None:
        """Queue a reply; returns at once."""
        self._pending.put(reply)

    def _write(self) -> None:
        while True:
            batch = [self._pending.get()]
            while not self._pending.empty():
                batch.append(self._pending.get())
            try:
                self._pipe.write(b"".join(encode(reply) for reply in merge(batch)))
                self._pipe.flush()
            except OSError:
                os._exit(0)  # the app is gone
            except Exception:
                traceback.print_exc()
                os._exit(os.EX_SOFTWARE)  # a worker that can't answer must not look alive


def merge(replies: list[FromEngine]) -> list[FromEngine]:
    """Join text deltas of a message that come one after the other, whatever comes of other answers between them."""
    merged: list[FromEngine] = []
    places: dict[int | None, int] = {}  # of the last reply to each request
    for reply in replies:
        number = getattr(reply, "number", None)
        last = merged[places[number]] if number in places else None
        if (
            isinstance(reply, Answer)
            and isinstance(last, Answer)
            and isinstance(reply.event, TextDelta)
            and isinstance(last.event, TextDelta)
            and (reply.event.channel, reply.event.recipient) == (last.event.channel, last.event.recipient)
        ):
            logprobs = last.event.logprobs + reply.event.logprobs
            event = replace(last.event, text=last.event.text + reply.event.text, logprobs=logprobs)
            merged[places[number]] = Answer(reply.number, event, last.deltas + reply.deltas)
        else:
            places[number] = len(merged)
            merged.append(reply)
    return merged


class Worker:
    """Takes requests from `inbox` and has `backend` fulfil them, until `inbox` ends: answers together, a load alone."""

    def __init__(self, backend: Backend, inbox: BinaryIO, outbox: Outbox) -> None:
        self._backend = backend
        self._inbox = inbox
        self._outbox = outbox
        self._requests: queue.SimpleQueue[Load | Ask] = queue.SimpleQueue()
        self._counts: queue.SimpleQueue[Count] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._hurried: set[int] = set()

    def run(self) -> None:
        """Serve without end; the reader thread ends the process."""
        threading.Thread(target=self._read, name="inbox", daemon=True).start()
        threading.Thread(target=self._count, name="counter", daemon=True).start()
        while True:
            self._settle()
            match self._requests.get():
                case Load() as load:
                    self._guard(None, partial(self._load, load))
                case Ask() as ask:
                    if (behind := self._answer(ask)) is not None:
                        self._guard(None, partial(self._load, behind))

    def _read(self) -> None:
        for line in self._inbox:
            try:
                message = decode(line)
                if not isinstance(message, ToEngine):
                    raise ProtocolError(f"{type(message).__name__} is a reply")
            except ProtocolError as error:
                print(error, file=sys.stderr, flush=True)
                os._exit(os.EX_PROTOCOL)
            match message:
                case Cancel(number):
                    self._cancelled.add(number)
                case AnswerNow(number):
                    self._hurried.add(number)
                case Count() as count:
                    self._counts.put(count)
                case _:
                    self._requests.put(message)
        os._exit(0)  # at once, whatever the main thread is computing

    def _count(self) -> None:
        while True:
            count = self._counts.get()
            self._guard(count.number, partial(self._counted, count))

    def _counted(self, count: Count) -> None:
        self._outbox.put(Counted(count.number, tuple(self._backend.count(count.texts))))

    def _settle(self) -> None:
        """Has the backend prepare for the next request, one step at a time, until it comes."""
        ended = object()
        try:
            with closing(self._backend.settle()) as steps:
                while self._requests.empty() and next(steps, ended) is not ended:
                    pass
        except Exception:
            # No request waits for this. If the model no longer works, the next one fails and says so.
            traceback.print_exc()

    def _load(self, load: Load) -> None:
        self._outbox.put(self._backend.load(load, self._outbox.put))

    def _answer(self, ask: Ask) -> Load | None:
        """Answers a request and those that come meanwhile, in turn, each up to where it waits for the others.

        A load that comes has to wait for them, and all others for that: it is returned.
        """
        answers = {ask.number: self._stream(ask)}
        behind: Load | None = None
        while answers:
            while behind is None and not self._requests.empty():
                match self._requests.get():
                    case Load() as load:
                        behind = load
                    case Ask() as another:
                        answers[another.number] = self._stream(another)
            for number, events in [*answers.items()]:
                if not self._guard(number, partial(self._send, number, events)):
                    del answers[number]
                    self._cancelled.discard(number)
                    self._hurried.discard(number)
        return behind

    def _stream(self, ask: Ask) -> Iterator[Event | None]:
        cancelled, hurried, number = self._cancelled, self._hurried, ask.number
        yield from self._backend.stream(ask.request, lambda: number in cancelled, lambda: number in hurried)

    def _send(self, number: int, events: Iterator[Event | None]) -> bool:
        """Sends what an answer brings up to where it waits; whether it goes on."""
        for event in events:
            if event is None:
                return True
            self._outbox.put(Answer(number, event))
        return False

    def _guard(self, number: int | None, action: Callable[[], bool | None]) -> bool | None:
        """What the action returns, None if it fails: who asked is told why."""
        try:
            return action()
        except (ContextError, RequestError) as error:
            about = error.about if isinstance(error, RequestError) else ""
            self._outbox.put(Failed(str(error), number, True, isinstance(error, ContextError), about))
        except GptossError as error:
            self._outbox.put(Failed(str(error), number))
        except Exception as error:
            # Unexpected. The person reads one line, the app keeps the traceback from standard error.
            traceback.print_exc()
            self._outbox.put(Failed(f"the engine failed with {type(error).__name__}: {error}", number))
        return None


def serve(backend: Backend) -> None:
    """Run the engine on this process's standard input and output.

    Both are moved to descriptors of their own first: what a library prints lands on standard error and
    can't break the protocol, and a library that reads standard input finds it empty.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the app to interpret
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    Worker(backend, inbox, Outbox(outbox)).run()


if __name__ == "__main__":
    serve(ModelBackend())
