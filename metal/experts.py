"""The mixture of experts of a decode step, in three operations: route, gate_up, down.

Each has a definition in MLX's own operations and a kernel that replaces it. Kernels want their activations rearranged
(metal/lanes.py); what passes between the operations knows its layout, so that any of them may run either way.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import mlx.core as mx

from metal.lanes import BLOCK, Activations, lane_dtype
from metal.launch import Call, Kernel, launch, scalar
from metal.operation import Variant

MAX_TOKENS = 4
"""Rows (tokens) a kernel is meant for: it reads an expert once for every row, MLX's sorted gather_qmm once for many."""

SWIGLU_ALPHA = 1.702
"""Slope of the gate's sigmoid (gpt_oss/torch/model.py); not in config.json."""

_MAX_TOP_K = 8
_MAX_EXPERTS = 128
_MAX_SCALE_BYTE = 240
_MAX_HALF = 65504.0


@dataclass(frozen=True, slots=True)
class ExpertMatrix:
    """One matrix of every expert in MXFP4.

    `blocks` uint32 [E, out, in/8] is the Hub's `_blocks` seen as little-endian words, low nibble first, which is MLX's
    mxfp4 packing. `scales` uint8 [E, out, in/32] hold 2^(byte - 127). `bias` [E, out]. `alignment` in bytes is that of
    the first block's address, 16 in MLX's own memory and 4, 8 or 16 in a mapped file.
    """

    blocks: mx.array
    scales: mx.array
    bias: mx.array
    alignment: int = 16

    def __call__(self, x: mx.array, experts: mx.array, *, is_sorted: bool = False) -> mx.array:
        """Rows x [..., 1, in], each through the expert of its place in `experts` [...], to [..., 1, out] in x's dtype.

        Leading dimensions are broadcast: one row may go through several experts. By MLX's operations.
        """
        y = mx.gather_qmm(
            x,
            self.blocks,
            self.scales,
            rhs_indices=experts,
            transpose=True,
            group_size=BLOCK,
            bits=4,
            mode="mxfp4",
            sorted_indices=is_sorted,
        )
        return y + self.bias[experts][..., None, :].astype(x.dtype)


@dataclass(frozen=True, slots=True)
class Mixture:
    """The weights of one layer's mixture of experts.

    `norm` [hidden] is the gain of the RMSNorm before it. `router` [E, hidden] and `router_bias` [E] score the experts;
    each row takes the best `top_k`. `gate_up` is [E, 2 intermediate, hidden] with gate and up rows in turn, `down`
    [E, hidden, intermediate]. `limit` clamps the SwiGLU. Everything but blocks and scales may be bfloat16, float16 or
    float32. `alignment` in bytes is that of norm and router.
    """

    norm: mx.array
    eps: float
    router: mx.array
    router_bias: mx.array
    gate_up: ExpertMatrix
    down: ExpertMatrix
    top_k: int
    limit: float
    alignment: int = 16

    @property
    def experts(self) -> int:
        """How many there are."""
        return self.router.shape[0]


def mixture_of_experts(x: mx.array, mixture: Mixture, choice: Mapping[str, Variant | None]) -> mx.array:
    """x [N, hidden], not normed, plus its mixture of experts: [N, hidden] in x's dtype.

    `choice` has the variants of "route", "gate_up" and "down", None for MLX's operations. Kernels take up to MAX_TOKENS
    rows and a mixture to which `why_not` has no objection.
    """
    normed, logits = route(x, mixture, choice["route"])
    hidden = gate_up(normed, logits, mixture, choice["gate_up"])
    return down(hidden, logits, x, mixture, choice["down"])


def route(x: mx.array, mixture: Mixture, variant: Variant | None = None) -> tuple[Activations, mx.array]:
    """RMSNorm of x [N, hidden], rounded to x's dtype, and the router's logits float32 [N, E] of that.

    Logits aren't rounded to 16 bits: near-ties would go another way than in exact arithmetic.
    """
    if variant is None:
        normed = mx.fast.rms_norm(x, mixture.norm, mixture.eps).astype(x.dtype)
        logits = normed.astype(mx.float32) @ mixture.router.astype(mx.float32).T + mixture.router_bias
        return Activations.of(normed), logits
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
            ("ALIGN", mixture.alignment),
            *variant,
        ),
        grid=(32 * mixture.experts, x.shape[0], 1),
        threadgroup=(32 * parameters["SIMDGROUPS"], 1, 1),
        output_shapes=(x.shape, (x.shape[0], mixture.experts)),
        output_dtypes=(lanes, mx.float32),
    )
    values, logits = launch(call)
    return Activations(values, x.dtype, in_lanes=True), logits


