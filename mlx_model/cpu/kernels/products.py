"""The three loops of all products: a row with one vector, a row made floats, and a tile of rows with some vectors.

`dot`    one token: a row is read in one stream, at the memory's speed, and nothing of it is kept.
`widen`  a stretch of a row to a line of a panel [ROWS, COLUMNS] of floats, which stays in the first-level cache.
`tile`   the panel with one to three tokens: 24 sums in registers, for which 11 vectors are read.

So weights are read and decoded once for many tokens, in one stream, whatever their format.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from mlx_model.cpu.kernels import vectors as v
from mlx_model.cpu.kernels.formats import ROWS, Row

ROWS_OF_PANEL = 8 if v.AVX512 or v.ARM else 4
"""Rows of a tile: with three tokens as many sums as 32 registers hold, or 16."""
COLUMNS = 512
"""Columns of a panel, a multiple of every format's chunk: 16 KiB."""
TOKENS = 3
"""Most tokens of a tile."""

Codegen = Callable[[Any, ir.IRBuilder, Any, Any], ir.Value]


def _row(context: Any, builder: ir.IRBuilder, kind: Any, matrix: ir.Value, row: ir.Value) -> Row:
    """Row number `row` of a matrix; of experts, all their rows one after another."""
    rows = ROWS[kind.instance_class]
    arrays = [builder.extract_value(matrix, index) for index in range(len(kind.types) - 1)]  # without the bias
    places = [v.array_at(context, builder, ty, array) for ty, array in zip(kind.types, arrays, strict=False)]
    items, columns = rows.items(rows, 0)  # type: ignore[arg-type]
    first = context.make_array(kind.types[0])(context, builder, arrays[0])
    length = cgutils.unpack_tuple(builder, first.shape)[-1]
    return rows(builder, places, row, builder.mul(builder.udiv(length, length.type(items)), length.type(columns)))


@v.emitted
def dot(typingctx: Any, matrix: Any, row: Any, x: Any, token: Any) -> tuple[Any, Codegen]:
    """The sum of row `row` of the matrix times x[token], which is in the order of the matrix' fields."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        weights = _row(context, builder, sig.args[0], args[0], args[1])
        inputs = _line(context, builder, sig.args[2], args[2], args[3])
        columns, unroll = weights.columns, weights.unroll
        vectors = columns // v.LANES
        sums = [cgutils.alloca_once_value(builder, v.splat(0, v.FLOATS)) for _ in range(unroll * vectors)]

        def add(index: ir.Value, part: int, *, whole: bool) -> None:
            chunk = weights.chunk(index, whole=whole)
            start = builder.mul(index, index.type(columns))
            xs = [inputs.load(builder.add(start, start.type(v.LANES * at))) for at in range(vectors)]
            if chunk.scale is None:
                for at, (code, x) in enumerate(zip(chunk.codes, xs, strict=True)):
                    slot = sums[part * vectors + at]
                    builder.store(v.fma(builder, code, x, builder.load(slot)), slot)
                return
            # The scale is applied to the chunk's sum, not to each weight.
            inner = builder.fmul(chunk.codes[0], xs[0])
            for code, x in zip(chunk.codes[1:], xs[1:], strict=True):
                inner = v.fma(builder, code, x, inner)
            outer = v.fma(builder, inner, chunk.scale, builder.load(sums[part * vectors]))
            if chunk.offset is not None:
                plain = xs[0]
                for x in xs[1:]:
                    plain = builder.fadd(plain, x)
                outer = v.fma(builder, plain, chunk.offset, outer)
            builder.store(outer, sums[part * vectors])

        _for_chunks(builder, weights, weights.k, unroll, add)
        result = builder.load(sums[0])
        for slot in sums[1:]:
            result = builder.fadd(result, builder.load(slot))
        return v.total(builder, result)

    return types.float32(matrix, types.int64, x, types.int64), codegen


@v.emitted
def widen(typingctx: Any, matrix: Any, row: Any, start: Any, columns: Any, panel: Any, at: Any) -> tuple[Any, Codegen]:
    """Columns start .. start + columns of a row to panel[at ..], flat, in the order of the matrix' fields.

    `start` is a multiple of COLUMNS; `columns` are at most as many, or fewer where the row ends.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        weights = _row(context, builder, sig.args[0], args[0], args[1])
        out = v.array_at(context, builder, sig.args[4], args[4]).after(args[5])
        first = builder.udiv(args[2], args[2].type(weights.columns))

        def put(index: ir.Value, part: int, *, whole: bool) -> None:
            at = builder.mul(index, index.type(weights.columns))
            for vector in weights.chunk(builder.add(first, index), whole=whole).weights(builder):
                out.store(vector, at)
                at = builder.add(at, at.type(v.LANES))

        left = builder.sub(weights.k, args[2])
        shorter = builder.icmp_signed("<", left, args[3])
        _for_chunks(builder, weights, builder.select(shorter, left, args[3]), 1, put)
        return context.get_dummy_value()

    return types.void(matrix, types.int64, types.int64, types.int64, panel, types.int64), codegen


