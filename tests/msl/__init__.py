"""Runs the program's Metal kernels on a Linux CPU, to check what they compute and how they treat memory.

`run_kernel(call)` takes the `Call` that the program would hand to the GPU, asks MLX for the text it would compile,
builds that with clang against a stand-in for Metal's standard library, and runs it with every GPU thread as a fibre.

What a clean run means: the text is C++ that uses Metal's address spaces, types and functions consistently; it computed
these outputs from these inputs; in trace mode also that no access was out of bounds, misaligned, to memory nobody has
written, or in a race with another thread's under the barriers that are there, that all lanes met at every simdgroup
operation and all threads at every barrier, and that arithmetic was defined. Traffic is counted as the lanes ask for it.

What it doesn't mean: that Apple's compiler takes the text (it may refuse what clang takes), that a GPU computes the
same last bit (the order of simd_sum, contraction to fma and the precision of exp are Apple's choice: hence the modes
and a tolerance), or anything about time, registers, occupancy and caches. Threadgroups run one after the other, so two
that wait for each other hang. Much that Metal refuses is C++ to clang (a pointer without an address space, threadgroup
memory in a helper, recursion ...): tests/msl/strict judges that.
"""

from tests.msl.compiler import BenchUnavailable, CompileError, NoCompilerError
from tests.msl.report import Accesses, Report, Traffic
from tests.msl.run import KernelError, executor, run_kernel

__all__ = [
    "Accesses",
    "BenchUnavailable",
    "CompileError",
    "KernelError",
    "NoCompilerError",
    "Report",
    "Traffic",
    "executor",
    "run_kernel",
]
