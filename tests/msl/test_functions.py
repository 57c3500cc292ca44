"""The stand-in for Metal's standard library, against numpy."""

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from metal.launch import Call, Kernel
from tests import msl as bench

Floats = NDArray[np.float32]
LANES = 32


def values(
    expressions: Sequence[str], x: Floats, header: str = "", before: str = "", dtype: mx.Dtype = mx.float32
) -> Floats:
    """What each lane of one simdgroup gets for each expression in `v`, its element of x."""
    stores = "".join(f"y[{LANES * i} + lane] = {expression};\n" for i, expression in enumerate(expressions))
    body = f"const uint lane = thread_index_in_simdgroup; const float v = x[lane]; {before}\n{stores}"
    kernel = Kernel("functions", ("x",), ("y",), body, header)
    shape = (len(expressions), LANES)
    call = Call(kernel, (mx.array(x),), (), (LANES, 1, 1), (LANES, 1, 1), (shape,), (dtype,))
    report = bench.run_kernel(call, "trace")
    assert report.findings == []
    found: Floats = np.array(report.outputs[0].astype(mx.float32))
    return found


def test_functions_of_one_argument() -> None:
    x = np.linspace(0.05, 0.95, LANES, dtype=np.float32)
    smooth = ("exp", "exp2", "log", "log2", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")
    functions: dict[str, Callable[[Floats], NDArray[Any]]] = {name: getattr(np, name) for name in smooth}
    functions |= {"asin": np.arcsin, "acos": np.arccos, "atan": np.arctan}
    functions |= {"exp10": lambda x: 10**x, "rsqrt": lambda x: 1 / np.sqrt(x)}
    found = values([f"{name}(v)" for name in functions], x)
    for row, (name, function) in zip(found, functions.items(), strict=True):
        np.testing.assert_allclose(row, function(x), rtol=3e-6, err_msg=name)
    found = values([f"{space}::exp(v)" for space in ("metal", "fast", "precise", "metal::fast")], x)
    np.testing.assert_allclose(found, np.tile(np.exp(x), (4, 1)), rtol=1e-6)


def test_functions_that_round_and_clamp() -> None:
    x = np.array([-2.5, -1.5, -0.7, -0.0, 0.3, 0.5, 1.5, 2.5] * 4, np.float32)
    functions: dict[str, Callable[[Floats], NDArray[Any]]] = {
        name: getattr(np, name) for name in ("floor", "ceil", "trunc", "rint", "fabs", "abs", "sign")
    }
    functions["round"] = lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x)  # halves away from zero
    functions["saturate"] = lambda x: np.clip(x, 0, 1)
    found = values([f"{name}(v)" for name in functions], x)
    for row, (name, function) in zip(found, functions.items(), strict=True):
        np.testing.assert_array_equal(row, function(x), err_msg=name)


def test_functions_of_several_arguments() -> None:
    x = np.linspace(-3, 3, LANES, dtype=np.float32)
    found = values(
        [
            "max(v, 1.0f)",
            "min(v, 1.0f)",
            "clamp(v, -1.0f, 2.0f)",
            "select(v, 7.0f, v > 0)",
            "mix(v, 2.0f, 0.25f)",
            "pow(fabs(v), 1.5f)",
            "fmod(v, 0.7f)",
            "copysign(2.0f, v)",
            "atan2(v, 2.0f)",
            "ldexp(v, 3)",
            "max(v, NAN)",
            "min(NAN, v)",
            "dot(float3(v, 2, 1), float3(v, v, 1))",
            "length(float2(v, 4))",
        ],
        x,
    )
    expected = [
        np.maximum(x, 1),
        np.minimum(x, 1),
        np.clip(x, -1, 2),
        np.where(x > 0, 7, x),
        x + (2 - x) * 0.25,
        np.abs(x) ** 1.5,
        np.fmod(x, np.float32(0.7)),
        np.copysign(2, x),
        np.arctan2(x, 2),
        x * 8,
        x,
        x,
        x * x + 2 * x + 1,
        np.hypot(x, 4),
    ]
    np.testing.assert_allclose(found, np.array(expected), rtol=3e-6, atol=1e-6)


def test_constants_are_floats() -> None:
    x = np.random.default_rng(0).standard_normal(LANES).astype(np.float32)
    np.testing.assert_array_equal(values(["v * 0.1"], x)[0], x * np.float32(0.1))


