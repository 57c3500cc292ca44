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
from metal.formats import HEAD_DIM
from metal.launch import Call, Parameters, executed_by
from metal.operation import Operation
from metal.spans import Span
from metal.trust.candidates import attend_operation, dense_operations, expert_operations
from metal.trust.selftest import decodes_fp4
from tests.msl.source import generated_text
from tests.msl.zeros import Sizes, head, mixture, projections


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
class _Model(Sizes):
    """What a text depends on of a model's sizes."""

    name: str = "20b"


_20B = _Model()
_120B = _Model(name="120b", experts=128)
# The demo model's matrices lie at multiples of 8 in its file.
_DEMO = _Model(128, heads=4, kv_heads=2, vocabulary=1024, intermediate=128, experts=8, top_k=2, name="demo")
# MLX puts an input of fewer than 8 elements into the constant address space: here also biases and logits of experts.
_FEW = _Model(192, heads=4, kv_heads=1, vocabulary=512, intermediate=96, experts=4, top_k=2, name="few")

_DTYPES = (mx.bfloat16, mx.float16, mx.float32)
_ALIGNMENTS = (16, 8, 4)  # of MLX's own buffers, and of mapped files (the Hub's lie 8 bytes past a multiple of 16)
_BITS = (0, 8, 6, 4)
_SEVERAL = (2, 4, 8)  # rows of activations that a text is made for
_MOST_TOKENS = 4
_WINDOW = 128


@cache
def kernel_texts() -> tuple[KernelText, ...]:
    """All distinct texts for gpt-oss: every dtype, number of bits, alignment and variant; both models, and small ones.

    Those for several rows are here in the dtype alone that a GPU computes in. Attention is launched for one token and
    takes up to four, so those texts are here, too.
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


def _label(sizes: _Model, dtype: mx.Dtype) -> str:
    return f"{sizes.name}-{_dtype_name(dtype)}"


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
            yield from _tried(_20B, dtype, expert_operations(mixture(_20B, dtype, alignment), dtype))
            for bits in _BITS:
                yield from _tried(_20B, dtype, _dense(_20B, dtype, alignment, bits))
    for alignment in _ALIGNMENTS:
        for sizes, table in ((_20B, True), (_120B, False)):
            weights = mixture(sizes, mx.bfloat16, alignment)
            yield from _tried(sizes, mx.bfloat16, expert_operations(weights, mx.bfloat16, table=table))
    for sizes, alignment in ((_DEMO, 16), (_DEMO, 8), (_FEW, 16)):
        yield from _tried(sizes, mx.bfloat16, [_attention(sizes, mx.bfloat16)])
        yield from _tried(sizes, mx.bfloat16, expert_operations(mixture(sizes, mx.bfloat16, alignment), mx.bfloat16))
        yield from _tried(sizes, mx.bfloat16, _dense(sizes, mx.bfloat16, alignment, 0))
    yield from _several_rows()
    yield from _several_tokens(_20B, mx.bfloat16)


def _several_rows() -> _Launches:
    """Several rows of activations, in the dtype in which a GPU computes."""
    dtype = mx.bfloat16
    for rows in _SEVERAL:
        for sizes, alignment in ((_20B, 16), (_20B, 8), (_20B, 4), (_120B, 16), (_120B, 8), (_DEMO, 16), (_DEMO, 8)):
            experts = mixture(sizes, dtype, alignment)
            yield from _tried(sizes, dtype, expert_operations(experts, dtype, rows=rows))
            for bits in _BITS if sizes == _20B else (0,) if sizes == _DEMO else ():
                yield from _tried(sizes, dtype, _dense(sizes, dtype, alignment, bits, rows))
        yield from _tried(_20B, dtype, expert_operations(mixture(_20B, dtype, 8), dtype, table=True, rows=rows))


def _tried(sizes: _Model, dtype: mx.Dtype, operations: Sequence[Operation]) -> _Launches:
    """Operations in all their variants, as metal.trust.select tries them."""
    for operation in operations:
        arguments = operation.arguments(0)
        for variant in operation.variants:
            yield _label(sizes, dtype), partial(operation.run, *arguments, variant)


def _several_tokens(sizes: _Model, dtype: mx.Dtype) -> _Launches:
    """Attention of several tokens of one sequence."""
    queries = mx.zeros((_MOST_TOKENS, sizes.heads, HEAD_DIM), dtype)
    sinks = mx.zeros((sizes.heads,), dtype)
    for window, length in ((None, 1024), (_WINDOW, 1024), (_WINDOW, _WINDOW)):
        keys = mx.zeros((1, sizes.kv_heads, length, HEAD_DIM), dtype)
        spans = [Span(keys, keys, length)]
        yield _label(sizes, dtype), partial(attend, queries, spans, sinks, 1.0, window, variant=())


def _attention(sizes: _Model, dtype: mx.Dtype) -> Operation:
    return attend_operation(heads=sizes.heads, kv_heads=sizes.kv_heads, window=_WINDOW, dtype=dtype)


def _dense(sizes: _Model, dtype: mx.Dtype, alignment: int, bits: int, rows: int = 1) -> list[Operation]:
    layers = [projections(sizes, dtype, alignment, bits)]
    return dense_operations(layers, head(sizes, dtype, alignment, bits), dtype, rows=rows)


if __name__ == "__main__":
    print(f"{len(write(kernel_texts(), Path(sys.argv[1])))} texts are in {sys.argv[1]}.")
