"""This project, through its Python package. The setting is the bits of the dense part."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app.cli.speed import endless
from mlx_model import Options, load
from mlx_model.generation.runner import Runner


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


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