def test_fma_rounds_once() -> None:
    x = np.full(LANES, 1 + 2.0**-12, np.float32)
    assert values(["fma(v, v, -1.0f - 0x1p-11f)"], x)[0, 0] == 2.0**-24


def test_integer_functions() -> None:
    x = np.arange(LANES, dtype=np.float32)
    n = np.arange(LANES)
    before = "const uint n = uint(v); const int i = int(n) - 16;"
    expressions = [
        "popcount(n)",
        "clz(n)",
        "ctz(n)",
        "extract_bits(n, 1u, 3u)",
        "abs(i)",
        "max(i, 3)",
        "mulhi(n << 28, 16u)",
        "rotate(n << 31, 1u)",
    ]
    expected = [
        [k.bit_count() for k in n.tolist()],
        [32 - k.bit_length() for k in n.tolist()],
        [32 if k == 0 else (k & -k).bit_length() - 1 for k in n.tolist()],
        (n >> 1) & 7,
        np.abs(n - 16),
        np.maximum(n - 16, 3),
        (((n << 28) & 0xFFFFFFFF) * 16) >> 32,
        n & 1,
    ]
    np.testing.assert_array_equal(values(expressions, x, before=before), np.array(expected))


def test_half_is_rounded_after_each_operation() -> None:
    x = np.random.default_rng(0).standard_normal(LANES).astype(np.float32)
    h = x.astype(np.float16)
    found = values(["h * h + h", "exp(h)", "half(v) / half(3)", "h + 1.5h"], x, before="const half h = half(v);")
    np.testing.assert_array_equal(found[0], h * h + h)
    np.testing.assert_array_equal(found[1], np.exp(h.astype(np.float32)).astype(np.float16))
    np.testing.assert_array_equal(found[2], h / np.float16(3))
    np.testing.assert_array_equal(found[3], h + np.float16(1.5))


def test_bfloat_is_rounded_to_nearest_even_after_each_operation() -> None:
    x = np.random.default_rng(0).standard_normal(LANES).astype(np.float32)
    x[:4] = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, np.nan]  # two ties, one just above a tie
    b = mx.array(x).astype(mx.bfloat16)
    found = values(["float(b)", "float(b * b + b)", "float(b + bfloat(0.1f))"], x, before="const bfloat b = bfloat(v);")
    tenth = mx.array(0.1).astype(mx.bfloat16)
    for row, expected in zip(found, (b, b * b + b, b + tenth), strict=True):
        np.testing.assert_array_equal(row, np.array(expected.astype(mx.float32)))


def test_vectors() -> None:
    x = np.arange(1, LANES + 1, dtype=np.float32)
    found = values(
        [
            "float4(v, float2(2, 3), 4).z",
            "float4(v).w",
            "float3(int3(7, 8, 9)).y",
            "int4(float4(1.7f, -1.7f, v, 0)).y",
            "vec<float, 4>(v, 1, 2, 3).xy.y",
            "a.lo.y + a.hi.x",
            "exp2(float2(v, 3)).y",
            "max(a, float4(2.5f)).y",
            "as_type<uint>(half2(half(1), half(2))) == 0x40003C00u ? 1 : 0",
            "float(as_type<half2>(0x40003C00u).y)",
            "any(a > float4(3.5f)) && !all(a > float4(3.5f)) ? 1 : 0",
            "float(numeric_limits<float>::infinity() > v)",
        ],
        x,
        before="float4 a = float4(1, 2, 3, 4); a.yz = float2(5, 6); a.y -= 3;",
    )
    expected: list[Any] = [3, x, 8, -1, 1, 8, 8, 2.5, 1, 2, 1, 1]
    np.testing.assert_array_equal(found, np.array([np.broadcast_to(e, LANES) for e in expected]))


