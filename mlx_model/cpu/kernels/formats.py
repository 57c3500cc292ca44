"""How weights lie in memory, and the vector code that makes numbers of them, a chunk of a row at a time.

A matrix is a named tuple of numpy arrays, which may be views of a mapped file at any address; its class says how it is
packed. Each class has `fields`, the numbers that are packed into a lane (a word) of a vector of sixteen words:

| class | a chunk | bytes | fields |
|---|---|---:|---:|
| Floats | 32 weights, bfloat16 or float32 | 64, 128 | 1 |
| Affine8 | 64 codes of 8 bits, their scale and offset | 64 + 4 | 1 |
| Affine6 | 64 codes of 6 bits, likewise | 48 + 4 | 4 |
| Affine4 | 128 codes of 4 bits, two scales and offsets | 64 + 8 | 8 |
| Experts | 128 codes of 4 bits (E2M1), four scales | 64 + 4 | 8 |

Codes are taken out of their words by shifts, all lanes at once: field j of lane i is weight fields * i + j of its
chunk. So activations are put into that order once (`lanes.py`) instead of weights at every use.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, ClassVar, NamedTuple

from llvmlite import ir
from numpy.typing import NDArray

from mlx_model.cpu.kernels import vectors as v
from mlx_model.cpu.kernels.digits import BIAS, PLACES

Array = NDArray[Any]


class Floats(NamedTuple):
    """weight [n, k] uint16 (the bits of bfloat16) or float32; bias float32 [n] or [0]. k is a multiple of 32."""

    weight: Array
    bias: Array


class Affine8(NamedTuple):
    """codes uint8 [n, k], scales and offsets [n, k / 64] uint16 (bfloat16) or float32: code * scale + offset."""

    codes: Array
    scales: Array
    offsets: Array
    bias: Array


class Affine6(NamedTuple):
    """The same with codes uint8 [n, 3 k / 4]: four codes in three bytes, the first in the lowest bits."""

    codes: Array
    scales: Array
    offsets: Array
    bias: Array


class Affine4(NamedTuple):
    """The same with codes uint8 [n, k / 2]: two codes in a byte, the first in the lower half."""

    codes: Array
    scales: Array
    offsets: Array
    bias: Array


class Experts(NamedTuple):
    """blocks uint8 [E, n, k / 2], scales uint8 [E, n, k / 32], as the Hub stores MXFP4; bias float32 [E, n].

    A weight is its E2M1 code times 2^(scale - 127); scale 255, NaN, is for the loader to refuse.
    """

    blocks: Array
    scales: Array
    bias: Array


class Chunk(NamedTuple):
    """Some weights of a row as vectors of floats, times `scale` plus `offset` [16] where there are any."""

    codes: Sequence[ir.Value]
    scale: ir.Value | None = None
    offset: ir.Value | None = None

    def weights(self, builder: ir.IRBuilder) -> list[ir.Value]:
        """The vectors of weights themselves."""
        if self.scale is None:
            return [*self.codes]
        if self.offset is None:
            return [builder.fmul(code, self.scale) for code in self.codes]
        return [v.fma(builder, code, self.scale, self.offset) for code in self.codes]

    def added(self, builder: ir.IRBuilder, xs: Sequence[ir.Value], sums: ir.Value) -> ir.Value:
        """`sums` [16] with these weights times xs: weight by weight, or where there is a scale without an offset, with
        the scale of the sum, which is cheaper."""
        if self.scale is None or self.offset is not None:
            for weight, x in zip(self.weights(builder), xs, strict=True):
                sums = v.fma(builder, weight, x, sums)
            return sums
        half = len(xs) // 2
        parts = [builder.fmul(self.codes[first], xs[first]) for first in (0, half)]
        for at in range(1, half):
            parts = [
                v.fma(builder, self.codes[first + at], xs[first + at], part)
                for first, part in zip((0, half), parts, strict=True)
            ]
        return v.fma(builder, builder.fadd(*parts), self.scale, sums)


class ByteChunk(NamedTuple):
    """A chunk of experts for activations in digits: `codes`, doubled and plus BIAS, as bytes [64] of even and of odd
    weights, times `scale` [16]."""

    codes: Sequence[ir.Value]
    scale: ir.Value

    def added(self, builder: ir.IRBuilder, xs: Sequence[ir.Value], sums: ir.Value) -> ir.Value:
        """`sums` [16] with these weights times xs, the eight vectors of a stretch: see digits.py."""
        *digits, counted, units = xs
        places = [v.splat(0)] * (PLACES - 1) + [builder.bitcast(counted, v.INTS)]
        for place in range(PLACES):  # each place has a sum of its own, so that none waits
            for codes, each in zip(self.codes, digits[2 * place : 2 * place + 2], strict=True):
                places[place] = v.byte_products(builder, places[place], codes, each)
        total = reduce(lambda high, low: builder.add(builder.shl(high, v.splat(8)), low), places)
        total = builder.sitofp(total, v.FLOATS)
        return v.fma(builder, builder.fmul(total, builder.bitcast(units, v.FLOATS)), self.scale, sums)


class Row:
    """Code that reads the chunks of one row, which is row number `row` of `arrays`, whose rows have `k` columns."""

    columns: ClassVar[int]
    """Of a chunk."""
    fields: ClassVar[int]
    scaled_late: ClassVar[bool] = False
    """Whether the scale is that of a chunk's sum, which makes `dot` a quarter faster where it is bound by arithmetic.
    Such rows have other sums by `dot` than by `widen` and `tile`."""

    def __init__(self, builder: ir.IRBuilder, arrays: Sequence[v.Place], row: ir.Value, k: ir.Value) -> None:
        self.builder, self.k = builder, k
        self.arrays = [array.after(self._start(row, index)) for index, array in enumerate(arrays)]

    def items(self, index: int) -> tuple[int, int]:
        """How many items of array number `index` hold how many columns."""
        raise NotImplementedError

    def _start(self, row: ir.Value, index: int) -> ir.Value:
        items, columns = self.items(index)
        return self.times(self.builder.mul(row, self.builder.udiv(self.k, self.k.type(columns))), items)

    def times(self, value: ir.Value, factor: int) -> ir.Value:
        """The product with a constant."""
        return self.builder.mul(value, value.type(factor))

    def fetch_ahead(self, index: ir.Value, rows: int = 0) -> None:
        """Has what lies AHEAD of chunk `index` fetched, or the same chunk so many rows on."""
        items, columns = self.items(0)
        start = self.times(index, self.columns * items // columns)
        if rows:
            self.arrays[0].fetch(self.builder.add(start, self._start(start.type(rows), 0)))
        else:
            self.arrays[0].fetch(start, v.AHEAD)

    def chunk(self, index: ir.Value, *, whole: bool) -> Chunk:
        """Chunk `index` of the row; one that isn't `whole` ends with the row: the rest of it is any of the row's
        weights."""
        raise NotImplementedError

    def byte_chunk(self, index: ir.Value, *, whole: bool) -> ByteChunk:
        """The same for activations in digits, which experts alone meet."""
        raise NotImplementedError


class FloatsRow(Row):
    """See Floats."""

    columns, fields = 32, 1

    def items(self, index: int) -> tuple[int, int]:
        """See Row."""
        return 1, 1

    def chunk(self, index: ir.Value, *, whole: bool) -> Chunk:
        """See Row."""
        start = self.times(index, 32)
        starts = start, self.builder.add(start, start.type(v.LANES))
        return Chunk([_floats(self.builder, self.arrays[0], each, v.LANES) for each in starts])


class Affine8Row(Row):
    """See Affine8."""

    columns, fields = 64, 1
    packed: ClassVar[tuple[int, int]] = (1, 1)

    def items(self, index: int) -> tuple[int, int]:
        """See Row."""
        return self.packed if index == 0 else (1, 64)

    def chunk(self, index: ir.Value, *, whole: bool) -> Chunk:
        """See Row."""
        builder, start = self.builder, self.times(index, 64)
        parts = [self.arrays[0].load(builder.add(start, start.type(v.LANES * part))) for part in range(4)]
        return Chunk([builder.sitofp(builder.zext(part, v.INTS), v.FLOATS) for part in parts], *self.factors(index, 1))

    def factors(self, group: ir.Value, groups: int) -> list[ir.Value]:
        """Scales and offsets from `group` on, each of `groups` over its part of the lanes."""
        places = [lane * groups // v.LANES for lane in range(v.LANES)]
        return [
            v.shuffle(self.builder, _floats(self.builder, array, group, groups), places) for array in self.arrays[1:3]
        ]


class Affine6Row(Affine8Row):
    """See Affine6."""

    columns, fields = 64, 4
    packed = (3, 4)

    def chunk(self, index: ir.Value, *, whole: bool) -> Chunk:
        """See Row."""
        builder = self.builder
        packed = self.arrays[0].load(self.times(index, 48), 48)
        # Three bytes to a word, whose fourth is masked below.
        places = [3 * (byte // 4) + min(byte % 4, 2) for byte in range(64)]
        words = builder.bitcast(v.shuffle(builder, packed, places), v.INTS)
        shifted = [words, *(builder.lshr(words, v.splat(6 * place)) for place in (1, 2, 3))]
        codes = [builder.sitofp(builder.and_(each, v.splat(63)), v.FLOATS) for each in shifted]
        return Chunk(codes, *self.factors(index, 1))


class Affine4Row(Affine8Row):
    """See Affine4."""

    columns, fields = 128, 8
    packed = (1, 2)

    def chunk(self, index: ir.Value, *, whole: bool) -> Chunk:
        """See Row. Past the end are the last 64 weights again."""
        start, group = self.times(index, 64), self.times(index, 2)
        if whole:
            packed, factors = self.arrays[0].load(start, 64), self.factors(group, 2)
        else:
            half = self.arrays[0].load(start, 32)
            packed, factors = v.joined(self.builder, half, half), self.factors(group, 1)
        words = self.builder.bitcast(packed, v.INTS)
        return Chunk(v.nibbles_looked_up(self.builder, words, range(16)), *factors)


class ExpertsRow(Row):
    """See Experts."""

    columns, fields, scaled_late = 128, 8, True
    _E2M1 = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)  # doubled

    def items(self, index: int) -> tuple[int, int]:
        """See Row."""
        return (16, 32) if index == 0 else (1, 32)

    def chunk(self, index: ir.Value, *, whole: bool) -> Chunk:
        """See Row."""
        packed, powers = self._blocks(index, whole=whole)
        words = self.builder.bitcast(packed, v.INTS)
        halves = self.builder.fmul(self._scales(powers), v.splat(0.5, ir.VectorType(v.FLOAT, 4)))
        return Chunk(v.nibbles_looked_up(self.builder, words, self._E2M1), self._spread(halves))

    def byte_chunk(self, index: ir.Value, *, whole: bool) -> ByteChunk:
        """See Row."""
        packed, powers = self._blocks(index, whole=whole)
        codes = v.nibbles_as_bytes(self.builder, packed, [BIAS + code for code in self._E2M1])
        return ByteChunk(codes, self._spread(self._scales(powers)))

    def _blocks(self, index: ir.Value, *, whole: bool) -> tuple[ir.Value, ir.Value]:
        """Four blocks and their scales. Past the end is the last block again, as often as needed."""
        builder, first = self.builder, self.times(index, 4)
        blocks, scales = self.arrays
        if whole:
            return blocks.load(self.times(first, 16), 64), scales.load(first, 4)
        last = builder.sub(builder.udiv(self.k, self.k.type(32)), self.k.type(1))
        numbers = [self._least(builder.add(first, first.type(place)), last) for place in range(4)]
        a, b, c, d = (blocks.load(self.times(number, 16), 16) for number in numbers)
        packed = v.joined(builder, v.joined(builder, a, b), v.joined(builder, c, d))
        a, b, c, d = (scales.load(number, 1) for number in numbers)
        return packed, v.joined(builder, v.joined(builder, a, b), v.joined(builder, c, d))

    def _least(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.select(self.builder.icmp_unsigned("<", a, b), a, b)

    def _scales(self, powers: ir.Value) -> ir.Value:
        """2^(power - 127) of four blocks. 2^-127 is subnormal."""
        builder, ints = self.builder, ir.VectorType(v.INT, 4)
        bits, least = builder.shl(builder.zext(powers, ints), v.splat(23, ints)), v.splat(1 << 22, ints)
        bits = builder.select(builder.icmp_unsigned("<", bits, least), least, bits)
        return builder.bitcast(bits, ir.VectorType(v.FLOAT, 4))

    def _spread(self, scales: ir.Value) -> ir.Value:
        """Those of four blocks in the lanes of each."""
        return v.shuffle(self.builder, scales, [lane // 4 for lane in range(v.LANES)])


def _floats(builder: ir.IRBuilder, array: v.Place, start: ir.Value, count: int) -> ir.Value:
    """`count` floats from `start` on of an array of float32, or of uint16 with the bits of bfloat16."""
    items = array.load(start, count)
    if array.item == v.FLOAT:
        return items
    ints = ir.VectorType(v.INT, count)
    bits = builder.shl(builder.zext(items, ints), v.splat(16, ints))
    return builder.bitcast(bits, ir.VectorType(v.FLOAT, count))


ROWS: dict[type, type[Row]] = {
    Floats: FloatsRow,
    Affine8: Affine8Row,
    Affine6: Affine6Row,
    Affine4: Affine4Row,
    Experts: ExpertsRow,
}


def fields_of(matrix: type) -> int:
    """The order in which activations meet a matrix of this class."""
    return ROWS[matrix].fields
