"""Vectors of sixteen numbers in LLVM's terms: loads, sums and the table look-up that each processor has its own way of.

LLVM splits or fuses such vectors to what the processor has: one register of AVX-512, two of AVX2, four of NEON. What
it doesn't find by itself is chosen here by the processor's features: a look-up in a table of sixteen floats.
"""

from collections.abc import Callable, Sequence
from platform import machine
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, config
from numba.extending import intrinsic

LANES = 16
"""Numbers of a vector."""

FLOAT, BYTE, HALF, INT = ir.FloatType(), ir.IntType(8), ir.IntType(16), ir.IntType(32)
FLOATS, BYTES, HALVES, INTS = (ir.VectorType(kind, LANES) for kind in (FLOAT, BYTE, HALF, INT))

_FEATURES = {
    *(binding.get_host_cpu_features().flatten() if config.CPU_FEATURES is None else config.CPU_FEATURES).split(",")
}
AVX512 = "+avx512f" in _FEATURES
"""Whether the code is for a processor with AVX-512: NUMBA_CPU_FEATURES, else this one."""
BYTE_PRODUCTS = {"+avx512vnni", "+avx512vbmi"} <= _FEATURES
"""Whether that adds products of 64 bytes, and looks as many up in a table of 64."""

ARM = machine() in ("aarch64", "arm64")
"""Whether it is for an ARM processor, else x86-64."""

_BYTE_SHUFFLE = "llvm.aarch64.neon.tbl1.v16i8" if ARM else "llvm.x86.ssse3.pshuf.b.128"
# The sum of a vector's items may be formed in any order, but NaN and infinities are numbers like others.
LOOSE = ("reassoc", "contract")


def emitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numba's that is written in LLVM's terms: it gives its signature, and what writes its code."""
    made: Callable[..., Any] = intrinsic(function)
    return made


def splat(value: float, kind: ir.VectorType = INTS) -> ir.Constant:
    """A vector of one constant."""
    return ir.Constant(kind, [value] * kind.count)


class Place:
    """A place in memory where items of one type lie one after another, at any address."""

    def __init__(self, builder: ir.IRBuilder, pointer: ir.Value, item: ir.Type) -> None:
        self._builder, self._pointer, self.item = builder, pointer, item

    def after(self, items: ir.Value) -> "Place":
        """The place so many items on."""
        at = self._builder.gep(self._pointer, [items], source_etype=self.item)
        return Place(self._builder, at, self.item)

    def load(self, start: ir.Value, count: int = LANES) -> ir.Value:
        """The vector of `count` items from `start` on."""
        kind = ir.VectorType(self.item, count)
        return self._builder.load(self.after(start)._pointer, align=1, typ=kind)

    def fetch(self, start: ir.Value, ahead: int = 0) -> None:
        """Has the cache line fetched that lies `ahead` bytes after item `start`; no address is wrong."""
        builder, at = self._builder, self.after(start)._pointer
        pointer = builder.gep(builder.bitcast(at, cgutils.voidptr_t), [INT(ahead)], source_etype=BYTE)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, INT, INT, INT])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(fetch, [pointer, INT(0), INT(2), INT(1)])  # to be read, second level, data

    def store(self, vector: ir.Value, start: ir.Value) -> None:
        """The vector to `start` and on."""
        at = self.after(start)._pointer
        self._builder.store(vector, self._builder.bitcast(at, vector.type.as_pointer()), align=4)


AHEAD = 8192
"""Bytes by which a stream is fetched before its use, which processors do within a page of 4 KiB alone. Into the second
level, which waits for more lines at once than the first: two threads read 26 instead of 11 GB/s of bfloat16 on a
processor (Zen 4) where fetching into the first level changed nothing. 4 KiB gained half of that, 16 KiB no more."""


def array_at(context: Any, builder: ir.IRBuilder, kind: Any, value: ir.Value) -> Place:
    """Where the items of one of numba's arrays begin."""
    return Place(builder, context.make_array(kind)(context, builder, value).data, context.get_data_type(kind.dtype))


def fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a * b + c, rounded once where the processor can; never in another order, so that every loop has the same sums."""
    return intrinsic_call(builder, "llvm.fmuladd.v16f32", FLOATS, [a, b, c])


def spread(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType) -> ir.Value:
    """A vector of one value."""
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, INT(0))
    return shuffle(builder, one, [0] * kind.count)


def shuffle(builder: ir.IRBuilder, vector: ir.Value, places: Sequence[int]) -> ir.Value:
    """The vector's items at `places`, in that order."""
    kind = ir.VectorType(INT, len(places))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), ir.Constant(kind, list(places)))


