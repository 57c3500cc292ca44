"""Frames over a pipe: what comes is read as if anyone had written it."""

import os
import random
import struct
import threading
from collections.abc import Iterator

import pytest

from mlx_model.distributed.frames import GREETING, Channel, Ended, Frame, FrameError, Silence


class Pipe:
    """A channel that reads what `write` puts into a pipe, and writes into another."""

    def __init__(self) -> None:
        reading, self._write = os.pipe()
        self.taken, writing = os.pipe()
        self.channel = Channel(reading, writing)
        self._all = [reading, self.taken, writing]

    def write(self, *parts: bytes) -> None:
        for part in parts:
            os.write(self._write, part)

    def end(self) -> None:
        os.close(self._write)

    def close(self) -> None:
        for each in self._all:
            os.close(each)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_a_frame_comes_out_as_it_went_in(pipe: Pipe) -> None:
    """However large it is, and in whatever pieces it comes."""
    rows = random.Random(1).randbytes(3_000_000)
    sent = Frame("forward", {"caches": [1, 2], "text": "é\n"}, rows)
    away = Channel(pipe.taken, pipe._write)
    threading.Thread(target=away.send, args=(sent,)).start()
    got = pipe.channel.receive(most_rows=len(rows))
    assert (got.kind, got.fields, bytes(got.rows)) == (sent.kind, sent.fields, rows)


@pytest.mark.parametrize(
    "came",
    [
        b"Welcome to mini.local!\n",
        struct.pack("<4sII", b"gpt1", 1 << 31, 0),
        struct.pack("<4sII", b"gpt1", 2, 11) + b"{}",
        struct.pack("<4sII", b"gpt1", 2, 0) + b"{}",
        struct.pack("<4sII", b"gpt1", 4, 0) + b"null",
        struct.pack("<4sII", b"gpt1", 12, 0) + b'{"kind": []}',
        struct.pack("<4sII", b"gpt1", 6, 0) + b"\xff\xfe\x00abc",
        struct.pack("<4sII", b"gpt1", 200_000, 0) + b"[" * 60_000,
    ],
)
def test_what_is_no_frame_is_refused(pipe: Pipe, came: bytes) -> None:
    """Without taking memory for what it claims."""
    pipe.write(came[:60_000])
    if len(came) > 60_000:
        pipe.end()
    with pytest.raises((FrameError, Ended)):
        pipe.channel.receive(most_rows=10)


def test_a_pipe_that_ends_in_a_frame_has_ended(pipe: Pipe) -> None:
    pipe.write(struct.pack("<4sII", b"gpt1", 100, 0), b'{"kind"')
    pipe.end()
    with pytest.raises(Ended):
        pipe.channel.receive(1.0)


def test_who_says_nothing_and_who_takes_nothing_is_silent(pipe: Pipe) -> None:
    pipe.write(b"gpt")
    with pytest.raises(Silence):
        pipe.channel.receive(0.0)
    with pytest.raises(Silence):
        pipe.channel.send(Frame("forward", {}, bytes(1 << 20)), 0.0)


def test_the_greeting_is_found_behind_what_a_shell_writes(pipe: Pipe) -> None:
    pipe.write(b"motd \x89gptoss \n", GREETING)
    pipe.channel.await_greeting(1.0)
    pipe.write(b"x" * 500)
    with pytest.raises(Silence):
        pipe.channel.await_greeting(0.0)


def test_a_program_that_writes_on_and_on_is_no_stage(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlx_model.distributed.frames._MOST_BEFORE_GREETING", 1000)
    pipe.write(b"y\n" * 501)
    with pytest.raises(FrameError):
        pipe.channel.await_greeting(1.0)


@pytest.mark.parametrize("value", [None, -1, 1.5, True, "7", 1 << 60, [1]])
def test_a_field_is_a_number_or_refused(value: object) -> None:
    with pytest.raises(FrameError):
        Frame("load", {"start": value}).number("start")
    with pytest.raises(FrameError):
        Frame("mark", {"values": [value]}).numbers("values", 5)


@pytest.mark.parametrize("value", [None, -1.0, float("nan"), float("inf"), "1"])
def test_a_time_is_one_or_refused(value: object) -> None:
    with pytest.raises(FrameError):
        Frame("rows", {"seconds": value}).seconds("seconds")


def test_lists_and_texts_are_bounded() -> None:
    with pytest.raises(FrameError):
        Frame("mark", {"values": [1, 2, 3]}).numbers("values", 2)
    with pytest.raises(FrameError):
        Frame("machine", {"chip": "x" * 301}).text("chip", 300)
