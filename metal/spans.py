"""Where the keys and values of one sequence lie: in a few buffers, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx


@dataclass(frozen=True, slots=True)
class Span:
    """Keys and values [B, KV heads, capacity, head_dim]; `count` positions from `start` on hold something."""

    keys: mx.array
    values: mx.array
    count: int
    start: int = 0

    def view(self) -> tuple[mx.array, mx.array]:
        """The keys and values that count, each [B, KV heads, count, head_dim]."""
        end = self.start + self.count
        return self.keys[:, :, self.start : end], self.values[:, :, self.start : end]


def joined(spans: Sequence[Span]) -> tuple[mx.array, mx.array]:
    """The keys and values of all spans in their order, copied if there are several."""
    if len(spans) == 1:
        return spans[0].view()
    views = [span.view() for span in spans]
    return mx.concatenate([keys for keys, _ in views], axis=2), mx.concatenate([values for _, values in views], axis=2)
