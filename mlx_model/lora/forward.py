"""The loss of a row of examples, in a form whose gradient takes little memory.

Three things grow with the length of a row: what each layer keeps for its gradient, attention scores, and logits. Layers
keep their input alone and are computed again (Chen et al. 2016, arXiv:1604.06174). Within a layer, a block of queries
at a time meets the keys that it may see, and a block of rows goes through its experts. Logits are those of learnt
tokens only, a block at a time: a token's are 0.8 MB in float32.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from metal.portable import Turns, mask, rotate, turns
from metal.weights import Mixture
from mlx_model.transformer.adapters import EXPERTS, ROUTER, Adapters, adapted_block, adapted_mixture
from mlx_model.transformer.blocks import Block, Transformer, mixture_of_experts
from mlx_model.transformer.rope import score_scale

QUERIES = 128
"""Queries that attention takes at once."""
ROWS = 512
"""Tokens that go through their experts at once."""
LOGITS = 128
"""Learnt tokens whose logits are computed at once."""

Arrays = Mapping[str, mx.array]
Function = Callable[..., mx.array]


@dataclass(frozen=True, slots=True)
class Row:
    """Examples one after the other, none of which sees another: `lengths` are theirs, in tokens.

    `tokens` int32 [T]. `at` int32 [n] are the positions whose next token is learnt, `targets` int32 [n] these tokens,
    and `weights` float32 [n] what the cross-entropy of each counts.
    """

    tokens: NDArray[np.int32]
    lengths: tuple[int, ...]
    at: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32]


def losses(transformer: Transformer, adapters: Adapters, row: Row) -> mx.array:
    """The cross-entropy of each learnt token of a row, in nats, not weighted: float32 [n]."""
    hidden = _hidden(transformer, adapters, row)[0, mx.array(row.at)]
    blocks = [
        mx.checkpoint(_cross_entropy(transformer, row.targets[start:stop]))(hidden[start:stop])
        for start, stop in _blocks(len(row.at), LOGITS)
    ]
    return mx.concatenate(blocks)


def loss(transformer: Transformer, adapters: Adapters, row: Row) -> mx.array:
    """The sum of a row's losses, each times its weight. Its gradient reaches the adapters' arrays.

    The transformer must have been loaded to be differentiated (Compute.differentiable).
    """
    return (losses(transformer, adapters, row) * mx.array(row.weights)).sum()


def _hidden(transformer: Transformer, adapters: Adapters, row: Row) -> mx.array:
    """The last layer's output [1, T, hidden]."""
    tables = [transformer.rope.at(0, length) for length in row.lengths]
    cosines, sines = zip(*tables, strict=True)
    by = turns(mx.concatenate([*cosines]), mx.concatenate([*sines]))
    x = transformer.embedding(mx.array(row.tokens)[None])
    for index, block in enumerate(transformer.blocks):
        own = adapters.of_layer(index)
        x = mx.checkpoint(_layer(block, index, own.scales, by, row.lengths))(x, dict(own.arrays))
    return x


def _layer(
    block: Block, index: int, scales: Mapping[str, float], by: Turns, lengths: Sequence[int]
) -> Callable[[mx.array, Arrays], mx.array]:
    """One layer as a function of its input [1, T, hidden] and of its adapters' arrays.

    Both are arguments, since `mx.checkpoint` loses the gradient of what a function only closes over.
    """

    def layer(x: mx.array, arrays: Arrays) -> mx.array:
        x = _attention(x, adapted_block(block, index, Adapters(arrays, scales)), by, lengths)
        return _mixture(x[0], block.mixture, index, Adapters(arrays, scales))[None]

    return layer


def _mixture(x: mx.array, mixture: Mixture, index: int, adapters: Adapters) -> mx.array:
    """x [T, hidden] plus its mixture of experts."""
    names = [name for name in adapters.arrays if name.split(".")[1] in (ROUTER, *EXPERTS)]

    def mixed(x: mx.array, *arrays: mx.array) -> mx.array:
        own = Adapters(dict(zip(names, arrays, strict=True)), adapters.scales)
        return mixture_of_experts(x, adapted_mixture(mixture, index, own))

    blocks = [[slice(*each), *[...] * len(names)] for each in _blocks(len(x), ROWS)]
    return _in_turn(mixed, blocks, axis=0)([x, *(adapters.arrays[name] for name in names)])


