"""The device's memory: the budget at its edges, what is counted, and MLX's errors in words."""

import resource
import sys

import mlx.core as mx
import psutil
import pytest

from mlx_model.errors import BudgetError, RequestError
from mlx_model.memory import device
from mlx_model.memory.plan import plan
from mlx_model.memory.sizes import parse_memory
from mlx_model.memory.wishes import Budget
from mlx_model.transformer.config import PUBLISHED

GB = 2**30


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "on_gpu", lambda: True)


def test_this_is_a_cpu() -> None:
    assert not device.on_gpu()
    assert device.working_set() is None


def test_memory_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        total, available = 16 * 10**9, 7 * 10**9

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    assert device.memory() == (16 * 10**9, 7 * 10**9)


@pytest.mark.parametrize(("info", "nbytes"), [({}, None), ({"max_recommended_working_set_size": 5e9}, 5_000_000_000)])
def test_the_working_set_is_metals(
    gpu: None, monkeypatch: pytest.MonkeyPatch, info: dict[str, float], nbytes: int | None
) -> None:
    monkeypatch.setattr(mx, "device_info", lambda: info)
    found = device.working_set()
    assert found == nbytes
    assert found is None or isinstance(found, int)


def test_the_peak_on_a_gpu_is_mlxs_without_mapped_pages(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "get_peak_memory", lambda: 1000)
    monkeypatch.setattr(mx, "get_active_memory", lambda: 700)
    assert (device.peak_memory_bytes(), device.peak_memory_bytes(300)) == (1000, 700)
    assert (device.active_bytes(), device.active_bytes(300)) == (700, 400)


@pytest.mark.parametrize(("platform", "nbytes"), [("linux", 5 * 1024), ("darwin", 5)])
def test_the_peak_on_a_cpu_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch, platform: str, nbytes: int) -> None:
    """Linux counts in KiB, macOS in bytes (getrusage(2) of each)."""

    class Usage:
        ru_maxrss = 5

    monkeypatch.setattr(resource, "getrusage", lambda who: Usage if who == resource.RUSAGE_SELF else None)
    monkeypatch.setattr(sys, "platform", platform)
    assert device.peak_memory_bytes(2) == nbytes


@pytest.mark.parametrize(
    ("available", "working_set", "nbytes", "reason"),
    [
        (17 * GB, None, 16 * GB, "Budget: 16 GB, all that this computer has."),
        (12 * GB, 11 * GB, 11 * GB, "all that the GPU of a computer with 16 GB may hold."),
        (12 * GB - 1, 11 * GB, 11 * GB - 1, "the memory that is free now, less 1 GB for other programs; "),
        (5 * GB, 20 * GB, 4 * GB, "4 GB, the memory that is free now, less 1 GB for other programs; "),
        (5 * GB, None, 4 * GB, "16 GB is all that this computer has."),
        (GB, 11 * GB, 0, "Budget: 0 MB, "),
        (10, 11 * GB, 0, "Budget: 0 MB, "),
    ],
)
def test_the_budget_is_what_is_free(
    monkeypatch: pytest.MonkeyPatch, available: int, working_set: int | None, nbytes: int, reason: str
) -> None:
    monkeypatch.setattr(device, "memory", lambda: (16 * GB, available))
    monkeypatch.setattr(device, "working_set", lambda: working_set)
    found = device.budget()
    assert (found.nbytes, found.limit) == (nbytes, min(16 * GB, working_set or 16 * GB))
    assert reason in found.reason


@pytest.mark.parametrize(
    ("explicit", "nbytes", "reason"),
    [
        (11 * GB, 11 * GB, "Budget: 11 GB, as asked for."),
        (11 * GB + 1, 11 * GB, "may hold; you asked for 11 GB."),
        (20 * GB, 11 * GB, "Budget: 11 GB, all that the GPU of a computer with 16 GB may hold; you asked"),
        (0, 0, "Budget: 0 MB, as asked for."),
    ],
)
def test_an_explicit_budget_may_exceed_what_is_free_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, explicit: int, nbytes: int, reason: str
) -> None:
    monkeypatch.setattr(device, "memory", lambda: (16 * GB, GB))
    monkeypatch.setattr(device, "working_set", lambda: 11 * GB)
    found = device.budget(explicit)
    assert found == Budget(nbytes, nbytes, found.reason)
    assert reason in found.reason


def test_limits_without_a_mapped_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[str, int] = {}
    monkeypatch.setattr(device, "working_set", lambda: 10**12)
    for name in ("memory", "cache", "wired"):
        monkeypatch.setattr(mx, f"set_{name}_limit", lambda nbytes, name=name: limits.update({name: nbytes}))
    found = plan(PUBLISHED["gpt-oss-20b"], 2 * 10**10)
    device.enforce(found)
    assert limits == {"memory": 2 * 10**10, "cache": found.working, "wired": found.weights + device.WHOLE_PAGES}


@pytest.mark.parametrize(("text", "nbytes"), [(1, 1), ("0.001KB", 1), ("1KiB", 1024), ("1048575TiB", 1048575 * 2**40)])
def test_sizes_from_a_byte_to_an_exabyte(text: str | int, nbytes: int) -> None:
    assert abs(parse_memory(text) - nbytes) <= nbytes * 2**-53


@pytest.mark.parametrize("text", ["1048576TiB", "2097152 TiB", 0, "0.4", "0.0000001KB"])
def test_sizes_beyond(text: str | int) -> None:
    with pytest.raises(RequestError, match="can't be used"):
        parse_memory(text)


@pytest.mark.parametrize(
    "text",
    [
        "[METAL] Command buffer execution failed: Insufficient Memory (00000008)",
        "kIOGPUCommandBufferCallbackErrorOutOfMemory",
        "[metal::malloc] Attempting to allocate 9 bytes which is greater than the maximum allowed",
        "[malloc_or_wait] Unable to allocate 9 bytes.",
    ],
)
def test_memory_that_ran_out_is_said_in_one_line(text: str) -> None:
    with (
        pytest.raises(BudgetError, match="the GPU ran out of memory; what was written is kept") as error,
        device.memory_errors(),
    ):
        raise RuntimeError(text)
    assert "\n" not in str(error.value)


def test_other_errors_are_not_blamed_on_memory() -> None:
    for error in (RuntimeError("[matmul] shapes do not fit"), ValueError("Unable to allocate")):
        with pytest.raises(type(error), match=r"shapes|allocate"), device.memory_errors():
            raise error
