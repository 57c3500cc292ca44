"""Random matrices in every format of the CPU's kernels, each with the float64 weights that it stands for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_model.cpu.kernels.formats import Affine4, Affine6, Affine8, Experts, Floats, fields_of
from mlx_model.cpu.kernels.lanes import arrange, padded
from mlx_model.cpu.threads import Team

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])
WIDTHS: dict[type, int] = {Affine8: 8, Affine6: 6, Affine4: 4}
TEAMS = {threads: Team(threads) for threads in (1, 2, 4)}


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Read-only and at an odd multiple of 8 bytes, as views of a mapped file are."""
    spare = np.zeros(array.nbytes + 24, np.uint8)
    first = 8 + -spare.ctypes.data % 16
    moved = spare[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    moved[...] = array
    moved.flags.writeable = False
    return moved


def bfloat16(rng: np.random.Generator, *shape: int) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """Random numbers around 0.1, as bits and as what they are."""
    numbers = rng.normal(scale=0.1, size=shape).astype(np.float32)
    bits = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    return frozen(bits), (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def dense_matrix(
    rng: np.random.Generator, kind: type, rows: int, columns: int, *, biased: bool = True
) -> tuple[Any, NDArray[np.float64], NDArray[np.float32]]:
    """(matrix, weights [rows, columns], bias [rows])."""
    bias = rng.normal(size=rows).astype(np.float32) if biased else np.zeros(rows, np.float32)
    stored = frozen(bias if biased else bias[:0])
    if kind is Floats:
        bits, weights = bfloat16(rng, rows, columns)
        return Floats(bits, stored), weights, bias
    width = WIDTHS[kind]
    codes = rng.integers(0, 1 << width, (rows, columns))
    flags = (codes[..., None] >> np.arange(width) & 1).astype(np.uint8).reshape(rows, -1)  # low bits first, row by row
    scales, factor = bfloat16(rng, rows, columns // 64)
    offsets, plus = bfloat16(rng, rows, columns // 64)
    values = codes.astype(np.float64) * np.repeat(factor, 64, axis=1) + np.repeat(plus, 64, axis=1)
    return kind(frozen(np.packbits(flags, axis=1, bitorder="little")), scales, offsets, stored), values, bias


def expert_matrix(
    rng: np.random.Generator, experts: int, rows: int, columns: int
) -> tuple[Experts, NDArray[np.float64], NDArray[np.float32]]:
    """(matrix, weights [experts, rows, columns], bias [experts, rows])."""
    blocks = rng.integers(0, 256, (experts, rows, columns // 2), dtype=np.uint8)
    scales = rng.integers(118, 126, (experts, rows, columns // 32), dtype=np.uint8)
    bias = rng.normal(size=(experts, rows)).astype(np.float32)
    return Experts(frozen(blocks), frozen(scales), frozen(bias)), unpacked(blocks, scales), bias


def in_slots(rng: np.random.Generator, matrix: Experts) -> tuple[Experts, NDArray[np.int32]]:
    """The same experts in some other order, and where each of them is."""
    slots = rng.permutation(len(matrix.bias)).astype(np.int32)
    order = np.argsort(slots)
    return Experts(frozen(matrix.blocks[order]), frozen(matrix.scales[order]), matrix.bias), frozen(slots)


def unpacked(blocks: NDArray[np.uint8], scales: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What MXFP4 stands for (OCP Microscaling Formats 1.0)."""
    values = np.stack([E2M1[blocks & 15], E2M1[blocks >> 4]], axis=-1).reshape(*blocks.shape[:-1], -1)
    factors: NDArray[np.float64] = np.repeat(np.exp2(scales.astype(np.float64) - 127), 32, axis=-1)
    return values * factors


def arranged(x: NDArray[np.float32], kind: type) -> NDArray[np.float32]:
    """Rows in the order in which they meet a matrix of this class."""
    fields = fields_of(kind)
    out = np.zeros((len(x), padded(x.shape[1], fields)), np.float32)
    for row, line in zip(x, out, strict=True):
        arrange(row, fields, line)
    return out


def in_digits(x: NDArray[np.float32]) -> NDArray[np.int8]:
    """Rows of whole blocks as digits for experts (kernels/digits.py)."""
    out = np.zeros((len(x), padded(x.shape[1], 8)), np.float32).view(np.int8)
    for row, line in zip(x, out, strict=True):
        arrange(row, 8, line)
    return out


def read_digits(lines: NDArray[np.int8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(numbers, units), each [T, columns], of lines of digits. Numbers are whole."""
    columns = lines.shape[1] // 4
    stretches = lines.reshape(len(lines), columns // 128, 512)
    digits = stretches[:, :, :384].reshape(*stretches.shape[:2], 3, 2, 64).astype(np.int64)
    numbers = (digits[:, :, 0] * 256 + digits[:, :, 1]) * 256 + digits[:, :, 2]
    numbers = np.swapaxes(numbers, 2, 3).reshape(*stretches.shape[:2], 128)
    sums = np.ascontiguousarray(stretches[:, :, 384:448]).view(np.int32)
    np.testing.assert_array_equal(sums, -12 * numbers.reshape(*sums.shape, 8).sum(axis=-1))
    halves = np.ascontiguousarray(stretches[:, :, 448:]).view(np.float32).astype(np.float64)
    units = 2 * np.repeat(halves, 8, axis=2)
    return numbers.reshape(len(lines), columns).astype(np.float64), units.reshape(len(lines), columns)
