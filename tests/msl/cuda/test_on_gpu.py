"""What runs on the machine with the GPU, on a stand-in for NVIDIA's driver: every call is made as it should be."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.imports import imports_of
from tests.msl import compiler
from tests.msl.cuda import arrays, dump, on_gpu
from tests.msl.cuda.manifest import Array, Case, Launch, from_json, to_json
from tests.msl.cuda.results import Result, all_well, bytes_moved, summary, table

HERE = Path(__file__).parent
RESIDUAL = Array("input", "float32", (1, 64), {"kind": "normal", "seed": 1}, offset=8)


def case(name: str, does: str, residual: Array = RESIDUAL) -> Case:
    """y = x times nothing, plus residual: right where `does` copies that to y."""
    nothing = {"kind": "list", "values": [0] * 64}
    known = {
        "x": Array("input", "float32", (1, 64), nothing),
        "weight": Array("input", "bfloat16", (64, 64), {"kind": "normal", "seed": 2}, cold=True),
        "bias": Array("input", "float32", (64,), nothing),
        "residual": residual,
        "y": Array("output", "float32", (1, 64)),
    }
    return Case(
        "o_proj", name, "ours", "o_proj", {"BITS": 0}, known, (Launch(does, (2, 1, 1), (32, 1, 1), tuple(known)),)
    )


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in."""
    folder = tmp_path_factory.mktemp("driver")
    command = [compiler.host_compiler(), "-std=c++17", "-shared", "-fPIC", str(HERE / "stand_in.cpp")]
    subprocess.run([*command, "-o", str(folder / "libcuda.so.1")], check=True)
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "kernels-cuda.pyz"
    codes = {
        "copy": b"copy 5 3 4 256",
        "half": b"copy 5 3 4 128",
        "fail": b"fail 5",
        "dies": b"die 5",
        dump.CEILINGS: b"nothing 0",
    }
    cases = [case("right", "copy"), case("fails", "fail"), case("half", "half"), case("also right", "copy")]
    sizes = {"1x": cases, "4x": [case("dies", "dies")], "small": cases[:1]}
    dump.write(path, {"architecture": "sm_90"}, sizes, codes)
    return path


def run(archive: Path, out: Path, driver: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(driver), "PATH": f"{out.parent}:{os.environ['PATH']}"}
    command = [sys.executable, str(archive), str(out), "--seconds", "60", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=out.parent)


def test_what_the_gpu_does_is_judged(archive: Path, driver: Path, tmp_path: Path) -> None:
    """And a kernel's failure, behind which its process is of no use, ends that process alone."""
    checker = tmp_path / "compute-sanitizer"
    checker.write_text('#!/bin/sh\necho "===== ERROR SUMMARY: 3 errors" >"$4"\nshift 4\nexec "$@"\n')
    checker.chmod(0o755)
    done = run(archive, tmp_path / "out", driver)
    assert done.returncode == 1, done.stdout + done.stderr
    known = json.loads((tmp_path / "out" / "results.json").read_text())
    results = [Result(**each) for each in known["results"]["1x"]]
    assert [each.name for each in results] == ["right", "fails", "half", "also right"]
    assert [each.right for each in results] == [True, False, False, True]
    assert results[0].worst == 0
    assert results[0].us
    assert "MISALIGNED" in results[1].error
    assert "not written" in results[2].error
    [dead] = known["results"]["4x"]
    assert "died (signal 6)" in dead["error"]
    assert known["gpu"]["name"] == "a stand-in"
    assert known["gpu"]["ceilings"]["copy_gbps"] > 0
    assert known["notes"][0] == "compute-sanitizer memcheck: 3 errors; 1 of 1 small cases are right."
    written = (tmp_path / "out" / "table.md").read_text()
    assert "| o_proj: right | " in written
    assert "2 of 4 cases are right" in written


def test_without_a_gpu_it_says_so(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").write_text("no library")
    done = run(archive, tmp_path / "out", tmp_path, "--no-tools")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no driver of an NVIDIA GPU here" in done.stderr


def test_what_goes_to_the_gpu_needs_numpy_alone() -> None:
    for name in dump.MODULES:
        path = HERE / f"{name}.py"
        for module, line in imports_of(path, path.read_text()):
            first = module.split(".")[0]
            inside = module.removeprefix("tests.msl.cuda.").split(".")[0] in dump.MODULES
            assert inside or first in sys.stdlib_module_names | {"numpy"}, f"{path}:{line} imports {module}"


def test_a_process_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "SILENT", 0.05)
    read, write = os.pipe()
    os.write(write, b'{"begins": 0}\nnoise\n')
    with os.fdopen(read) as stream:
        assert list(on_gpu._lines(stream)) == [{"begins": 0}]
        os.close(write)


def test_cases_are_the_same_after_json() -> None:
    cases = [case("right", "copy")]
    assert from_json(json.loads(json.dumps(to_json(cases)))) == cases
    assert bytes_moved(cases[0]) == 64 * 64 * 2 + 4 * 64 * 4


def test_arrays_are_rounded_to_nearest_even() -> None:
    values = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, -3.0e38], np.float32)
    found = arrays.exact(arrays.stored(values, "bfloat16"), "bfloat16")
    assert found.tolist()[:3] == [1, 1, 1 + 2**-6]
    assert arrays.made(RESIDUAL).tobytes() == arrays.made(RESIDUAL).tobytes()


def result(name: str, **more: Any) -> Result:
    return Result(**{"group": "down", "name": name, "side": "ours", "worst": 0.5, "variants": "a", "bits": "1", **more})


def test_the_table_says_what_is_wrong_and_what_is_faster() -> None:
    results = [
        result("rows 4", us=10.0, gbps=1000.0),
        result("rows 2", worst=1.5, bits="2", us=40.0, gbps=250.0),
        result("MLX's", side="MLX", variants="b", us=20.0, gbps=500.0),
    ]
    lines = table(results, {"copy_gbps": 2000.0, "read_gbps": 4000.0}).splitlines()
    assert lines[2] == "| down: rows 4 | 10.0 | 1000 | 50% | 25% | 2.00 | 0.50 |"
    assert lines[3] == "| down: rows 2 | 40.0 | 250 | 12% | 6% | 0.50 | 1.50 WRONG |"
    said = summary(results).splitlines()
    assert said[:2] == [
        "2 of 3 cases are right (2 ours, 1 MLX's).",
        "0 of 1 groups of variants give the same bits.",
    ]
    assert said[2] == "Different bits: down: rows 4; down: rows 2"
    assert not all_well(results)
    assert not all_well([result("rows 4"), result("rows 2", bits="2")])
    assert all_well([result("rows 4"), result("rows 2")])
