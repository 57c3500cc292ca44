"""Every text that MLX hands to Metal's compiler for this program: the one list, for all who judge kernels.

    python -m tests.msl.texts FOLDER

writes each to a file of its own, as MLX generates it. On a Mac MLX puts its own `kernels/utils.h` before it.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import mlx.core as mx

from metal.attend import attend
from metal.dense import lm_head, o_proj, qkv
from metal.formats import HEAD_DIM, MXFP4_BLOCK, QUANT_GROUP, Packing
from metal.launch import Call, Parameters, executed_by
from metal.operation import Operation
from metal.trust.candidates import attend_operation, dense_operations, expert_operations
from metal.trust.selftest import decodes_fp4
from metal.weights import ExpertMatrix, Head, Matrix, Mixture, Projections
from tests.msl.source import generated_text


@dataclass(frozen=True, slots=True)
class KernelText:
    """A text with one kernel, and how the program launches it.

    `name` is unique and fit for a file. `text` is all that MLX generates, which is without its `kernels/utils.h`.
    `function` is the kernel's name in it. `parameters` are its template arguments; `grid` and `threadgroup` count
    threads.
    """

    name: str
    text: str
    function: str
    parameters: Parameters
    grid: tuple[int, int, int]
    threadgroup: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What a text depends on of a model's sizes."""

    model: str
    hidden: int = 2880
    heads: int = 64
    kv_heads: int = 8
    vocabulary: int = 201088
    intermediate: int = 2880
    experts: int = 32
    top_k: int = 4


_20B = _Sizes("20b")
_120B = _Sizes("120b", experts=128)
# The demo model's matrices lie at multiples of 8 in its file.
_DEMO = _Sizes("demo", 128, heads=4, kv_heads=2, vocabulary=1024, intermediate=128, experts=8, top_k=2)
# MLX puts an input of fewer than 8 elements into the constant address space: here also biases and logits of experts.
_FEW = _Sizes("few", 192, heads=4, kv_heads=1, vocabulary=512, intermediate=96, experts=4, top_k=2)

_DTYPES = (mx.bfloat16, mx.float16, mx.float32)
_ALIGNMENTS = (16, 8, 4)  # of MLX's own buffers, and of mapped files (the Hub's lie 8 bytes past a multiple of 16)
_BITS = (0, 8, 6, 4)
_MOST_TOKENS = 4
_WINDOW = 128


@cache
def kernel_texts() -> tuple[KernelText, ...]:
    """All distinct texts for gpt-oss: every dtype, number of bits, alignment and variant; both models, and small ones.

    Decoding launches them with one row of activations. The kernels take up to four, so those texts are here, too.
    """
    found: dict[str, KernelText] = {}
    for model, run in _launches():
        for call in _calls(run):
            text = generated_text(call)
            name = "-".join([call.kernel.name, model, *map(_words, call.parameters)])
            each = KernelText(name, text, _function(text), call.parameters, call.grid, call.threadgroup)
            found.setdefault(text, each)
    return tuple(found.values())


def write(texts: Iterable[KernelText], folder: Path) -> list[Path]:
    """Writes each text to NAME.metal in a folder; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for each in texts:
        files.append(folder / f"{each.name}.metal")
        files[-1].write_text(each.text, "ascii")
    return files


def _calls(run: Callable[[], object]) -> list[Call]:
    """What `run` launches; nothing is computed."""
    calls: list[Call] = []

    def record(call: Call) -> list[mx.array]:
        calls.append(call)
        return [mx.zeros(*output) for output in zip(call.output_shapes, call.output_dtypes, strict=True)]

    with executed_by(record):
        run()
    return calls


def _words(parameter: tuple[str, int | bool | mx.Dtype]) -> str:
    """A template argument in a name: K2880, T_bfloat16."""
    name, value = parameter
    return f"{name}_{_dtype_name(value)}" if isinstance(value, mx.Dtype) else f"{name}{int(value)}"


def _label(sizes: _Sizes, dtype: mx.Dtype) -> str:
    return f"{sizes.model}-{_dtype_name(dtype)}"


def _dtype_name(dtype: mx.Dtype) -> str:
    return str(dtype).removeprefix("mlx.core.")


def _function(text: str) -> str:
    """The name of the text's kernel."""
    found = re.search(r"\[\[kernel\]\]\s+void\s+(\w+)", text)
    if found is None:
        raise ValueError("the text has no kernel function")
    return found[1]


_Launches = Iterator[tuple[str, Callable[[], object]]]
"""A model with its dtype, and what launches kernels for it."""


def _launches() -> _Launches:
    yield "any", decodes_fp4
    for dtype in _DTYPES:
        yield from _tried(_20B, dtype, [_attention(_20B, dtype)])
        for alignment in _ALIGNMENTS:
            yield from _tried(_20B, dtype, expert_operations(_mixture(_20B, dtype, alignment), dtype))
            for bits in _BITS:
                yield from _tried(_20B, dtype, _dense(_20B, dtype, alignment, bits))
    for alignment in _ALIGNMENTS:
        for sizes, table in ((_20B, True), (_120B, False)):
            mixture = _mixture(sizes, mx.bfloat16, alignment)
            yield from _tried(sizes, mx.bfloat16, expert_operations(mixture, mx.bfloat16, table=table))
    for sizes, alignment in ((_DEMO, 16), (_DEMO, 8), (_FEW, 16)):
        yield from _tried(sizes, mx.bfloat16, [_attention(sizes, mx.bfloat16)])
        yield from _tried(sizes, mx.bfloat16, expert_operations(_mixture(sizes, mx.bfloat16, alignment), mx.bfloat16))
        yield from _tried(sizes, mx.bfloat16, _dense(sizes, mx.bfloat16, alignment, 0))
    yield from _several_tokens(_20B, mx.bfloat16)


