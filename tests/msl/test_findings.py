"""The bench finds what is wrong with small kernels, and finds nothing in those that are right."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import pytest

from metal.launch import Call, Kernel, executed_by, launch
from tests import msl as bench
from tests.msl.bodies import THREADS, call


@dataclass(frozen=True)
class Case:
    name: str
    body: str
    finding: str = ""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


BARRIER = "threadgroup_barrier(mem_flags::mem_threadgroup);"

RIGHT = [
    Case("exchange over a barrier", f"threadgroup float t[64]; t[tid] = x[g]; {BARRIER} y[g] = t[63 - tid];"),
    Case(
        "exchange within a simdgroup over its own barrier",
        "threadgroup float t[64]; t[tid] = x[g]; simdgroup_barrier(mem_flags::mem_threadgroup);"
        " y[g] = t[sg * 32 + 31 - lane];",
    ),
    Case(
        "write after all lanes of the simdgroup have read",
        "threadgroup float t[64]; t[tid] = x[g]; simdgroup_barrier(mem_flags::mem_threadgroup);"
        " float a = t[sg * 32] + t[sg * 32 + 31]; simdgroup_barrier(mem_flags::mem_threadgroup);"
        " if (lane == 0) t[tid] = a; simdgroup_barrier(mem_flags::mem_threadgroup); y[g] = t[sg * 32];",
    ),
    Case(
        "atomics",
        f"threadgroup atomic_uint c; if (tid == 0) atomic_store_explicit(&c, 0u, memory_order_relaxed); {BARRIER}"
        f" atomic_fetch_add_explicit(&c, tid, memory_order_relaxed); {BARRIER}"
        " y[g] = atomic_load_explicit(&c, memory_order_relaxed);",
    ),
    Case("neighbours of two bytes each", "threadgroup half t[64]; t[tid] = half(x[g]); y[g] = t[tid];"),
    Case("packed vector at any element", "if (g < 124) y[g] = (*(const device packed_float4*)(x + g)).w;"),
    Case(
        "output exchanged over a barrier for device memory",
        "y[g] = x[g]; threadgroup_barrier(mem_flags::mem_device); float v = y[g ^ 1];"
        " threadgroup_barrier(mem_flags::mem_device); y[g] = v;",
    ),
]

WRONG = [
    Case("no barrier", "threadgroup float t[64]; t[tid] = x[g]; y[g] = t[63 - tid];", "nothing has written|race"),
    Case(
        "no second barrier in a loop",
        f"threadgroup float t[64]; float a = 0; for (int i = 0; i < 3; i++) {{ t[tid] = x[g] + i; {BARRIER}"
        " a += t[63 - tid]; } y[g] = a;",
        "race",
    ),
    Case(
        "barrier for the other memory",
        "threadgroup float t[64]; t[tid] = x[g]; threadgroup_barrier(mem_flags::mem_device); y[g] = t[63 - tid];",
        "race",
    ),
    Case(
        "barrier for no memory",
        "threadgroup float t[64]; t[tid] = x[g]; threadgroup_barrier(mem_flags::mem_none); y[g] = t[63 - tid];",
        "race",
    ),
    Case(
        "simdgroup barrier between simdgroups",
        "threadgroup float t[64]; t[tid] = x[g]; simdgroup_barrier(mem_flags::mem_threadgroup); y[g] = t[63 - tid];",
        "nothing has written|race",
    ),
    Case(
        "write that another simdgroup's read is not kept from",
        f"threadgroup float t[64]; t[tid] = x[g]; {BARRIER} float a = t[0];"
        " simdgroup_barrier(mem_flags::mem_threadgroup); if (tid == 0) t[0] = a + 1; y[g] = a;",
        "race",
    ),
    Case(
        "read of what was never written",
        f"threadgroup float t[64]; if (tid < 32) t[tid] = 1; {BARRIER} y[g] = t[tid];",
        "threadgroup memory: read of memory that nothing has written",
    ),
    Case(
        "threadgroup array too short",
        f"threadgroup float t[64]; t[tid + 1] = 1; {BARRIER} y[g] = t[tid + 1];",
        "threadgroup memory: write of 4 bytes out of bounds",
    ),
    Case("read past an input", "y[g] = x[g + 1];", "x: read of 4 bytes out of bounds, at offset 512 of 512"),
    Case("write past an output", "y[g + 1] = 1;", "y: write of 4 bytes out of bounds, at offset 512 of 512"),
    Case("misaligned vector", "float4 v = *(const device float4*)(x + lane); y[g] = v.x;", "misaligned access of 16"),
    Case("misaligned store", "if (g < 120) *(device float2*)(y + 2 * (g / 2) + 1) = 1;", "y: misaligned access of 8"),
    Case("two threads write one element", "y[g / 2] = x[g];", "y: race: write after another thread's write"),
    Case("read of another thread's output", "y[g] = 1; y[g] += y[(g + 1) % 128];", "y: "),
    Case("sum over half the lanes", "float v = x[g]; if (lane < 16) v = simd_sum(v); y[g] = v;", "divergent simdgroup"),
    Case(
        "sum in both branches",
        "float v = x[g]; if (lane < 16) { v = simd_sum(v); }\n else { v = simd_sum(v) + 1; }\n y[g] = v;",
        "lanes of one simdgroup meet at different operations",
    ),
    Case(
        "sum in both branches of one line",
        "float v = x[g]; if (lane < 16) v = simd_sum(v); else v = simd_sum(v) + 1; y[g] = v;",
        "lanes of one simdgroup meet at different operations",
    ),
    Case(
        "return before a barrier",
        f"threadgroup float t[64]; if (tid > 40) return; t[tid] = 1; {BARRIER} y[g] = t[tid];",
        "threadgroup barrier",
    ),
    Case("barrier in a branch", f"if (tid < 40) {BARRIER} y[g] = 1;", "barrier"),
    Case(
        "barriers in both branches",
        f"if (tid < 32) {{ {BARRIER} }}\n else {{ {BARRIER} }}\n y[g] = 1;",
        "threads of one threadgroup meet at different barriers",
    ),
    Case("40 KiB of threadgroup memory", "threadgroup float t[10240]; t[tid] = 1; y[g] = t[tid];", "40960 bytes of"),
    Case("shuffle from outside", "y[g] = simd_shuffle(x[g], ushort(lane + 1));", "value taken from lane 32"),
    Case(
        "two elements a thread, one of the neighbour's",
        "threadgroup half t[128]; t[2 * tid] = half(1); t[2 * tid + 1] = half(2); y[g] = t[(2 * tid + 2) % 128];",
        "nothing has written|race",
    ),
    Case(
        "plain read after an atomic write",
        "threadgroup atomic_uint c[64]; atomic_store_explicit(&c[tid], tid, memory_order_relaxed);"
        " y[g] = ((threadgroup uint*)c)[tid ^ 1];",
        "nothing has written|plain access after another thread's atomic",
    ),
    Case(
        "plain write after another thread's atomic",
        f"threadgroup atomic_uint c; if (tid == 0) atomic_store_explicit(&c, 0u, memory_order_relaxed); {BARRIER}"
        " if (tid >= 32) atomic_fetch_add_explicit(&c, 1u, memory_order_relaxed);"
        " if (tid == 8) *(threadgroup uint*)&c = 1; y[g] = 1;",
        "plain access after another thread's atomic|atomic access after another thread's plain",
    ),
    Case("write to an input", "((device float*)(ulong)x)[g] = 1; y[g] = 1;", "x: write to an input"),
    Case("shift by 32", "y[g] = 1u << (g + 1);", "shift"),
    Case("private array too short", "float a[4] = {1, 2, 3, 4}; y[g] = a[g % 5];", "array index out of bounds"),
    Case("float too large for uint", "y[g] = uint(x[g] * 1e9f);", "out of the range of the integer type"),
    Case("integer division by zero", "y[g] = 7 / (g % 4);", "division by zero"),
    Case("signed overflow", "y[g] = int(g) * 2000000000;", "signed integer overflow"),
    Case("64 KiB of private memory", "float a[16384]; a[uint(x[g])] = 1; y[g] = a[g];", "private memory"),
]


@pytest.mark.parametrize("case", RIGHT, ids=str)
def test_a_right_kernel_is_clean_in_trace_mode(case: Case) -> None:
    assert bench.run_kernel(call(case.body), "trace").findings == []
    assert bench.run_kernel(call(case.body), "trace", lanes="reversed").findings == []


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_a_wrong_kernel_is_found_in_trace_mode(case: Case) -> None:
    for lanes in ("forward", "reversed"):
        findings = bench.run_kernel(call(case.body), "trace", lanes=lanes).findings
        assert any(re.search(case.finding, finding) for finding in findings), (lanes, findings)


def test_a_finding_names_the_place_and_the_line() -> None:
    (finding,) = bench.run_kernel(call("\nif (g == 77)\n  y[g] = x[g + 64];\nelse\n  y[g] = 0;"), "trace").findings
    place = "x: read of 4 bytes out of bounds, at offset 564 of 512 bytes [threadgroup (1, 0, 0), simdgroup 0, lane 13]"
    assert re.fullmatch(re.escape(place) + r" in line \d+: y\[g\] = x\[g \+ 64\];", finding)


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("y[g + 1] = 1;", "y: written out of bounds, at offset 512 of 512 bytes"),
        ("y[int(g) - 1] = 1;", "y: written out of bounds, at offset -4 of 512 bytes"),
        (f"threadgroup float t[64]; t[tid + 1] = 1; {BARRIER} y[g] = t[tid];", "threadgroup memory written out of"),
        ("((device float*)(ulong)x)[g] = 1; y[g] = 1;", "x: write to an input, at offset 0"),
        ("y[g + (g == 5 ? 1 << 28 : 0)] = 1;", "access far outside of every buffer"),
        ("*(device float*)(0x8000000000000000 + g) = 1;", "access "),
    ],
)
def test_writes_out_of_bounds_are_found_in_fast_mode_too(body: str, finding: str) -> None:
    (found,) = bench.run_kernel(call(body), "fast").findings
    assert found.startswith(finding)


def test_a_kernel_that_does_not_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.msl.job.TIME_LIMIT", 0.5)
    report = bench.run_kernel(call("volatile float v = x[g]; while (v > 0) v = x[g]; y[g] = v;"), "fast")
    assert report.findings == ["the kernel did not end within 0.5 s"]


def test_a_kernel_that_dies_is_found() -> None:
    assert bench.run_kernel(call("__builtin_trap();"), "fast").findings == ["the kernel died of signal 4"]


def test_more_than_1024_threads_are_found() -> None:
    small = call("y[g % 128] = 1;")
    large = Call(small.kernel, small.inputs, (), (2048, 1, 1), (2048, 1, 1), small.output_shapes, small.output_dtypes)
    assert bench.run_kernel(large, "fast").findings == ["2048 threads in a threadgroup, over the limit of 1024"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("bfloat b = x[g]; y[g] = b;", "implicit conversion"),
        ("bfloat b = bfloat(x[g]); b += x[g]; y[g] = b;", "implicit conversion"),
        ("float* p = y; *p = 1;", "__global float"),
        ("threadgroup float* p = y; *p = 1;", "__local float"),
        ("x[g] = 1;", "read-only"),
        ("float4 v = float4(1, 2, 3); y[g] = v.x;", "as many components"),
        ("double d = x[g]; y[g] = d;", "no_double"),
        ("y[g] = no_such_function(x[g]);", "no_such_function"),
    ],
)
def test_text_that_is_not_msl_is_refused(body: str, complaint: str) -> None:
    with pytest.raises(bench.CompileError, match=complaint):
        bench.run_kernel(call(body), "fast")


def test_conversions_that_msl_allows_are_taken() -> None:
    report = bench.run_kernel(call("half h = x[g]; bfloat b = bfloat(x[g]); float f = b; y[g] = f + h;"), "fast")
    assert report.outputs[0].tolist() == [2.0 * (i + 1) for i in range(THREADS)]


def test_thread_attributes_of_a_ragged_grid() -> None:
    """As in Metal's dispatchThreads: threadgroups at the edge are smaller, the dispatched size is not."""
    attributes: dict[str, Callable[[int], int]] = {
        "thread_position_in_grid.x": lambda i: i,
        "thread_position_in_threadgroup.x": lambda i: i % 48,
        "thread_index_in_threadgroup": lambda i: i % 48,
        "threadgroup_position_in_grid.x": lambda i: i // 48,
        "threads_per_threadgroup.x": lambda i: 48 if i < 96 else 4,
        "dispatch_threads_per_threadgroup.x": lambda i: 48,
        "threads_per_grid.x": lambda i: 100,
        "grid_size.x": lambda i: 100,
        "grid_origin.x": lambda i: 0,
        "threadgroups_per_grid.x": lambda i: 3,
        "thread_index_in_simdgroup": lambda i: i % 48 % 32,
        "simdgroup_index_in_threadgroup": lambda i: i % 48 // 32,
        "simdgroups_per_threadgroup": lambda i: 2 if i < 96 else 1,
        "dispatch_simdgroups_per_threadgroup": lambda i: 2,
        "thread_index_in_quadgroup": lambda i: i % 4,
        "quadgroup_index_in_threadgroup": lambda i: i % 48 // 4,
        "quadgroups_per_threadgroup": lambda i: 12 if i < 96 else 1,
        "threads_per_simdgroup": lambda i: 32,
    }
    stores = "".join(f"y[{100 * n} + thread_position_in_grid.x] = {name};" for n, name in enumerate(attributes))
    kernel = Kernel("attributes", ("x",), ("y",), stores, "")
    shape = (len(attributes), 100)
    ragged = Call(kernel, (mx.zeros((8,)),), (), (100, 1, 1), (48, 1, 1), (shape,), (mx.uint32,))
    found = np.array(bench.run_kernel(ragged, "fast").outputs[0])
    for row, (name, value) in zip(found, attributes.items(), strict=True):
        assert row.tolist() == [value(i) for i in range(100)], name


