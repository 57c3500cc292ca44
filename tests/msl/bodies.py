"""Small kernels for the tests of the bench: a body on 128 floats `x` that writes 128 floats `y`, 64 threads a group."""

import mlx.core as mx

from metal.launch import Call, Kernel

THREADS = 128
GROUP = 64
_NAMES = (
    "const uint g = thread_position_in_grid.x, tid = thread_index_in_threadgroup, lane = thread_index_in_simdgroup,"
    " sg = simdgroup_index_in_threadgroup;\n"
)


def call(body: str, header: str = "", dtype: mx.Dtype = mx.float32, outputs: int = THREADS) -> Call:
    """In the body: g, tid, lane, sg, and whatever MLX declares. x is 1, 2, 3 ..."""
    kernel = Kernel("small", ("x",), ("y",), _NAMES + body, header)
    x = (mx.arange(THREADS) + 1).astype(mx.float32)
    return Call(kernel, (x,), (), (THREADS, 1, 1), (GROUP, 1, 1), ((outputs,),), (dtype,))
