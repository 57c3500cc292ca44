"""Counts the GPU launches of one decoded token, and the longest chain of them: `python -m tests.benchmarks.launches`.

With --rows of a step that computes a token for each of several sequences, which ours does.
Three models of the same sizes are counted by the same rule: ours with Metal kernels, ours with MLX's operations alone,
and mlx-lm's (if the extra `peers` is installed). Models of two and of four layers are recorded; half of what they
differ by is a layer's share, the mean of one with a sliding window and one with full attention.

The rule says what each primitive of MLX launches on Metal, read in its sources (mlx/backend/metal and mlx/backend/gpu,
version 0.32). It assumes what holds in steady decoding: a buffer that nobody else holds is updated in place, MLX's own
attention takes one pass (fewer than 1,024 keys), and every elementwise primitive of a compiled function becomes part of
one launch.
"""

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import mlx.core as mx
import numpy as np
from numpy.lib.stride_tricks import as_strided

from metal.launch import Call, executed_by
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.graph import COMPILED, COMPILED_END, Graph, Node, as_on_metal, record

CONTEXT = 40
"""Tokens before the one that is counted: more than the window of the small models, 16."""

_SINGLY = 8

UNARY = frozenset(["AsType", "Exp", "Log", "Negative", "Sigmoid", "Square"])
COMPARISONS = frozenset(["Equal", "Greater", "GreaterEqual", "Less", "LessEqual"])
BINARY = frozenset(["Add", "BitwiseBinary", "Divide", "LogicalAnd", "LogicalOr", "Maximum", "Minimum", "Multiply"])
ELEMENTWISE = UNARY | COMPARISONS | BINARY | {"Select", "Subtract"}
"""One launch each (unary.cpp, binary.cpp, ternary.cpp, copy.cpp); one for all of a compiled function (compiled.cpp)."""

PRODUCTS = frozenset(["AddMM", "GatherQMM", "Matmul", "QuantizedMatmul", "ScaledDotProductAttention"])
ROWS = frozenset(["ArgReduce", "RMSNorm", "RoPE", "Scan", "Softmax"])
INDEXED = frozenset(["Arange", "Full", "Gather", "GatherAxis", "RandomBits", "ScatterAxis"])
ONE = PRODUCTS | ROWS | INDEXED
"""One launch each, for one row: gemv, qmv and the vector form of attention have no second pass."""

VIEWS = frozenset(
    ["Broadcast", "BroadcastAxes", "Copy", "Depends", "Slice", "Split", "StopGradient", "Transpose", "View"]
)
"""No launch: other strides on the same buffer (common/common.cpp)."""

SORTS = frozenset(["ArgPartition", "ArgSort", "Partition", "Sort"])
RESHAPES = frozenset(["ExpandDims", "Flatten", "Reshape", "Squeeze", "Unflatten"])

_SORTED_IN_ONE_BLOCK = 2048
_REDUCED_IN_ONE_PASS = 4096


def launches(graph: Graph) -> Counter[str]:
    """Launches by primitive, a custom kernel by its name. Raises KeyError for a primitive the rule doesn't know."""
    layouts = {name: _contiguous(shape) for name, shape in graph.sources.items()}
    within: dict[str, str] = {}  # array to the compiled function that makes it
    counted: Counter[str] = Counter()
    fused: set[str] = set()
    for node in graph.nodes:
        inputs = [layouts[name] for name in node.inputs]
        compiled = _compiled(node, within)
        if compiled is not None:
            within |= dict.fromkeys(node.outputs, compiled)
        if compiled is not None and node.primitive in ELEMENTWISE:
            fused.add(compiled)
        else:
            counted[_label(node)] += _cost(node, inputs)
        layouts |= zip(node.outputs, _layouts(node, inputs), strict=True)
    counted["compiled"] += len(fused)
    return +counted