def test_lanes_run_in_the_other_order() -> None:
    """A race has another outcome then: that is what the mode is for."""
    racing = call("y[0] = g; if (g > 0) y[g] = 0;")
    assert bench.run_kernel(racing, "fast").outputs[0][0].item() == 127
    assert bench.run_kernel(racing, "fast", lanes="reversed").outputs[0][0].item() == 64


def test_products_and_sums_are_contracted_or_not() -> None:
    """(1 + 2^-12)^2 - 1 is 2^-11 + 2^-24, of which a rounded product loses the end."""
    body = "float a = 1 + x[0] / 4096; y[g] = a * a - x[0];"
    assert bench.run_kernel(call(body), "fast").outputs[0][0].item() == 2**-11 + 2**-24
    assert bench.run_kernel(call(body), "nofma").outputs[0][0].item() == 2**-11


def test_subnormal_floats_are_flushed_on_demand() -> None:
    body = "y[g] = x[0] * 1.5e-38f * 0.5f;"
    assert float(bench.run_kernel(call(body), "fast").outputs[0][0]) > 0
    assert bench.run_kernel(call(body), "fast", flush_denormals=True).outputs[0][0].item() == 0


def test_a_misaligned_buffer_is_found_by_a_vector_load_and_not_by_a_packed_one() -> None:
    load = "if (g < 32) {{ {} v = *(const device {}*)(x + 4 * g); y[g] = v.x + v.w; }}"
    vector, packed = call(load.format("float4", "float4")), call(load.format("packed_float4", "packed_float4"))
    assert bench.run_kernel(vector, "trace").findings == []
    (finding,) = bench.run_kernel(vector, "trace", misalign={"x": 8}).findings
    assert finding.startswith("x: misaligned access of 16 bytes")
    report = bench.run_kernel(packed, "trace", misalign={"x": 4, "y": 8})
    assert report.findings == []
    assert report.outputs[0][:32].tolist() == [8.0 * g + 5 for g in range(32)]
    assert bench.run_kernel(packed, "trace", misalign={"x": 2}).findings != []


