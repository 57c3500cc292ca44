"""The mixture of experts: router, and MXFP4 expert matrices used in the Hub's own layout."""

from dataclasses import dataclass

import mlx.core as mx

from mlx_model import device
from mlx_model.linear import Linear

SWIGLU_ALPHA = 1.702
"""Slope of the gate's sigmoid (gpt_oss/torch/model.py); not in config.json."""

_SORT_FROM = 64
"""(token, expert) pairs from which sorting by expert pays on a GPU, as in mlx-lm."""

_STREAMS = [mx.new_stream(mx.cpu) for _ in range(device.CPU_STREAMS)]


@dataclass(slots=True)
class ExpertMatrix:
    """One matrix of every expert in MXFP4.

    `blocks` uint32 [E, out, in/8] is the Hub's `_blocks` seen as little-endian words, low nibble first, which is MLX's
    mxfp4 packing. `scales` uint8 [E, out, in/32] hold 2^(byte - 127). `bias` [E, out].
    """

    blocks: mx.array
    scales: mx.array
    bias: mx.array

    def __call__(self, x: mx.array, experts: mx.array, *, is_sorted: bool = False) -> mx.array:
        """Row p of x [P, in] through expert `experts[p]`, to [P, out]."""
        y = mx.gather_qmm(
            x[:, None, :],
            self.blocks,
            self.scales,
            rhs_indices=experts,
            transpose=True,
            group_size=32,
            bits=4,
            mode="mxfp4",
            sorted_indices=is_sorted,
        )
        return y.squeeze(1) + self.bias[experts]


def clamped_swiglu(gate_up: mx.array, limit: float) -> mx.array:
    """gate * sigmoid(1.702 gate) * (up + 1) of interleaved columns [..., 2 F] (gate even, up odd), to [..., F].

    The gate is clamped from above only, up on both sides (gpt_oss/torch/model.py).
    """
    gate, up = gate_up[..., ::2], gate_up[..., 1::2]
    gate = mx.minimum(gate, limit)
    up = mx.clip(up, -limit, limit)
    return gate * mx.sigmoid(SWIGLU_ALPHA * gate) * (up + 1)


@dataclass(slots=True)
class MixtureOfExperts:
    """Router and experts of one layer: each token goes through its `top_k` experts, weighted by their softmax."""

    top_k: int
    swiglu_limit: float
    router: Linear
    gate_up: ExpertMatrix
    down: ExpertMatrix

    def __call__(self, x: mx.array) -> mx.array:
        """x [N, hidden], normed, to [N, hidden]."""
        tokens = x.shape[0]
        experts, weights = self.route(x)
        run = self._pairs_sorted if device.on_gpu() else self._pairs_parallel
        rows = run(x, experts.flatten()).reshape(tokens, self.top_k, -1)
        return (rows * weights[..., None]).sum(axis=1)

    def route(self, x: mx.array) -> tuple[mx.array, mx.array]:
        """Each token's experts [N, top_k], best first, and their weights, the softmax over the chosen logits alone."""
        logits = self.router(x)
        # A stable sort of the negated logits: of equals the lowest index comes first, as in OpenAI's Metal kernel.
        experts = mx.argsort(-logits, axis=-1)[:, : self.top_k]
        weights = mx.softmax(mx.take_along_axis(logits, experts, axis=-1), axis=-1, precise=True)
        return experts, weights

    def _pairs(self, x: mx.array, experts: mx.array, *, is_sorted: bool = False) -> mx.array:
        hidden = clamped_swiglu(self.gate_up(x, experts, is_sorted=is_sorted), self.swiglu_limit)
        return self.down(hidden, experts, is_sorted=is_sorted)

    def _pairs_sorted(self, x: mx.array, experts: mx.array) -> mx.array:
        """All (token, expert) pairs; from _SORT_FROM on sorted by expert, so that each expert is read once."""
        pairs = mx.arange(experts.size)
        if experts.size < _SORT_FROM:
            return self._pairs(x[pairs // self.top_k], experts)
        order = mx.argsort(experts)
        rows = self._pairs(x[order // self.top_k], experts[order], is_sorted=True)
        return rows[mx.argsort(order)]

    def _pairs_parallel(self, x: mx.array, experts: mx.array) -> mx.array:
        """All (token, expert) pairs, split over the CPU's streams: MLX computes one stream on one thread."""
        rows = x[mx.arange(experts.size) // self.top_k]
        parts = []
        for index, stream in enumerate(_STREAMS):
            part = slice(index * experts.size // len(_STREAMS), (index + 1) * experts.size // len(_STREAMS))
            if part.start < part.stop:
                with mx.stream(stream):
                    parts.append(self._pairs(rows[part], experts[part]))
        return mx.concatenate(parts, axis=0)
