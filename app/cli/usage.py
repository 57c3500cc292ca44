"""Wrong arguments: what no computer and no file would make right."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from mlx_model.errors import RequestError

_PORTS = 1 << 16


class UsageError(RequestError):
    """Arguments that don't go together, or are out of range; the program then ends with another code than for what
    failed."""


@contextmanager
def of_arguments() -> Iterator[None]:
    """What is refused inside is refused for its arguments: a RequestError becomes a UsageError."""
    try:
        yield
    except RequestError as error:
        raise UsageError(str(error)) from None


def port(text: str) -> int:
    """A number of a port, 0 for any: the type of an argument."""
    if not text.isdecimal() or int(text[:6]) >= _PORTS:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return int(text)
