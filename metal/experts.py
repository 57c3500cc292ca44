"""Launches the mixture of experts of a decode step, in three operations: route, gate_up, down.

Without a variant of its kernel, an operation is computed by MLX's own on the same arrays (metal/portable.py), which
define it. Kernels take their activations rearranged (metal/lanes.py); what passes between the operations knows its
layout, so that any of them may run either way.
"""

from collections.abc import Callable, Mapping

import mlx.core as mx

from metal import portable
from metal.formats import MXFP4_BLOCK
from metal.lanes import Activations, lane_dtype
from metal.launch import Call, Kernel, launch, scalar
from metal.operation import Variant, rows_of_text, with_loads
from metal.weights import Mixture

_MAX_TOP_K = 8
_MOST_PAIRS = 32
"""Of row and slot that may share experts: a lane of a simdgroup each."""

_MOST_SHARE = 4
"""Rows for which an expert's weights are read at once: more would not fit into the registers."""

_MAX_EXPERTS = 128
MAX_SCALE_BYTE = 240
"""Up to which the kernels' arithmetic is exact."""
_MAX_HALF = 65504.0


def expert_layer(
    x: mx.array,
    mixture: Mixture,
    variants: Mapping[str, Variant | None],
    held: Callable[[mx.array], mx.array] = lambda logits: logits,
) -> mx.array:
    """x [N, hidden], not normed, plus its mixture of experts: [N, hidden] in x's dtype.

    `variants` are those of "route", "gate_up" and "down", None for MLX's operations. Kernels take a mixture to which
    `why_not` has no objection, and any number of rows; those of few rows read an expert that several chose once. `held`
    makes of the router's logits those of the experts that the matrices have, where these aren't all.
    """
    normed, logits = route(x, mixture, variants["route"])
    logits = held(logits)
    hidden = gate_up(normed, logits, mixture, variants["gate_up"])
    return down(hidden, logits, x, mixture, variants["down"])


def route(x: mx.array, mixture: Mixture, variant: Variant | None = None) -> tuple[Activations, mx.array]:
    """RMSNorm of x [N, hidden], rounded to x's dtype, and the router's logits float32 [N, E] of that.

    Logits aren't rounded to 16 bits: near-ties would go another way than in exact arithmetic.
    """
    if variant is None:
        return portable.route(x, mixture)
    parameters = dict(variant)
    size, lanes = x.shape[-1], lane_dtype(x.dtype)
    call = Call(
        kernel=_ROUTE,
        inputs=(x, mixture.norm, mixture.router, mixture.router_bias, scalar(mixture.eps, mx.float32)),
        parameters=(
            ("T", x.dtype),
            ("X", lanes),
            ("K", size),
            ("E", mixture.experts),
            *with_loads(mixture.alignment, variant),
        ),
        grid=(32 * mixture.experts, x.shape[0], 1),
        threadgroup=(32 * parameters["SIMDGROUPS"], 1, 1),
        output_shapes=(x.shape, (x.shape[0], mixture.experts)),
        output_dtypes=(lanes, mx.float32),
    )
    values, logits = launch(call)
    return Activations(values, x.dtype, in_lanes=True), logits


