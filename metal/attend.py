"""Launches the attention of a few new tokens over the KV cache, with sinks, grouped queries and a sliding window.

Without a variant of the kernel, MLX's own operations compute it (metal/portable.py), which define it.
"""

from collections.abc import Sequence
from functools import lru_cache

import mlx.core as mx

from metal import portable
from metal.formats import HEAD_DIM
from metal.launch import Call, Kernel, launch, scalar
from metal.operation import Variant
from metal.spans import Span

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

_MOST_SPANS = 3
"""What was frozen, the tail that grows, and the tokens' own."""

_ATTEND = Kernel.load(
    "attend",
    ("q", "keys", "values", "tail_keys", "tail_values", "new_keys", "new_values", "sinks", "scale", "places"),
    ("attended",),
    ("common",),
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
    spans: Sequence[Span],
    sinks: mx.array,
    scale: float,
    window: int | None = None,
    cores: int = 0,
    variant: Variant | None = None,
) -> mx.array:
    """softmax(scale * queries . keys, sinks) times values, for the newest T tokens of one sequence.

    queries [T, heads, 64]; the `spans` hold keys and values [1, KV heads, capacity, 64] in their order, the tokens' own
    last. They may be of another floating dtype than the queries. Each token sees the keys up to its own, of these the
    newest `window` if given. sinks [heads] are logits that take part in the softmax, unscaled, and carry no value.
    Returns [T, heads, 64] in queries' dtype.

    A kernel reads up to three spans where they lie: a slice of a buffer would have to be copied for it. Where they
    begin and end reaches it as data, so that a growing cache needs no new compilation. It takes 1 to 4 tokens; `cores`
    is the GPU's number of cores, for `splits`.
    """
    tokens, heads, _ = queries.shape
    kv_heads = spans[0].keys.shape[1]
    group = heads // kv_heads
    if variant is None:
        return portable.attend(queries, spans, sinks, scale, window)
    length = sum(span.count for span in spans)
    places = _places(tuple((span.start, span.count) for span in spans))
    three = (*spans, *[spans[-1]] * (_MOST_SPANS - len(spans)))
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
                *(array for span in three for array in (span.keys, span.values)),
                sinks,
                scalar(scale, mx.float32),
                places,
            ),
            (
                ("T", queries.dtype),
                ("C", spans[0].keys.dtype),
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


@lru_cache(maxsize=32)
def _places(spans: tuple[tuple[int, int], ...]) -> mx.array:
    """Where the kernel finds key i of spans (start, count): the position behind each span's last key, then what to add
    to i for its slot in each span's buffer. int32 [6]; layers of a kind share it."""
    ends, shifts, end = [], [], 0
    for start, count in spans:
        shifts.append(start - end)
        end += count
        ends.append(end)
    missing = _MOST_SPANS - len(spans)
    return mx.array([*ends, *[end] * missing, *shifts, *[0] * missing], mx.int32)
