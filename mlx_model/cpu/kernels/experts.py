"""A mixture of experts: gate and up rows with SwiGLU, down rows with the weighted sum, over pairs sorted by expert.

An expert's rows are read once for all its pairs. They are where `slots` says: those of expert e begin at row
slots[e] * n, where a matrix has n rows for each, and its biases are in row e. Of up to FEW tokens rows meet the pairs
one by one, so that each has the bits that it has alone; of more in tiles, which round otherwise.
"""

from typing import Any

import numpy as np

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.dense import CHUNK
from mlx_model.cpu.kernels.lanes import place
from mlx_model.cpu.kernels.panels import BAND, FEW, GROUP, few_sums, panel_sums
from mlx_model.cpu.kernels.products import ROWS_OF_PANEL, dot, total
from mlx_model.cpu.kernels.sharing import take

_ALPHA, _ONE = np.float32(1.702), np.float32(1)
_FIELDS = np.int64(8)  # of numpy, see `kernel`


@kernel
def rows_of_chunk(columns: int, pairs: int, tokens: int) -> int:
    """How many rows of every expert a thread takes at once: whole panels.

    Of few tokens as many as of one, though each takes longer: shorter stretches of more experts are read more slowly.
    """
    rows = CHUNK // (columns * (1 if tokens <= FEW else max(1, pairs // 4)))
    return max(1, rows // ROWS_OF_PANEL) * ROWS_OF_PANEL


@kernel
def swiglu(gate: Any, up: Any, limit: Any) -> Any:
    """gpt-oss's: gate times its sigmoid, of 1.702 times it, times up + 1, both clamped to `limit`. NaN stays."""
    if gate > limit:
        gate = limit
    if up > limit:
        up = limit
    elif up < -limit:
        up = -limit
    return gate / (_ONE + np.exp(-_ALPHA * gate)) * (up + _ONE)


@kernel
def gate_up(
    state: Any,
    part: int,
    experts: Any,
    slots: Any,
    x: Any,
    starts: Any,
    tokens: Any,
    limit: float,
    hidden: Any,
) -> None:
    """hidden [P, padded n/2] in lane order = SwiGLU of x[tokens[p]] through the gate and up rows of p's expert.

    Pairs of expert e are starts[e] .. starts[e + 1] - 1. Gate rows are even, up rows odd. What fills a row of hidden up
    is not written. One phase.
    """
    n = experts.bias.shape[1]
    each = rows_of_chunk(x.shape[1], len(tokens), len(x))
    chunks = (n + each - 1) // each
    chunk = take(state, part, chunks)
    while chunk >= 0:
        first, end = chunk * each, min(n, (chunk + 1) * each)
        for expert in range(len(starts) - 1):
            begin, behind, at = starts[expert], starts[expert + 1], slots[expert] * n
            if behind - begin == 1:
                token = tokens[begin]
                for row in range(first, end, 2):
                    gate = dot(experts, at + row, x, token) + experts.bias[expert, row]
                    up = dot(experts, at + row + 1, x, token) + experts.bias[expert, row + 1]
                    hidden[begin, place(row // 2, _FIELDS)] = swiglu(gate, up, limit)
                continue
            if behind > begin and len(x) <= FEW:
                for band in range(first, end, BAND):
                    rows = min(BAND, end - band)
                    sums = few_sums(state, part, experts, at + band, rows, x, tokens, begin, behind)
                    for r in range(0, rows, 2):
                        for t in range(behind - begin):
                            gate = sums[r, t] + experts.bias[expert, band + r]
                            up = sums[r + 1, t] + experts.bias[expert, band + r + 1]
                            hidden[begin + t, place((band + r) // 2, _FIELDS)] = swiglu(gate, up, limit)
                continue
            for start in range(begin, behind, GROUP):
                stop = min(start + GROUP, behind)
                for row in range(first, end, ROWS_OF_PANEL):
                    sums = panel_sums(state, part, experts, at + row, at + n - 1, x, tokens, start, stop)
                    for t in range(stop - start):
                        for r in range(0, min(ROWS_OF_PANEL, end - row), 2):
                            gate = total(sums, stop - start, t, r) + experts.bias[expert, row + r]
                            up = total(sums, stop - start, t, r + 1) + experts.bias[expert, row + r + 1]
                            hidden[start + t, place((row + r) // 2, _FIELDS)] = swiglu(gate, up, limit)
        chunk = take(state, part, chunks)


@kernel
def down(
    state: Any,
    part: int,
    experts: Any,
    slots: Any,
    hidden: Any,
    starts: Any,
    tokens: Any,
    weights: Any,
    y: Any,
) -> None:
    """y[tokens[p]] [n] += weights[p] times hidden[p] through the down rows of p's expert, for all pairs, in order.

    One phase.
    """
    n = experts.bias.shape[1]
    pairs = np.arange(len(tokens))
    each = rows_of_chunk(hidden.shape[1], len(tokens), len(y))
    chunks = (n + each - 1) // each
    chunk = take(state, part, chunks)
    while chunk >= 0:
        first, end = chunk * each, min(n, (chunk + 1) * each)
        for expert in range(len(starts) - 1):
            begin, behind, at = starts[expert], starts[expert + 1], slots[expert] * n
            if behind - begin == 1:
                for row in range(first, end):
                    value = dot(experts, at + row, hidden, begin) + experts.bias[expert, row]
                    y[tokens[begin], row] += weights[begin] * value
                continue
            if behind > begin and len(y) <= FEW:
                for band in range(first, end, BAND):
                    rows = min(BAND, end - band)
                    sums = few_sums(state, part, experts, at + band, rows, hidden, pairs, begin, behind)
                    for t in range(behind - begin):
                        token, weight = tokens[begin + t], weights[begin + t]
                        for r in range(rows):
                            y[token, band + r] += weight * (sums[r, t] + experts.bias[expert, band + r])
                continue
            for start in range(begin, behind, GROUP):
                stop = min(start + GROUP, behind)
                for row in range(first, end, ROWS_OF_PANEL):
                    sums = panel_sums(state, part, experts, at + row, at + n - 1, hidden, pairs, start, stop)
                    for t in range(stop - start):
                        token, weight = tokens[start + t], weights[start + t]
                        for r in range(min(ROWS_OF_PANEL, end - row)):
                            y[token, row + r] += weight * (
                                total(sums, stop - start, t, r) + experts.bias[expert, row + r]
                            )
        chunk = take(state, part, chunks)