def _tried(sizes: _Sizes, dtype: mx.Dtype, operations: Sequence[Operation]) -> _Launches:
    """Operations in all their variants, as metal.trust.select tries them."""
    for operation in operations:
        arguments = operation.arguments(0)
        for variant in operation.variants:
            yield _label(sizes, dtype), partial(operation.run, *arguments, variant)


def _several_tokens(sizes: _Sizes, dtype: mx.Dtype) -> _Launches:
    """The kernels whose text depends on how many rows there are, in their default variants."""
    tokens = _MOST_TOKENS
    x, angles = mx.zeros((tokens, sizes.hidden), dtype), mx.zeros((tokens, HEAD_DIM // 2))
    queries = mx.zeros((tokens, sizes.heads, HEAD_DIM), dtype)
    for bits in _BITS:
        layer, head = _projections(sizes, dtype, 16, bits), _head(sizes, dtype, 16, bits)
        first = {operation.name: operation.variants[0] for operation in dense_operations([layer], head, dtype)}
        yield _label(sizes, dtype), partial(qkv, x, layer, angles, angles, first["qkv"])
        yield _label(sizes, dtype), partial(o_proj, queries.reshape(tokens, -1), x, layer, first["o_proj"])
        yield _label(sizes, dtype), partial(lm_head, x, head, first["lm_head"])
    sinks = mx.zeros((sizes.heads,), dtype)
    for window, length in ((None, 1024), (_WINDOW, 1024), (_WINDOW, _WINDOW)):
        keys = mx.zeros((1, sizes.kv_heads, length, HEAD_DIM), dtype)
        yield _label(sizes, dtype), partial(attend, queries, keys, keys, 0, length, sinks, 1.0, window, variant=())


def _attention(sizes: _Sizes, dtype: mx.Dtype) -> Operation:
    return attend_operation(heads=sizes.heads, kv_heads=sizes.kv_heads, window=_WINDOW, dtype=dtype)


def _dense(sizes: _Sizes, dtype: mx.Dtype, alignment: int, bits: int) -> list[Operation]:
    layers = [_projections(sizes, dtype, alignment, bits)]
    return dense_operations(layers, _head(sizes, dtype, alignment, bits), dtype)


# Weights are zeros that are never computed, and so take no memory. All is in one dtype, as the loader brings it.


def _projections(sizes: _Sizes, dtype: mx.Dtype, alignment: int, bits: int) -> Projections:
    queries, keys = sizes.heads * HEAD_DIM, sizes.kv_heads * HEAD_DIM

    def matrix(rows: int, columns: int) -> Matrix:
        return _matrix(rows, columns, dtype, alignment, bits, mx.zeros((rows,), dtype))

    return Projections(
        norm=mx.zeros((sizes.hidden,), dtype),
        eps=1e-5,
        query=matrix(queries, sizes.hidden),
        key=matrix(keys, sizes.hidden),
        value=matrix(keys, sizes.hidden),
        output=matrix(sizes.hidden, queries),
    )


def _head(sizes: _Sizes, dtype: mx.Dtype, alignment: int, bits: int) -> Head:
    matrix = _matrix(sizes.vocabulary, sizes.hidden, dtype, alignment, bits)
    return Head(mx.zeros((sizes.hidden,), dtype), 1e-5, matrix)


def _matrix(
    rows: int, columns: int, dtype: mx.Dtype, alignment: int, bits: int, bias: mx.array | None = None
) -> Matrix:
    """`bits` 0 is a matrix as stored."""
    if not bits:
        return Matrix(mx.zeros((rows, columns), dtype), bias, alignment=alignment)
    codes = mx.zeros((rows, columns * bits // 32), mx.uint32)
    scales = mx.zeros((rows, columns // QUANT_GROUP), dtype)
    return Matrix(codes, bias, scales, scales, Packing("affine", bits, QUANT_GROUP), alignment)


def _mixture(sizes: _Sizes, dtype: mx.Dtype, alignment: int) -> Mixture:
    def matrix(rows: int, columns: int) -> ExpertMatrix:
        shape = (sizes.experts, rows)
        blocks = mx.zeros((*shape, columns // 8), mx.uint32)
        scales = mx.zeros((*shape, columns // MXFP4_BLOCK), mx.uint8)
        return ExpertMatrix(blocks, scales, mx.zeros(shape, dtype), alignment)

    return Mixture(
        norm=mx.zeros((sizes.hidden,), dtype),
        eps=1e-5,
        router=mx.zeros((sizes.experts, sizes.hidden), dtype),
        router_bias=mx.zeros((sizes.experts,), dtype),
        gate_up=matrix(2 * sizes.intermediate, sizes.hidden),
        down=matrix(sizes.hidden, sizes.intermediate),
        top_k=sizes.top_k,
        limit=7.0,
        alignment=alignment,
    )


if __name__ == "__main__":
    print(f"{len(write(kernel_texts(), Path(sys.argv[1])))} texts are in {sys.argv[1]}.")