def gate_up(normed: Activations, logits: mx.array, mixture: Mixture, variant: Variant | None = None) -> Activations:
    """What the experts chosen by `logits` [N, E] make of normed [N, hidden] in their middle: [N, top_k, intermediate].

    A matrix-vector product and the clamped SwiGLU; slots are in falling order of their logits, of equal ones the lowest
    index first.
    """
    matrix = mixture.gate_up
    if variant is None:
        y = matrix(normed.natural()[:, None, None, :], best(logits, mixture.top_k)[0]).squeeze(-2)
        return Activations.of(swiglu(y[..., ::2], y[..., 1::2], mixture.limit))
    parameters = dict(variant)
    x = normed.lanes()
    rows, size, width = x.shape[0], x.shape[-1], matrix.blocks.shape[1]
    call = Call(
        kernel=_GATE_UP,
        inputs=(matrix.blocks, matrix.scales, matrix.bias, x, logits, scalar(mixture.limit, mx.float32)),
        parameters=(("X", x.dtype), *_sizes(size, width, mixture), ("ALIGN", matrix.alignment), *variant),
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
    matrix = mixture.down
    if variant is None:
        chosen, weights = best(logits, mixture.top_k)
        y = matrix(hidden.natural()[..., None, :], chosen).squeeze(-2)
        return (residual + (y * weights[..., None]).sum(axis=1)).astype(residual.dtype)
    parameters = dict(variant)
    x = hidden.lanes()
    size, width = x.shape[-1], matrix.blocks.shape[1]
    call = Call(
        kernel=_DOWN,
        inputs=(matrix.blocks, matrix.scales, matrix.bias, x, logits, residual),
        parameters=(
            ("T", residual.dtype),
            ("X", x.dtype),
            *_sizes(size, width, mixture),
            ("ALIGN", matrix.alignment),
            *variant,
        ),
        grid=(32 * mixture.top_k * width // parameters["ROWS"], residual.shape[0], 1),
        threadgroup=(32 * mixture.top_k, 1, 1),
        output_shapes=(residual.shape,),
        output_dtypes=(residual.dtype,),
    )
    return launch(call)[0]


def best(logits: mx.array, top_k: int) -> tuple[mx.array, mx.array]:
    """Indices [N, top_k] of the largest logits [N, E], and their weights, the softmax over these logits alone.

    The best comes first; of equal ones that with the lowest index, as in OpenAI's Metal kernel.
    """
    chosen = mx.argsort(-logits, axis=-1)[:, :top_k]
    return chosen, mx.softmax(mx.take_along_axis(logits, chosen, axis=-1), axis=-1, precise=True)


def why_not(mixture: Mixture, dtype: mx.Dtype) -> str | None:
    """Why the kernels can't be used for these weights and activations in `dtype`; None if they can.

    Reads all scales and the norm once. What a call may ask beyond that is at most MAX_TOKENS rows.
    """
    if dtype not in (mx.bfloat16, mx.float16, mx.float32):
        return f"activations are {dtype}"
    hidden, inner = mixture.norm.shape[0], mixture.down.blocks.shape[-1] * 8
    if hidden % BLOCK or inner % BLOCK:
        return f"sizes {hidden} and {inner} are not multiples of {BLOCK}"
    if not 1 <= mixture.top_k <= min(_MAX_TOP_K, mixture.experts):
        return f"{mixture.top_k} of {mixture.experts} experts a token, where the kernels take up to {_MAX_TOP_K}"
    if mixture.experts > _MAX_EXPERTS:
        return f"{mixture.experts} experts, where the kernels take up to {_MAX_EXPERTS}"
    if bad := {mixture.alignment, mixture.gate_up.alignment, mixture.down.alignment} - {4, 8, 16}:
        return f"weights are aligned to {min(bad)} bytes only"
    for matrix in (mixture.gate_up, mixture.down):
        if mx.any(matrix.scales > _MAX_SCALE_BYTE):
            return f"a scale byte is above {_MAX_SCALE_BYTE}, up to which the kernels' arithmetic is exact"
    # A normed value is at most sqrt(hidden) times its gain, an activation of the SwiGLU limit * (limit + 1).
    largest = _MAX_HALF / hidden**0.5
    if not mx.all(mx.abs(mixture.norm.astype(mx.float32)) < largest):
        return f"a norm weight is {largest:.0f} or more, which could leave the range of half"
    if not mixture.limit * (mixture.limit + 1) < _MAX_HALF:
        return f"a SwiGLU limit of {mixture.limit:.4g} could leave the range of half"
    return None


def clamped_swiglu(gate: mx.array, up: mx.array, limit: float) -> mx.array:
    """gate * sigmoid(1.702 gate) * (up + 1); the gate is clamped from above only, up on both sides.

    Source: gpt_oss/torch/model.py.
    """
    gate = mx.minimum(gate, limit)
    up = mx.clip(up, -limit, limit)
    return gate * mx.sigmoid(SWIGLU_ALPHA * gate) * (up + 1)


_fused_swiglu = mx.compile(clamped_swiglu, shapeless=True)
"""One launch instead of eight. Not used on the CPU, where MLX would call a C++ compiler for it."""


def swiglu(gate: mx.array, up: mx.array, limit: float) -> mx.array:
    """`clamped_swiglu` in as few launches as the device allows."""
    on_gpu = mx.default_device().type == mx.DeviceType.gpu
    return (_fused_swiglu if on_gpu else clamped_swiglu)(gate, up, limit)


def _sizes(size: int, width: int, mixture: Mixture) -> tuple[tuple[str, int], ...]:
    return (("K", size), ("OUT", width), ("E", mixture.experts), ("TOP", mixture.top_k))


_ROUTE = Kernel.load("route", ("x", "gain", "router", "bias", "eps"), ("normed", "logits"), ("common", "lanes"))
_MXFP4 = ("common", "lanes", "topk", "mxfp4")
_GATE_UP = Kernel.load("gate_up", ("blocks", "scales", "bias", "x", "logits", "limit"), ("hidden",), _MXFP4)
_DOWN = Kernel.load("down", ("blocks", "scales", "bias", "hidden", "logits", "residual"), ("y",), _MXFP4)
