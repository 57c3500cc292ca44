"""Everything in this process runs on the CPU, where activations are float32 and results can be compared exactly.

The engine and the command run as processes of their own in the tests, and there on whatever the machine has.
"""

import os

# Before numpy is loaded. Several processes share the cores, and OpenBLAS' own threads would wait for each other in a
# loop: twice to three times the CPU time of every test that computes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import gc
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest
from hypothesis import settings

from tests.msl.skipping import pytest_fixture_setup, pytest_pyfunc_call

__all__ = ["pytest_fixture_setup", "pytest_pyfunc_call"]

# Each process may hold an engine and a compiler beside it; more of them than this make the terminal tests wait.
MOST_PROCESSES = 4


# No test asserts a time, and on a busy machine any example may take long.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: one more than the cores that this process may run on, for a test of the screen or of a process
    waits a quarter of its time; none beside this one where there is a single core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, MOST_PROCESSES) if cores > 1 else 0


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: an archive's hold the time, and each process has to collect the same tests."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_finish() -> None:
    """The garbage collector looks at what tests make, not at all that was imported, and less often: a fifth of the
    time of the screen's tests."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True, scope="session")
def on_cpu() -> Iterator[None]:
    """The references are float32; on a GPU the model computes in bfloat16."""
    device = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(device)


@pytest.fixture
def by_mlx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models on this CPU are computed by MLX's operations, as where there is no numba."""
    monkeypatch.setattr("mlx_model.model._is_compiled", lambda *checkpoint: False)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the conversations of this test, and of the programs it starts; returns it."""
    folder = tmp_path / "gptoss-chat home"
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(folder))
    return folder