def _for_chunks(builder: ir.IRBuilder, weights: Row, k: ir.Value, unroll: int, body: Callable[..., None]) -> None:
    """body(index, part, whole=...) for the chunks of k columns, `unroll` of them in a turn."""
    size = k.type
    whole = builder.udiv(k, size(weights.columns))
    turns = builder.udiv(whole, size(unroll))
    with cgutils.for_range(builder, turns) as loop:
        for part in range(unroll):
            body(builder.add(builder.mul(loop.index, size(unroll)), size(part)), part, whole=True)
    if unroll > 1:
        done = builder.mul(turns, size(unroll))
        with cgutils.for_range(builder, builder.sub(whole, done)) as loop:
            body(builder.add(done, loop.index), 0, whole=True)
    if weights.columns > 64:
        rest = builder.urem(k, size(weights.columns))
        with builder.if_then(builder.icmp_unsigned(">", rest, size(0))):
            body(whole, 0, whole=False)


def _line(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, line: ir.Value) -> v.Place:
    """Where a line of a contiguous array [lines, length] begins."""
    length = cgutils.unpack_tuple(builder, context.make_array(kind)(context, builder, array).shape)[-1]
    return v.array_at(context, builder, kind, array).after(builder.mul(line, length))


def _tile(tokens: int) -> Any:
    """tile(panel, x, start, columns, sums, at, *lines): panel [ROWS_OF_PANEL, COLUMNS] times x[line, start ..] of each
    line, so many columns, added to sums[at ..] of sums [.., ROWS_OF_PANEL, 16]; panel and sums are flat."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        panel, x, start, columns, sums, at, *lines = args
        weights = v.array_at(context, builder, sig.args[0], panel)
        inputs = [_line(context, builder, sig.args[1], x, line).after(start) for line in lines]
        size = columns.type
        out = v.array_at(context, builder, sig.args[4], sums)
        places = [
            builder.add(builder.mul(at, size(ROWS_OF_PANEL * v.LANES)), size(index * v.LANES))
            for index in range(tokens * ROWS_OF_PANEL)
        ]
        slots = [cgutils.alloca_once_value(builder, out.load(place)) for place in places]
        with cgutils.for_range(builder, builder.udiv(columns, size(v.LANES))) as loop:
            column = builder.mul(loop.index, size(v.LANES))
            xs = [each.load(column) for each in inputs]
            for row in range(ROWS_OF_PANEL):
                w = weights.load(builder.add(column, size(row * COLUMNS)))
                for token, vector in enumerate(xs):
                    slot = slots[token * ROWS_OF_PANEL + row]
                    builder.store(v.fma(builder, w, vector, builder.load(slot)), slot)
        for slot, place in zip(slots, places, strict=True):
            out.store(builder.load(slot), place)
        return context.get_dummy_value()

    return codegen


@v.emitted
def tile_one(typingctx: Any, panel: Any, x: Any, start: Any, columns: Any, sums: Any, at: Any, a: Any) -> Any:
    """See _tile."""
    return types.void(panel, x, *[types.int64] * 2, sums, *[types.int64] * 2), _tile(1)


@v.emitted
def tile_two(typingctx: Any, panel: Any, x: Any, start: Any, columns: Any, sums: Any, at: Any, a: Any, b: Any) -> Any:
    """See _tile."""
    return types.void(panel, x, *[types.int64] * 2, sums, *[types.int64] * 3), _tile(2)


@v.emitted
def tile_three(
    typingctx: Any, panel: Any, x: Any, start: Any, columns: Any, sums: Any, at: Any, a: Any, b: Any, c: Any
) -> Any:
    """See _tile."""
    return types.void(panel, x, *[types.int64] * 2, sums, *[types.int64] * 4), _tile(3)


@v.emitted
def total(typingctx: Any, sums: Any, token: Any, row: Any) -> Any:
    """The sum of sums[token, row] [16], where sums [.., ROWS_OF_PANEL, 16] is flat."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        size = args[1].type
        line = builder.add(builder.mul(args[1], size(ROWS_OF_PANEL)), args[2])
        return v.total(
            builder, v.array_at(context, builder, sig.args[0], args[0]).load(builder.mul(line, size(v.LANES)))
        )

    return types.float32(sums, types.int64, types.int64), codegen
