"""Rows through their experts, for any number of tokens.

Many rows go sorted by expert. On an M5 with macOS 26.2 or newer MLX multiplies them on the matrix units then, if it is
pip's wheel for macOS 26: that for 14 and 15 has no such kernels.
"""

import mlx.core as mx

from metal.portable import swiglu
from metal.weights import Mixture

_SORT_FROM = 64
"""(token, expert) pairs from which sorting by expert pays on a GPU, as in mlx-lm."""


def sorted_rows(x: mx.array, experts: mx.array, mixture: Mixture) -> mx.array:
    """x [N, hidden] through its experts [N, top_k], to [N, top_k, hidden]; long inputs sorted by expert."""
    if experts.size < _SORT_FROM:
        return run(x[:, None, None, :], experts, mixture).squeeze(-2)
    flat = experts.flatten()
    order = mx.argsort(flat)
    rows = run(x[order // mixture.top_k][:, None, :], flat[order], mixture, is_sorted=True)
    return rows[mx.argsort(order)].reshape(*experts.shape, -1)


def run(x: mx.array, experts: mx.array, mixture: Mixture, *, is_sorted: bool = False) -> mx.array:
    """Rows x [..., 1, hidden], each through the expert of its place in `experts` [...]: [..., 1, hidden]."""
    gate_up = mixture.gate_up(x, experts, is_sorted=is_sorted)
    # Rows of gate and up take turns in the file (gate even, up odd), and so do these columns.
    hidden = swiglu(gate_up[..., ::2], gate_up[..., 1::2], mixture.limit)
    return mixture.down(hidden, experts, is_sorted=is_sorted)
