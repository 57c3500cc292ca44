"""A case from the launches of a program: which arrays pass between them, and how its inputs are made."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import mlx.core as mx

from metal.launch import Call
from tests.msl.cuda.manifest import Array, Case, Launch
from tests.msl.cuda.translate import translated

NAMES = {
    mx.bfloat16: "bfloat16",
    mx.float16: "float16",
    mx.float32: "float32",
    mx.uint32: "uint32",
    mx.uint8: "uint8",
    mx.int32: "int32",
    mx.int64: "int64",
    mx.uint64: "uint64",
    mx.bool_: "bool",
}

_COLD = ("blocks", "weight", "scales", "offsets", "bias", "router", "keys", "values")
"""Ends of the names of what decoding a token reads from DRAM; the other inputs were just written."""

_ALIGNED = ("blocks", "weight", "norm", "gain", "router")
"""Ends of the names of what lies in a mapped file, at the alignment that a kernel is built for."""


@dataclass(frozen=True, slots=True)
class Step:
    """One launch: its text, the arrays it gives, and the names of a case's arrays for those of the kernel."""

    call: Call
    text: str
    results: Sequence[mx.array]
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Text:
    """CUDA C++, its buffers in their order, and the Metal text that it was made of."""

    cuda: str
    buffers: tuple[str, ...]
    metal: str


class Texts(dict[str, Text]):
    """Each once, by the hash of its CUDA C++."""

    def add(self, metal: str, threads: int) -> str:
        """The name of a text."""
        cuda = translated(metal, threads)
        name = hashlib.sha256(cuda.text.encode()).hexdigest()[:16]
        self[name] = Text(cuda.text, cuda.buffers, metal)
        return name


def assembled(
    texts: Texts,
    group: str,
    name: str,
    side: Literal["ours", "MLX"],
    reference: str,
    steps: Sequence[Step],
    make: Callable[[str, mx.array], Array],
    parameters: Mapping[str, Any],
) -> Case:
    """The case of these launches. `make(name, x)` describes an input; an array is known by which object it is.

    What one launch gives and a later one takes has the name that it has there.
    """
    arrays: dict[str, Array] = {}
    known: dict[int, str] = {}
    launches = []
    taken = {id(x): key for step in steps[1:] for key, x in zip(step.call.kernel.inputs, step.call.inputs, strict=True)}

    def named(key: str, step: Step, number: int) -> str:
        name = step.names.get(key, key)
        return name if name not in arrays else f"{name}:{number}"

    for number, step in enumerate(steps):
        places: dict[str, str] = {}
        for key, x in zip(step.call.kernel.inputs, step.call.inputs, strict=True):
            if id(x) not in known:
                known[id(x)] = named(key, step, number)
                arrays[known[id(x)]] = make(known[id(x)], x)
            places[key] = known[id(x)]
        for key, x in zip(step.call.kernel.outputs, step.results, strict=True):
            known[id(x)] = named(taken.get(id(x), key), step, number)
            role: Literal["temporary", "output"] = "temporary" if id(x) in taken else "output"
            arrays[known[id(x)]] = Array(role, NAMES[x.dtype], x.shape)
            places[key] = known[id(x)]
        text = texts.add(step.text, math.prod(step.call.threadgroup))
        for buffer in texts[text].buffers:
            if buffer not in places:  # what MLX hands to a kernel whose text asks for it
                shape = arrays[places[buffer.removesuffix("_shape")]].shape
                arrays[buffer] = Array("input", "int32", (len(shape),), {"kind": "list", "values": shape})
        arguments = tuple(places.get(buffer, buffer) for buffer in texts[text].buffers)
        x_blocks, y_blocks, z_blocks = (
            -(-threads // size) for threads, size in zip(step.call.grid, step.call.threadgroup, strict=True)
        )
        launches.append(Launch(text, (x_blocks, y_blocks, z_blocks), step.call.threadgroup, arguments))
    return Case(group, name, side, reference, parameters, arrays, tuple(launches))


def random_input(key: str, x: mx.array, alignment: int, p: Mapping[str, Any], seed: str | None = None) -> Array:
    """How an input of our kernels is made, by its name and the kernel's parameters."""
    tail = key.rsplit("_", 1)[-1]
    if x.ndim == 0 or key == "places":
        return Array("input", NAMES[x.dtype], (x.size,), {"kind": "list", "values": x.reshape(-1).tolist()})
    if key == "logits":
        chosen = {"kind": "logits", "seed": 7, "experts": p["E"], "top": p["TOP"]}
        return Array("input", NAMES[x.dtype], x.shape, chosen, sets=p["E"] // p["TOP"])
    number = int(hashlib.sha256((seed or key).encode()).hexdigest()[:4], 16)
    return Array(
        "input",
        NAMES[x.dtype],
        x.shape,
        {"seed": number, **_values(key, tail, x.dtype, p)},
        cold=tail in _COLD,
        fraction=min(1.0, p.get("experts", p["TOP"]) / p["E"]) if x.ndim == 3 and tail in ("blocks", "scales") else 1.0,
        offset=alignment if tail in _ALIGNED and alignment < 16 else 0,
    )


def _values(key: str, tail: str, dtype: mx.Dtype, p: Mapping[str, Any]) -> dict[str, Any]:
    """Such that results are of the size of 1."""
    columns = p.get("K", 64)
    if key in ("cosines", "sines"):
        return {"kind": key, "seed": 11}
    if dtype == mx.uint32:
        return {"kind": "integers", "low": 0, "high": 2**32}
    if dtype == mx.uint8:
        middle = 127 + round(math.log2(0.8 / columns**0.5))
        return {"kind": "integers", "low": middle - 1, "high": middle + 2}
    if tail in ("scales", "offsets"):  # codes of b bits around their middle, so that the weights are about normal
        step = 4 / (2 ** p["BITS"] * columns**0.5)
        if tail == "scales":
            return {"kind": "normal", "mean": step, "scale": step / 8}
        return {"kind": "normal", "mean": -2 / columns**0.5, "scale": 0.1 / columns**0.5}
    if tail in ("weight", "router"):
        return {"kind": "normal", "scale": columns**-0.5}
    if tail in ("norm", "gain"):
        return {"kind": "normal", "mean": 1, "scale": 0.2}
    return {"kind": "normal"}
