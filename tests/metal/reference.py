"""The mixture of experts in float64 numpy, with what error float32 arithmetic and one rounding may leave."""

import math
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from metal.experts import SWIGLU_ALPHA, ExpertMatrix, Mixture

Floats = NDArray[np.float64]

# OCP Microscaling Formats (MX) v1.0, section 5.3.
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])

FLOAT32 = 2.0**-24
_ROUNDING = {mx.bfloat16: 2.0**-8, mx.float16: 2.0**-11, mx.float32: FLOAT32}
_LEAST = {mx.bfloat16: 0.0, mx.float16: 2.0**-25, mx.float32: 0.0}
"""Half the distance of the smallest numbers: results that small occur in half alone."""


@dataclass(frozen=True)
class Expected:
    """Exact values, and bounds of the error that float32 arithmetic may make before the result is rounded.

    A sum of n products has an error of at most n 2^-24 times the sum of their sizes, to first order (Higham, Accuracy
    and Stability of Numerical Algorithms, section 3.1); n is the length of the longest chain of additions.
    """

    values: Floats
    noise: Floats


def excess(found: mx.array, expected: Expected) -> float:
    """The worst error of a result, as a share of what its own rounding and the noise allow: at most 1 is right."""
    allowed = np.maximum(_ROUNDING[found.dtype] * np.abs(expected.values), _LEAST[found.dtype]) + expected.noise
    return float((np.abs(numbers(found) - expected.values) / allowed).max())


def numbers(x: mx.array) -> Floats:
    """The numbers an array of any float type holds."""
    return np.array(x.astype(mx.float32)).astype(np.float64)


def random_mixture(
    hidden: int, intermediate: int, experts: int, top_k: int, dtype: mx.Dtype = mx.float32, seed: int = 0
) -> Mixture:
    """Weights of any sizes: all codes, scales of three sizes, some gates and ups beyond the clamp."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0) -> mx.array:
        return mx.array((rng.standard_normal(shape) * scale).astype(np.float32)).astype(dtype)

    def matrix(rows: int, columns: int) -> ExpertMatrix:
        middle = 127 + round(math.log2(0.8 / columns**0.5))
        blocks = np.frombuffer(rng.bytes(experts * rows * columns // 2), np.uint32)
        scales = rng.integers(middle - 1, middle + 2, (experts, rows, columns // 32), dtype=np.uint8)
        bias = normal(experts, rows)
        return ExpertMatrix(mx.array(blocks.reshape(experts, rows, columns // 8)), mx.array(scales), bias)

    return Mixture(
        norm=1 + normal(hidden, scale=0.3),
        eps=1e-5,
        router=normal(experts, hidden, scale=hidden**-0.5),
        router_bias=normal(experts),
        gate_up=matrix(2 * intermediate, hidden),
        down=matrix(hidden, intermediate),
        top_k=top_k,
        limit=7.0,
    )


def dequantised(matrix: ExpertMatrix, expert: int) -> Floats:
    """[out, in] of one expert."""
    octets = np.array(matrix.blocks[expert]).view(np.uint8)
    codes = np.stack([octets & 15, octets >> 4], axis=-1).reshape(len(octets), -1)
    return E2M1[codes] * np.repeat(np.ldexp(1.0, np.array(matrix.scales[expert]).astype(int) - 127), 32, axis=-1)


def top_k(logits: mx.array, count: int) -> tuple[NDArray[Any], Floats]:
    """Indices [N, count] of the largest logits, of equal ones the lowest index first, and their softmax."""
    values = numbers(logits)
    chosen = np.argsort(-values, axis=-1, kind="stable")[:, :count]
    powers = np.exp(np.take_along_axis(values, chosen, -1) - values.max(axis=-1, keepdims=True))
    return chosen, powers / powers.sum(axis=-1, keepdims=True)


def normed(x: mx.array, mixture: Mixture) -> Expected:
    """RMSNorm: some ten roundings relative to the value, and the sum of squares."""
    exact = numbers(x)
    values = exact / np.sqrt((exact**2).mean(axis=-1, keepdims=True) + mixture.eps) * numbers(mixture.norm)
    return Expected(values, (10 + _chain(x.shape[-1])) * FLOAT32 * np.abs(values))


def logits(normed: mx.array, mixture: Mixture) -> Expected:
    """Of the normed rows as they were rounded."""
    exact, router, bias = numbers(normed), numbers(mixture.router), numbers(mixture.router_bias)
    sizes = np.abs(exact) @ np.abs(router).T + np.abs(bias)
    return Expected(exact @ router.T + bias, _chain(exact.shape[-1]) * FLOAT32 * sizes)


def gate_up(x: mx.array, chosen: NDArray[Any], mixture: Mixture) -> Expected:
    """Of normed rows [N, hidden]: [N, top_k, intermediate]."""
    products = _products(np.repeat(numbers(x)[:, None], chosen.shape[1], axis=1), chosen, mixture.gate_up)
    limit = mixture.limit
    gate, up = np.minimum(products.values[..., ::2], limit), np.clip(products.values[..., 1::2], -limit, limit)
    with np.errstate(over="ignore"):
        swish = gate / (1 + np.exp(-SWIGLU_ALPHA * gate))
    values = swish * (up + 1)
    # Two roundings of the sigmoid's argument and six of the rest; and the sums' noise, times a bound of the slopes.
    own = (6 + 2 * SWIGLU_ALPHA * np.abs(gate)) * FLOAT32 * np.abs(swish) * (np.abs(up) + 1)
    carried = 1.1 * products.noise[..., ::2] * (np.abs(up) + 1) + products.noise[..., 1::2] * np.abs(swish)
    return Expected(values, own + carried)


def down(hidden: mx.array, chosen: NDArray[Any], weights: Floats, residual: mx.array, mixture: Mixture) -> Expected:
    """Of [N, top_k, intermediate], weighted, summed and added to the residual: [N, hidden]."""
    products = _products(numbers(hidden), chosen, mixture.down)
    terms = weights[..., None] * products.values
    # A weight is off by the roundings of its exponential, of the sum of those and of the division; then terms add up.
    noise = weights[..., None] * products.noise + 30 * FLOAT32 * np.abs(terms)
    return Expected(numbers(residual) + terms.sum(axis=1), noise.sum(axis=1) + FLOAT32 * np.abs(numbers(residual)))


def _products(x: Floats, chosen: NDArray[Any], matrix: ExpertMatrix) -> Expected:
    """Rows x [N, top_k, in], each through its expert, plus bias: [N, top_k, out]."""
    values, noise = (np.empty((*chosen.shape, matrix.bias.shape[1])) for _ in range(2))
    biases = numbers(matrix.bias)
    for expert in np.unique(chosen):
        weights, bias = dequantised(matrix, expert), biases[expert]
        at = chosen == expert
        values[at] = x[at] @ weights.T + bias
        noise[at] = _chain(x.shape[-1]) * FLOAT32 * (np.abs(x[at]) @ np.abs(weights).T + np.abs(bias))
    return Expected(values, noise)


def _chain(size: int) -> int:
    """Roundings on the way of one product into a sum of `size`: of 32 lanes, each in four chains, and a bias."""
    return math.ceil(size / 128) + 10
