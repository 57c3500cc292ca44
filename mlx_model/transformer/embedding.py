"""The embedding of token ids, from rows of a matrix that is in memory or in its file alone (weights/rows.py)."""

from dataclasses import asdict, dataclass
from typing import Protocol

import mlx.core as mx

from metal.formats import Packing


class Rows(Protocol):
    """The rows of one matrix [rows, columns]. `mapped_bytes` is what MLX counts as memory and is none."""

    mapped_bytes: int

    def __call__(self, ids: mx.array) -> mx.array:
        """Rows [..., columns] in the stored dtype, for integer ids [...], each below the number of rows."""
        ...


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding of token ids. `parts` is the matrix or, where it is packed, its codes, scales and offsets."""

    parts: tuple[Rows, ...]
    dtype: mx.Dtype
    packing: Packing | None = None

    @property
    def mapped_bytes(self) -> int:
        """Bytes of mapped file that MLX counts among its active memory, though no page of them need be there."""
        return sum(rows.mapped_bytes for rows in self.parts)

    def __call__(self, tokens: mx.array) -> mx.array:
        """Ids [B, T] to [B, T, hidden] in `dtype`; every id must be in the vocabulary (runner.py checks prompts)."""
        matrix, *groups = (rows(tokens) for rows in self.parts)
        if self.packing is not None:
            # As dense matrices hold them (weights/loader.py); in the stored bfloat16 the rows would be rounded.
            groups = [group if group.dtype == mx.uint8 else group.astype(self.dtype) for group in groups]
            matrix = mx.dequantize(matrix, groups[0], groups[1] if len(groups) > 1 else None, **asdict(self.packing))
        return matrix.astype(self.dtype)
