"""One layer of gpt-oss, and what comes after the last, as every thread of a team runs them (kernels/sharing.py).

A token alone, as in decoding, is normed and routed by each thread for itself, which is cheaper than waiting for another
one; of more tokens each is somebody's.
"""

from typing import Any, NamedTuple

import numpy as np

from mlx_model.cpu.attention import ROWS, attend, exp, turn
from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.dense import dense, dense_add, dense_three
from mlx_model.cpu.kernels.experts import down, few_down, few_gate_up, gate_up
from mlx_model.cpu.kernels.lanes import arrange, for_few
from mlx_model.cpu.kernels.panels import FEW
from mlx_model.cpu.kernels.sharing import take


class Layer(NamedTuple):
    """The weights of a layer, as its kernels read them: vectors float32, matrices in a format of kernels/formats.py.

    `attention_norm` and `mixture_norm` [hidden], `sinks` [heads]; query, key and value in one format. `slots` int32 [E]
    say where each expert is in gate_up and down.
    """

    attention_norm: Any
    query: Any
    key: Any
    value: Any
    output: Any
    sinks: Any
    mixture_norm: Any
    router: Any
    slots: Any
    gate_up: Any
    down: Any


class Sizes(NamedTuple):
    """Numbers that all layers share. `fields` say how the activations for a kind of matrix are arranged."""

    eps: Any
    scale: Any
    limit: Any
    top_k: int
    dense_fields: int
    output_fields: int
    expert_fields: int


class Room(NamedTuple):
    """Where a layer puts what is between its matrices, for T tokens; the first axis is `parts` for one token, else 1.

    `normed` [.., T, hidden]; `dense_lanes`, `expert_lanes` [.., T, padded]; `queries`, `keys`, `values` [T, ..];
    `attended` [T, padded]; `logits` [T, E]; `starts` int64 [.., E + 1]; `tokens` int64 and `shares` [.., pairs];
    `hidden` [pairs, padded].
    """

    normed: Any
    dense_lanes: Any
    expert_lanes: Any
    queries: Any
    keys: Any
    values: Any
    attended: Any
    logits: Any
    starts: Any
    tokens: Any
    shares: Any
    hidden: Any


@kernel
def rms_norm(x: Any, gain: Any, eps: Any, out: Any) -> Any:
    """x [n] over the root of its mean square, times gain: out [n]."""
    total = np.float32(0)
    for i in range(len(x)):
        total += x[i] * x[i]
    scale = np.float32(1) / np.sqrt(total / np.float32(len(x)) + eps)
    for i in range(len(x)):
        out[i] = x[i] * scale * gain[i]


@kernel
def norm_rows(state: Any, part: Any, x: Any, gain: Any, eps: Any, fields: Any, normed: Any, lanes: Any) -> Any:
    """Rows of x [T, n], normed: as they are in normed [T, n], arranged by `fields` in lanes [T, padded]."""
    if len(x) == 1:
        rms_norm(x[0], gain, eps, normed[0])
        arrange(normed[0], fields, lanes[0])
        return
    token = take(state, part, len(x))
    while token >= 0:
        rms_norm(x[token], gain, eps, normed[token])
        arrange(normed[token], fields, lanes[token])
        token = take(state, part, len(x))