def chain(graph: Graph) -> int:
    """Launches of which each waits for the one before, up to the token: the longest such chain.

    MLX encodes launches concurrently and lets one wait where it reads or writes a buffer that another writes
    (backend/metal/device.cpp). So far as nothing is written in place that another launch of the step reads, which
    `shared` would find, those are the edges of the graph.
    """
    layouts = {name: _contiguous(shape) for name, shape in graph.sources.items()}
    depth, within, fused = dict.fromkeys(graph.sources, 0), dict[str, str](), set[str]()
    token = 0
    for node in graph.nodes:
        compiled = _compiled(node, within)
        if compiled is not None:
            within |= dict.fromkeys(node.outputs, compiled)
        if compiled is not None and node.primitive in ELEMENTWISE:
            # Of a compiled function's one launch: waits for what isn't of it.
            depth_here = max(depth[name] + (name not in fused) for name in node.inputs)
            fused.update(node.outputs)
        else:
            cost = _cost(node, [layouts[name] for name in node.inputs])
            in_turn = min(cost, 1) if node.primitive in ("Concatenate", "CustomKernel") else cost  # copies side by side
            depth_here = max((depth[name] for name in node.inputs), default=0) + in_turn
        depth |= dict.fromkeys(node.outputs, depth_here)
        layouts |= zip(node.outputs, _layouts(node, [layouts[name] for name in node.inputs]), strict=True)
        if node.primitive == "ArgReduce":
            token = depth_here
    return token


def shared(graph: Graph) -> list[str]:
    """Arrays that a launch writes in place and that another one reads: the two wait for each other for no reason."""
    buffer: dict[str, str] = {name: name for name in graph.sources}  # array to the array whose memory it is
    readers: Counter[str] = Counter()
    written = []
    for node in graph.nodes:
        for name in node.inputs:
            readers[buffer.setdefault(name, name)] += node.primitive not in VIEWS
        if node.primitive == "SliceUpdate":
            written.append(buffer[node.inputs[0]])
        view = node.primitive in VIEWS or node.primitive in RESHAPES
        buffer |= {name: buffer[node.inputs[0]] if view else name for name in node.outputs}
    return [name for name in written if readers[name] > 1]


def _compiled(node: Node, within: dict[str, str]) -> str | None:
    """The compiled function that a node is part of."""
    if node.primitive.startswith(COMPILED_END):
        return None
    if node.primitive.startswith(COMPILED):
        return node.primitive
    return next((within[name] for name in node.inputs if name in within), None)


def _label(node: Node) -> str:
    """The primitive; of a custom kernel its own name, without the template arguments."""
    if node.primitive != "CustomKernel":
        return node.primitive
    name: str = node.arguments[0]
    return name.removeprefix("custom_kernel_").split("__")[0]


def _cost(node: Node, inputs: Sequence[np.ndarray]) -> int:
    """Launches of one primitive on inputs of these layouts."""
    name = node.primitive
    if name in VIEWS or name.startswith(COMPILED):
        return 0
    if name in ELEMENTWISE or name in ONE:
        return 1
    if name in RESHAPES:
        return int(_reshaped(inputs[0], node.shapes[0]) is None)  # copied where no strides fit
    if name in SORTS:  # blocks sorted; they are merged in pairs, two launches a round; the result copied (sort.cpp)
        blocks = math.ceil(inputs[0].shape[node.arguments[-1]] / _SORTED_IN_ONE_BLOCK)
        return 1 if blocks == 1 else 2 + 2 * math.ceil(math.log2(blocks))
    if name == "Reduce":  # two passes if a whole large array becomes one number (reduce.cpp)
        return 1 if math.prod(node.shapes[0]) > 1 or inputs[0].size <= _REDUCED_IN_ONE_PASS else 2
    if name == "Concatenate":  # a copy of each input (slicing.cpp)
        return sum(array.size > 0 for array in inputs)
    if name == "SliceUpdate":  # the buffer is donated, so only the rows are copied
        return 1
    if name == "CustomKernel":  # and a copy of each input that is not row-contiguous (custom_kernel.cpp)
        return 1 + sum(not array.flags.c_contiguous for array in inputs)
    raise KeyError(f"no rule says what {name} launches; read it in MLX's sources and add it to {__file__}")


# ------------------------------------------------------- layouts, as NumPy arrays of these strides that hold nothing


def _contiguous(shape: Sequence[int]) -> np.ndarray:
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return as_strided(np.empty(1, np.int8), shape, strides)


def _reshaped(array: np.ndarray, shape: Sequence[int]) -> np.ndarray | None:
    """A view of this shape, None if there is none."""
    try:
        return array.reshape(shape, copy=False)
    except ValueError:
        return None


