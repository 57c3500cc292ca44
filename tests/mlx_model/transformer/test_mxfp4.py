"""MXFP4 as the model uses it (MLX's operations on uint32 views of the Hub's blocks) against a float64 table.

Expected at the ends of the scale's range: byte 0 is 2^-127, a float32 subnormal, exact on the CPU; from byte
253 on the largest codes exceed float32 and become infinite; byte 255, which OCP reserves for NaN, never gives
a finite number, so that a damaged scale can't pass for a weight.
"""

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from metal.weights import ExpertMatrix
from tests.fixtures.checkpoints import BLOCK

# OCP Microscaling Formats (MX) v1.0, section 5.3: E2M1 elements, E8M0 scales of bias 127.
CODES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
LARGEST_FINITE = 252  # the last scale byte at which all 16 codes are finite in float32
ROWS, BLOCKS = 256, 16


def matrix(shift: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """The Hub's blocks [256, 16, 16] and scales [256, 16], and the values [256, 512] they stand for.

    Row s has scale byte s (rotated by `shift`); its 16 blocks hold every code at each of the 32 positions.
    """
    position, block = np.arange(BLOCK), np.arange(BLOCKS)
    codes = ((position + block[:, None]) % 16).astype(np.uint8)
    packed = codes[:, 0::2] | codes[:, 1::2] << 4
    scale = ((np.arange(ROWS) + shift) % 256).astype(np.uint8)
    with np.errstate(over="ignore"):
        values = (CODES[codes].flatten() * np.exp2(scale.astype(np.float64)[:, None] - 127)).astype(np.float32)
    return np.tile(packed, (ROWS, 1, 1)), np.repeat(scale[:, None], BLOCKS, axis=1), values


def as_words(blocks: NDArray[np.uint8]) -> mx.array:
    """Blocks [..., n, 16] as MLX takes them: uint32 [..., 4 n]."""
    return mx.array(blocks).flatten(-2).view(mx.uint32)


def test_every_scale_code_and_position() -> None:
    blocks, scales, expected = matrix()
    found = np.array(
        mx.dequantize(as_words(blocks), mx.array(scales), group_size=32, bits=4, mode="mxfp4", dtype=mx.float32)
    )
    np.testing.assert_array_equal(found[:255], expected[:255])
    assert np.array_equal(np.signbit(found[:255]), np.signbit(expected[:255]))
    assert found[0].max() == 6 * 2.0**-127
    assert not np.isfinite(found[255]).any()


def test_expert_matrix() -> None:
    """Unit vectors pick out single weights: each of two experts gives its own columns, plus its bias."""
    parts = [matrix(shift) for shift in (0, 100)]
    blocks, scales, values = (np.stack(arrays) for arrays in zip(*parts, strict=True))
    finite = scales <= LARGEST_FINITE
    blocks, scales = blocks * finite[..., None], scales * finite
    values = np.where(finite[..., :1], values, 0)
    bias = np.array([[0.0], [2.0**100]], dtype=np.float32).repeat(ROWS, axis=1)
    experts = ExpertMatrix(as_words(blocks), mx.array(scales), mx.array(bias))
    unit = np.eye(BLOCKS * BLOCK, dtype=np.float32)
    for expert in (0, 1):
        chosen = mx.full((len(unit),), expert, dtype=mx.uint32)
        found = np.array(experts(mx.array(unit[:, None]), chosen).squeeze(1))
        np.testing.assert_array_equal(found, values[expert].T + bias[expert])
    mixed = np.array(experts(mx.array(unit[:2, None]), mx.array([1, 0], dtype=mx.uint32)).squeeze(1))
    np.testing.assert_array_equal(mixed, np.stack([values[1][:, 0] + bias[1], values[0][:, 1]]))
