"""The decorator of all that numba compiles here."""

from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(function: Callable[..., Any]) -> Any:
    """Has numba compile a function for the types that it is called with: without the GIL, kept on disk.

    Sums may be formed in any order and products fused with them; NaN and infinities are numbers like others.
    """
    return njit(nogil=True, cache=True, fastmath={"reassoc", "contract"}, error_model="numpy")(function)