def _attention(x: mx.array, block: Block, by: Turns, lengths: Sequence[int]) -> mx.array:
    """x [1, T, hidden] plus its attention, within each example alone."""
    attention = block.attention
    config, weights = attention.config, attention.projections
    normed = mx.fast.rms_norm(x, weights.norm, weights.eps)
    queries, keys, values = (
        matrix(normed).reshape(1, x.shape[1], -1, config.head_dim).transpose(0, 2, 1, 3)
        for matrix in (weights.query, weights.key, weights.value)
    )
    queries, keys = rotate(queries, by), rotate(keys, by)
    sinks, scale, window = attention.sinks.astype(x.dtype), score_scale(config), config.window(attention.layer)

    def attend(queries: mx.array, keys: mx.array, values: mx.array) -> mx.array:
        seen = mask(queries.shape[2], keys.shape[2], window)
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=seen, sinks=sinks)

    blocks = [[np.s_[:, :, place] for place in (new, old, old)] for new, old in _spans(lengths, window)]
    attended = _in_turn(attend, blocks, axis=2)([queries, keys, values])
    return x + weights.output(attended.transpose(0, 2, 1, 3).reshape(1, x.shape[1], -1))


def _in_turn(function: Function, blocks: Sequence[Sequence[Any]], axis: int) -> Callable[[list[mx.array]], mx.array]:
    """The function of arrays, by blocks: `blocks` has the index of each array's part that a block takes. That of the
    first array is also the place of the block's result; results are joined along `axis`.

    A block is computed again for its gradient, and only there: what `mx.checkpoint` makes waits for the result of the
    function, so that within a layer that is computed again it would be computed a third time. Parts of one block are
    held at once: MLX would take several blocks side by side, as none needs another one's result, so each is made to
    wait for the one before it.
    """

    @mx.custom_function
    def in_turn(arrays: list[mx.array]) -> mx.array:
        results: list[mx.array] = []
        for places in blocks:
            parts = [array[place] for array, place in zip(arrays, places, strict=True)]
            results.append(function(*mx.depends(parts, results[-1:])))
        return mx.concatenate(results, axis=axis)

    @in_turn.vjp
    def gradient(arrays: list[mx.array], cotangent: mx.array, output: mx.array) -> list[mx.array]:
        found = [mx.zeros_like(array) for array in arrays]
        for places in blocks:
            parts = [array[place] for array, place in zip([*arrays, cotangent], [*places, places[0]], strict=True)]
            *waiting, upstream = mx.depends(parts, found)
            _, gradients = mx.vjp(function, waiting, [upstream])
            found = [sums.at[place].add(part) for sums, place, part in zip(found, places, gradients, strict=True)]
        return found

    return cast(Callable[[list[mx.array]], mx.array], in_turn)


def _spans(lengths: Sequence[int], window: int | None) -> Iterator[tuple[slice, slice]]:
    """Blocks of queries with the keys that they may see: of the same example, and within the window."""
    end = 0
    for length in lengths:
        begin, end = end, end + length
        for start, stop in _blocks(length, QUERIES):
            first = begin if window is None else max(begin, begin + start - window + 1)
            yield slice(begin + start, begin + stop), slice(first, begin + stop)


def _cross_entropy(transformer: Transformer, targets: NDArray[np.int32]) -> Callable[[mx.array], mx.array]:
    """Of the tokens [n] that follow hidden states [n, hidden]: float32 [n]."""
    head, picked = transformer.head, mx.array(targets)[:, None]

    def cross_entropy(hidden: mx.array) -> mx.array:
        normed = mx.fast.rms_norm(hidden, head.norm, head.eps)
        logits = head.matrix(normed).astype(mx.float32)
        return mx.logsumexp(logits, axis=-1) - mx.take_along_axis(logits, picked, axis=-1).squeeze(-1)

    return cross_entropy


def _blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + size, count)) for start in range(0, count, size))