@kernel
def self_attention(
    state: Any,
    part: Any,
    queries: Any,
    keys: Any,
    values: Any,
    cosines: Any,
    sines: Any,
    cached: Any,
    window: Any,
    sinks: Any,
    scale: Any,
    fields: Any,
    out: Any,
) -> Any:
    """The attention of the tokens of one or more sequences, as many of each, one sequence after the other.

    See Cached, turn and attend in attention.py.
    """
    sequences, number = len(cached.places), cached.number
    each, kv_heads = len(queries) // sequences, keys.shape[1] // (2 * cosines.shape[1])
    rows = each * (len(sinks) // kv_heads)
    pieces = (rows + ROWS - 1) // ROWS
    chunk = take(state, part, sequences * kv_heads)
    while chunk >= 0:
        sequence, kv_head = chunk // kv_heads, chunk % kv_heads
        first, end = sequence * each, (sequence + 1) * each
        table, at = cached.tables[sequence], cached.places[sequence]
        own, turned = queries[first:end], (cosines[first:end], sines[first:end])
        turn(own, keys[first:end], values[first:end], turned[0], turned[1], kv_head, table, at, number)
        if each == 1:  # nobody else's
            for begin in range(0, rows, ROWS):
                stop = min(begin + ROWS, rows)
                heads = kv_heads, kv_head
                attend(own, table, at, number, window, sinks, scale, *heads, begin, stop, fields, out[first:end])
        chunk = take(state, part, sequences * kv_heads)
    if each == 1:
        return
    chunk = take(state, part, sequences * kv_heads * pieces)
    while chunk >= 0:
        sequence, kv_head, begin = chunk // pieces // kv_heads, chunk // pieces % kv_heads, chunk % pieces * ROWS
        first, end, stop = sequence * each, (sequence + 1) * each, min(begin + ROWS, rows)
        table, at = cached.tables[sequence], cached.places[sequence]
        own, heads = queries[first:end], (kv_heads, kv_head)
        attend(own, table, at, number, window, sinks, scale, *heads, begin, stop, fields, out[first:end])
        chunk = take(state, part, sequences * kv_heads * pieces)


@kernel
def choose(logits: Any, top_k: Any, chosen: Any, shares: Any) -> Any:
    """The `top_k` largest of logits [E], of equal ones the first, largest first, and the softmax over them alone."""
    found = 0
    for expert in range(len(logits)):
        slot = found
        while slot > 0 and logits[expert] > logits[chosen[slot - 1]]:
            slot -= 1
        if slot < top_k:
            found = min(found + 1, top_k)
            for later in range(found - 1, slot, -1):
                chosen[later] = chosen[later - 1]
            chosen[slot] = expert
    total = np.float32(0)
    for slot in range(top_k):
        shares[slot] = exp(logits[chosen[slot]] - logits[chosen[0]])
        total += shares[slot]
    for slot in range(top_k):
        shares[slot] /= total


@kernel
def route(logits: Any, top_k: Any, starts: Any, tokens: Any, shares: Any) -> Any:
    """The pairs of a token and an expert of its own, sorted by expert, then by token, from logits [T, E].

    Those of expert e are starts[e] to starts[e + 1]; `tokens` and `shares` say of each its token, and the expert's
    share in the token's output.
    """
    count, experts = logits.shape
    chosen, weights = np.empty((count, top_k), np.int64), np.empty((count, top_k), np.float32)
    for expert in range(experts + 1):
        starts[expert] = 0
    for token in range(count):
        choose(logits[token], top_k, chosen[token], weights[token])
        for slot in range(top_k):
            starts[chosen[token, slot] + 1] += 1
    for expert in range(experts):
        starts[expert + 1] += starts[expert]
    filled = starts[:-1].copy()
    for token in range(count):
        for slot in range(top_k):
            at = filled[chosen[token, slot]]
            filled[chosen[token, slot]] += 1
            tokens[at], shares[at] = token, weights[token, slot]


@kernel
def choose_experts(state: Any, part: Any, weights: Any, sizes: Any, x: Any, room: Any) -> Any:
    """Which experts x [T, hidden] goes through, and x as they take it, into `room`."""
    mine = part if len(x) == 1 else 0
    normed, lanes, starts = room.normed[mine], room.expert_lanes[mine], room.starts[mine]
    tokens, shares = room.tokens[mine], room.shares[mine]
    gain, fields = weights.mixture_norm, sizes.expert_fields
    if len(x) <= FEW:
        norm_rows(state, part, x, gain, sizes.eps, fields, normed, for_few(lanes))
    else:
        norm_rows(state, part, x, gain, sizes.eps, fields, normed, lanes)
    dense(state, part, weights.router, normed, room.logits)
    if len(x) == 1:
        route(room.logits, sizes.top_k, starts, tokens, shares)
    else:
        chunk = take(state, part, 1)
        while chunk >= 0:
            route(room.logits, sizes.top_k, starts, tokens, shares)
            chunk = take(state, part, 1)


@kernel
def add_experts(state: Any, part: Any, weights: Any, sizes: Any, starts: Any, x: Any, room: Any) -> Any:
    """x [T, hidden] plus what the experts that choose_experts has chosen make of it; see `route` for `starts`.

    In several calls, each with the pairs of some experts in turn, it becomes the same to the last bit.
    """
    mine = part if len(x) == 1 else 0
    lanes, tokens, shares = room.expert_lanes[mine], room.tokens[mine], room.shares[mine]
    slots, hidden = weights.slots, room.hidden
    if len(x) <= FEW:
        few_gate_up(state, part, weights.gate_up, slots, for_few(lanes), starts, tokens, sizes.limit, for_few(hidden))
        few_down(state, part, weights.down, slots, for_few(hidden), starts, tokens, shares, x)
    else:
        gate_up(state, part, weights.gate_up, slots, lanes, starts, tokens, sizes.limit, hidden)
        down(state, part, weights.down, slots, hidden, starts, tokens, shares, x)


@kernel
def layer(
    state: Any,
    part: Any,
    weights: Any,
    sizes: Any,
    x: Any,
    room: Any,
    cosines: Any,
    sines: Any,
    cached: Any,
    window: Any,
) -> Any:
    """x [T, hidden], tokens of one or more sequences, becomes the layer's output; keys and values join the `cached`.

    Attention is each sequence's own. All else is computed for all tokens, and weights are read once.
    """
    until_experts(state, part, weights, sizes, x, room, cosines, sines, cached, window)
    add_experts(state, part, weights, sizes, room.starts[part if len(x) == 1 else 0], x, room)


@kernel
def until_experts(
    state: Any,
    part: Any,
    weights: Any,
    sizes: Any,
    x: Any,
    room: Any,
    cosines: Any,
    sines: Any,
    cached: Any,
    window: Any,
) -> Any:
    """What `layer` does before the experts: x plus its attention, and which experts it goes through."""
    mine = part if len(x) == 1 else 0
    normed, lanes = room.normed[mine], room.dense_lanes[mine]
    norm_rows(state, part, x, weights.attention_norm, sizes.eps, sizes.dense_fields, normed, lanes)
    query, key, value = weights.query, weights.key, weights.value
    dense_three(state, part, query, key, value, lanes, room.queries, room.keys, room.values)
    self_attention(
        state,
        part,
        room.queries,
        room.keys,
        room.values,
        cosines,
        sines,
        cached,
        window,
        weights.sinks,
        sizes.scale,
        sizes.output_fields,
        room.attended,
    )
    dense_add(state, part, weights.output, room.attended, x)
    choose_experts(state, part, weights, sizes, x, room)


@kernel
def head(
    state: Any, part: Any, norm: Any, eps: Any, fields: Any, matrix: Any, x: Any, normed: Any, lanes: Any, logits: Any
) -> Any:
    """The RMSNorm of x [T, hidden] and the output matrix: logits [T, vocabulary]."""
    mine = part if len(x) == 1 else 0
    norm_rows(state, part, x, norm, eps, fields, normed[mine], lanes[mine])
    dense(state, part, matrix, lanes[mine], logits)