def gate_up(
    normed: Activations,
    logits: mx.array,
    mixture: Mixture,
    variant: Variant | None = None,
) -> Activations:
    """What the experts chosen by `logits` [N, E] make of normed [N, hidden] in their middle: [N, top_k, intermediate].

    A matrix-vector product and the clamped SwiGLU; slots are in falling order of their logits, of equal ones the lowest
    index first.
    """
    if variant is None:
        return portable.gate_up(normed, logits, mixture)
    matrix = mixture.gate_up
    parameters = dict(variant)
    x = normed.lanes()
    rows, size, width = x.shape[0], x.shape[-1], matrix.blocks.shape[1]
    call = Call(
        kernel=_GATE_UP,
        inputs=(matrix.blocks, matrix.scales, matrix.bias, x, logits, scalar(mixture.limit, mx.float32)),
        parameters=(
            ("X", x.dtype),
            *_sizes(size, width, mixture),
            ("SHARE", _share(rows, mixture)),
            *with_loads(matrix.alignment, variant),
        ),
        grid=(32 * width // parameters["ROWS"], 1, rows * mixture.top_k),
        threadgroup=(32 * parameters["SIMDGROUPS"], 1, 1),
        output_shapes=((rows, mixture.top_k, width // 2),),
        output_dtypes=(x.dtype,),
    )
    return Activations(launch(call)[0], normed.dtype, in_lanes=True)


def down(
    hidden: Activations, logits: mx.array, residual: mx.array, mixture: Mixture, variant: Variant | None = None
) -> mx.array:
    """residual [N, hidden] plus what the experts chosen by `logits` make of hidden [N, top_k, intermediate].

    Each expert's output is weighted by the softmax over the chosen logits. [N, hidden] in residual's dtype.
    """
    if variant is None:
        return portable.down(hidden, logits, residual, mixture)
    matrix = mixture.down
    parameters = dict(variant)
    x = hidden.lanes()
    rows, size, width = residual.shape[0], x.shape[-1], matrix.blocks.shape[1]
    share = _share(rows, mixture)
    call = Call(
        kernel=_DOWN if share == 1 else _DOWN_ROWS,
        inputs=(matrix.blocks, matrix.scales, matrix.bias, x, logits, residual),
        parameters=(
            ("T", residual.dtype),
            ("X", x.dtype),
            *_sizes(size, width, mixture),
            *((("SHARE", share),) if share > 1 else ()),
            *with_loads(matrix.alignment, variant),
        ),
        grid=(32 * mixture.top_k * width // parameters["ROWS"], rows if share == 1 else 1, 1),
        threadgroup=(32 * mixture.top_k, 1, 1),
        output_shapes=(residual.shape,),
        output_dtypes=(residual.dtype,),
    )
    return launch(call)[0]


def why_not(mixture: Mixture, dtype: mx.Dtype) -> str | None:
    """Why the kernels can't be used for these weights and activations in `dtype`; None if they can.

    Reads all scales and the norm once.
    """
    if dtype not in (mx.bfloat16, mx.float16, mx.float32):
        return f"activations are {dtype}"
    hidden, inner = mixture.norm.shape[0], mixture.down.blocks.shape[-1] * 8
    if hidden % MXFP4_BLOCK or inner % MXFP4_BLOCK:
        return f"sizes {hidden} and {inner} are not multiples of {MXFP4_BLOCK}"
    if not 1 <= mixture.top_k <= min(_MAX_TOP_K, mixture.experts):
        return f"{mixture.top_k} of {mixture.experts} experts a token, where the kernels take up to {_MAX_TOP_K}"
    if mixture.experts > _MAX_EXPERTS:
        return f"{mixture.experts} experts, where the kernels take up to {_MAX_EXPERTS}"
    if bad := {mixture.alignment, mixture.gate_up.alignment, mixture.down.alignment} - {4, 8, 16}:
        return f"weights are aligned to {min(bad)} bytes only"
    for matrix in (mixture.gate_up, mixture.down):
        if matrix.adapter is not None:
            return "an expert matrix has an adapter, which the kernels don't apply"
        if mx.any(matrix.scales > MAX_SCALE_BYTE):
            return f"a scale byte is above {MAX_SCALE_BYTE}, up to which the kernels' arithmetic is exact"
    # A normed value is at most sqrt(hidden) times its gain, an activation of the SwiGLU limit * (limit + 1).
    largest = _MAX_HALF / hidden**0.5
    if not mx.all(mx.abs(mixture.norm.astype(mx.float32)) < largest):
        return f"a norm weight is {largest:.0f} or more, which could leave the range of half"
    if not mixture.limit * (mixture.limit + 1) < _MAX_HALF:
        return f"a SwiGLU limit of {mixture.limit:.4g} could leave the range of half"
    return None


def _share(rows: int, mixture: Mixture) -> int:
    """The most of so many rows for which one expert's weights are read at once."""
    if rows * mixture.top_k > _MOST_PAIRS:
        return 1
    return min(rows_of_text(rows), _MOST_SHARE)


def _sizes(size: int, width: int, mixture: Mixture) -> tuple[tuple[str, int], ...]:
    return (("K", size), ("OUT", width), ("E", mixture.held), ("TOP", mixture.top_k))


_ROUTE = Kernel.load("route", ("x", "gain", "router", "bias", "eps"), ("normed", "logits"), ("common", "lanes"))
_MXFP4 = ("common", "lanes", "topk", "mxfp4")
_SHARED = (*_MXFP4, "shared")
_GATE_UP = Kernel.load("gate_up", ("blocks", "scales", "bias", "x", "logits", "limit"), ("hidden",), _SHARED)
_OF_DOWN = ("blocks", "scales", "bias", "hidden", "logits", "residual")
_DOWN = Kernel.load("down", _OF_DOWN, ("y",), _MXFP4)
_DOWN_ROWS = Kernel.load("down_rows", _OF_DOWN, ("y",), _SHARED)
