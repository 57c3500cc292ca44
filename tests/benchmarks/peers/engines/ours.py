"""This project, through its Python package. The setting is the bits of the dense part."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app.cli.speed import endless
from mlx_model import Options, load
from mlx_model.generation.runner import Runner
from mlx_model.generation.scheduler import Scheduler


class Loaded:
    """See Engine."""

    def __init__(self, path: Path, setting: str) -> None:
        # Random weights may choose a token that ends answers.
        self._model = endless(load(path, dense_bits=int(setting)))
        self.about = ", ".join(f"{name} {found}" for name in ("mlx", "numpy", "numba") if (found := _version(name)))

    def answer(self, prompt: list[int], tokens: int) -> Iterator[int]:
        """See Engine."""
        for item in Runner(self._model).run(prompt, Options(temperature=0, max_tokens=tokens)):
            if isinstance(item, int):
                yield item

    def answers(self, prompts: list[list[int]], tokens: int) -> Iterator[list[int]]:
        """See Engine."""
        scheduler, options = Scheduler(self._model), Options(temperature=0, max_tokens=tokens)
        reading = {row: Runner(self._model, scheduler).steps(prompt, options) for row, prompt in enumerate(prompts)}
        while reading:
            answered = []
            for row, steps in [*reading.items()]:
                for item in steps:
                    if item is None:
                        break
                    if isinstance(item, int):
                        answered.append(row)
                else:
                    del reading[row]
            yield answered


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
