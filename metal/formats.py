"""How weights are packed, as plain numbers: it loads no MLX, so that a plan of the memory can be made without it."""

from dataclasses import dataclass
from typing import Literal

MXFP4_BLOCK = 32
"""Weights that share one scale in MXFP4 (OCP Microscaling Formats 1.0), along the input dimension."""

QUANT_GROUP = 64
"""Inputs that share one affine scale and offset, where gptoss-chat quantises a dense matrix itself."""

HEAD_DIM = 64
"""Numbers of a query, key or value that the kernels are written for: gpt-oss's own."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How MLX packs a quantised matrix: bits a weight, and how many weights share a scale.

    `mx.quantize` makes "affine" of 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128, and "mxfp4".
    """

    mode: Literal["affine", "mxfp4"]
    bits: int
    group_size: int


MXFP4 = Packing("mxfp4", 4, MXFP4_BLOCK)
