"""Rows through their experts, for any number of tokens: sorted by expert for a GPU, over several streams for a CPU."""

import os

import mlx.core as mx

from metal.portable import swiglu
from metal.weights import Mixture

_SORT_FROM = 64
"""(token, expert) pairs from which sorting by expert pays on a GPU, as in mlx-lm."""

# MLX runs one thread a stream, and four experts make four parts. A plain stream belongs to the thread that made it;
# answers may be asked for in any.
_STREAMS = [mx.new_thread_local_stream(mx.cpu) for _ in range(min(4, os.cpu_count() or 1))]


def sorted_rows(x: mx.array, experts: mx.array, mixture: Mixture) -> mx.array:
    """x [N, hidden] through its experts [N, top_k], to [N, top_k, hidden]; long inputs sorted by expert."""
    if experts.size < _SORT_FROM:
        return _run(x[:, None, None, :], experts, mixture).squeeze(-2)
    flat = experts.flatten()
    order = mx.argsort(flat)
    rows = _run(x[order // mixture.top_k][:, None, :], flat[order], mixture, is_sorted=True)
    return rows[mx.argsort(order)].reshape(*experts.shape, -1)


def parallel_rows(x: mx.array, experts: mx.array, mixture: Mixture) -> mx.array:
    """The same, split over the CPU's streams: MLX computes one stream on one thread."""
    rows, flat = mx.repeat(x, mixture.top_k, axis=0)[:, None, :], experts.flatten()
    cuts = [index * flat.size // len(_STREAMS) for index in range(len(_STREAMS) + 1)]
    parts = []
    for stream, start, stop in zip(_STREAMS, cuts, cuts[1:], strict=False):
        if start < stop:
            with mx.stream(stream):
                parts.append(_run(rows[start:stop], flat[start:stop], mixture))
    return mx.concatenate(parts).reshape(*experts.shape, -1)


def _run(x: mx.array, experts: mx.array, mixture: Mixture, *, is_sorted: bool = False) -> mx.array:
    gate_up = mixture.gate_up(x, experts, is_sorted=is_sorted)
    # Rows of gate and up take turns in the file (gate even, up odd), and so do these columns.
    hidden = swiglu(gate_up[..., ::2], gate_up[..., 1::2], mixture.limit)
    return mixture.down(hidden, experts, is_sorted=is_sorted)
