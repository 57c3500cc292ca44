"""The operations of a decode step as metal.trust.select tries them: variants, tolerance, bytes, arguments."""

from collections.abc import Sequence
from itertools import pairwise

import mlx.core as mx
import numpy as np

from metal.address import WIDEST_LOAD
from metal.attend import attend
from metal.dense import lm_head, o_proj, qkv
from metal.experts import down, gate_up, route
from metal.formats import HEAD_DIM
from metal.lanes import Activations
from metal.operation import Operation, Variant
from metal.spans import Span
from metal.weights import Head, Matrix, Mixture, Projections

_DENSE_TOLERANCE = {mx.bfloat16: 4 * 2.0**-8, mx.float16: 4 * 2.0**-11, mx.float32: 1e-5}
"""Of MLX's operations in 16 bits, not of the kernels: they round the normed x, the product, the sum with the bias and
that with the residual (or what RoPE makes of it), each time by at most this power of two, and the kernel once. In
float32 it is the order of some thousand additions. A wrong address or weight is an error of the size of the result."""

_EXPERTS_TOLERANCE = {mx.bfloat16: 10 * 2.0**-8, mx.float16: 10 * 2.0**-11, mx.float32: 1e-5}
"""Of MLX's operations in 16 bits, not of the kernels: between two results they round up to eight times (product, bias,
four steps of the SwiGLU ...), each time by at most this power of two, and the kernel once. In float32 it is the order
of some thousand additions. A wrong address, code or weight is an error of the size of the result."""

_MANY_CORES = 60
"""GPU cores from which `down` at four rows a simdgroup is over in one or two waves, so that two rows fill it better."""

_LONG_KEYS = 4096
"""Long enough to be split on every chip."""