def test_a_computation_runs_its_launches_on_the_bench() -> None:
    with executed_by(bench.executor("trace")):
        (y,) = launch(call("y[g] = bfloat(x[g] * 2);", dtype=mx.bfloat16))
        assert y.dtype == mx.bfloat16
        assert (y + 1).tolist() == [float(mx.array(2.0 * (i + 1) + 1).astype(mx.bfloat16)) for i in range(THREADS)]
        with pytest.raises(bench.KernelError, match="small:\nx: read of 4 bytes out of bounds"):
            launch(call("y[g] = bfloat(x[g + 1]);", dtype=mx.bfloat16))


def test_what_a_kernel_leaves_unwritten_is_nan() -> None:
    y = np.array(bench.run_kernel(call("if (g % 2) y[g] = x[g];"), "fast").outputs[0])
    assert np.isnan(y[::2]).all()
    assert not np.isnan(y[1::2]).any()


def test_small_inputs_and_shapes_come_in_the_constant_address_space() -> None:
    kernel = Kernel("small_inputs", ("table", "matrix"), ("y",), _SMALL, "")
    inputs = (mx.array([5.0, 7.0]), mx.arange(12).reshape(3, 4).T)
    small = Call(kernel, inputs, (), (12, 1, 1), (12, 1, 1), ((12,),), (mx.float32,))
    report = bench.run_kernel(small, "trace")
    assert report.findings == []
    assert report.outputs[0].tolist() == (inputs[1].flatten() + 55).tolist()


_SMALL = """
const constant float* constants = table;
uint g = thread_position_in_grid.x;
y[g] = constants[0] + constants[1] + matrix[g] + matrix_shape[0] * 10 + matrix_strides[0];
"""
