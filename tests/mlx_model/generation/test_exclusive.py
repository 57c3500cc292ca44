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


def blocked(inside: threading.Event, go_on: threading.Event, closed: list[str]) -> Generator[int, None, None]:
    """1, 2, 3; the second step waits until it may go on."""
    try:
        yield 1
        inside.set()
        go_on.wait()
        yield from (2, 3)
    finally:
        closed.append("blocked")


def test_a_step_while_another_thread_takes_one_is_refused_and_costs_nothing() -> None:
    owner, closed, steps_of_one = Exclusive(lambda: None), list[str](), list[int]()
    inside, go_on = threading.Event(), threading.Event()
    one, other = Stream(owner, blocked(inside, go_on, closed)), Stream(owner, steps(closed, "other"))
    thread = threading.Thread(target=lambda: steps_of_one.extend(one))
    thread.start()
    inside.wait()
    with pytest.raises(RequestError, match="another thread is computing an answer"):
        next(one)
    with pytest.raises(RequestError, match="another thread is computing an answer"):
        next(other)
    go_on.set()
    thread.join()
    assert steps_of_one == [1, 2, 3]
    assert (list(other), closed) == ([1, 2, 3], ["blocked", "other"])


def test_closed_during_a_step_it_takes_no_further_one() -> None:
    owner, closed, seen = Exclusive(lambda: None), list[str](), list[int]()
    inside, go_on = threading.Event(), threading.Event()
    stream = Stream(owner, blocked(inside, go_on, closed))
    thread = threading.Thread(target=lambda: seen.extend(stream))
    thread.start()
    inside.wait()
    stream.close()
    go_on.set()
    thread.join()
    assert (seen, closed) == ([1, 2], ["blocked"])


@pytest.mark.parametrize("end", ["read to its end", "closed", "failed"])
def test_a_stream_that_has_ended_disturbs_no_other(end: str) -> None:
    """However often it is asked for another step."""
    owner, closed = Exclusive(lambda: None), list[str]()

    def failing() -> Generator[int, None, None]:
        yield 1
        raise ValueError("no memory")

    first = Stream(owner, failing() if end == "failed" else steps(closed, "first"))
    next(first)
    if end == "failed":
        with pytest.raises(ValueError, match="no memory"):
            next(first)
    elif end == "closed":
        first.close()
    else:
        assert list(first) == [2, 3]
    second = Stream(owner, steps(closed, "second"))
    assert next(second) == 1
    for _ in range(2):
        assert next(first, None) is None
        first.close()
    assert list(second) == [2, 3]


def test_one_that_was_superseded_is_refused_at_every_step() -> None:
    owner, closed = Exclusive(lambda: None), list[str]()
    first, second = Stream(owner, steps(closed, "first")), Stream(owner, steps(closed, "second"))
    assert (next(first), next(second)) == (1, 1)
    assert closed == ["first"], "its memory is free before the next computes"
    with pytest.raises(RequestError, match="another request has begun"):
        next(first)
    assert list(second) == [2, 3]
    assert not second.superseded
    assert iter(second) is second
