"""The text that MLX generates for a Metal kernel, as CUDA C++ against shim/msl_cuda.h.

Only what a header can't define is rewritten: address spaces (gone; `threadgroup T x[N];` is `__shared__`, a table in
constant memory is `__constant__`), attributes, the kernel's entry. Each rewrite keeps every line where it is.
"""

import re
from dataclasses import dataclass

from tests.msl.cuda.manifest import ENTRY
from tests.msl.entry import Parameter, kernel_function
from tests.msl.prepass import KERNEL, THREADGROUP_VARIABLES

_ATTRIBUTES = {
    "thread_position_in_grid": "msl_position_in_grid()",
    "thread_position_in_threadgroup": "MSL_3(MSL_THREAD)",
    "thread_index_in_threadgroup": "msl_index()",
    "thread_index_in_simdgroup": "(msl_index() % 32)",
    "simdgroup_index_in_threadgroup": "(msl_index() / 32)",
    "threadgroup_position_in_grid": "MSL_3(MSL_BLOCK)",
    "threads_per_threadgroup": "MSL_3(MSL_THREADS)",
    "threadgroups_per_grid": "MSL_3(MSL_BLOCKS)",
}

_SPACES = "device|constant|threadgroup|thread"

_REWRITES = (
    (rf"(?:{KERNEL})(\s+void\b)", r"METAL_FUNC\1"),
    (r"\[\[\s*[a-z_]+(?:\([^\]]*\))?(?:\s*,\s*[a-z_]+\([^\]]*\))*\s*\]\]", ""),
    (r"clang loop unroll\(full\)|unroll\(full\)", "unroll"),
    # 1.0 is a float.
    (r"(?<![\w.])(\d+\.\d*|\.\d+|\d+(?=[eE][-+]?\d))([eE][-+]?\d+)?(?![\w.])", r"\1\2f"),
    # The vector of bytes that tests.msl.mlx_kernels has put in the place of a struct, which clang alone can write.
    (
        r"typedef uint8_t ReadVector __attribute__\(\(ext_vector_type\((sizeof\(T\) \* vec_size)\),"
        r" aligned\((.*?)\)\)\);",
        r"struct alignas(\2) ReadVector { uint8_t v[\1]; };",
    ),
    # Without address spaces these specialisations of MLX's are one.
    (r"template <typename T>\s*struct pointer_element<\s*(device|constant|threadgroup)\b.*?\};", ""),
)


@dataclass(frozen=True, slots=True)
class CudaText:
    """`text` defines `extern "C" __global__ void msl_entry(void* ...)`, whose buffers are in the order of `buffers`."""

    text: str
    buffers: tuple[str, ...]


def translated(text: str, threads: int) -> CudaText:
    """The CUDA C++ of a text with one kernel, launched with blocks of at most `threads` threads.

    Raises KeyError for a kernel that takes another attribute than those above.
    """
    function = kernel_function(text)
    buffers = tuple(each.name for each in function.parameters if _is_buffer(each))
    passed = ", ".join(map(_passed, function.parameters))
    declared = ", ".join(f"void* {each}" for each in buffers)
    entry = (
        f'extern "C" __global__ void __launch_bounds__({threads}) {ENTRY}({declared})'
        f" {{ {function.name}{function.arguments}({passed}); }}"
    )
    return CudaText(f'#include "msl_cuda.h"\n#line 1 "kernel.metal"\n{_rewritten(function.body)}\n{entry}\n', buffers)


def _is_buffer(parameter: Parameter) -> bool:
    return parameter.attribute is None or parameter.attribute.startswith("buffer")


def _passed(parameter: Parameter) -> str:
    if parameter.attribute is None or _is_buffer(parameter):
        return f"msl_argument{{{parameter.name}}}"
    return f"msl_attribute<{parameter.type}>({_ATTRIBUTES[parameter.attribute]})"


def _rewritten(text: str) -> str:
    for pattern, replacement in _REWRITES:
        text = re.sub(pattern, replacement, text, flags=re.S)
    text = THREADGROUP_VARIABLES.sub(lambda match: match[0].replace("threadgroup", "__shared__", 1), text)
    text = re.sub(r"(?<=[;{}\n])([^;{}()\n]*)\bconstant\b([^;(){}=]*)(?==)", _constant, text)
    return re.sub(rf"\b({_SPACES})\b(?!\s*[.(])", "", text)


def _constant(match: re.Match[str]) -> str:
    """A table is memory, a number is none."""
    before, declared = match.groups()
    if "*" in declared or "&" in declared:  # of a pointer or reference it is the address space alone
        return f"{before}{declared}"
    if "[" in declared:
        return f"{before}__constant__{declared}"
    return f"{before}{'' if 'constexpr' in match[0] else 'constexpr '}{declared}"