def dense_operations(
    layers: Sequence[Projections], head: Head, dtype: mx.Dtype, *, gpu_cores: int = 0, rows: int = 1
) -> list[Operation]:
    """qkv, o_proj and lm_head of up to `rows` rows of activations in `dtype`, on a model's own weights.

    Nothing of their size is made. Each seed takes the next layer, so that no cache holds its weights when its turn
    comes (24 layers of gpt-oss-20b are 1.3 GB in bfloat16, 0.36 GB at 4 bits). The first variant suits a GPU of
    `gpu_cores` cores (0: not known): few rows a simdgroup where many cores share them, many where few have them all.
    For several rows of activations there is one variant: the registers hold two rows of a matrix then.
    """

    def layer(seed: int) -> int:
        return seed % len(layers)

    def qkv_arguments(seed: int) -> Sequence[object]:
        x = _random(seed, dtype, _count(rows, seed), layers[0].query.columns)
        angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, (len(x), HEAD_DIM // 2)).astype(np.float32)
        return x, layer(seed), mx.array(np.cos(angles)), mx.array(np.sin(angles))

    def run_qkv(
        x: mx.array, index: int, cosines: mx.array, sines: mx.array, variant: Variant | None
    ) -> tuple[mx.array, ...]:
        return qkv(x, layers[index], cosines, sines, variant)

    def o_proj_arguments(seed: int) -> Sequence[object]:
        output, count = layers[0].output, _count(rows, seed)
        return _random(seed, dtype, count, output.columns), _random(seed + 1, dtype, count, output.rows), layer(seed)

    def run_o_proj(x: mx.array, residual: mx.array, index: int, variant: Variant | None) -> tuple[mx.array, ...]:
        return (o_proj(x, residual, layers[index], variant),)

    def run_lm_head(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        return (lm_head(x, head, variant),)

    def variants(matrix: Matrix, *geometries: tuple[int, int]) -> tuple[Variant, ...]:
        return _loading(_variants(*geometries if rows == 1 else ((2, 2),)), matrix.alignment)

    first = layers[0]
    many, some = gpu_cores >= 60, gpu_cores >= 32
    return [
        Operation(
            name="qkv",
            run=run_qkv,
            arguments=qkv_arguments,
            variants=variants(first.query, *((2, 2), (4, 2)) if some else ((4, 2), (2, 2))),
            tolerance=_DENSE_TOLERANCE[dtype],
            weight_bytes=first.query.nbytes + first.key.nbytes + first.value.nbytes,
        ),
        Operation(
            name="o_proj",
            run=run_o_proj,
            arguments=o_proj_arguments,
            variants=variants(first.output, *((1, 4), (2, 2), (4, 2)) if many else ((2, 2), (1, 4), (4, 2))),
            tolerance=_DENSE_TOLERANCE[dtype],
            weight_bytes=first.output.nbytes,
        ),
        Operation(
            name="lm_head",
            run=run_lm_head,
            arguments=lambda seed: (_random(seed, dtype, _count(rows, seed), head.matrix.columns),),
            variants=variants(head.matrix, (4, 2), (8, 2), (4, 4)),
            tolerance=_DENSE_TOLERANCE[dtype],
            weight_bytes=head.matrix.nbytes,
        ),
    ]


def attend_operation(*, heads: int, kv_heads: int, window: int, dtype: mx.Dtype, gpu_cores: int = 0) -> Operation:
    """One token's attention over `window` keys and over 4096, which are split; the last ones in buffers of their own.

    It has one variant: how many splits there are changes the order of sums, and so must not be chosen by time.
    """

    def arguments(seed: int) -> Sequence[object]:
        generator = np.random.default_rng(seed)
        buffer = (1, kv_heads, _LONG_KEYS, HEAD_DIM)
        shapes = ((1, heads, HEAD_DIM), buffer, buffer, (heads,))
        return [mx.array(generator.standard_normal(shape, np.float32)).astype(dtype) for shape in shapes]

    def run(
        queries: mx.array, keys: mx.array, values: mx.array, sinks: mx.array, variant: Variant | None
    ) -> tuple[mx.array, ...]:
        def over(length: int) -> mx.array:
            cuts = (0, length // 2, length - 1, length)
            spans = [Span(keys, values, end - start, start) for start, end in pairwise(cuts)]
            return attend(queries, spans, sinks, HEAD_DIM**-0.5, None, gpu_cores, variant)

        return over(window), over(_LONG_KEYS)

    key_bytes = 2 * kv_heads * HEAD_DIM * dtype.size
    return Operation("attend", run, arguments, ((),), _DENSE_TOLERANCE[dtype], (window + _LONG_KEYS) * key_bytes)


def expert_operations(
    mixture: Mixture,
    dtype: mx.Dtype,
    *,
    table: bool = False,
    gpu_cores: int = 0,
    rows: int = 1,
) -> list[Operation]:
    """route, gate_up and down of up to `rows` rows of activations in `dtype`, on the weights of a layer.

    Arguments are random and share the layer's own weights: nothing of their size is made. Each seed takes the experts
    that follow those of the last seed, so that none is in a cache when its turn comes (of 32 experts of gpt-oss-20b,
    four at a time, 265 MB lie between). Several rows have one expert in common and draw the others, which makes 6.7,
    11.4 and 18.3 different ones of 32 for 2, 4 and 8 rows. `table` is for GPUs on which
    `metal.trust.selftest.decodes_fp4` fails.
    The results of `gate_up` and `route` are rearranged here, at the cost of one small launch that decoding doesn't
    have: the error is on the side of MLX's operations.
    """
    top_k, hidden, inner = mixture.top_k, mixture.norm.shape[0], mixture.down.blocks.shape[-1] * 8

    def logits(seed: int) -> mx.array:
        """The experts in turn, `top_k` a seed; their order and weights are random."""
        generator = np.random.default_rng(seed)
        values = np.full((_count(rows, seed), mixture.held), -10.0, np.float32)
        first, *others = (seed * top_k + np.arange(mixture.held)) % mixture.held
        for row in values:
            drawn = others if rows == 1 else generator.permutation(others)
            row[[first, *drawn[: top_k - 1]]] = generator.permutation(top_k)
        return mx.array(values)

    def both_layouts(values: mx.array) -> tuple[mx.array, mx.array]:
        return values, Activations.of(values).lanes()

    def vectors(natural: mx.array, lanes: mx.array, variant: Variant | None) -> Activations:
        return Activations.of(natural) if variant is None else Activations(lanes, dtype, in_lanes=True)

    def run_route(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        normed, scores = route(x, mixture, variant)
        return normed.natural(), scores

    def run_gate_up(
        scores: mx.array, natural: mx.array, lanes: mx.array, variant: Variant | None
    ) -> tuple[mx.array, ...]:
        return (gate_up(vectors(natural, lanes, variant), scores, mixture, variant).natural(),)

    def run_down(
        residual: mx.array, scores: mx.array, natural: mx.array, lanes: mx.array, variant: Variant | None
    ) -> tuple[mx.array, ...]:
        return (down(vectors(natural, lanes, variant), scores, residual, mixture, variant),)

    def gate_up_arguments(seed: int) -> Sequence[mx.array]:
        return logits(seed), *both_layouts(_random(seed, dtype, _count(rows, seed), hidden))

    def down_arguments(seed: int) -> Sequence[mx.array]:
        count = _count(rows, seed)
        inside = _random(seed + 1, dtype, count, top_k, inner)
        return _random(seed, dtype, count, hidden), logits(seed), *both_layouts(inside)

    def bytes_of(*weights: mx.array) -> int:
        """Of the chosen experts: of several rows as many as they are expected to draw."""
        others = mixture.held - 1
        different = 1 + others * (1 - (1 - (top_k - 1) / max(1, others)) ** rows)
        return round(sum(array.nbytes for array in weights) * different / mixture.held)

    geometries: tuple[tuple[int, int], ...] = ((4, 2), (2, 2), (8, 2), (4, 1))  # rows of a matrix and simdgroups
    heights: tuple[int, ...] = (2, 4, 8) if gpu_cores >= _MANY_CORES else (4, 2, 8)  # rows
    if rows > 1:  # NVIDIA's compiler takes 205 registers for four by four rows, 128 for two by four, 96 for four by two
        heights = (2, 4) if rows > 2 else (4, 2)
        geometries = tuple((height, 2) for height in heights)
    decoding = ("TABLE", int(table))
    return [
        Operation(
            name="route",
            run=run_route,
            arguments=lambda seed: (_random(seed, dtype, _count(rows, seed), hidden),),
            variants=_loading(
                tuple((("SIMDGROUPS", count),) for count in (1, 4) if mixture.experts % count == 0), mixture.alignment
            ),
            tolerance=_EXPERTS_TOLERANCE[dtype],
            weight_bytes=mixture.router.nbytes,
        ),
        Operation(
            name="gate_up",
            run=run_gate_up,
            arguments=gate_up_arguments,
            variants=_loading(
                tuple((("ROWS", r), ("SIMDGROUPS", count), decoding) for r, count in geometries),
                mixture.gate_up.alignment,
            ),
            tolerance=_EXPERTS_TOLERANCE[dtype],
            weight_bytes=bytes_of(mixture.gate_up.blocks, mixture.gate_up.scales),
        ),
        Operation(
            name="down",
            run=run_down,
            arguments=down_arguments,
            variants=_loading(tuple((("ROWS", r), decoding) for r in heights), mixture.down.alignment),
            tolerance=_EXPERTS_TOLERANCE[dtype],
            weight_bytes=bytes_of(mixture.down.blocks, mixture.down.scales),
        ),
    ]


def _count(rows: int, seed: int) -> int:
    """Rows that the arguments of a seed have: as many as a text is made for, or one fewer, which it computes too."""
    return rows - seed % 2 if rows > 2 else rows


def _random(seed: int, dtype: mx.Dtype, *shape: int) -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32)).astype(dtype)


def _variants(*rows_and_simdgroups: tuple[int, int]) -> tuple[Variant, ...]:
    return tuple((("ROWS", rows), ("SIMDGROUPS", simdgroups)) for rows, simdgroups in rows_and_simdgroups)


def _loading(variants: tuple[Variant, ...], alignment: int) -> tuple[Variant, ...]:
    """The same, and each with packed loads too where weights don't lie at multiples of the widest load."""
    packed = ((*variant, ("PACKED", 1)) for variant in variants)
    return variants if alignment % WIDEST_LOAD == 0 else (*variants, *packed)
