"""The three loops of all products: a row with a few vectors, a row made floats, and a tile of rows with some vectors.

`dot`    one or two tokens: a row is read in one stream, at the memory's speed, and nothing of it is kept.
`widen`  a stretch of a row to a line of a panel [ROWS, COLUMNS] of floats, which stays in the first-level cache.
`tile`   the panel with one to three tokens: 24 sums in registers, for which 11 vectors are read.

So weights are read and decoded once for many tokens, in one stream, whatever their format. Of a dense matrix both ways
add the same numbers in the same order: a token's product has the same bits, however many there are.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.types.containers import UniTuple

from mlx_model.cpu.kernels import vectors as v
from mlx_model.cpu.kernels.digits import STRETCH
from mlx_model.cpu.kernels.formats import ROWS, Row

ROWS_OF_PANEL = 8 if v.AVX512 or v.ARM else 4
"""Rows of a tile: with three tokens as many sums as 32 registers hold, or 16."""
COLUMNS = 512
"""Columns of a panel, a multiple of every format's chunk: 16 KiB."""
TOKENS = 3
"""Most tokens of a tile."""
CHAINS = 2
"""Sums of a product: blocks of COLUMNS are added to them in turn, and they to each other in the end."""

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


def _dots(tokens: int) -> Codegen:
    """dot(matrix, row, x, *lines): the sums of row `row` of the matrix times x[line] for each line, all of which are in
    the order of the matrix' fields, or for experts in digits where x is int8. Each has the bits that it has alone."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        matrix, row, x, *lines = args
        weights = _row(context, builder, sig.args[0], matrix, row)
        in_digits = sig.args[2].dtype == types.int8
        inputs = [_line(context, builder, sig.args[2], x, line) for line in lines]
        sums = [[cgutils.alloca_once_value(builder, v.splat(0, v.FLOATS)) for _ in range(CHAINS)] for _ in lines]

        def add(index: ir.Value, chain: int, *, whole: bool) -> None:
            chunk = (weights.byte_chunk if in_digits else weights.chunk)(index, whole=whole)
            weights.fetch_ahead(index)
            items, each = (STRETCH, 64) if in_digits else (weights.columns, v.LANES)
            start = builder.mul(index, index.type(items))
            for line, slots in zip(inputs, sums, strict=True):
                xs = [line.load(builder.add(start, start.type(at)), each) for at in range(0, items, each)]
                builder.store(chunk.added(builder, xs, builder.load(slots[chain])), slots[chain])

        if weights.scaled_late:
            _for_chunks(builder, weights, weights.k, lambda index, whole: add(index, 0, whole=whole))
        else:
            _for_blocks(builder, weights, add)
        results = [v.total(builder, builder.fadd(*map(builder.load, slots))) for slots in sums]
        return results[0] if tokens == 1 else context.make_tuple(builder, sig.return_type, results)

    return codegen


@v.emitted
def dot(typingctx: Any, matrix: Any, row: Any, x: Any, a: Any) -> Any:
    """See _dots."""
    return types.float32(matrix, types.int64, x, types.int64), _dots(1)


@v.emitted
def dot_two(typingctx: Any, matrix: Any, row: Any, x: Any, a: Any, b: Any) -> Any:
    """See _dots."""
    return UniTuple(types.float32, 2)(matrix, types.int64, x, *[types.int64] * 2), _dots(2)


@v.emitted
def widen(typingctx: Any, matrix: Any, row: Any, start: Any, columns: Any, panel: Any, at: Any) -> tuple[Any, Codegen]:
    """Columns start .. start + columns of a row to panel[at ..], flat, in the order of the matrix' fields.

    `start` is a multiple of COLUMNS; `columns` are at most as many, or fewer where the row ends.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        weights = _row(context, builder, sig.args[0], args[0], args[1])
        out = v.array_at(context, builder, sig.args[4], args[4]).after(args[5])
        first = builder.udiv(args[2], args[2].type(weights.columns))

        def put(index: ir.Value, whole: bool) -> None:
            at, chunk = builder.mul(index, index.type(weights.columns)), builder.add(first, index)
            weights.fetch_ahead(chunk, ROWS_OF_PANEL)
            for vector in weights.chunk(chunk, whole=whole).weights(builder):
                out.store(vector, at)
                at = builder.add(at, at.type(v.LANES))

        left = builder.sub(weights.k, args[2])
        shorter = builder.icmp_signed("<", left, args[3])
        _for_chunks(builder, weights, builder.select(shorter, left, args[3]), put)
        return context.get_dummy_value()

    return types.void(matrix, types.int64, types.int64, types.int64, panel, types.int64), codegen


def _for_chunks(builder: ir.IRBuilder, weights: Row, k: ir.Value, body: Callable[[ir.Value, bool], None]) -> None:
    """body(index, whole) for the chunks of k columns."""
    size = k.type
    whole = builder.udiv(k, size(weights.columns))
    with cgutils.for_range(builder, whole) as loop:
        body(loop.index, True)
    if weights.columns > 64:
        rest = builder.urem(k, size(weights.columns))
        with builder.if_then(builder.icmp_unsigned(">", rest, size(0))):
            body(whole, False)


def _for_blocks(builder: ir.IRBuilder, weights: Row, body: Callable[..., None]) -> None:
    """body(index, chain, whole=...) for the chunks of a row, of two blocks of COLUMNS in turn, where there are two.

    Each chain is a sum of its own, so that they don't wait for each other; in each the chunks come in their order.
    """
    size, each = weights.k.type, COLUMNS // weights.columns
    whole = builder.udiv(weights.k, size(weights.columns))
    pairs = builder.udiv(whole, size(CHAINS * each))
    with cgutils.for_range(builder, pairs) as pair:
        first = builder.mul(pair.index, size(CHAINS * each))
        with cgutils.for_range(builder, size(each)) as loop:
            for chain in range(CHAINS):
                body(builder.add(builder.add(first, loop.index), size(chain * each)), chain, whole=True)
    done = builder.mul(pairs, size(CHAINS * each))
    rest = builder.sub(whole, done)
    is_longer = builder.icmp_unsigned(">", rest, size(each))
    with cgutils.for_range(builder, builder.select(is_longer, size(each), rest)) as loop:
        body(builder.add(done, loop.index), 0, whole=True)
    with cgutils.for_range(builder, builder.select(is_longer, builder.sub(rest, size(each)), size(0))) as loop:
        body(builder.add(builder.add(done, size(each)), loop.index), 1, whole=True)
    if weights.columns > 64:
        left = builder.urem(weights.k, size(weights.columns))
        with builder.if_then(builder.icmp_unsigned(">", left, size(0))):
            in_second = builder.icmp_unsigned(">=", rest, size(each))
            with builder.if_else(in_second) as (second, first_block):
                with second:
                    body(whole, 1, whole=False)
                with first_block:
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
def total(typingctx: Any, sums: Any, tokens: Any, token: Any, row: Any) -> Any:
    """The product of a token and a row, from sums [CHAINS, tokens, ROWS_OF_PANEL, 16], flat."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        _, count, token, row = args
        size, place = count.type, v.array_at(context, builder, sig.args[0], args[0])

        def chain(first: ir.Value) -> ir.Value:
            line = builder.add(builder.mul(first, size(ROWS_OF_PANEL)), row)
            return place.load(builder.mul(line, size(v.LANES)))

        return v.total(builder, builder.fadd(chain(token), chain(builder.add(token, count))))

    return types.float32(sums, *[types.int64] * 3), codegen
