"""Rotary position embedding with YaRN, as gpt-oss was trained: cosine and sine tables."""

import math
from collections.abc import Callable
from typing import Generic, TypeVar

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_model.transformer.config import ModelConfig, Yarn

_TABLE_STEP = 4096


def inverse_frequencies(head_dim: int, theta: float, yarn: Yarn) -> NDArray[np.float64]:
    """Radians a position turns each of the head_dim/2 pairs, float64 [head_dim/2].

    Fast pairs keep their frequency, slow ones are interpolated by `yarn.factor`, with a linear ramp between (YaRN,
    Peng et al. 2023, eq. 17-23; gpt_oss/torch/model.py). The ramp's ends are real numbers: gpt-oss sets
    `truncate: false`, and rounding them, as the paper's code does, changes 9 of the 32 frequencies.
    """
    pairs = head_dim // 2
    frequency: NDArray[np.float64] = theta ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)

    def pair_turning(rotations: float) -> float:
        return pairs * math.log(yarn.original_context / (rotations * 2 * math.pi)) / math.log(theta)

    low, high = pair_turning(yarn.beta_fast), pair_turning(yarn.beta_slow)
    if yarn.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    ramp = np.clip((np.arange(pairs) - low) / max(high - low, 1e-3), 0, 1)
    inverse: NDArray[np.float64] = ramp / (yarn.factor * frequency) + (1 - ramp) / frequency
    return inverse


def concentration(yarn: Yarn) -> float:
    """YaRN's factor on queries and on keys, 0.1 ln(factor) + 1."""
    return 0.1 * math.log(yarn.factor) + 1 if yarn.factor > 1 else 1.0


def score_scale(config: ModelConfig) -> float:
    """The factor on attention scores: 1/sqrt(head_dim), times YaRN's concentration for the query and for the key."""
    return concentration(config.yarn) ** 2 / math.sqrt(config.head_dim)


Table = TypeVar("Table", mx.array, NDArray[np.float32])


class RopeTable(Generic[Table]):
    """Cosines and sines by position, float32, made on the host as far as they are needed.

    `held` puts a table where it is read: mx.array, or np.asarray to leave it on the host. Angles are rounded to
    float32 before the cosine is taken, since the reference does so and at position 100,000 that rounding is visible.
    The concentration is not in the table: `score_scale` has its square.
    """

    def __init__(self, config: ModelConfig, held: Callable[[NDArray[np.float32]], Table]) -> None:
        frequencies = inverse_frequencies(config.head_dim, config.rope_theta, config.yarn)
        self._frequencies = frequencies.astype(np.float32)
        self._held: Callable[[NDArray[np.float32]], Table] = held
        empty = held(np.zeros((0, config.head_dim // 2), np.float32))
        self._tables: tuple[Table, Table] = empty, empty

    def at(self, start: int, length: int) -> tuple[Table, Table]:
        """Cosines and sines of positions start .. start + length - 1, each float32 [length, head_dim/2]."""
        cosines, sines = self._tables  # both at once: another thread may put longer or shorter ones in their place
        if start + length > len(cosines):
            positions = math.ceil((start + length) / _TABLE_STEP) * _TABLE_STEP
            angles = np.arange(positions, dtype=np.float32)[:, None] * self._frequencies
            cosines = self._held(np.cos(angles, dtype=np.float64).astype(np.float32))
            sines = self._held(np.sin(angles, dtype=np.float64).astype(np.float32))
            self._tables = cosines, sines
        return cosines[start : start + length], sines[start : start + length]
