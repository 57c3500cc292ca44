"""What is measured: a file each, which loads a model and answers ids. Only the file in use is imported."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol


class Engine(Protocol):
    """A loaded model."""

    about: str
    """Versions and settings."""

    def answer(self, prompt: list[int], tokens: int) -> Iterator[int]:
        """Greedy tokens behind a prompt of which nothing is in a cache; the first comes when the prompt is computed."""
        ...

    def answers(self, prompts: list[list[int]], tokens: int) -> Iterator[list[int]]:
        """So many greedy tokens for each of several prompts at once: after each step the rows that got one."""
        ...


def loader(name: str) -> Callable[[Path, str], Engine]:
    """The class of an engine; called with a model's path and a setting of its own it returns when it is loaded."""
    loaded: Callable[[Path, str], Engine] = import_module(f"{__name__}.{name}").Loaded
    return loaded
