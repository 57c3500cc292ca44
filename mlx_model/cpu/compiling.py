"""numba's compiler, and what it made, kept in the program's cache folder.

Compiling the kernels takes some seconds, once: each function compiled for some types is a file, whose name is a digest
of all that its code depends on (the sources of this room, the versions, the processor), so that no file is ever stale,
and which begins with a digest of the rest. A file that is damaged, unreadable or missing costs the time to compile
again, and one that can't be written as much next time.

numba's own cache is not used: it looks at the source of the function alone, not of those it calls, and a damaged index
ends the program.
"""

import hashlib
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import njit
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from metal.files import replace_file
from mlx_model.folders import cache_folder

_DIGEST = hashlib.sha256().digest_size


def kernel(function: Callable[..., Any]) -> Any:
    """Has numba compile a function for the types that it is called with, to run without the GIL.

    Sums may be formed in any order and products fused with them; NaN and infinities are numbers like others.
    """
    compiled = njit(nogil=True, fastmath={"reassoc", "contract"}, error_model="numpy")(function)
    compiled._cache = _Kept(function)
    return compiled


def compile_for(function: Any, *arguments: Any) -> None:
    """Compiles a kernel for arguments of the types of these, which are not used; or reads what was compiled before.

    Sizes don't matter, dimensions do, and whether an array is read-only.
    """
    function.compile(tuple(numba.typeof(argument) for argument in arguments))


class _Kept(_Cache):  # type: ignore[misc]
    """What one function was compiled to, for each signature a file."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(cache_folder() / "cpu")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or None where it has to be compiled."""
        try:
            content = self._path(sig, target_context).read_bytes()
            if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
                return None
            target_context.refresh()
            return CompileResult._rebuild(target_context, *pickle.loads(content[_DIGEST:]))
        except (OSError, LookupError, TypeError, ValueError, AttributeError, ImportError, pickle.UnpicklingError):
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps a compiled function, if it can be kept."""
        if data.library.has_dynamic_globals:
            return
        content = dumps(data._reduce())
        with suppress(OSError):
            replace_file(self._path(sig, data.target_context), hashlib.sha256(content).digest() + content)

    def enable(self) -> None:
        """It always is."""

    def disable(self) -> None:
        """It never is."""

    def flush(self) -> None:
        """Nothing waits to be written."""

    def _path(self, sig: Any, target_context: Any) -> Path:
        described = (_described(), target_context.codegen().magic_tuple(), self._name, str(sig))
        return Path(self.cache_path) / f"{hashlib.sha256(repr(described).encode()).hexdigest()}.bin"


@cache
def _described() -> tuple[str, ...]:
    """Versions, and a digest of all sources of this room."""
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sources.update(path.read_bytes())
    return sys.version, numba.__version__, llvmlite.__version__, np.__version__, sources.hexdigest()
