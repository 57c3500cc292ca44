"""Streams that exclude each other, without a model: what a failing or a closed one leaves behind."""

import threading
from collections.abc import Generator

import pytest

from mlx_model.errors import RequestError
from mlx_model.generation.exclusive import Exclusive, Stream


def steps(closed: list[str], name: str, error: Exception | None = None) -> Generator[int, None, None]:
    """1, 2, 3; notes when it is closed, and may fail at that."""
    try:
        yield from (1, 2, 3)
    finally:
        closed.append(name)
        if error is not None:
            raise error


def test_a_stream_that_fails_when_it_is_superseded_locks_nothing() -> None:
    owner, closed = Exclusive(lambda: None), list[str]()
    first = Stream(owner, steps(closed, "first", ValueError("no memory")))
    second = Stream(owner, steps(closed, "second"))
    next(first)
    with pytest.raises(ValueError, match="no memory"):
        next(second)
    assert list(second) == [1, 2, 3]
    with pytest.raises(RequestError, match="another request has begun"):
        next(first)
    assert closed == ["first", "second"]


def test_a_process_that_may_not_compute_takes_no_step() -> None:
    def forked() -> None:
        raise RequestError("forked")

    stream = Stream(Exclusive(forked), steps([], "only"))
    for _ in range(2):
        with pytest.raises(RequestError, match="forked"):
            next(stream)


def test_closing_it_during_a_step_closes_it_once_and_never_in_that_step() -> None:
    owner, closed = Exclusive(lambda: None), list[str]()
    inside, go_on = threading.Event(), threading.Event()

    def slow() -> Generator[int, None, None]:
        try:
            yield 1
            inside.set()
            go_on.wait()
            yield 2
        finally:
            closed.append("slow")

    stream = Stream(owner, slow())
    rest: list[int] = []
    thread = threading.Thread(target=lambda: rest.extend(stream))
    thread.start()
    inside.wait()
    stream.close()
    assert closed == []
    go_on.set()
    thread.join()
    assert (rest, closed) == ([1, 2], ["slow"])
    assert list(Stream(owner, steps(closed, "next"))) == [1, 2, 3]


def test_closing_it_twice_or_before_its_first_step_does_nothing_more() -> None:
    owner, closed = Exclusive(lambda: None), list[str]()
    stream, unread = Stream(owner, steps(closed, "read")), Stream(owner, steps(closed, "unread"))
    next(stream)
    for each in (stream, stream, unread):
        each.close()
    assert closed == ["read"]
    assert list(stream) == list(unread) == []