def test_lanes_exchange_values() -> None:
    x = np.random.default_rng(0).integers(-50, 50, LANES).astype(np.float32)
    n = np.arange(LANES)
    quads = x.reshape(8, 4)
    expected: dict[str, Any] = {
        "simd_sum(v)": x.sum(),
        "simd_max(v)": x.max(),
        "simd_min(v)": x.min(),
        "simd_product(v > 0 ? 1.0f : 2.0f)": 2.0 ** (x <= 0).sum(),
        "simd_sum(half4(half(v))).z": x.sum(),
        "simd_prefix_inclusive_sum(v)": x.cumsum(),
        "simd_prefix_exclusive_sum(v)": x.cumsum() - x,
        "simd_shuffle(v, ushort(31 - lane))": x[::-1],
        "simd_shuffle_xor(v, 5)": x[n ^ 5],
        "simd_shuffle_down(v, 3)": x[np.where(n + 3 < 32, n + 3, n)],
        "simd_shuffle_up(v, 3)": x[np.where(n >= 3, n - 3, n)],
        "simd_shuffle_and_fill_up(v, v + 100, 2)": np.concatenate([x[-2:] + 100, x[:-2]]),
        "simd_shuffle_and_fill_down(v, v + 100, 2)": np.concatenate([x[2:], x[:2] + 100]),
        "simd_broadcast(v, 9)": x[9],
        "simd_broadcast_first(v)": x[0],
        "simd_or(uint(1) << (lane % 7))": 127,
        "simd_and(lane | 8)": 8,
        "simd_xor(lane == 3 ? 6u : 0u)": 6,
        "simd_any(lane == 4) && !simd_any(lane == 40) ? 1 : 0": 1,
        "simd_all(lane < 32) && !simd_all(lane < 31) ? 1 : 0": 1,
        "float(popcount(uint(ulong(simd_ballot(lane % 3 == 0)))))": 11,
        "quad_sum(v)": np.repeat(quads.sum(1), 4),
        "quad_max(v)": np.repeat(quads.max(1), 4),
        "quad_broadcast(v, 2)": np.repeat(quads[:, 2], 4),
        "quad_shuffle_xor(v, 1)": x[n ^ 1],
    }
    found = values(list(expected), x)
    for row, (expression, result) in zip(found, expected.items(), strict=True):
        np.testing.assert_array_equal(row, np.broadcast_to(result, LANES), err_msg=expression)


def test_simdgroup_matrices() -> None:
    """Of two 8 x 8 matrices, the product on top of a third, from and to memory, plain and transposed."""
    source = """
    simdgroup_float8x8 a, b, c, transposed;
    simdgroup_load(a, matrices);
    simdgroup_load(b, matrices + 64);
    simdgroup_load(c, matrices + 128);
    simdgroup_load(transposed, matrices, 8, ulong2(0, 0), true);
    simdgroup_multiply_accumulate(c, a, b, c);
    simdgroup_store(c, y);
    simdgroup_multiply(c, transposed, simdgroup_float8x8(2.0f));
    simdgroup_store(c, y + 64);
    """
    a, b, c = np.random.default_rng(0).integers(-9, 9, (3, 8, 8)).astype(np.float32)
    kernel = Kernel("matrices", ("matrices",), ("y",), source, "#include <metal_simdgroup_matrix>\n")
    call = Call(kernel, (mx.array(np.array([a, b, c])),), (), (32, 1, 1), (32, 1, 1), ((2, 8, 8),), (mx.float32,))
    report = bench.run_kernel(call, "trace")
    assert report.findings == []
    np.testing.assert_array_equal(report.outputs[0], np.array([a @ b + c, 2 * a.T]))


def test_atomics_on_an_output() -> None:
    """MLX hands outputs over plainly here, so the kernel takes them for atomics by a cast."""
    source = """
    device atomic_uint* counts = (device atomic_uint*)y;
    uint g = thread_position_in_grid.x;
    if (g < 4) atomic_store_explicit(&counts[g], 5u, memory_order_relaxed);
    threadgroup_barrier(mem_flags::mem_device);
    atomic_fetch_add_explicit(&counts[0], x[g], memory_order_relaxed);
    atomic_fetch_max_explicit(&counts[1], x[g], memory_order_relaxed);
    atomic_fetch_min_explicit(&counts[2], x[g], memory_order_relaxed);
    atomic_fetch_or_explicit(&counts[3], x[g], memory_order_relaxed);
    """
    x = mx.arange(64, dtype=mx.uint32) + 3
    kernel = Kernel("atomics", ("x",), ("y",), source, "")
    report = bench.run_kernel(Call(kernel, (x,), (), (64, 1, 1), (64, 1, 1), ((4,),), (mx.uint32,)), "trace")
    assert report.findings == []
    assert report.outputs[0].tolist() == [5 + sum(range(3, 67)), 66, 3, 127]
