"""The rows of the list of models: name, size, how much of it is here, whether it fits; and which of them are meant."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from app.lines import one_line
from app.tui.text.computer import ModelFacts
from mlx_model.memory.sizes import disk_size

IN_USE, OTHER = "\u2022", " "
MOST_NAME = 40
"""Columns of a name beyond which it is cut: a folder may be long."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A line of the list, in columns of the same width in all rows; `fit` is its end, of less weight."""

    name: str
    text: str
    fit: str


def model_rows(models: Sequence[ModelFacts], in_use: str) -> list[ModelRow]:
    """One for each, in their order; that of the model `in_use` is marked."""
    cells = [
        (_cut(one_line(model.name)), disk_size(model.size) if model.size else "", _where(model)) for model in models
    ]
    widths = [max((cell_len(row[column]) for row in cells), default=0) for column in range(3)]
    return [
        ModelRow(
            model.name,
            f"{IN_USE if model.name == in_use else OTHER} {_padded(name, widths[0])}  {size:>{widths[1]}}  "
            f"{_padded(where, widths[2])}  ",
            model.fit,
        )
        for model, (name, size, where) in zip(models, cells, strict=True)
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


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _cut(name: str) -> str:
    """A long one by its end, which tells folders apart."""
    return name if len(name) <= MOST_NAME else f"\u2026{name[1 - MOST_NAME :]}"
