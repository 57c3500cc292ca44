"""The mixture of experts: router, and MXFP4 expert matrices used in the Hub's own layout."""

from dataclasses import dataclass

import mlx.core as mx

from mlx_model import device
from mlx_model.linear import Linear

SWIGLU_ALPHA = 1.702
"""Slope of the gate's sigmoid (gpt_oss/torch/model.py); not in config.json."""

_SORT_FROM = 64
"""(token, expert) pairs from which sorting by expert pays on a GPU, as in mlx-lm."""

# A plain stream belongs to the thread that made it; answers may be asked for in any.
_STREAMS = [mx.new_thread_local_stream(mx.cpu) for _ in range(device.CPU_STREAMS)]


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
        """Rows x [..., 1, in], each through the expert of its place in `experts` [...], to [..., 1, out].

        Leading dimensions are broadcast: one row may go through several experts.
        """
        y = mx.gather_qmm(
            x,
            self.blocks,
            self.scales,
            rhs_indices=experts,
            transpose=True,
            group_size=32,
            bits=4,
            mode="mxfp4",
            sorted_indices=is_sorted,
        )
        return y + self.bias[experts][..., None, :]


def clamped_swiglu(gate: mx.array, up: mx.array, limit: float) -> mx.array:
    """gate * sigmoid(1.702 gate) * (up + 1); the gate is clamped from above only, up on both sides.

    Source: gpt_oss/torch/model.py.
    """
    gate = mx.minimum(gate, limit)
    up = mx.clip(up, -limit, limit)
    return gate * mx.sigmoid(SWIGLU_ALPHA * gate) * (up + 1)


_fused_swiglu = mx.compile(clamped_swiglu, shapeless=True)
"""One launch instead of eight. Not used on the CPU, where MLX would call a C++ compiler for it."""


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
        experts, weights = self.route(x)
        rows = self._sorted_rows(x, experts) if device.on_gpu() else self._parallel_rows(x, experts)
        return (rows * weights[..., None]).sum(axis=1)

    def route(self, x: mx.array) -> tuple[mx.array, mx.array]:
        """Each token's experts [N, top_k], best first, and their weights, the softmax over the chosen logits alone."""
        logits = self.router(x)
        # Of equal logits the lowest index comes first, as in OpenAI's Metal kernel.
        experts = mx.argsort(-logits, axis=-1)[:, : self.top_k]
        weights = mx.softmax(mx.take_along_axis(logits, experts, axis=-1), axis=-1, precise=True)
        return experts, weights

    def _run(self, x: mx.array, experts: mx.array, *, is_sorted: bool = False) -> mx.array:
        gate_up = self.gate_up(x, experts, is_sorted=is_sorted)
        swiglu = _fused_swiglu if device.on_gpu() else clamped_swiglu
        # Rows of gate and up take turns in the file (gate even, up odd), and so do these columns.
        hidden = swiglu(gate_up[..., ::2], gate_up[..., 1::2], self.swiglu_limit)
        return self.down(hidden, experts, is_sorted=is_sorted)

    def _sorted_rows(self, x: mx.array, experts: mx.array) -> mx.array:
        """x [N, hidden] through its experts [N, top_k], to [N, top_k, hidden]; long inputs sorted by expert."""
        if experts.size < _SORT_FROM:
            return self._run(x[:, None, None, :], experts).squeeze(-2)
        flat = experts.flatten()
        order = mx.argsort(flat)
        rows = self._run(x[order // self.top_k][:, None, :], flat[order], is_sorted=True)
        return rows[mx.argsort(order)].reshape(*experts.shape, -1)

    def _parallel_rows(self, x: mx.array, experts: mx.array) -> mx.array:
        """The same, split over the CPU's streams: MLX computes one stream on one thread."""
        rows, flat = mx.repeat(x, self.top_k, axis=0)[:, None, :], experts.flatten()
        cuts = [index * flat.size // len(_STREAMS) for index in range(len(_STREAMS) + 1)]
        parts = []
        for stream, start, stop in zip(_STREAMS, cuts, cuts[1:], strict=False):
            if start < stop:
                with mx.stream(stream):
                    parts.append(self._run(rows[start:stop], flat[start:stop]))
        return mx.concatenate(parts).reshape(*experts.shape, -1)
