"""What each operation should give, in float64 by numpy, straight from its definition.

Each takes the inputs of a case, its parameters and what the kernel gave, and returns the results by output. What an
earlier result decides is computed from that result as the kernel rounded it: a tie between two roundings has no right
side.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.msl.cuda.arrays import exact

Floats = NDArray[np.float64]
Results = dict[str, Floats]

# OCP Microscaling Formats (MX) v1.0, section 5.3.
_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
_ALPHA = 1.702
_ROWS_AT_ONCE = 1024


class Inputs:
    """The arrays of a case as they are stored: by name in float64, or as they are."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], dtypes: Mapping[str, str]) -> None:
        self.stored, self._dtypes = arrays, dtypes

    def __getitem__(self, name: str) -> Floats:
        return exact(self.stored[name], self._dtypes[name])

    def rows(self, name: str, part: slice) -> Floats:
        """Some rows of a matrix."""
        return exact(self.stored[name][part], self._dtypes[name])


def gate_up(a: Inputs, p: Mapping[str, Any], found: Results) -> Results:
    def middle(x: Floats, expert: int) -> Floats:
        y = _expert(a, "blocks", "scales", expert, x[_lane_order(p["K"])]) + a["bias"][expert]
        gate, up = np.minimum(y[::2], 7.0), np.clip(y[1::2], -7.0, 7.0)
        return _in_lanes(gate / (1 + np.exp(-_ALPHA * gate)) * (up + 1))

    rows = zip(a["x"], a["logits"], strict=True)
    return {"hidden": np.stack([[middle(x, expert) for expert in _top(logits, p["TOP"])[0]] for x, logits in rows])}


def down(a: Inputs, p: Mapping[str, Any], found: Results) -> Results:
    y = a["residual"].copy()
    for row, logits in enumerate(a["logits"]):
        for slot, (expert, weight) in enumerate(zip(*_top(logits, p["TOP"]), strict=True)):
            x = a["hidden"][row, slot, _lane_order(p["K"])]
            y[row] += weight * (_expert(a, "blocks", "scales", expert, x) + a["bias"][expert])
    return {"y": y}


def gather_qmv(a: Inputs, p: Mapping[str, Any], found: Results) -> Results:
    x = a["x"].reshape(-1, p["K"])
    experts = [int(each) for each in a.stored["rhs_indices"]]
    return {"y": np.stack([_expert(a, "w", "scales", e, x[i % len(x)]) for i, e in enumerate(experts)])}


def route(a: Inputs, p: Mapping[str, Any], found: Results) -> Results:
    normed = _norm(a["x"], a["gain"])
    # The normed x is rounded to its type; the logits are those of the values that were written.
    written = found["normed"].reshape(normed.shape)[:, _lane_order(normed.shape[1])]
    return {"normed": np.stack([_in_lanes(row) for row in normed]), "logits": written @ a["router"].T + a["bias"]}


def qkv(a: Inputs, p: Mapping[str, Any], found: Results) -> Results:
    x, made = _norm(a["x"], a["norm"]), {}
    for name in ("query", "key", "value"):
        y = _product(a, p, x, f"{name}_weight", f"{name}_scales", f"{name}_offsets") + a[f"{name}_bias"]
        y = y.reshape(len(x), -1, 64).swapaxes(0, 1)
        if name != "value":
            low, high, cos, sin = y[..., :32], y[..., 32:], a["cosines"], a["sines"]
            y = np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=-1)
        made[name] = y
    return {"q": made["query"].swapaxes(0, 1), "k": made["key"][None], "v": made["value"][None]}


def o_proj(a: Inputs, p: Mapping[str, Any], found: Results) -> Results:
    return {"y": _product(a, p, a["x"], "weight", "scales", "offsets") + a["bias"] + a["residual"]}


def lm_head(a: Inputs, p: Mapping[str, Any], found: Results) -> Results:
    return {"logits": _product(a, p, _norm(a["x"], a["norm"]), "weight", "scales", "offsets")}


def products(a: Inputs, p: Mapping[str, Any], found: Results) -> Results:
    """MLX's, of one or more matrices: outputs y0, y1 ... of w0, w1 ..."""
    x = a["x"][None]
    return {f"y{i}": _product(a, p, x, f"w{i}", f"scales{i}", f"biases{i}")[0] for i in range(p["matrices"])}


