"""What the transformer asks of this package: operations with a portable definition, a kernel and its variants."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

MOST_ROWS = 8
"""Rows of activations that a decode step computes by kernels."""


def rows_of_text(rows: int) -> int:
    """1, 2, 4 or 8: for how many rows the kernel's text is made that computes `rows` of them.

    A text for each number would have to be compiled and tried on each machine; fewer rows only idle.
    """
    return 1 << (rows - 1).bit_length()


Variant = tuple[tuple[str, int], ...]
"""Parameters of a kernel that change its speed and no bit of its result, by name: rows a simdgroup, and so on."""

Choice = Mapping[str, Variant | None]
"""By name of the operation: the variant its kernel runs in, None for MLX's own operations."""


def with_loads(alignment: int, variant: Variant) -> Variant:
    """A variant with how its kernel may load weights that lie at multiples of `alignment` bytes (kernels/common.h)."""
    return tuple(({"ALIGN": alignment, "PACKED": 0} | dict(variant)).items())


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation at fixed sizes and formats.

    `run(*arguments, variant)` computes it: with a variant by the kernel, with None by MLX's own operations, which are
    its definition. `arguments(seed)` makes arguments of the real sizes to verify and to time it on. `variants` are
    bit-identical; the first is the default. `tolerance` bounds the error against the definition, as a share of the
    largest value of each result. `weight_bytes` is what one run reads of the weights.
    """

    name: str
    run: Callable[..., tuple[mx.array, ...]]
    arguments: Callable[[int], Sequence[Any]]
    variants: tuple[Variant, ...]
    tolerance: float
    weight_bytes: int
