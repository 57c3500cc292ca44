"""What trace mode counts, on kernels whose traffic can be counted by hand. x and y are 512 bytes: 8 lines of 64."""

import mlx.core as mx

from metal.launch import Call, Kernel
from tests import msl as bench
from tests.msl.bodies import call


def traced(body: str, **misalign: int) -> bench.Report:
    report = bench.run_kernel(call(body), "trace", misalign=misalign)
    assert report.findings == []
    return report


def widths(**counts: int) -> dict[int, int]:
    return {width: counts.get(f"w{width}", 0) for width in (1, 2, 4, 8, 16)}


def test_neighbouring_lanes_share_lines() -> None:
    report = traced("y[g] = x[g];")
    assert report.traffic["x"].loads == bench.Accesses(512, widths(w4=128), 8, 8, 4, 4)
    assert report.traffic["y"].stores == bench.Accesses(512, widths(w4=128), 8, 8, 4, 4)
    assert report.traffic["y"].loads.bytes == report.traffic["x"].stores.bytes == 0
    assert report.line_bytes("x") == 512


def test_lanes_64_bytes_apart_ask_for_a_line_each() -> None:
    """Every simdgroup asks for 8 lines in each of 16 turns; the bytes of a turn would fit into one."""
    loads = traced("float a = 0; for (uint i = 0; i < 16; i++) a += x[lane % 8 * 16 + i]; y[g] = a;").traffic["x"].loads
    assert (loads.bytes, loads.by_width) == (4 * 128 * 16, widths(w4=128 * 16))
    assert (loads.lines64, loads.ideal64) == (4 * 16 * 8, 4 * 16)
    assert (loads.lines128, loads.ideal128) == (4 * 16 * 4, 4 * 16)


def test_lanes_of_the_same_address_ask_for_it_once() -> None:
    traffic = traced("y[g] = x[3];").traffic["x"]
    assert (traffic.loads.bytes, traffic.loads.lines64, traffic.loads.ideal64) == (512, 4, 4)
    assert (traffic.distinct_bytes, traffic.distinct_lines64, traffic.distinct_lines128) == (4, 1, 1)


def test_a_misaligned_buffer_costs_lines() -> None:
    loads = traced("y[g] = x[g];", x=4).traffic["x"].loads
    assert (loads.lines64, loads.ideal64, loads.lines128, loads.ideal128) == (12, 8, 8, 4)


def test_a_misaligned_buffer_shares_lines() -> None:
    """Each simdgroup's 128 bytes begin in the middle of a line of 128."""
    traffic = traced("y[g] = x[g];", x=64).traffic["x"]
    assert (traffic.distinct_lines128, traffic.shared_lines128, traffic.shared_lines64) == (5, 3, 0)


def test_a_vector_of_which_few_elements_are_used_is_loaded_whole() -> None:
    """Clang would load the elements: Apple GPUs load vectors, and so must the counts."""
    for vector in ("uint4", "packed_uint4"):
        load = f"const {vector} v = ((const device {vector}*)x)[g % 32];"
        for use in ("v.x ^ v.w", "((v.x & 7) + (v.y & 15)) ^ ((v.z >> 3) * 5 + v.w)"):
            loads = traced(f"{load} y[g] = {use};").traffic["x"].loads
            assert loads.by_width == widths(w16=128), (vector, use)


def test_lines_that_two_simdgroups_read_are_counted() -> None:
    assert traced("y[g] = x[g];").traffic["x"].shared_lines64 == 0
    assert traced("y[g] = x[g ^ 1];").traffic["x"].shared_lines64 == 0
    # Simdgroup n reads 16 elements before its own too: the 64 bytes before its own 128.
    traffic = traced("y[g] = x[g] + x[g < 16 ? g : g - 16];").traffic["x"]
    assert (traffic.distinct_lines64, traffic.shared_lines64) == (8, 3)
    assert (traffic.distinct_lines128, traffic.shared_lines128) == (4, 3)
    # Lines of 128 bytes can be shared where those of 64 are not.
    traffic = traced("y[g] = sg == 0 ? x[g / 64 * 64 + lane % 16] : x[g / 64 * 64 + 16 + lane % 16];").traffic["x"]
    assert (traffic.shared_lines64, traffic.shared_lines128) == (0, 2)


def test_stores_to_each_element_are_counted() -> None:
    traffic = traced("if (g % 4 == 1) y[g] = x[g]; if (g % 4 == 2) y[g] = 1; if (g % 8 == 2) y[g] = 2;").traffic["y"]
    assert (traffic.unwritten, traffic.written_once + traffic.rewritten) == (64, 64)
    # Two stores to an element in a row would be joined by any compiler; with a meeting between they are not.
    traffic = traced("y[g] = x[g]; float s = simd_sum(x[g]); if (g % 8 == 0) y[g] = s;").traffic["y"]
    assert (traffic.unwritten, traffic.written_once, traffic.rewritten) == (0, 112, 16)


def test_elements_of_two_bytes_are_counted_as_elements() -> None:
    report = bench.run_kernel(call("if (g < 100) y[g] = half(x[g]);", dtype=mx.float16), "trace")
    assert (report.traffic["y"].unwritten, report.traffic["y"].written_once) == (28, 100)


def test_reading_back_an_output_counts_as_a_load_of_it() -> None:
    traffic = traced("y[g] = x[g]; float s = simd_sum(x[g]); y[g] += s;").traffic["y"]
    assert (traffic.loads.bytes, traffic.stores.bytes) == (512, 1024)


def test_threadgroup_memory_barriers_and_atomics_are_counted() -> None:
    report = traced(
        "threadgroup half4 t[64]; threadgroup atomic_uint c; t[tid] = half4(x[g]);"
        " if (tid == 0) atomic_store_explicit(&c, 0u, memory_order_relaxed);"
        " threadgroup_barrier(mem_flags::mem_threadgroup);"
        " y[g] = t[63 - tid].x; if (simd_sum(x[g]) < 0) atomic_store_explicit(&c, 1u, memory_order_relaxed);"
    )
    memory = report.threadgroup_traffic
    assert memory is not None
    assert (memory.stores.by_width, memory.atomics) == (widths(w8=128), 2)
    assert memory.loads.bytes in (2 * 128, 8 * 128)  # an element, or its vector
    assert (report.threadgroup_barriers, report.simd_operations) == (2, 4)


def test_small_inputs_and_shapes_have_their_own_traffic() -> None:
    kernel = Kernel("with_shape", ("x", "few"), ("y",), "y[thread_position_in_grid.x] = few[0] * x_shape[0];", "")
    inputs = (mx.zeros((32,)), mx.array([2.0]))
    traffic = bench.run_kernel(
        Call(kernel, inputs, (), (32, 1, 1), (32, 1, 1), ((32,),), (mx.float32,)), "trace"
    ).traffic
    assert {name: t.loads.bytes for name, t in traffic.items()} == {"x": 0, "x_shape": 128, "few": 128, "y": 0}
