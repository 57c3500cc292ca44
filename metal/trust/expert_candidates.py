"""The operations of a mixture of experts as metal.trust.select tries them: variants, tolerance, bytes, arguments."""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from metal.experts import Mixture, down, gate_up, route
from metal.lanes import Activations
from metal.operation import Operation, Variant

_MANY_CORES = 60
"""GPU cores from which `down` at four rows a simdgroup is over in one or two waves, so that two rows fill it better."""

_TOLERANCE = {mx.bfloat16: 10 * 2.0**-8, mx.float16: 10 * 2.0**-11, mx.float32: 1e-5}
"""Of MLX's operations in 16 bits, not of the kernels: between two results they round up to eight times (product, bias,
four steps of the SwiGLU ...), each time by at most this power of two, and the kernel once. In float32 it is the order
of some thousand additions. A wrong address, code or weight is an error of the size of the result."""


def operations(mixture: Mixture, dtype: mx.Dtype, *, table: bool = False, gpu_cores: int = 0) -> list[Operation]:
    """route, gate_up and down of one row of activations in `dtype`, on the weights of a layer.

    Arguments are random and share the layer's own weights: nothing of their size is made. Each seed takes the experts
    that follow those of the last seed, so that none is in a cache when its turn comes (of 32 experts of gpt-oss-20b,
    four at a time, 265 MB lie between). `table` is for GPUs on which `metal.trust.selftest.decodes_fp4` fails.
    The results of `gate_up` and `route` are rearranged here, at the cost of one small launch that decoding doesn't
    have: the error is on the side of MLX's operations.
    """
    top_k, hidden, inner = mixture.top_k, mixture.norm.shape[0], mixture.down.blocks.shape[-1] * 8

    def random(seed: int, *shape: int) -> mx.array:
        return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32)).astype(dtype)

    def logits(seed: int) -> mx.array:
        """The experts in turn, `top_k` a seed; their order and weights are random."""
        values = np.full((1, mixture.experts), -10.0, np.float32)
        chosen = (seed * top_k + np.arange(top_k)) % mixture.experts
        values[0, chosen] = np.random.default_rng(seed).permutation(top_k)
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
        return logits(seed), *both_layouts(random(seed, 1, hidden))

    def down_arguments(seed: int) -> Sequence[mx.array]:
        return random(seed, 1, hidden), logits(seed), *both_layouts(random(seed + 1, 1, top_k, inner))

    def bytes_of(*weights: mx.array) -> int:
        """Of the chosen experts."""
        return sum(array.nbytes for array in weights) * top_k // mixture.experts

    rows = (2, 4, 8) if gpu_cores >= _MANY_CORES else (4, 2, 8)
    decoding = ("TABLE", int(table))
    return [
        Operation(
            name="route",
            run=run_route,
            arguments=lambda seed: (random(seed, 1, hidden),),
            variants=tuple((("SIMDGROUPS", count),) for count in (1, 4) if mixture.experts % count == 0),
            tolerance=_TOLERANCE[dtype],
            weight_bytes=mixture.router.nbytes,
        ),
        Operation(
            name="gate_up",
            run=run_gate_up,
            arguments=gate_up_arguments,
            variants=tuple(
                (("ROWS", r), ("SIMDGROUPS", count), decoding) for r, count in ((4, 2), (2, 2), (8, 2), (4, 1))
            ),
            tolerance=_TOLERANCE[dtype],
            weight_bytes=bytes_of(mixture.gate_up.blocks, mixture.gate_up.scales),
        ),
        Operation(
            name="down",
            run=run_down,
            arguments=down_arguments,
            variants=tuple((("ROWS", r), decoding) for r in rows),
            tolerance=_TOLERANCE[dtype],
            weight_bytes=bytes_of(mixture.down.blocks, mixture.down.scales),
        ),
    ]
