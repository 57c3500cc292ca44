"""MLX's own kernels from the headers of the installed wheel: peers to compare with, and text by others to test on.

The headers are read at run time; nothing of them is kept. Each rewrite says its reason.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx

from metal.launch import Call, Kernel
from tests.msl.compiler import BenchUnavailable
from tests.msl.entry import program

_ROOT = Path(mx.__file__).parent / "include"
_KERNELS = "mlx/backend/metal/kernels"

# bf16_math.h and logging.h rest on Apple's builtins, complex.h on constructors for each address space. The kernels
# here need no more of them than that the type of complex numbers has a name.
_REPLACED = {
    f"{_KERNELS}/bf16_math.h": "",
    f"{_KERNELS}/logging.h": "",
    f"{_KERNELS}/complex.h": (
        "template <typename T> struct complex_t { T real, imag; constexpr complex_t(T a, T b) : real(a), imag(b) {} };"
        " typedef complex_t<float> complex64_t;"
    ),
}


def gather_qmv(x: mx.array, w: mx.array, scales: mx.array, indices: mx.array) -> tuple[Call, str]:
    """The matvec that MLX runs for `gather_qmm` in mode mxfp4 on one row, when K is no multiple of 512.

    x: [K], or a row for each slot [S, K]; w: [E, M, K / 8] uint32; scales: [E, M, K / 32] uint8; indices: [S] uint32.
    Result: y [S, M], dtype of x. For `run_kernel(call, mode, text=text)`. Launched as MLX does
    (backend/metal/quantized.cpp): 2 simdgroups of 4 rows.
    """
    experts, rows, packed = w.shape
    slots, inputs = indices.size, x.shape[-1]
    x_rows = x.size // inputs
    int32 = _scalars(mx.int32)
    int64 = _scalars(mx.int64)
    arguments = {
        "w": w,
        "scales": scales,
        "global_scale": mx.zeros((1,)),
        "x": x,
        "lhs_indices": mx.array([slot % x_rows for slot in range(slots)], mx.uint32),
        "rhs_indices": indices,
        "in_vec_size": int32(inputs),
        "out_vec_size": int32(rows),
        "x_batch_ndims": int32(1),
        "x_shape": int32(x_rows, 1, inputs),
        "x_strides": int64(inputs, inputs, 1),
        "w_batch_ndims": int32(1),
        "w_shape": int32(experts, rows, packed),
        "w_strides": int64(rows * packed, packed, 1),
        "s_strides": int64(rows * inputs // 32, inputs // 32, 1),
        "batch_ndims": int32(1),
        "batch_shape": int32(slots),
        "lhs_strides": int64(1),
        "rhs_strides": int64(1),
    }
    text = _text(_FP_QUANTIZED, "fp_gather_qmv", f"{_NAMES[x.dtype]}, 32, 4", {})
    grid = (32, 2 * -(-rows // 8), slots)
    return _call("fp_gather_qmv", text, arguments, {"y": ((slots, rows), x.dtype)}, grid, (32, 2, 1)), text


def qmv(x: mx.array, w: mx.array, scales: mx.array, biases: mx.array, bits: int) -> tuple[Call, str]:
    """The matvec that MLX runs for `quantized_matmul` of one row, affine in groups of 64.

    x: [K]; w: [M, K * bits / 32] uint32; scales and biases: [M, K / 64]. Result: y [M]. Its fast kernel takes K alone
    that all lanes share evenly.
    """
    rows, inputs = w.shape[0], x.size
    fast = inputs % ({8: 4, 6: 4, 4: 8}[bits] * 64) == 0
    name = "affine_qmv_fast" if fast else "affine_qmv"
    arguments = {
        "w": w,
        "scales": scales,
        "biases": biases,
        "x": x,
        "in_vec_size": mx.array([inputs], mx.int32),
        "out_vec_size": mx.array([rows], mx.int32),
        **{name: mx.zeros((1,), mx.int32) for name in ("x_batch_ndims", "x_shape", "w_batch_ndims", "w_shape")},
        **{name: mx.zeros((1,), mx.int64) for name in ("x_strides", "w_strides", "s_strides", "b_strides")},
    }
    text = _text((*_QUANTIZED, "quantized"), name, f"{_NAMES[x.dtype]}, 64, {bits}, false", {})
    return _call(name, text, arguments, {"y": ((rows,), x.dtype)}, (32, 2 * -(-rows // 8), 1), (32, 2, 1)), text


def gemv(x: mx.array, w: mx.array) -> tuple[Call, str]:
    """The product of a float matrix with one row: x [K], w [M, K] -> out_vec [M]."""
    rows, inputs = w.shape
    simdgroups = 8 if rows >= 4096 else 4
    int32 = _scalars(mx.int32)
    arguments = {
        "mat": w,
        "in_vec": x,
        "bias": mx.zeros((1,), x.dtype),
        "in_vec_size": int32(inputs),
        "out_vec_size": int32(rows),
        "marix_ld": int32(inputs),
        "alpha": mx.ones((1,)),
        "beta": mx.zeros((1,)),
        "batch_ndim": int32(1),
        "batch_shape": int32(1),
        "bias_stride": int32(1),
        **{
            name: mx.zeros((1,), mx.int64)
            for name in ("vector_batch_stride", "matrix_batch_stride", "bias_batch_stride")
        },
    }
    text = _text(("utils", "gemv"), "gemv", f"{_NAMES[x.dtype]}, {simdgroups}, 1, 1, 32, 4, 4, false, false", {})
    grid = (32 * -(-rows // (4 * simdgroups)), 1, simdgroups)
    return _call("gemv", text, arguments, {"out_vec": ((rows,), x.dtype)}, grid, (32, 1, simdgroups)), text


def qmm(x: mx.array, w: mx.array, scales: mx.array) -> tuple[Call, str]:
    """The matrix product that MLX runs for `quantized_matmul` in mode mxfp4: x [M, K] with w [N, K / 8] -> y [M, N].

    Rests on simdgroup matrices, and on which of their elements a lane holds. N is a multiple of 32.
    """
    (rows, inputs), (columns, _) = x.shape, w.shape
    int32 = _scalars(mx.int32)
    arguments = {
        "w": w,
        "scales": scales,
        "global_scale": mx.zeros((1,)),
        "x": x,
        "K": int32(inputs),
        "N": int32(columns),
        "M": int32(rows),
        **{name: int32(0) for name in ("x_batch_ndims", "x_shape", "w_batch_ndims", "w_shape")},
        **{name: mx.zeros((1,), mx.int64) for name in ("x_strides", "w_strides", "s_strides")},
    }
    text = _text(_FP_QUANTIZED, "fp_qmm_t", f"{_NAMES[x.dtype]}, 32, 4, true, false", {})
    grid = (32 * columns // 32, 2 * -(-rows // 32), 2)
    return _call("fp_qmm_t", text, arguments, {"y": ((rows, columns), x.dtype)}, grid, (32, 2, 2)), text


def sdpa_vector(q: mx.array, k: mx.array, v: mx.array, sinks: mx.array, scale: float) -> tuple[Call, str]:
    """The attention of one query that MLX runs: q [H, D], k and v [KV heads, N, D], sinks [H] -> out [H, D]."""
    heads, width = q.shape
    int32 = _scalars(mx.int32)
    arguments = {
        **_attended(q, k, v, sinks, scale),
        "gqa_factor": int32(heads // k.shape[0]),
        "num_q_heads": int32(heads),
    }
    text = _text(("utils", "sdpa_vector"), "sdpa_vector", f"{_NAMES[q.dtype]}, {width}", {"has_sinks": 1})
    grid = (1024 * heads, 1, 1)
    return _call("sdpa_vector", text, arguments, {"out": (q.shape, q.dtype)}, grid, (1024, 1, 1)), text


def sdpa_vector_2pass(
    q: mx.array, k: mx.array, v: mx.array, sinks: mx.array, scale: float, blocks: int
) -> tuple[tuple[Call, str], Callable[[Sequence[mx.array]], tuple[Call, str]]]:
    """The same for many keys, in two passes over so many `blocks`: the first, and the second on what that gives.

    MLX takes 128 blocks up to 8192 keys and 256 beyond on a Max, else 64
    (backend/metal/scaled_dot_product_attention.cpp).
    """
    (heads, width), (kv_heads, _, _) = q.shape, k.shape
    header, types = ("utils", "sdpa_vector"), f"{_NAMES[q.dtype]}, {width}"
    text = _text(header, "sdpa_vector_2pass_1", types, {"has_sinks": 1, "blocks": blocks})
    outputs = {
        "out": ((heads, blocks, width), q.dtype),
        "sums": ((heads, blocks), mx.float32),
        "maxs": ((heads, blocks), mx.float32),
    }
    threadgroup = (32, heads // kv_heads, 1)
    grid = (32 * kv_heads, heads // kv_heads, blocks)
    first = _call("sdpa_vector_2pass_1", text, _attended(q, k, v, sinks, scale), outputs, grid, threadgroup), text

    def second(results: Sequence[mx.array]) -> tuple[Call, str]:
        text = _text(header, "sdpa_vector_2pass_2", types, {})
        arguments = {
            **dict(zip(("partials", "sums", "maxs"), results, strict=True)),
            "blocks": mx.array([blocks], mx.int32),
        }
        output = {"out": (q.shape, q.dtype)}
        return _call("sdpa_vector_2pass_2", text, arguments, output, (1024 * heads, 1, 1), (1024, 1, 1)), text

    return first, second


def _attended(q: mx.array, k: mx.array, v: mx.array, sinks: mx.array, scale: float) -> dict[str, mx.array]:
    """What both kernels take, without a mask."""
    _, keys, width = k.shape
    int32 = _scalars(mx.int32)
    size = _scalars(mx.uint64)
    return {
        "queries": q,
        "keys": k,
        "values": v,
        "N": int32(keys),
        "k_head_stride": size(keys * width),
        "k_seq_stride": size(width),
        "v_head_stride": size(keys * width),
        "v_seq_stride": size(width),
        "scale": mx.array([scale]),
        "bmask": mx.zeros((1,), mx.bool_),
        "fmask": mx.zeros((1,), q.dtype),
        **{name: int32(0) for name in ("mask_kv_seq_stride", "mask_q_seq_stride", "mask_head_stride")},
        "sinks": sinks,
    }


# In the order in which MLX joins them (backend/metal/jit_kernels.cpp).
_QUANTIZED = ("utils", "steel/gemm/gemm", "quantized_utils")
_FP_QUANTIZED = (*_QUANTIZED, "fp_quantized")
_NAMES = {mx.float32: "float", mx.float16: "half", mx.bfloat16: "bfloat16_t"}


def _scalars(dtype: mx.Dtype) -> Callable[..., mx.array]:
    return lambda *values: mx.array(values, dtype)


def _call(
    name: str,
    text: str,
    arguments: Mapping[str, mx.array],
    outputs: Mapping[str, tuple[tuple[int, ...], mx.Dtype]],
    grid: tuple[int, int, int],
    threadgroup: tuple[int, int, int],
) -> Call:
    kernel = Kernel(name, tuple(arguments), tuple(outputs), "", "")
    if set(program(text).buffers) != {*arguments, *outputs}:
        raise BenchUnavailable(f"{name} of MLX {version('mlx')} takes other arguments than those known here")
    shapes, dtypes = zip(*outputs.values(), strict=True)
    return Call(kernel, tuple(arguments.values()), (), grid, threadgroup, shapes, dtypes)


def _text(headers: Sequence[str], kernel: str, arguments: str, constants: Mapping[str, int]) -> str:
    """The headers with all they include, and an instantiation of one kernel. Function constants are 0 unless given."""
    included: set[str] = set()
    text = "".join(_included(f"{_KERNELS}/{header}.h", included) for header in headers)
    text = re.sub(
        r"constant (\w+) (\w+) \[\[function_constant\(\d+\)\]\];",
        lambda match: f"constant {match[1]} {match[2]} = {constants.get(match[2], 0)};",
        text,
    )
    # An array as a parameter would be one in private memory.
    text = re.sub(r"(constant const int64_t) (strides)\[\d\]", r"\1* \2", text)
    # Clang has no conversion between its two 16-bit floats.
    text = text.replace(
        "static_cast<bfloat16_t>(this->operator float16_t())", "static_cast<bfloat16_t>(this->operator float())"
    )
    # A struct can't be copied between address spaces; a vector of the same alignment can.
    text = re.sub(
        r"struct alignas\((alignment \* sizeof\(T\))\) ReadVector \{\s*uint8_t v\[(sizeof\(T\) \* vec_size)\];\s*\}",
        r"typedef uint8_t ReadVector __attribute__((ext_vector_type(\2), aligned(\1)))",
        text,
    )
    # The other kernels of the header, which are never instantiated.
    text = re.sub(r"(threadgroup T\* \w+) \[\[threadgroup\(\d\)\]\]", r"\1", text)
    name = f"{kernel}<{arguments}>"
    return f'{text}\ntemplate [[host_name("{kernel}")]] [[kernel]] decltype({name}) {name};\n'


def _included(path: str, included: set[str]) -> str:
    if path in included:
        return ""
    included.add(path)
    if path in _REPLACED:
        return _REPLACED[path] + "\n"
    text = (_ROOT / path).read_text().replace("#pragma once", "")
    return re.sub(r'^#include "(mlx/[^"]+)"', lambda match: _included(match[1], included), text, flags=re.M) + "\n"