def joined(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The items of a, and then those of b, which are as many."""
    kind = ir.VectorType(INT, 2 * a.type.count)
    return builder.shuffle_vector(a, b, ir.Constant(kind, list(range(2 * a.type.count))))


def total(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """The sum of a vector of floats."""
    kind = ir.FunctionType(FLOAT, [FLOAT, FLOATS])
    add = cgutils.get_or_insert_function(builder.module, kind, "llvm.vector.reduce.fadd.v16f32")
    return builder.call(add, [FLOAT(0.0), vector], fastmath=LOOSE)


def intrinsic_call(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: Sequence[Any]) -> ir.Value:
    """A call of one of LLVM's intrinsics."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def nibbles_looked_up(builder: ir.IRBuilder, words: ir.Value, table: Sequence[int]) -> list[ir.Value]:
    """The eight 4-bit codes of each of sixteen words, lowest first, as `table` [16] has them: eight vectors of floats.

    `table` holds whole numbers within a signed byte. AVX-512 looks sixteen codes up in a register of sixteen floats and
    takes no notice of the bits above a code (1 shift and 1 permutation a vector). Others look up bytes, which are then
    widened in their words: half a shuffle, two shifts and a conversion a vector.
    """
    if AVX512:
        floats = ir.Constant(FLOATS, [FLOAT(float(value)) for value in table])
        shifted = [words, *(builder.lshr(words, splat(4 * place)) for place in range(1, 8))]
        name = "llvm.x86.avx512.permvar.sf.512"
        return [intrinsic_call(builder, name, FLOATS, [floats, codes]) for codes in shifted]
    low = splat(0x0F0F0F0F)
    halves = [
        _bytes_looked_up(builder, builder.and_(part, low), table) for part in (words, builder.lshr(words, splat(4)))
    ]
    return [byte_as_float(builder, halves[place % 2], place // 2, signed=True) for place in range(8)]


def nibbles_as_bytes(builder: ir.IRBuilder, packed: ir.Value, table: Sequence[int]) -> list[ir.Value]:
    """The lower 4-bit codes of 64 bytes and the upper ones, as `table` [16] has them. It is repeated, so that the bits
    above a code have no effect."""
    kind = packed.type
    entries = ir.Constant(kind, [*table] * 4)
    upper = builder.bitcast(builder.lshr(builder.bitcast(packed, INTS), splat(4)), kind)
    return [
        intrinsic_call(builder, "llvm.x86.avx512.permvar.qi.512", kind, [entries, codes]) for codes in (packed, upper)
    ]


def byte_products(builder: ir.IRBuilder, sums: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """`sums` int32 [16], each plus four products of bytes in turn: those of a have no sign, those of b have."""
    operands = [sums, *(builder.bitcast(each, INTS) for each in (a, b))]
    return intrinsic_call(builder, "llvm.x86.avx512.vpdpbusd.512", INTS, operands)


def byte_as_float(builder: ir.IRBuilder, words: ir.Value, place: int, *, signed: bool) -> ir.Value:
    """Byte `place` (0 the lowest) of each of sixteen words as a float."""
    up = builder.shl(words, splat(24 - 8 * place)) if place < 3 else words
    if signed:
        return builder.sitofp(builder.ashr(up, splat(24)), FLOATS)
    return builder.sitofp(builder.lshr(up, splat(24)), FLOATS)


def _bytes_looked_up(builder: ir.IRBuilder, words: ir.Value, table: Sequence[int]) -> ir.Value:
    """Sixteen words of four bytes 0..15, each byte replaced by its value in the table."""
    entries = ir.Constant(BYTES, [BYTE(value) for value in table])
    four = ir.VectorType(INT, 4)
    parts = []
    for first in range(0, LANES, 4):
        codes = builder.bitcast(shuffle(builder, words, range(first, first + 4)), BYTES)
        parts.append(builder.bitcast(intrinsic_call(builder, _BYTE_SHUFFLE, BYTES, [entries, codes]), four))
    return joined(builder, joined(builder, *parts[:2]), joined(builder, *parts[2:]))
