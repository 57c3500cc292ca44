"""numba's compiler, and what it made, kept in the program's cache folder.

Compiling the kernels takes some seconds, once: each function compiled for some types is a file, whose name is a digest
of all that its code depends on (the sources of this room, the versions, the processor), so that no file is ever stale,
and which begins with a digest of the rest. A file that is damaged, unreadable or missing costs the time to compile
again, and one that can't be written as much next time, of which there is a line in the log and `why_unkept`.

numba's own cache is not used: it looks at the source of the function alone, not of those it calls, and a damaged index
ends the program.
"""

import fcntl
import hashlib
import logging
import os
import pickle
import sys
import time
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

log = logging.getLogger(__name__)

_DIGEST = hashlib.sha256().digest_size
_WAIT_S = 60.0
"""For how long another process may take to compile a function, before it is compiled here too."""


def kernel(function: Callable[..., Any]) -> Any:
    """Has numba compile a function for the types that it is called with, to run without the GIL.

    Sums may be formed in any order and products fused with them; NaN and infinities are numbers like others.

    What has it compile more than is run: an assignment to a slice, which brings thirty functions for the words of its
    error; True, False or a number as an argument, each of which is a type of its own unless it is numpy's.
    """
    how = {"nogil": True, "fastmath": {"reassoc", "contract"}, "error_model": "numpy"}
    compiled = njit(no_cfunc_wrapper=True, **how)(function)  # nothing in C calls it
    compiled._cache = _Kept(function)
    return compiled


def compile_for(function: Any, *arguments: Any) -> None:
    """Compiles a kernel for arguments of the types of these, which are not used; or reads what was compiled before.

    Sizes don't matter, dimensions do, and whether an array is read-only.
    """
    function.compile(tuple(numba.typeof(argument) for argument in arguments))


def why_unkept() -> str:
    """Why what this process has compiled is compiled again at the next start; "" if it is kept."""
    return next(iter(_complaints), "")


_complaints: list[str] = []


def _complain(path: Path, error: OSError) -> None:
    if not _complaints:
        reason = error.strerror or error
        _complaints.append(f"{path.parent} can't be written ({reason}); kernels are compiled again at each start")
        log.warning("%s", _complaints[0])


class _Kept(_Cache):  # type: ignore[misc]
    """What one function was compiled to, for each signature a file."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._claims: dict[Path, int] = {}

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(cache_folder() / "cpu")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or None where it has to be compiled; a process that does so already is waited for."""
        path = self._path(sig, target_context)
        found = self._read(path, target_context)
        if found is None and self._claim(path):
            found = self._read(path, target_context)
            if found is not None:
                self._give_up(path)
        return found

    def _read(self, path: Path, target_context: Any) -> Any:
        try:
            content = path.read_bytes()
            if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
                return None
            target_context.refresh()
            return CompileResult._rebuild(target_context, *pickle.loads(content[_DIGEST:]))
        except (OSError, LookupError, TypeError, ValueError, AttributeError, ImportError, pickle.UnpicklingError):
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps a compiled function, if it can be kept."""
        path = self._path(sig, data.target_context)
        if not data.library.has_dynamic_globals:
            content = dumps(data._reduce())
            try:
                replace_file(path, hashlib.sha256(content).digest() + content)
            except OSError as error:
                _complain(path, error)
        self._give_up(path)

    def _claim(self, path: Path) -> bool:
        """Compile a function while other processes wait for it. False where files can't be locked, or not in time."""
        if path in self._claims:  # compiling it was interrupted
            return True
        end = time.monotonic() + _WAIT_S
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            claim = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                while time.monotonic() < end:
                    with suppress(BlockingIOError):
                        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        self._claims[path] = claim  # closed, and so unlocked, in any case when this process ends
                        return True
                    time.sleep(0.05)
            finally:
                if path not in self._claims:
                    os.close(claim)
        return False

    def _give_up(self, path: Path) -> None:
        if (claim := self._claims.pop(path, None)) is not None:
            path.with_suffix(".lock").unlink(missing_ok=True)
            os.close(claim)

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