def _layouts(node: Node, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """How the results of a primitive lie in memory."""
    if not inputs:
        return [_contiguous(shape) for shape in node.shapes]
    first = inputs[0]
    match node.primitive:
        case "Broadcast" | "BroadcastAxes":
            return [np.broadcast_to(first, node.shapes[0])]
        case "Transpose":
            return [first.transpose(node.arguments[0])]
        case "Slice":
            starts, stops, steps = node.arguments
            return [first[tuple(slice(*bounds) for bounds in zip(starts, stops, steps, strict=True))]]
        case "Split":
            *_, axis = node.arguments
            cuts = np.cumsum([shape[axis] for shape in node.shapes])[:-1]
            return np.split(first, cuts, axis)
        case name if name in RESHAPES:
            view = _reshaped(first, node.shapes[0])
            return [_contiguous(node.shapes[0]) if view is None else view]
        case "StopGradient" | "Copy" | "Depends":
            return list(inputs[: len(node.shapes)])
        case _:
            return [_contiguous(shape) for shape in node.shapes]


# ----------------------------------------------------------------------------------------------------- the models


Step = Callable[[mx.array], Sequence[mx.array]]
"""Takes token ids [1, T], as many of each sequence; gives those that follow, and all arrays of the KV caches."""


def ours(folder: Path, context: int, rows: int, *, kernels: bool) -> Step:
    """This project's model, each operation by its kernel's default variant or all by MLX's own."""
    from mlx_model.model import load
    from mlx_model.transformer.embedding import Embedding
    from mlx_model.weights.rows import HeldRows
    from tests.fixtures.by_kernels import by_kernels

    model = load(folder, differentiable=True)
    transformer, caches = model.mlx_transformer, [model.make_cache() for _ in range(rows)]

    def step(tokens: mx.array) -> Sequence[mx.array]:
        logits = transformer(tokens, caches, "all" if rows > 1 else "last")
        return [mx.argmax(logits, axis=-1), *(array for cache in caches for array in cache.arrays())]

    if kernels:
        transformer.decoder = by_kernels(transformer)
    with executed_by(_zeros):
        _fill(step, context, rows)
    # As where a GPU holds the matrix; from the mapped file MLX's CPU stream takes the row, which launches nothing.
    table = mx.zeros((model.config.vocab_size, model.config.hidden_size), transformer.compute.dtype)
    mx.eval(table)
    transformer.embedding = Embedding((HeldRows(table),), transformer.compute.dtype)
    return step


def _zeros(call: Call) -> list[mx.array]:
    """In place of a kernel, where what it computes doesn't matter."""
    return [mx.zeros(shape, dtype) for shape, dtype in zip(call.output_shapes, call.output_dtypes, strict=True)]


def mlx_lm(folder: Path, context: int, rows: int) -> Step:
    """mlx-lm's gpt_oss on the same checkpoint, one row."""
    from mlx_lm.utils import load_model

    model, _ = load_model(folder)
    caches = model.make_cache()

    def step(token: mx.array) -> Sequence[mx.array]:
        logits = model(token, caches)
        return [mx.argmax(logits[0, -1]), *(array for cache in caches for array in (cache.keys, cache.values))]

    _fill(step, context, rows)
    return step


def _fill(step: Step, context: int, rows: int) -> None:
    """Brings KV caches to where every further token costs the same: a prompt, and a few tokens one by one."""
    mx.eval(step(mx.zeros((1, rows * (context - _SINGLY)), mx.int32)))
    for _ in range(_SINGLY):
        mx.eval(step(mx.zeros((1, rows), mx.int32)))


OURS = "ours, kernels"

MODELS: dict[str, Callable[[Path, int, int], Step]] = {
    OURS: partial(ours, kernels=True),
    "ours, MLX's operations": partial(ours, kernels=False),
    "mlx-lm": mlx_lm,
}


CHAIN = "longest chain"
"""In place of a primitive: launches that wait for each other."""


def count(name: str, context: int, rows: int = 1) -> tuple[dict[str, float], dict[str, float]]:
    """Launches of a layer and of all the rest, by primitive, and how many of them wait for each other (CHAIN)."""

    def of(layers: int) -> Counter[str]:
        folder = write_checkpoint(Path(work) / str(layers), config(layers))
        graph = record(MODELS[name](folder, context, rows), mx.ones((1, rows), mx.int32))
        if name == OURS and (found := shared(graph)):
            raise ValueError(f"{len(found)} buffers are written in place and read by another launch of the step")
        return launches(graph) + Counter({CHAIN: chain(graph)})

    with tempfile.TemporaryDirectory() as work, as_on_metal():
        two, four = of(2), of(4)
    layer = {kind: (four[kind] - two[kind]) / 2 for kind in four}
    return layer, {kind: two[kind] - 2 * layer[kind] for kind in four}


SAMPLING: dict[str, dict[str, float]] = {
    "temperature 0": {"temperature": 0},
    "the default": {},
    "min-p 0.05": {"min_p": 0.05},
    "top-k 50": {"top_k": 50},
    "top-p 0.95": {"top_p": 0.95},
}
"""Options of the sampler that are counted."""


def count_sampling(options: dict[str, float], vocabulary: int = 201_088) -> Counter[str]:
    """Launches that draw a token from the logits of gpt-oss's vocabulary."""
    with as_on_metal():
        from mlx_model.generation.sampling import Sampler
        from mlx_model.options import Options

        sampler = Sampler(Options(seed=1, **options), vocabulary, [])  # type: ignore[arg-type]
        logits = mx.zeros(vocabulary)
        mx.eval(logits)
        return launches(record(lambda traced: [sampler(traced), *sampler.state()], logits))


def config(layers: int) -> dict[str, object]:
    """A small model with gpt-oss's own head_dim, which decides what attention MLX takes."""
    return tiny_config(num_hidden_layers=layers, head_dim=64)


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=list(MODELS), help="count this one, with its primitives")
    parser.add_argument("--context", type=int, default=CONTEXT, metavar="N", help="tokens before the one counted")
    parser.add_argument("--rows", type=int, default=1, metavar="N", help="sequences of which a token is computed")
    parser.add_argument("--json", action="store_true", help="the counts as one object")
    parser.add_argument("--sampling", action="store_true", help="count what draws a token, with its primitives")
    arguments = parser.parse_args()
    if arguments.context < CONTEXT:
        parser.error(f"--context starts at {CONTEXT}, where windows are full")
    if arguments.sampling:
        print(json.dumps({name: count_sampling(options) for name, options in SAMPLING.items()}))
        return 0
    if arguments.model is None:
        print_table(arguments.context, arguments.rows)
        return 0
    layer, rest = count(arguments.model, arguments.context, arguments.rows)
    if arguments.json:
        print(json.dumps({"layer": layer, "rest": rest}))
        return 0
    for title, counted in (("a layer", layer), ("the rest", rest)):
        print(f"{title}: {total(counted):g}")
        print(*(f"  {number:g} {kind}" for kind, number in sorted(counted.items()) if number), sep="\n")
    return 0


