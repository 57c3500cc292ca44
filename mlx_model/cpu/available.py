"""Whether the compiled CPU path can run here; imports numba only when asked."""

import platform
import sys
from functools import cache


@cache
def why_not() -> str | None:
    """One line that says why kernels can't be compiled here; None if they can."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return "CPU kernels are for Linux on x86-64 or ARM"
    try:
        import numba  # noqa: F401
    except ImportError as error:
        return f"numba, which compiles the CPU kernels, can't be imported ({error})"
    return None
