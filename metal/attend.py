"""Launches the attention of a few new tokens over the KV cache, with sinks, grouped queries and a sliding window.

Without a variant of the kernel, MLX's own operations compute it (metal/portable.py), which define it.
"""

import mlx.core as mx

from metal import portable
from metal.formats import HEAD_DIM
from metal.launch import Call, Kernel, launch, scalar
from metal.operation import Variant

MAX_GROUP = 8
"""Queries that may share a key: with 4 tokens they make 32, which 8 simdgroups hold 4 each."""

_BLOCK = 4
"""Queries a simdgroup holds."""

_UNSPLIT_KEYS = 256
"""Up to here one threadgroup a KV head walks all keys: 8 steps of 32."""

_KEYS_A_SPLIT = 128
_MAX_SPLITS = 32
_THREADGROUPS_A_CORE = 8
_USUAL_CORES = 10

_ATTEND = Kernel.load(
    "attend", ("q", "keys", "values", "sinks", "scale", "start", "length"), ("attended",), ("common",)
)
_MERGE = Kernel.load("merge", ("parts", "sinks"), ("attended",))


def why_not(*, heads: int, kv_heads: int, head_dim: int, dtype: mx.Dtype) -> str | None:
    """Why the kernel can't attend with these heads and this dtype of queries, keys and values; None if it can.

    What a call may ask beyond that is at most 4 tokens, and one sequence.
    """
    if dtype not in (mx.bfloat16, mx.float16, mx.float32):
        return f"activations are {dtype}"
    if head_dim != HEAD_DIM:
        return f"head_dim is {head_dim}, not {HEAD_DIM}"
    if heads % kv_heads or heads // kv_heads > MAX_GROUP:
        return f"{heads} query heads share {kv_heads} key heads; up to {MAX_GROUP} can share one"
    return None


def splits(keys: int, kv_heads: int, cores: int = 0) -> int:
    """Into how many parts the keys of a head are split, for a GPU of `cores` cores (0: not known).

    The aim is eight threadgroups a core: four rounds of the two that its registers hold (102 a thread, 256 threads;
    208 KB a core, philipturner/metal-benchmarks), so that little idles in the last. A part has at least 128 keys, and
    up to 256 keys a second pass doesn't pay. A power of two, so that it seldom changes. Chosen by arithmetic; not timed
    on a GPU.
    """
    if keys <= _UNSPLIT_KEYS:
        return 1
    parts = min(_THREADGROUPS_A_CORE * (cores or _USUAL_CORES) // kv_heads, keys // _KEYS_A_SPLIT, _MAX_SPLITS)
    return 1 << (max(1, parts).bit_length() - 1)


def attend(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    start: int,
    length: int,
    sinks: mx.array,
    scale: float,
    window: int | None = None,
    cores: int = 0,
    variant: Variant | None = None,
) -> mx.array:
    """softmax(scale * queries . keys, sinks) times values, for the newest T tokens of one sequence.

    queries [T, heads, 64]; keys and values [1, KV heads, capacity, 64], whole buffers, of which key i of `length` lies
    in slot (start + i) modulo capacity: start 0 in a grown cache, the oldest key's slot in a ring. They may be of
    another floating dtype than the queries. The tokens' own keys are the last T. Each token sees the keys up to its
    own, of these the newest `window` if given. sinks [heads] are logits that take part in the softmax, unscaled, and
    carry no value. Returns [T, heads, 64] in queries' dtype.

    `start` and `length` reach the kernel as data, so that a growing cache needs no new compilation. A kernel takes 1 to
    4 tokens; `cores` is the GPU's number of cores, for `splits`.
    """
    tokens, heads, _ = queries.shape
    kv_heads = keys.shape[1]
    group = heads // kv_heads
    if variant is None:
        return portable.attend(queries, keys, values, start, length, sinks, scale, window)
    seen = length if window is None else min(length, window + tokens - 1)
    parts = splits(seen, kv_heads, cores)
    blocks = -(-group * tokens // _BLOCK)
    strips = 4 if blocks <= 2 else 2 if blocks <= 4 else 1  # eight simdgroups, as near as that comes
    simdgroups = blocks * strips
    [attended] = launch(
        Call(
            _ATTEND,
            (
                queries,
                keys,
                values,
                sinks,
                scalar(scale, mx.float32),
                scalar(start, mx.int32),
                scalar(length, mx.int32),
            ),
            (
                ("T", queries.dtype),
                ("C", keys.dtype),
                ("O", queries.dtype if parts == 1 else mx.float32),
                ("TOKENS", tokens),
                ("GROUP", group),
                ("WINDOW", window or 0),
                ("STRIPS", strips),
                ("SPLIT", parts > 1),
            ),
            (32 * simdgroups * kv_heads, parts, 1),
            (32 * simdgroups, 1, 1),
            (queries.shape if parts == 1 else (parts, tokens, heads, HEAD_DIM + 2),),
            (queries.dtype if parts == 1 else mx.float32,),
        )
    )
    if parts == 1:
        return attended
    [merged] = launch(
        Call(
            _MERGE,
            (attended, sinks),
            (("T", queries.dtype),),
            (32 * tokens * heads, 1, 1),
            (32, 1, 1),
            (queries.shape,),
            (queries.dtype,),
        )
    )
    return merged
