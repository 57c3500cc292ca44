"""A mixture of experts: gate and up rows with SwiGLU, down rows with the weighted sum, over pairs sorted by expert.

An expert's rows are read once for all its pairs. They are where `slots` says: those of expert e begin at row
slots[e] * n, where a matrix has n rows for each, and its biases are in row e. Of up to FEW tokens (few_gate_up,
few_down) rows meet the pairs one by one, so that each has the bits that it has alone; of more in tiles, which round
otherwise.
"""

from typing import Any

import numpy as np

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.digits import BLOCK
from mlx_model.cpu.kernels.lanes import place, put_block
from mlx_model.cpu.kernels.panels import BAND, GROUP, few_sums, panel_sums
from mlx_model.cpu.kernels.portions import portion, portions, shortest
from mlx_model.cpu.kernels.products import ROWS_OF_PANEL, dot, total
from mlx_model.cpu.kernels.sharing import take

_ALPHA, _ONE = np.float32(1.702), np.float32(1)
_FIELDS = np.int64(8)  # of numpy, see `kernel`
assert BAND == 2 * BLOCK, "of gate rows and up rows in turn"


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
def few_gate_up(
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
    """What gate_up does, for up to FEW tokens; x and hidden are as `for_few` has them."""
    n, threads = experts.bias.shape[1], len(state) - 1
    least = shortest(experts.blocks.shape[2] * 2, 1, BAND)
    block = np.zeros(BLOCK, np.float32)
    chunks = portions(n, threads, least)
    chunk = take(state, part, chunks)
    while chunk >= 0:
        first, end = portion(chunk, n, threads, least)
        for expert in range(len(starts) - 1):
            begin, behind, at = starts[expert], starts[expert + 1], slots[expert] * n
            for band in range(first, end if behind > begin else first, BAND):
                rows = min(BAND, end - band)
                sums = few_sums(state, part, experts, at + band, rows, x, tokens, begin, behind)
                for t in range(behind - begin):
                    for r in range(0, rows, 2):
                        gate = sums[r, t] + experts.bias[expert, band + r]
                        up = sums[r + 1, t] + experts.bias[expert, band + r + 1]
                        block[r // 2] = swiglu(gate, up, limit)
                    for r in range(rows, BAND, 2):
                        block[r // 2] = 0
                    put_block(block, 0, hidden[begin + t], band // 2)
        chunk = take(state, part, chunks)


@kernel
def few_down(
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
    """What down does, for up to FEW tokens; hidden is as `for_few` has it."""
    n, threads, pairs = experts.bias.shape[1], len(state) - 1, np.arange(len(tokens))
    least = shortest(experts.blocks.shape[2] * 2, 1, ROWS_OF_PANEL)
    chunks = portions(n, threads, least)
    chunk = take(state, part, chunks)
    while chunk >= 0:
        first, end = portion(chunk, n, threads, least)
        for expert in range(len(starts) - 1):
            begin, behind, at = starts[expert], starts[expert + 1], slots[expert] * n
            for band in range(first, end if behind > begin else first, BAND):
                rows = min(BAND, end - band)
                sums = few_sums(state, part, experts, at + band, rows, hidden, pairs, begin, behind)
                for t in range(behind - begin):
                    token, weight = tokens[begin + t], weights[begin + t]
                    for r in range(rows):
                        y[token, band + r] += weight * (sums[r, t] + experts.bias[expert, band + r])
        chunk = take(state, part, chunks)


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
    n, threads = experts.bias.shape[1], len(state) - 1
    least = shortest(x.shape[1], max(1, len(tokens) // 4), ROWS_OF_PANEL)
    chunks = portions(n, threads, least)
    chunk = take(state, part, chunks)
    while chunk >= 0:
        first, end = portion(chunk, n, threads, least)
        for expert in range(len(starts) - 1):
            begin, behind, at = starts[expert], starts[expert + 1], slots[expert] * n
            if behind - begin == 1:
                token = tokens[begin]
                for row in range(first, end, 2):
                    gate = dot(experts, at + row, x, token) + experts.bias[expert, row]
                    up = dot(experts, at + row + 1, x, token) + experts.bias[expert, row + 1]
                    hidden[begin, place(row // 2, _FIELDS)] = swiglu(gate, up, limit)
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
    n, threads, pairs = experts.bias.shape[1], len(state) - 1, np.arange(len(tokens))
    least = shortest(hidden.shape[1], max(1, len(tokens) // 4), ROWS_OF_PANEL)
    chunks = portions(n, threads, least)
    chunk = take(state, part, chunks)
    while chunk >= 0:
        first, end = portion(chunk, n, threads, least)
        for expert in range(len(starts) - 1):
            begin, behind, at = starts[expert], starts[expert + 1], slots[expert] * n
            if behind - begin == 1:
                for row in range(first, end):
                    value = dot(experts, at + row, hidden, begin) + experts.bias[expert, row]
                    y[tokens[begin], row] += weights[begin] * value
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
