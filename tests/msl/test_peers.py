"""Kernels that were not written for the bench: MLX's own, from the headers of the installed wheel, and the program's.

MLX's were written by others for Apple's compiler, and come out right only if the stand-in for Metal does what they rely
on. A barrier taken out of any kernel must be found.
"""

import re
from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest

from metal.attend import attend
from metal.experts import down
from metal.lanes import Activations
from metal.launch import Call
from metal.spans import Span
from tests import msl as bench
from tests.fixtures.recorder import recorded
from tests.fixtures.reference import random_mixture
from tests.msl import mlx_kernels
from tests.msl.prepass import closing
from tests.msl.source import generated_text


def random(*shape: int, dtype: mx.Dtype = mx.bfloat16) -> mx.array:
    return mx.array(np.random.default_rng(0).standard_normal(shape).astype(np.float32)).astype(dtype)


def mxfp4(*shape: int) -> tuple[mx.array, mx.array]:
    """Random blocks and scales for weights [..., out, in]."""
    generator = np.random.default_rng(1)
    *rows, columns = shape
    blocks = generator.integers(0, 2**32, (*rows, columns // 8), dtype=np.uint32)
    return mx.array(blocks), mx.array(generator.integers(118, 124, (*rows, columns // 32)).astype(np.uint8))


def gather_qmv() -> tuple[Call, str, mx.array]:
    """The call, its text and what MLX's CPU operations make of the same arguments in float32."""
    x, (w, scales), experts = random(2880), mxfp4(4, 64, 2880), mx.array([2, 0, 3, 1], mx.uint32)
    expected = mx.gather_qmm(
        x.astype(mx.float32)[None, None],
        w,
        scales,
        rhs_indices=experts,
        transpose=True,
        group_size=32,
        bits=4,
        mode="mxfp4",
    )
    return *mlx_kernels.gather_qmv(x, w, scales, experts), expected.reshape(4, 64)


def qmm() -> tuple[Call, str, mx.array]:
    x, (w, scales) = random(40, 256), mxfp4(96, 256)
    expected = mx.quantized_matmul(x.astype(mx.float32), w, scales, transpose=True, group_size=32, bits=4, mode="mxfp4")
    return *mlx_kernels.qmm(x, w, scales), expected


def sdpa_vector() -> tuple[Call, str, mx.array]:
    q, k, v, sinks = random(16, 64), random(2, 75, 64), random(2, 75, 64) + 1, random(16)
    wide = [x.astype(mx.float32) for x in (q[None, :, None], k[None], v[None], sinks)]
    expected = mx.fast.scaled_dot_product_attention(*wide[:3], scale=0.125, sinks=wide[3])
    return *mlx_kernels.sdpa_vector(q, k, v, sinks, 0.125), expected[0, :, 0]


@pytest.mark.parametrize("kernel", [gather_qmv, qmm, sdpa_vector])
def test_mlx_kernels_are_right_and_clean(kernel: Callable[[], tuple[Call, str, mx.array]]) -> None:
    call, text, expected = kernel()
    for mode in ("fast", "trace"):
        report = bench.run_kernel(call, mode, text=text)
        assert report.findings == []
        error = mx.abs(report.outputs[0].astype(mx.float32) - expected).max() / mx.abs(expected).max()
        assert float(error) < 2**-8, mode  # bfloat16 results, rounded once


def test_what_mlx_asks_of_the_cache_a_byte_of_weights() -> None:
    """The peer that the program's kernels are compared with: 4-byte loads by 2, and x in float order."""
    call, text, _ = gather_qmv()
    report = bench.run_kernel(call, "trace", text=text)
    weights = report.traffic["w"].distinct_bytes + report.traffic["scales"].distinct_bytes
    assert 10 < report.line_bytes("w", "scales", "x") / weights < 11


def barriers(text: str, function: str) -> list[tuple[int, int]]:
    """Where the calls of threadgroup_barrier stand in the definition of a function."""
    start = re.search(rf"\bvoid\s+{function}\s*\(", text)
    assert start
    body = text.index("{", closing(text, start.end() - 1, "()"))
    calls = re.finditer(r"threadgroup_barrier\([^)]*\);", text)
    return [call.span() for call in calls if body < call.start() < closing(text, body, "{}")]


def assert_each_barrier_is_needed(call: Call, text: str, function: str) -> None:
    found = barriers(text, function)
    assert found
    for start, end in found:
        report = bench.run_kernel(call, "trace", text=f"{text[:start]};{text[end:]}")
        assert any("race" in finding or "nothing has written" in finding for finding in report.findings)


def test_each_barrier_taken_out_of_mlx_attention_is_found() -> None:
    call, text, _ = sdpa_vector()
    assert_each_barrier_is_needed(call, text, "sdpa_vector")


def run_down() -> None:
    mixture = random_mixture(64, 32, experts=4, top_k=2)
    hidden = Activations.of(random(1, 2, 32))
    down(hidden, random(1, 4, dtype=mx.float32), random(1, 64), mixture, (("ROWS", 4), ("TABLE", 0)))


def run_attend() -> None:
    keys = random(1, 2, 160, 64)
    attend(random(1, 16, 64), [Span(keys, keys + 1, 160)], random(16), 0.125, None, 0, ())


@pytest.mark.parametrize("run", [run_down, run_attend])
def test_each_barrier_taken_out_of_our_kernels_is_found(run: Callable[[], None]) -> None:
    with recorded("trace") as recorder:
        run()
    call = recorder.calls[0]
    assert_each_barrier_is_needed(call, generated_text(call), r"custom_kernel_\w+")
