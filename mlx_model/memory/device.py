"""The device that MLX uses, and its memory: what there is, what a model may take, and limits."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import mlx.core as mx

from mlx_model.errors import BudgetError
from mlx_model.memory.plan import MemoryPlan
from mlx_model.memory.sizes import memory_size
from mlx_model.memory.wishes import Budget

_OUT_OF_MEMORY = ("Insufficient Memory", "OutOfMemory", "Attempting to allocate", "Unable to allocate")
"""What MLX's errors say then: those of a command buffer, and those of its allocator (backend/metal)."""

WHOLE_PAGES = 64_000_000
"""Bytes that weights take beyond their own, at most: MLX counts the whole pages (16 KiB) in which a mapped tensor lies,
and rounds what it allocates. The 194 mapped tensors of gpt-oss-20b take 3 MB more (worst case 6), the 290 of 120b 9 MB;
without this room the last tensor would stay unwired. Eighteen times less than the embedding, which is not to be wired
where its rows stay in the file."""

_LEFT_TO_PAGES = 4 * 2**30
"""Bytes of the computer's memory that a model whose experts are read from their files leaves to the page cache and to
all else: other engines got slower with more experts in memory once the system had no room for pages (on a Mac with 8 GB
6 to 1.6 tokens a second)."""

_MARGIN = 2**30
"""Free bytes that are left to other programs: they grow too while this one runs."""


def on_gpu() -> bool:
    """Whether MLX's default device is a GPU."""
    return mx.default_device().type == mx.DeviceType.gpu


def peak_memory_bytes(mapped_bytes: int = 0) -> int:
    """The most memory held so far: MLX's own count on a GPU, without `mapped_bytes` pages of files that need not be
    there; the process's peak resident set on the CPU."""
    if on_gpu():
        return mx.get_peak_memory() - mapped_bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory() -> tuple[int, int]:
    """Bytes of memory that this computer has, and that it could give to a program now."""
    import psutil

    found = psutil.virtual_memory()
    return found.total, found.available


def working_set() -> int | None:
    """Bytes that Metal recommends a program to hold on this GPU at most; None without Metal."""
    recommended = mx.device_info().get("max_recommended_working_set_size") if on_gpu() else None
    return None if recommended is None else int(recommended)


def budget(explicit: int | None = None) -> Budget:
    """What a model may take here: the memory that is free now, or `explicit` bytes.

    An explicit budget may exceed the memory that is free now, never what the GPU can hold.
    """
    total, available = memory()
    recommended = working_set()
    limit = total if recommended is None else min(total, recommended)
    what = "this computer has" if recommended is None else f"the GPU of a computer with {memory_size(total)} may hold"
    if explicit is not None:
        capped = min(explicit, limit)
        reason = f"Budget: {memory_size(capped)}, as asked for."
        if capped < explicit:
            reason = f"Budget: {memory_size(capped)}, all that {what}; you asked for {memory_size(explicit)}."
        return Budget(capped, capped, reason)
    free, cached = max(0, available - _MARGIN), max(0, limit - (total - _LEFT_TO_PAGES))
    if free >= limit:
        return Budget(limit, limit, f"Budget: {memory_size(limit)}, all that {what}.", cached)
    now = f"the memory that is free now, less {memory_size(_MARGIN)} for other programs"
    return Budget(free, limit, f"Budget: {memory_size(free)}, {now}; {memory_size(limit)} is all that {what}.", cached)


def enforce(plan: MemoryPlan, mapped_bytes: int = 0) -> None:
    """Hold MLX to the plan on a GPU. `mapped_bytes` are pages of files that MLX counts, though they need not be there.

    Above the memory limit MLX waits for running work before it allocates more. The wired limit is that of the weights
    in whole pages and no more, set before they are loaded: what comes to memory later, the mapped embedding above all,
    is not pinned (MLX wires what fits when it is allocated: backend/metal/resident.cpp). The cache of free buffers may
    hold what a prefill chunk gives back.
    """
    recommended = working_set()
    if recommended is None:
        return
    mx.set_memory_limit(plan.budget + mapped_bytes)
    mx.set_cache_limit(plan.working)
    mx.set_wired_limit(min(plan.weights + WHOLE_PAGES, recommended))


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns what MLX raises when a GPU runs out of memory into a BudgetError that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _OUT_OF_MEMORY):
            raise
        raise BudgetError(
            "the GPU ran out of memory; what was written is kept. Close other programs, or load with a smaller --memory"
        ) from None


def active_bytes(mapped_bytes: int = 0) -> int:
    """Bytes of arrays that MLX holds, without `mapped_bytes` pages of files."""
    return mx.get_active_memory() - mapped_bytes


def swap_bytes() -> int:
    """Bytes of memory that the system has moved to the disk, all programs together; 0 where it doesn't tell."""
    import psutil

    try:
        return int(psutil.swap_memory().used)
    except (OSError, RuntimeError):
        return 0
