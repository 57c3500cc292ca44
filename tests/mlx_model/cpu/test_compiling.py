"""What was compiled is kept and found again; a damaged, missing or unwritable file costs time and nothing else."""

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_model.cpu import available, compiling
from mlx_model.cpu.compiling import compile_for, kernel
from mlx_model.model import load


def doubled(x: Any) -> Any:
    return x + x


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of compiled functions."""
    monkeypatch.setenv("GPTOSS_CACHE_DIR", str(tmp_path))
    return tmp_path / "cpu"


def hits(function: Any) -> int:
    """How many of a function's signatures were read from files."""
    return sum(function.stats.cache_hits.values())


def test_a_function_is_kept_and_damage_only_costs_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kernel(doubled)
    assert first(3) == 6
    (kept,) = folder.iterdir()
    content = kept.read_bytes()
    again = kernel(doubled)
    compile_for(again, 5)
    assert (again(4), hits(again)) == (8, 1)
    for damaged in (b"", content[:100], content[:-1], content[:200] + b"\x00" + content[201:]):
        kept.write_bytes(damaged)
        other = kernel(doubled)
        assert (other(4), hits(other)) == (8, 0)
        assert kept.read_bytes()[32:] != damaged[32:], "it is written anew"
    monkeypatch.setattr(compiling, "_described", lambda: ("another version",))
    newer = kernel(doubled)
    assert (newer(4), hits(newer)) == (8, 0)
    assert len([*folder.iterdir()]) == 2


def test_processes_that_start_together_compile_once(folder: Path) -> None:
    script = (
        "from tests.mlx_model.cpu.test_compiling import doubled, hits, kernel\n"
        "function = kernel(doubled)\nprint(function(3), hits(function))"
    )
    started = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0] for process in started)
    assert said == ["6 0\n", "6 1\n"]
    assert [path.suffix for path in folder.iterdir()] == [".bin"]


def test_who_was_interrupted_while_compiling_does_not_wait_for_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    function = kernel(doubled)
    with monkeypatch.context() as patch:
        patch.setattr(function._compiler, "compile", interrupt)
        with pytest.raises(KeyboardInterrupt):
            function(3)
    monkeypatch.setattr("mlx_model.cpu.compiling.time.sleep", lambda _: pytest.fail("it waits"))
    assert function(3) == 6
    assert [path.suffix for path in folder.iterdir()] == [".bin"]


def test_a_folder_that_cant_be_written_is_done_without_and_said_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiling, "_complaints", [])
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file in its place")
    function = kernel(doubled)
    np.testing.assert_array_equal(function(np.arange(3)), [0, 2, 4])
    assert function(3.0) == 6.0
    said = f"{folder} can't be written (File exists); kernels are compiled again at each start"
    assert caplog.messages == [said] and compiling.why_unkept() == said
    monkeypatch.undo()  # or all the model's were compiled
    monkeypatch.setattr(compiling, "_complaints", [said])
    assert load("demo").kernels.unkept == said


def test_why_not_says_what_is_missing_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = available.why_not.__wrapped__
    assert ask() is None
    real = builtins.__import__

    def without_numba(name: str, *args: Any) -> Any:
        if name == "numba":
            raise ImportError("Numba needs NumPy 2.4 or less")
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_numba)
    reason = ask() or ""
    assert "Numba needs NumPy 2.4 or less" in reason
    assert "\n" not in reason
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in (ask() or "")