def total(counted: Mapping[str, float]) -> float:
    """Launches of all primitives."""
    return sum(number for kind, number in counted.items() if kind != CHAIN)


def print_table(context: int, rows: int) -> None:
    """Counts each model in a process of its own, as each changes MLX and what it imports for itself."""
    print("| launches | a layer | the rest | a step of 24 layers | of these in a row |\n|---|---:|---:|---:|---:|")
    for name in MODELS:
        if name == "mlx-lm" and rows > 1:
            continue
        if name == "mlx-lm" and importlib.util.find_spec("mlx_lm") is None:
            print("\nmlx-lm is not installed here (the extra `peers` has it).")
            continue
        command = [sys.executable, "-m", "tests.benchmarks.launches", name, "--json", "--context", str(context)]
        command += ["--rows", str(rows)]
        counted = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        layer, rest = total(counted["layer"]), total(counted["rest"])
        in_a_row = 24 * counted["layer"][CHAIN] + counted["rest"][CHAIN]
        print(f"| {name} | {layer:g} | {rest:g} | {24 * layer + rest:g} | {in_a_row:g} |", flush=True)
    drawn = ", ".join(f"{sum(count_sampling(options).values())} at {name}" for name, options in SAMPLING.items())
    print(f"\nThe rest has the likeliest token (1 launch). Ours draws one in {drawn}.")


if __name__ == "__main__":
    sys.exit(main())
