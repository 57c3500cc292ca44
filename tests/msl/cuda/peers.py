"""MLX's own kernels as cases on the same shapes: the product alone, where ours hold norm, bias, RoPE, SwiGLU, too."""

from collections.abc import Callable, Iterator, Sequence

import mlx.core as mx

from metal.formats import HEAD_DIM, QUANT_GROUP
from metal.launch import Call
from tests.msl import mlx_kernels
from tests.msl.cuda.manifest import Array, Case
from tests.msl.cuda.recorded import NAMES, Step, Texts, assembled, random_input
from tests.msl.zeros import ScaledSizes

_LIKE_OURS = {"w": "weight", "scales": "scales", "biases": "offsets", "keys": "keys", "values": "values"}
"""Inputs of MLX's kernels, by what they are called in ours; a number may follow."""

_TWO_PASSES = 1024
"""Keys from which MLX takes its kernel of two passes on a Max or an Ultra."""


def form(bits: int) -> str:
    """As "8 bits"; 0 is a matrix as stored."""
    return f"{bits} bits" if bits else "stored"


def expert_cases(s: ScaledSizes, texts: Texts) -> Iterator[Case]:
    """gather_qmm in MXFP4, on the shapes of gate_up and down."""
    for group, rows, x in (
        ("gate_up", 2 * s.intermediate * s.scale, _zeros(s.hidden)),
        ("down", s.hidden * s.scale, _zeros(s.top_k, s.intermediate)),
    ):
        columns = x.shape[-1]
        blocks = _zeros(s.experts, rows, columns // 8, dtype=mx.uint32)
        scales = _zeros(s.experts, rows, columns // 32, dtype=mx.uint8)
        launched = mlx_kernels.gather_qmv(x, blocks, scales, _zeros(s.top_k, dtype=mx.uint32))
        parameters: dict[str, int | str] = {"K": columns, "E": s.experts, "TOP": s.top_k}
        make = _made(parameters, {**_LIKE_OURS, "w": "blocks"})
        label = "MLX fp_gather_qmv, the product alone"
        yield assembled(texts, group, label, "MLX", "gather_qmv", [_step(launched)], make, parameters)


def dense_cases(s: ScaledSizes, texts: Texts, forms: Sequence[int]) -> Iterator[Case]:
    """matmul and quantized_matmul, on the shapes of qkv (three matrices), o_proj and lm_head."""
    matrices = {
        "qkv": (s.hidden, [s.heads * HEAD_DIM * s.scale, *[s.kv_heads * HEAD_DIM * s.scale] * 2]),
        "o_proj": (s.heads * HEAD_DIM, [s.hidden * s.scale]),
    }
    if s.scale == 1:
        matrices["lm_head"] = (s.hidden, [s.vocabulary])
    for name, (columns, heights) in matrices.items():
        for bits in forms:
            x = _zeros(columns)
            steps = [_product(x, rows, bits, number) for number, rows in enumerate(heights)]
            parameters: dict[str, int | str] = {"K": columns, "BITS": bits, "matrices": len(steps)}
            label = f"MLX {steps[0].call.kernel.name} x {len(steps)}, the product alone"
            make = _made(parameters, _LIKE_OURS)
            yield assembled(texts, f"{name} {form(bits)}", label, "MLX", "products", steps, make, parameters)


def attention_cases(s: ScaledSizes, texts: Texts, length: int) -> Iterator[Case]:
    """scaled_dot_product_attention of one query, with MLX's numbers of blocks on a base chip and on a Max."""
    q, sinks = _zeros(s.heads, HEAD_DIM), _zeros(s.heads)
    keys, values = (_zeros(s.kv_heads, length, HEAD_DIM) for _ in range(2))
    parameters: dict[str, int | str] = {"WINDOW": 0, "output": "out"}
    make = _made(parameters, _LIKE_OURS)

    def case(label: str, *steps: Step) -> Case:
        return assembled(texts, f"attend {length}", label, "MLX", "attend", steps, make, parameters)

    if length < _TWO_PASSES:
        yield case("MLX sdpa_vector", _step(mlx_kernels.sdpa_vector(q, keys, values, sinks, 0.125), queries="q"))
        return
    for blocks in (64, 128 if length <= 8192 else 256):
        launched, second = mlx_kernels.sdpa_vector_2pass(q, keys, values, sinks, 0.125, blocks)
        first = _step(launched, queries="q")
        yield case(f"MLX sdpa_vector_2pass, {blocks} blocks", first, _step(second(first.results)))


def _product(x: mx.array, rows: int, bits: int, number: int) -> Step:
    """One of a case's matrices."""
    if not bits:
        return _step(mlx_kernels.gemv(x, _zeros(rows, x.size)), mat=f"w{number}", in_vec="x", out_vec=f"y{number}")
    codes = _zeros(rows, x.size * bits // 32, dtype=mx.uint32)
    scales, biases = (_zeros(rows, x.size // QUANT_GROUP) for _ in range(2))
    launched = mlx_kernels.qmv(x, codes, scales, biases, bits)
    return _step(launched, **{name: f"{name}{number}" for name in ("w", "scales", "biases", "y")})


def _made(parameters: dict[str, int | str], like_ours: dict[str, str]) -> Callable[[str, mx.array], Array]:
    """How inputs are made: as those of ours, and numbers as they are."""

    def make(key: str, x: mx.array) -> Array:
        if key == "rhs_indices":
            experts, top = int(parameters["E"]), int(parameters["TOP"])
            chosen = {"kind": "experts", "seed": 7, "experts": experts, "top": top}
            return Array("input", "uint32", x.shape, chosen, sets=experts // top)
        if key in ("x", "q", "sinks"):
            return random_input(key, x, 16, parameters)
        if ours := like_ours.get(key.rstrip("0123456789")):
            return random_input(ours, x, 16, parameters, seed=key)
        return Array("input", NAMES[x.dtype], x.shape, {"kind": "list", "values": x.tolist()})

    return make


def _step(launched: tuple[Call, str], **names: str) -> Step:
    call, text = launched
    results = [mx.zeros(*output) for output in zip(call.output_shapes, call.output_dtypes, strict=True)]
    return Step(call, text, results, names)


def _zeros(*shape: int, dtype: mx.Dtype = mx.bfloat16) -> mx.array:
    return mx.zeros(shape, dtype)
