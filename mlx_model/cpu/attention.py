"""Attention with sinks and windows on a CPU, compiled by numba: RoPE, the KV cache's rows, the softmax.

A sequence's keys and values lie in blocks of KEY_BLOCK positions, anywhere in memory: a table has their addresses. In a
block are first the keys with the positions side by side, [KV heads, D, KEY_BLOCK], so that the scores of a block are
computed for all its positions at once and no sum runs across a vector; then the values as they come, [KV heads,
KEY_BLOCK, D]. Both are float32, or bfloat16 as uint16. Where a block has room beyond the newest position, values hold
zeros or older values: what is multiplied by a weight of nothing must be a number.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, njit
from numba.core import types
from numba.core.types.misc import CPointer
from numba.extending import intrinsic

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.lanes import place
from mlx_model.transformer.config import KEY_BLOCK

ROWS = 64
"""Queries (of the heads that share keys, of one or more tokens) for which a block of keys is read once at most."""

_NOTHING = np.float32(-1e30)
"""The score of what a query must not see: its weight is zero."""

_BITS = ir.IntType(32)


class Cached(NamedTuple):
    """Where the keys and values of S sequences lie in a layer.

    `tables` int64 [S, blocks] has the addresses of their blocks, `places` int64 [S] the place of each one's first new
    token, counted from the first block's start. `number` is a 0 of the kind that the blocks hold.
    """

    tables: Any
    places: Any
    number: Any


@intrinsic  # type: ignore[untyped-decorator]
def _numbers_at(typingctx: Any, address: Any, number: Any) -> Any:
    """A pointer to numbers of the kind of `number`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return CPointer(number)(types.int64, number), codegen


@kernel
def keys_of(address: Any, number: Any, kv_heads: Any, kv_head: Any, dim: Any) -> Any:
    """The keys [D, KEY_BLOCK] of a head in the block at `address`."""
    return carray(_numbers_at(address, number), (2, kv_heads, dim, KEY_BLOCK))[0, kv_head]


@kernel
def values_of(address: Any, number: Any, kv_heads: Any, kv_head: Any, dim: Any) -> Any:
    """Its values [KEY_BLOCK, D]."""
    return carray(_numbers_at(address, number), (2, kv_heads, KEY_BLOCK, dim))[1, kv_head]


@intrinsic  # type: ignore[untyped-decorator]
def widened(typingctx: Any, number: Any) -> Any:
    """A float32, or a bfloat16 given as uint16, as float32."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (value,) = arguments
        if number == types.float32:
            return value
        return builder.bitcast(builder.shl(builder.zext(value, _BITS), _BITS(16)), ir.FloatType())

    return types.float32(number), codegen


@intrinsic  # type: ignore[untyped-decorator]
def like(typingctx: Any, number: Any, example: Any) -> Any:
    """A float32 as it is where `example` is one, else rounded to bfloat16, as uint16."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = arguments[0]
        if example == types.float32:
            return value
        bits = builder.bitcast(value, _BITS)
        odd = builder.and_(builder.lshr(bits, _BITS(16)), _BITS(1))
        rounded = builder.add(bits, builder.add(odd, _BITS(0x7FFF)))  # to the nearest, of two the even one
        return builder.trunc(builder.lshr(rounded, _BITS(16)), ir.IntType(16))

    return example(number, example), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _power_of_two(typingctx: Any, exponent: Any) -> Any:
    """2 ** exponent for an int32 from -126 to 127."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        shifted = builder.shl(builder.add(arguments[0], _BITS(127)), _BITS(23))
        return builder.bitcast(shifted, ir.FloatType())

    return types.float32(types.int32), codegen


@njit(inline="always")  # type: ignore[untyped-decorator]
def exp(x: Any) -> Any:
    """e ** x for x <= 0 to 2e-7 of it, 0 below -87; unlike the C library's it becomes vector code."""
    x = max(x, np.float32(-87))
    whole = np.int32(x * np.float32(1.44269504) - np.float32(0.5))
    rest = (x - whole * np.float32(0.693359375)) + whole * np.float32(2.12194440e-4)
    power = np.float32(1.9875691500e-4)
    power = power * rest + np.float32(1.3981999507e-3)
    power = power * rest + np.float32(8.3334519073e-3)
    power = power * rest + np.float32(4.1665795894e-2)
    power = power * rest + np.float32(1.6666665459e-1)
    power = power * rest + np.float32(5.0000001201e-1)
    return (power * rest * rest + rest + np.float32(1)) * _power_of_two(whole)