def attend(a: Inputs, p: Mapping[str, Any], found: Results) -> Results:
    window = p["WINDOW"]
    k, v = (
        np.concatenate(
            [
                a[key].reshape(-1, *a.stored[key].shape[-2:])
                for key in (name, f"tail_{name}", f"new_{name}")
                if key in a.stored
            ],
            axis=1,
        )
        for name in ("keys", "values")
    )
    length = k.shape[1]
    heads = a["sinks"].size
    q = a["q"].reshape(-1, len(k), heads // len(k), 64)
    tokens = len(q)
    scores = np.einsum("thgd,hkd->thgk", q, k, optimize=True) * 0.125
    behind = length - tokens + np.arange(tokens)[:, None] - np.arange(length)
    seen = (behind >= 0) & (behind < (window or length))
    scores = np.where(seen[:, None, None], scores, -np.inf)
    sink = a["sinks"].reshape(len(k), -1, 1)
    top = np.maximum(scores.max(-1, keepdims=True), sink)
    weights = np.exp(scores - top)
    weights = weights / (weights.sum(-1, keepdims=True) + np.exp(sink - top))
    out = np.einsum("thgk,hkd->thgd", weights, v, optimize=True)
    return {p["output"]: out.reshape(tokens, heads, 64)}


OPERATIONS: dict[str, Callable[[Inputs, Mapping[str, Any], Results], Results]] = {
    each.__name__: each for each in (gate_up, down, gather_qmv, route, qkv, o_proj, lm_head, products, attend)
}

FROM_RESULTS = ("route",)
"""Those that go on from what the kernel gave."""


def _lane_order(size: int) -> NDArray[np.int64]:
    """Where each value of a vector stands in lane order (metal/kernels/lanes.h)."""
    k = np.arange(size)
    block, word = k // 32, k // 8 % 4
    width = np.minimum(32, size // 32 - block // 32 * 32)
    in_word = np.array([0, 2, 4, 6, 1, 3, 5, 7])[k % 8]
    places: NDArray[np.int64] = (128 * (block // 32) + word * width + block % 32) * 8 + in_word
    return places


def _in_lanes(x: Floats) -> Floats:
    lanes = np.empty_like(x)
    lanes[_lane_order(len(x))] = x
    return lanes


def _norm(x: Floats, gain: Floats) -> Floats:
    y: Floats = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * gain
    return y


def _top(logits: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
    """Indices of the largest, of equal ones the lowest first, and their softmax."""
    chosen = np.argsort(-logits, kind="stable")[:count]
    powers = np.exp(logits[chosen] - logits.max())
    return chosen, powers / powers.sum()


def _expert(a: Inputs, blocks: str, scales: str, expert: int, x: Floats) -> Floats:
    """x through one expert's matrix in MXFP4."""
    codes, bytes_ = a.stored[blocks][expert], a.stored[scales][expert]

    def rows(part: slice) -> Floats:
        values = _E2M1[_nibbles(codes[part])].reshape(-1, bytes_.shape[1], 32)
        weights: Floats = values * np.ldexp(1.0, bytes_[part].astype(np.int32) - 127)[..., None]
        return weights.reshape(len(weights), -1)

    product: Floats = _by_rows(rows, len(codes), x[None])[0]
    return product


def _product(a: Inputs, p: Mapping[str, Any], x: Floats, weight: str, scales: str, offsets: str) -> Floats:
    """x [T, columns] times a dense matrix, stored or affine in groups of 64: [T, rows]."""
    packed, bits = a.stored[weight], p["BITS"]

    def rows(part: slice) -> Floats:
        if not bits:
            return a.rows(weight, part)
        scale, offset = a.rows(scales, part), a.rows(offsets, part)
        codes = _codes(packed[part], bits).reshape(*scale.shape, 64)
        weights: Floats = codes * scale[..., None] + offset[..., None]
        return weights.reshape(len(weights), -1)

    return _by_rows(rows, len(packed), x)


def _codes(words: NDArray[Any], bits: int) -> NDArray[Any]:
    if bits == 4:
        return _nibbles(words)
    octets = np.ascontiguousarray(words).view(np.uint8)
    if bits == 8:
        return octets
    threes = octets.reshape(len(octets), -1, 3).astype(np.uint32)
    four = threes[..., 0] | threes[..., 1] << 8 | threes[..., 2] << 16
    return np.stack([four >> 6 * i & 63 for i in range(4)], axis=-1).reshape(len(octets), -1)


def _nibbles(words: NDArray[Any]) -> NDArray[np.uint8]:
    """Low ones first."""
    octets = np.ascontiguousarray(words).view(np.uint8)
    return np.stack([octets & 15, octets >> 4], axis=-1).reshape(len(octets), -1)


def _by_rows(rows: Callable[[slice], Floats], count: int, x: Floats) -> Floats:
    """x times the transpose of a matrix that is made some rows at a time, on all cores (numpy lets go of the lock)."""
    parts = [slice(first, first + _ROWS_AT_ONCE) for first in range(0, count, _ROWS_AT_ONCE)]
    return np.concatenate(list(_threads().map(lambda part: x @ rows(part).T, parts)), axis=1)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(32, os.cpu_count() or 1))
