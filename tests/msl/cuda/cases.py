"""The cases: every kernel of the program in all its variants, and MLX's own kernels on the same shapes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import mlx.core as mx

from metal.attend import attend
from metal.dense import lm_head, o_proj, qkv
from metal.experts import down, gate_up, route
from metal.formats import HEAD_DIM
from metal.lanes import Activations, lane_dtype
from metal.launch import Call, executed_by
from metal.operation import Operation, Variant
from metal.spans import Span
from metal.trust.candidates import dense_operations, expert_operations
from tests.msl.cuda import peers
from tests.msl.cuda.manifest import Array, Case
from tests.msl.cuda.recorded import NAMES, Step, Texts, assembled, random_input
from tests.msl.source import generated_text
from tests.msl.zeros import ScaledSizes, biased, expert_matrix, head, mixture, projections

GPT_OSS_20B = ScaledSizes()
SMALL = ScaledSizes(576, heads=16, kv_heads=2, vocabulary=1024, intermediate=288, experts=8, lengths=(128, 1024))
"""For a CPU, and for compute-sanitizer."""

TAIL = 100
"""Keys in the tail of a cache, of at most 256."""

FORMS = (0, 8, 6, 4)
"""Bits of dense matrices; 0: as stored."""


def all_cases(sizes: ScaledSizes, texts: Texts) -> list[Case]:
    """Every kernel, each operation's cases together.

    At `scale` above 1 those whose matrices it multiplies, with bfloat16 activations.
    """
    cases = list(_cases(sizes, texts))
    groups = list(dict.fromkeys(case.group for case in cases))
    return sorted(cases, key=lambda case: groups.index(case.group))


def _cases(sizes: ScaledSizes, texts: Texts) -> Iterator[Case]:
    for alignment in (16, 8, 4):
        yield from expert_cases(sizes, texts, mx.bfloat16, alignment, every=alignment > 4)
    for bits in FORMS:
        for alignment in (16,) if bits else (16, 8):
            yield from dense_cases(sizes, texts, mx.bfloat16, bits, alignment, every=True)
    if sizes.scale == 1:
        yield from expert_cases(sizes, texts, mx.bfloat16, 16, every=False, table=True)
        for dtype in (mx.float16, mx.float32):
            yield from expert_cases(sizes, texts, dtype, 16, every=False)
            yield from dense_cases(sizes, texts, dtype, 0, 16, every=False)
        for bits in FORMS[1:]:
            yield from dense_cases(sizes, texts, mx.float16, bits, 16, every=False)
            yield from dense_cases(sizes, texts, mx.bfloat16, bits, 8, every=False)
        yield from _of_several_rows(sizes, texts)
        for length in sizes.lengths:
            for cores in (10, 20, 40) if length > 128 else (40,):  # 8, 16 and 32 splits
                yield attention_case(sizes, texts, mx.bfloat16, length, cores)
        long = sizes.lengths[1]
        yield attention_case(sizes, texts, mx.bfloat16, long, 40, window=128)
        yield attention_case(sizes, texts, mx.bfloat16, 1024, 40, tokens=4)
        yield attention_case(sizes, texts, mx.float16, long, 40)
        yield attention_case(sizes, texts, mx.float32, 1024, 40)
    yield from peers.expert_cases(sizes, texts)
    yield from peers.dense_cases(sizes, texts, FORMS)
    if sizes.scale == 1:
        for length in sizes.lengths:
            yield from peers.attention_cases(sizes, texts, length)


def _of_several_rows(sizes: ScaledSizes, texts: Texts) -> Iterator[Case]:
    for rows in (2, 4, 8):
        yield from expert_cases(sizes, texts, mx.bfloat16, 16, every=True, rows=rows)
        for bits in FORMS:
            yield from dense_cases(sizes, texts, mx.bfloat16, bits, 16, every=False, rows=rows)


def _label(variant: Variant) -> str:
    """As "rows 4 simdgroups 2": what is 0 is the usual way."""
    return " ".join(f"{name.lower()} {value}" for name, value in variant if value)


def _variants(operations: Sequence[Operation], name: str, every: bool) -> tuple[Variant, ...]:
    """Those that the program would try; or the first, and where packed loads are tried, the first with them."""
    [variants] = [operation.variants for operation in operations if operation.name == name]
    packed = (*variants[0], ("PACKED", 1))
    return variants if every else (variants[0], *(variant for variant in variants if variant == packed))


def _ours(
    texts: Texts, group: str, name: str, reference: str, run: Callable[[], object], alignment: int = 16, **more: Any
) -> Case:
    """What `run` launches, as one case."""
    steps: list[Step] = []

    def record(call: Call) -> list[mx.array]:
        results = [mx.zeros(*output) for output in zip(call.output_shapes, call.output_dtypes, strict=True)]
        steps.append(Step(call, generated_text(call), results))
        return results

    with executed_by(record):
        run()
    parameters = dict(more)
    for step in steps:
        parameters |= {key: NAMES.get(v, "") if isinstance(v, mx.Dtype) else v for key, v in step.call.parameters}

    def make(key: str, x: mx.array) -> Array:
        return random_input(key, x, alignment, parameters)

    return assembled(texts, group, name, "ours", reference, steps, make, parameters)


def expert_cases(
    s: ScaledSizes, texts: Texts, dtype: mx.Dtype, alignment: int, *, every: bool, table: bool = False, rows: int = 1
) -> Iterator[Case]:
    """route, gate_up and down: every variant, or the first."""
    different = s.top_k + (rows - 1) * s.top_k // 2  # experts: see arrays.py

    def lanes(*shape: int) -> Activations:
        return Activations(mx.zeros(shape, lane_dtype(dtype)), dtype, in_lanes=True)

    weights = replace(
        mixture(s, dtype, alignment),
        gate_up=expert_matrix(s.experts, 2 * s.intermediate * s.scale, s.hidden, dtype, alignment),
        down=expert_matrix(s.experts, s.hidden * s.scale, s.intermediate, dtype, alignment),
    )
    logits, residual = mx.zeros((rows, s.experts)), mx.zeros((rows, s.hidden * s.scale), dtype)
    x, hidden, middle = mx.zeros((rows, s.hidden), dtype), lanes(rows, s.hidden), lanes(rows, s.top_k, s.intermediate)
    runs: dict[str, Callable[[Variant], object]] = {
        "gate_up": lambda variant: gate_up(hidden, logits, weights, variant),
        "down": lambda variant: down(middle, logits, residual, weights, variant),
    }
    if s.scale == 1 and rows == 1 and not table:
        runs["route"] = lambda variant: route(x, weights, variant)
    operations = expert_operations(weights, dtype, table=table, rows=rows)
    for name, run in runs.items():
        for variant in _variants(operations, name, every):
            label = f"{_label(variant)}, {NAMES[dtype]} align {alignment}{f' tokens {rows}' * (rows > 1)}"
            case = _ours(texts, name, label, name, partial(run, variant), alignment, experts=different)
            if name == "route":  # whose normed x is half, of values that were rounded to x's dtype
                normed = replace(case.arrays["normed"], rounded=NAMES[dtype])
                case = replace(case, arrays={**case.arrays, "normed": normed})
            yield case


def dense_cases(
    s: ScaledSizes, texts: Texts, dtype: mx.Dtype, bits: int, alignment: int, *, every: bool, rows: int = 1
) -> Iterator[Case]:
    """qkv, o_proj and lm_head: every variant, or of the first two the first."""

    width = s.heads * HEAD_DIM
    wide = replace(s, heads=s.heads * s.scale, kv_heads=s.kv_heads * s.scale)
    output = biased(s.hidden * s.scale, width, dtype, alignment, bits)
    layer = replace(projections(wide, dtype, alignment, bits), output=output)
    logits = head(s, dtype, alignment, bits)
    x, attended = mx.zeros((rows, s.hidden), dtype), mx.zeros((rows, width), dtype)
    residual = mx.zeros((rows, s.hidden * s.scale), dtype)
    cosines, sines = mx.zeros((rows, HEAD_DIM // 2)), mx.zeros((rows, HEAD_DIM // 2))
    runs: dict[str, Callable[[Variant], object]] = {
        "qkv": lambda variant: qkv(x, layer, cosines, sines, variant),
        "o_proj": lambda variant: o_proj(attended, residual, layer, variant),
    }
    if s.scale == 1 and every:
        runs["lm_head"] = lambda variant: lm_head(x, logits, variant)
    operations = dense_operations([layer], logits, dtype, rows=rows)
    for name, run in runs.items():
        for variant in _variants(operations, name, every):
            label = f"{_label(variant)}, {NAMES[dtype]} align {alignment}{f' tokens {rows}' * (rows > 1)}"
            group = f"{name} {peers.form(bits)}"
            yield _ours(texts, group, label, name, partial(run, variant), alignment)


def attention_case(
    s: ScaledSizes, texts: Texts, dtype: mx.Dtype, length: int, cores: int, window: int = 0, tokens: int = 1
) -> Case:
    """attend over so many keys, and merge where a GPU of so many cores gets them split."""
    tail = min(TAIL, (length - tokens) // 2)
    frozen = length - tail - tokens

    def span(count: int) -> Span:
        return Span(mx.zeros(shape := (1, s.kv_heads, count, HEAD_DIM), dtype), mx.zeros(shape, dtype), count)

    spans = [span(count) for count in (frozen, tail, tokens)]
    q, sinks = mx.zeros((tokens, s.heads, HEAD_DIM), dtype), mx.zeros((s.heads,), dtype)

    def run() -> mx.array:
        return attend(q, spans, sinks, HEAD_DIM**-0.5, window or None, cores, ())

    name = f"{cores} cores, {NAMES[dtype]}{f' tokens {tokens}' * (tokens > 1)}{f' window {window}' * (window > 0)}"
    case = _ours(texts, f"attend {length}", name, "attend", run, WINDOW=window, output="attended")
    if not window:
        return case
    fraction = (window - 1 - tail) / frozen  # of the other keys all are read
    seen = {key: replace(case.arrays[key], fraction=fraction) for key in ("keys", "values")}
    return replace(case, arrays={**case.arrays, **seen})