@kernel
def turn(
    queries: Any, keys: Any, values: Any, cosines: Any, sines: Any, kv_head: Any, table: Any, at: Any, number: Any
) -> Any:
    """RoPE for the heads that share one head of keys: the queries in place, the keys into the cache, and the values.

    queries [T, heads * D], keys and values [T, KV heads * D], cosines and sines [T, D/2]; `table` is one sequence's, in
    which the first token's place is `at`.
    """
    half = cosines.shape[1]
    dim = 2 * half
    kv_heads = keys.shape[1] // dim
    share = queries.shape[1] // (kv_heads * dim)
    for t in range(len(queries)):
        cosine, sine = cosines[t], sines[t]
        for head in range(kv_head * share, (kv_head + 1) * share):
            query = queries[t, head * dim : (head + 1) * dim]
            for d in range(half):
                first, second = query[d], query[half + d]
                query[d] = first * cosine[d] - second * sine[d]
                query[half + d] = second * cosine[d] + first * sine[d]
        key, value = keys[t, kv_head * dim : (kv_head + 1) * dim], values[t, kv_head * dim : (kv_head + 1) * dim]
        address, column = table[(at + t) // KEY_BLOCK], (at + t) % KEY_BLOCK
        block = keys_of(address, number, kv_heads, kv_head, dim)
        for d in range(half):
            first, second = key[d], key[half + d]
            block[d, column] = like(first * cosine[d] - second * sine[d], number)
            block[half + d, column] = like(second * cosine[d] + first * sine[d], number)
        kept = values_of(address, number, kv_heads, kv_head, dim)[column]
        for d in range(dim):
            kept[d] = like(value[d], number)


@kernel
def attend(
    queries: Any,
    table: Any,
    at: Any,
    number: Any,
    window: Any,
    sinks: Any,
    scale: Any,
    kv_heads: Any,
    kv_head: Any,
    begin: Any,
    end: Any,
    fields: Any,
    out: Any,
) -> Any:
    """softmax(scale * queries . keys, sinks) times values, for rows `begin` to `end` of those that share `kv_head`.

    A row is a token and one of the heads that share the keys, heads in turn; at most ROWS of them. queries [T, heads *
    D], turned, of one sequence, whose `table` it is and in which the first token's place is `at`. A query sees `window`
    keys at most, its own included. `sinks` [heads] take part in the softmax and carry no value. out [T, ..] takes
    number d of head h as number h * D + d of a row that is arranged by `fields`.
    """
    heads = len(sinks)
    share, dim = heads // kv_heads, queries.shape[1] // heads
    scores, sums, tops = np.empty(KEY_BLOCK, np.float32), np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    results = np.zeros((ROWS, dim), np.float32)
    for row in range(begin, end):
        tops[row - begin], sums[row - begin] = sinks[kv_head * share + row % share], 1
    oldest, newest = max(0, at + begin // share - window + 1), at + (end - 1) // share
    for block in range(oldest // KEY_BLOCK, newest // KEY_BLOCK + 1):
        start = block * KEY_BLOCK
        key = keys_of(table[block], number, kv_heads, kv_head, dim)
        value = values_of(table[block], number, kv_heads, kv_head, dim)
        for row in range(begin, end):
            t, head = row // share, kv_head * share + row % share
            low, high = at + t - window + 1 - start, at + t + 1 - start
            if high <= 0 or low >= KEY_BLOCK:
                continue
            low, high = max(low, 0), min(high, KEY_BLOCK)
            _score(queries[t, head * dim : (head + 1) * dim], key, scale, scores)
            for s in range(low):
                scores[s] = _NOTHING
            for s in range(high, KEY_BLOCK):
                scores[s] = _NOTHING
            at_row = row - begin
            tops[at_row], sums[at_row] = _add(scores, value, low, high, tops[at_row], sums[at_row], results[at_row])
    for row in range(begin, end):
        t, head, inverse = row // share, kv_head * share + row % share, np.float32(1) / sums[row - begin]
        for d in range(dim):
            out[t, place(head * dim + d, fields)] = results[row - begin, d] * inverse


@kernel
def _score(query: Any, keys: Any, scale: Any, scores: Any) -> Any:
    """scores [KEY_BLOCK] = scale * query [D] . keys [D, KEY_BLOCK]."""
    dim, whole = len(query), len(query) // 8 * 8
    for s in range(KEY_BLOCK):
        scores[s] = 0
    for d in range(0, whole, 8):
        q0, q1, q2, q3 = query[d] * scale, query[d + 1] * scale, query[d + 2] * scale, query[d + 3] * scale
        q4, q5, q6, q7 = query[d + 4] * scale, query[d + 5] * scale, query[d + 6] * scale, query[d + 7] * scale
        for s in range(KEY_BLOCK):
            near = q0 * widened(keys[d, s]) + q1 * widened(keys[d + 1, s])
            near += q2 * widened(keys[d + 2, s]) + q3 * widened(keys[d + 3, s])
            far = q4 * widened(keys[d + 4, s]) + q5 * widened(keys[d + 5, s])
            far += q6 * widened(keys[d + 6, s]) + q7 * widened(keys[d + 7, s])
            scores[s] += near + far
    for d in range(whole, dim):
        for s in range(KEY_BLOCK):
            scores[s] += query[d] * scale * widened(keys[d, s])


@kernel
def _add(scores: Any, values: Any, low: Any, high: Any, top: Any, total: Any, result: Any) -> Any:
    """Adds a block's values [KEY_BLOCK, D] from `low` to `high`, weighted by its scores, to result [D].

    `top` and `total` are the largest score and the sum of weights so far; returns both anew.
    """
    best = top
    for s in range(KEY_BLOCK):
        best = max(best, scores[s])
    kept, more = exp(top - best), np.float32(0)
    for s in range(KEY_BLOCK):
        scores[s] = exp(scores[s] - best)
        more += scores[s]
    dim = len(result)
    for d in range(dim):
        result[d] *= kept
    for s in range(low // 8 * 8, high, 8):
        p0, p1, p2, p3 = scores[s], scores[s + 1], scores[s + 2], scores[s + 3]
        p4, p5, p6, p7 = scores[s + 4], scores[s + 5], scores[s + 6], scores[s + 7]
        for d in range(dim):
            near = p0 * widened(values[s, d]) + p1 * widened(values[s + 1, d])
            near += p2 * widened(values[s + 2, d]) + p3 * widened(values[s + 3, d])
            far = p4 * widened(values[s + 4, d]) + p5 * widened(values[s + 5, d])
            far += p6 * widened(values[s + 6, d]) + p7 * widened(values[s + 7, d])
            result[d] += near + far
    return best, total * kept + more
