"""The rows of the list of models: name, size, how much of it is here, whether it fits; and which of them are meant."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from app.lines import one_line
from app.tui.text.computer import ModelFacts
from mlx_model.memory.sizes import disk_size

IN_USE, OTHER = "\u2022", " "
LEAST_NAME = 16
"""Columns that a name has in a narrow window, too."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A line of the list, in columns of the same width in all rows; `fit` is its end, of less weight."""

    name: str
    text: str
    fit: str


def model_rows(models: Sequence[ModelFacts], in_use: str, width: int) -> list[ModelRow]:
    """One for each, in their order; that of the model `in_use` is marked. Names are cut where `width` columns are less
    than all would take."""
    cells = [
        (one_line(model.name), disk_size(model.size) if model.size else "", _where(model), model.fit)
        for model in models
    ]
    longest, sizes, places, fits = (max((cell_len(row[column]) for row in cells), default=0) for column in range(4))
    names = min(longest, max(LEAST_NAME, width - sizes - places - fits - 8))
    return [
        ModelRow(
            model.name,
            f"{IN_USE if model.name == in_use else OTHER} {_fitted(name, names)}  {size:>{sizes}}  {where:<{places}}  ",
            fit,
        )
        for model, (name, size, where, fit) in zip(models, cells, strict=True)
    ]


def matching(models: Sequence[ModelFacts], typed: str) -> list[ModelFacts]:
    """Those whose names have all the words of `typed`."""
    words = typed.casefold().split()
    return [model for model in models if all(word in model.name.casefold() for word in words)]


def _where(model: ModelFacts) -> str:
    if model.complete:
        return "on this computer"
    if not model.present:
        return "not here"
    return f"{disk_size(model.present)} of it here" if model.size else f"{disk_size(model.present)} here"


def _fitted(name: str, width: int) -> str:
    """A long one by its end, which tells folders apart."""
    if cell_len(name) <= width:
        return name + " " * (width - cell_len(name))
    while cell_len(name) >= width:
        name = name[1:]
    return _fitted(f"\u2026{name}", width)
