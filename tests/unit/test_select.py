"""The choice of kernels on a machine: verified, timed, remembered; and every way in which a kernel can fail."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from metal.launch import Call, Kernel, executed_by, launch
from metal.machine import Machine, gpu_cores, power
from metal.operation import Operation, Variant
from metal.remember import kernel_text
from metal.select import Choice, choose, report, requested_mode
from metal.timing import ROUNDS, cold_arguments, seconds_per_run
from tests.imports import ROOT

MACHINE = Machine("Apple M1 Max", 32, "macOS 15.5", "0.32.4")
OTHER = Machine("Apple M5", 10, "macOS 26.1", "0.32.4")
KERNEL = Kernel("doubled", ("x",), ("y",), "y[i] = 2 * x[i];", "")
WIDE, NARROW, ODD = (("rows", 4),), (("rows", 2),), (("rows", 3),)


class Gpu:
    """A stand-in for the GPU: doubles its input after `seconds` on a clock of its own; `fails` per variant."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds: dict[Variant | None, float] = {None: 3e-4, WIDE: 1e-4, NARROW: 2e-4, ODD: 2e-4}
        self.fails: dict[Variant, Callable[[mx.array], mx.array]] = {}
        self.calls: list[Variant | None] = []

    def clock(self) -> float:
        return self.now

    def spend(self, way: Variant | None) -> None:
        self.calls.append(way)
        self.now += self.seconds[way]

    def __call__(self, call: Call) -> list[mx.array]:
        variant = tuple((name, int(value)) for name, value in call.parameters)
        self.spend(variant)
        doubled = call.inputs[0] * 2
        return [self.fails[variant](doubled) if variant in self.fails else doubled]

    def operation(self, name: str = "doubled", variants: tuple[Variant, ...] = (WIDE, NARROW)) -> Operation:
        def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
            if variant is None:
                self.spend(None)
                return (x + x,)
            return tuple(launch(Call(KERNEL, (x,), variant, (32, 1, 1), (32, 1, 1), (x.shape,), (x.dtype,))))

        def arguments(seed: int) -> Sequence[mx.array]:
            return [mx.random.normal((32,), key=mx.random.key(seed))]

        return Operation(name, run, arguments, variants, tolerance=1e-6, weight_bytes=64 << 20)


@pytest.fixture
def gpu() -> Gpu:
    return Gpu()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "kernels.json"


@pytest.fixture
def chosen(gpu: Gpu, path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., Choice]:
    """Chooses as on a Mac whose GPU is `gpu`, and counts afresh what is logged and called."""

    def choice(*operations: Operation, mode: str = "auto", machine: Machine = MACHINE, sizes: str = "") -> Choice:
        caplog.clear()
        gpu.calls.clear()
        with executed_by(gpu):
            return choose(operations, sizes=sizes, mode=mode, machine=machine, path=path, clock=gpu.clock)

    return choice


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# ------------------------------------------------------------------------------------------------- what is chosen


@pytest.mark.parametrize(
    ("portable_us", "wide_us", "narrow_us", "best"),
    [
        (300, 100, 200, WIDE),
        (300, 200, 100, NARROW),
        (300, 100, 98, WIDE),  # 2% is noise
        (300, 100, 96, NARROW),
        (50, 100, 200, None),
        (98, 100, 200, WIDE),
    ],
)
def test_the_fastest_is_chosen(
    gpu: Gpu,
    chosen: Callable[..., Choice],
    caplog: pytest.LogCaptureFixture,
    portable_us: int,
    wide_us: int,
    narrow_us: int,
    best: Variant | None,
) -> None:
    gpu.seconds = {None: portable_us * 1e-6, WIDE: wide_us * 1e-6, NARROW: narrow_us * 1e-6}
    choice = chosen(gpu.operation())
    assert choice["doubled"] == best
    (verdict,) = choice.verdicts
    assert verdict.seconds == pytest.approx(gpu.seconds[best])
    assert verdict.portable_seconds == pytest.approx(portable_us * 1e-6)
    assert verdict.gigabytes_s == pytest.approx((64 << 20) / gpu.seconds[best] / 1e9)
    assert f"MLX {portable_us} us" in verdict.reason
    assert not logged(caplog)


def test_metal_takes_the_fastest_kernel_however_slow(gpu: Gpu, chosen: Callable[..., Choice]) -> None:
    gpu.seconds[None] = 1e-6
    gpu.seconds[NARROW] = 5e-5
    assert chosen(gpu.operation(), mode="metal")["doubled"] == NARROW


def test_portable_computes_nothing(gpu: Gpu, chosen: Callable[..., Choice], path: Path) -> None:
    choice = chosen(gpu.operation(), mode="portable")
    assert dict(choice) == {"doubled": None}
    assert "GPTOSS_KERNELS=portable" in choice.verdicts[0].reason
    assert not gpu.calls
    assert not path.exists()


def test_without_metal_nothing_is_computed(gpu: Gpu, path: Path) -> None:
    """The tests run on the CPU, on a Mac too (tests/conftest.py)."""
    choice = choose([gpu.operation()], path=path)
    assert dict(choice) == {"doubled": None}
    assert choice.verdicts[0].reason == "there is no Metal GPU here"
    assert not gpu.calls
    assert not path.exists()


def test_the_environment_forces(monkeypatch: pytest.MonkeyPatch, gpu: Gpu, path: Path) -> None:
    assert requested_mode({}) == requested_mode({"GPTOSS_KERNELS": ""}) == "auto"
    assert requested_mode({"GPTOSS_KERNELS": "metal"}) == "metal"
    monkeypatch.setenv("GPTOSS_KERNELS", "portable")
    assert choose([gpu.operation()], machine=MACHINE, path=path)["doubled"] is None
    monkeypatch.setenv("GPTOSS_KERNELS", "fast")
    with pytest.raises(ValueError, match="GPTOSS_KERNELS is 'fast'; it can be auto, metal or portable"):
        choose([gpu.operation()], machine=MACHINE, path=path)


# -------------------------------------------------------------------------------------------------- what is remembered


def test_a_choice_is_remembered(gpu: Gpu, chosen: Callable[..., Choice]) -> None:
    first = chosen(gpu.operation())
    again = chosen(gpu.operation())
    assert again.verdicts == first.verdicts
    assert not gpu.calls


@pytest.mark.parametrize("change", [{"machine": OTHER}, {"sizes": "E 128"}, {"mode": "metal"}])
def test_something_else_is_chosen_anew(gpu: Gpu, chosen: Callable[..., Choice], change: dict[str, object]) -> None:
    chosen(gpu.operation())
    gpu.seconds[NARROW] = 1e-5
    assert chosen(gpu.operation(), **change)["doubled"] == NARROW
    assert chosen(gpu.operation())["doubled"] == WIDE


def test_other_kernel_text_is_chosen_anew(
    gpu: Gpu, chosen: Callable[..., Choice], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen(gpu.operation())
    monkeypatch.setattr("metal.select.kernel_text", lambda: "another")
    chosen(gpu.operation())
    assert gpu.calls


def test_the_hash_covers_text_and_launches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("metal.remember.files", lambda package: tmp_path)
    (tmp_path / "kernels").mkdir()
    hashes = [kernel_text()]
    for name, text in (("kernels/a.metal", "1"), ("kernels/a.h", "1"), ("launch.py", "1"), ("kernels/a.metal", "2")):
        (tmp_path / name).write_text(text)
        hashes.append(kernel_text())
    (tmp_path / "launch.pyc").write_text("compiled")
    assert len(set(hashes)) == len(hashes)
    assert kernel_text() == hashes[-1]


def test_a_variant_that_is_gone_is_not_remembered(gpu: Gpu, chosen: Callable[..., Choice]) -> None:
    chosen(gpu.operation())
    assert chosen(gpu.operation(variants=(NARROW,)))["doubled"] == NARROW


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"a": 1}', '{"a": {"doubled": 1}}', "[" * 100_000, "\xff", '{"a": {"doubled": {"by": "x"}}}'],
)
def test_a_damaged_file_is_written_anew(
    gpu: Gpu, chosen: Callable[..., Choice], path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    assert chosen(gpu.operation(), gpu.operation("again"))["doubled"] == WIDE
    assert len(logged(caplog)) == (0 if "by" in text else 1)
    chosen(gpu.operation())
    assert not gpu.calls
    assert not logged(caplog)


def test_damaged_notes_are_made_anew(gpu: Gpu, chosen: Callable[..., Choice], path: Path) -> None:
    good = chosen(gpu.operation())
    for name, value in (("variant", 3), ("variant", [["rows", 9]]), ("reason", None), ("seconds", "1")):
        content = json.loads(path.read_text())
        for notes in content.values():
            notes["doubled"][name] = value
        path.write_text(json.dumps(content))
        report(mode="auto", machine=MACHINE, path=path)
        assert chosen(gpu.operation())["doubled"] == good["doubled"]
        assert gpu.calls, name


def test_old_subjects_go(gpu: Gpu, chosen: Callable[..., Choice], path: Path) -> None:
    for number in range(20):
        chosen(gpu.operation(), sizes=str(number))
    assert len(json.loads(path.read_text())) == 16
    chosen(gpu.operation(), sizes="19")
    assert not gpu.calls


# -------------------------------------------------------------------------------------------------- what can go wrong


def compile_error(result: mx.array) -> mx.array:
    raise RuntimeError("[metal::Device] Unable to build metal library from source\nerror: expected ';'")


def too_large_group(result: mx.array) -> mx.array:
    raise ValueError("Thread group size (512) is greater than the maximum allowed (256)")


FAILURES = {
    "compile error": (compile_error, "Unable to build metal library"),
    "threadgroup too large": (too_large_group, "Thread group size"),
    "wrong result": (lambda y: y.at[7].add(0.01), "is off by"),
    "barely wrong result": (lambda y: y * (1 + 4e-6), "is off by"),
    "NaN": (lambda y: mx.where(mx.arange(y.size) == 3, mx.nan, y), "gives NaN or infinity"),
    "infinity": (lambda y: mx.where(mx.arange(y.size) == 3, mx.inf, y), "gives NaN or infinity"),
    "other shape": (lambda y: y[:31], "other shapes or dtypes"),
    "other dtype": (lambda y: y.astype(mx.float16), "other shapes or dtypes"),
}


@pytest.mark.parametrize("mode", ["auto", "metal"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_kernel_ends_on_the_portable_path(
    gpu: Gpu, chosen: Callable[..., Choice], caplog: pytest.LogCaptureFixture, failure: str, mode: str
) -> None:
    action, says = FAILURES[failure]
    gpu.fails = {WIDE: action, NARROW: action}
    choice = chosen(gpu.operation(), mode=mode)
    assert choice["doubled"] is None
    assert says in choice.verdicts[0].reason
    (line,) = logged(caplog)
    assert says in line
    assert "doubled" in line
    assert "\n" not in line
    assert chosen(gpu.operation(), mode=mode)["doubled"] is None
    assert not gpu.calls, "a failure is remembered"
    assert not logged(caplog)


def test_one_failing_kernel_leaves_the_others(
    gpu: Gpu, chosen: Callable[..., Choice], caplog: pytest.LogCaptureFixture
) -> None:
    gpu.fails = {ODD: compile_error}
    choice = chosen(gpu.operation("broken", (ODD,)), gpu.operation())
    assert dict(choice) == {"broken": None, "doubled": WIDE}
    assert len(logged(caplog)) == 1


def test_where_the_default_fails_another_variant_runs(
    gpu: Gpu, chosen: Callable[..., Choice], caplog: pytest.LogCaptureFixture
) -> None:
    gpu.fails = {WIDE: lambda y: y * 1.5}
    assert chosen(gpu.operation())["doubled"] == NARROW
    assert "it runs by kernel rows=2" in logged(caplog)[0]


def test_a_variant_that_differs_in_a_bit_is_dropped(
    gpu: Gpu, chosen: Callable[..., Choice], caplog: pytest.LogCaptureFixture
) -> None:
    def last_bit(y: mx.array) -> mx.array:
        return (y.view(mx.uint32) ^ (mx.arange(y.size) == 5)).view(mx.float32)

    gpu.fails = {NARROW: last_bit}
    gpu.seconds[NARROW] = 1e-5
    assert chosen(gpu.operation())["doubled"] == WIDE
    assert "kernel rows=2 gives other bits than kernel rows=4" in logged(caplog)[0]


def test_bfloat16_is_no_float32(gpu: Gpu, chosen: Callable[..., Choice], caplog: pytest.LogCaptureFixture) -> None:
    def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        rounded = x.astype(mx.bfloat16)
        return (rounded.astype(mx.float32) if variant == NARROW else rounded,)

    operation = Operation("rounded", run, gpu.operation().arguments, (WIDE, NARROW), 0, 1)
    assert chosen(operation)["rounded"] == WIDE
    assert "kernel rows=2 gives results of other shapes or dtypes" in logged(caplog)[0]


def test_indices_must_be_equal(gpu: Gpu, chosen: Callable[..., Choice], caplog: pytest.LogCaptureFixture) -> None:
    def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        return (mx.array([1000, 999 if variant else 998]),)

    assert chosen(Operation("route", run, gpu.operation().arguments, (WIDE,), 0.1, 1))["route"] is None
    assert "other whole numbers" in logged(caplog)[0]


def test_a_run_that_takes_for_ever_ends_on_the_portable_path(
    gpu: Gpu, chosen: Callable[..., Choice], caplog: pytest.LogCaptureFixture
) -> None:
    gpu.seconds[WIDE] = 20
    assert chosen(gpu.operation())["doubled"] is None
    assert "took 40 s" in logged(caplog)[0]
    assert NARROW not in gpu.calls, "the GPU is left alone after that"


def test_a_failure_while_timing_ends_on_the_portable_path(
    gpu: Gpu, chosen: Callable[..., Choice], caplog: pytest.LogCaptureFixture
) -> None:
    def exhausted(y: mx.array) -> mx.array:
        if gpu.calls.count(WIDE) > 4:
            raise RuntimeError("[malloc] Unable to allocate")
        return y

    gpu.fails = {WIDE: exhausted}
    assert chosen(gpu.operation())["doubled"] is None
    assert "Unable to allocate" in logged(caplog)[0]


class Dies(BaseException):
    """The process ends here, as far as the file can tell."""


def leave_unended(gpu: Gpu, chosen: Callable[..., Choice], path: Path, by: object) -> None:
    """The file as a process leaves it that dies in the try of "doubled"."""

    def die(y: mx.array) -> mx.array:
        content = json.loads(path.read_text())
        for notes in content.values():
            notes["doubled"]["by"] = by
        gpu.left = json.dumps(content)  # type: ignore[attr-defined]
        raise Dies

    gpu.fails = {WIDE: die}
    with pytest.raises(Dies):
        chosen(gpu.operation())
    path.write_text(gpu.left)  # type: ignore[attr-defined]
    gpu.fails = {}


def dead_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_after_a_crash_the_portable_path_then_one_more_try_then_never_again(
    gpu: Gpu, chosen: Callable[..., Choice], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_unended(gpu, chosen, path, dead_process())
    choice = chosen(gpu.operation(), gpu.operation("other"))
    assert dict(choice) == {"doubled": None, "other": WIDE}
    assert len(logged(caplog)) == 1
    assert "never ended" in logged(caplog)[0]
    assert "the next start tries once more" in logged(caplog)[0]

    leave_unended(gpu, chosen, path, dead_process())
    assert chosen(gpu.operation())["doubled"] is None
    assert f"to try again, delete {path}" in logged(caplog)[0]
    assert chosen(gpu.operation())["doubled"] is None
    assert not logged(caplog)
    assert not gpu.calls
    path.unlink()
    assert chosen(gpu.operation())["doubled"] == WIDE


def test_a_process_that_dies_is_noticed(
    gpu: Gpu, chosen: Callable[..., Choice], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As when Metal ends the process over a command buffer."""
    program = (
        "import os, sys, pathlib; from metal.launch import executed_by; from metal.select import choose\n"
        "from tests.unit.test_select import MACHINE, WIDE, Gpu\n"
        "gpu = Gpu(); gpu.fails[WIDE] = lambda y: os._exit(9)\n"
        "with executed_by(gpu):\n"
        "    choose([gpu.operation()], mode='auto', machine=MACHINE, path=pathlib.Path(sys.argv[1]), clock=gpu.clock)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, timeout=60).returncode == 9
    assert chosen(gpu.operation())["doubled"] is None
    assert not gpu.calls
    assert "never ended" in logged(caplog)[0]


def test_after_a_program_closed_early_the_second_try_counts(
    gpu: Gpu, chosen: Callable[..., Choice], path: Path
) -> None:
    leave_unended(gpu, chosen, path, dead_process())
    chosen(gpu.operation())
    assert chosen(gpu.operation())["doubled"] == WIDE


@pytest.mark.parametrize("by", [-1, 0, 2**70, "1", None, []])
def test_no_process_is_no_hindrance(gpu: Gpu, chosen: Callable[..., Choice], path: Path, by: object) -> None:
    leave_unended(gpu, chosen, path, by)
    assert "never ended" in chosen(gpu.operation()).verdicts[0].reason
    assert chosen(gpu.operation())["doubled"] == WIDE


def test_while_another_process_tries_this_one_keeps_away(
    gpu: Gpu, chosen: Callable[..., Choice], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_unended(gpu, chosen, path, os.getppid())
    before = path.read_text()
    choice = chosen(gpu.operation())
    assert choice["doubled"] is None
    assert "is trying the kernel just now" in choice.verdicts[0].reason
    assert not gpu.calls
    assert path.read_text() == before


def test_an_interruption_is_not_blamed_on_the_kernel(gpu: Gpu, chosen: Callable[..., Choice]) -> None:
    def interrupted(y: mx.array) -> mx.array:
        raise KeyboardInterrupt

    gpu.fails = {WIDE: interrupted}
    with pytest.raises(KeyboardInterrupt):
        chosen(gpu.operation())
    gpu.fails = {}
    assert chosen(gpu.operation())["doubled"] == WIDE


@pytest.mark.parametrize("hurdle", ["folder is a file", "file is a folder"])
def test_an_unwritable_file_costs_one_line(
    gpu: Gpu, chosen: Callable[..., Choice], path: Path, caplog: pytest.LogCaptureFixture, hurdle: str
) -> None:
    if hurdle == "folder is a file":
        path.parent.write_text("in the way")
    else:
        path.mkdir(parents=True)
    assert dict(chosen(gpu.operation(), gpu.operation("other"))) == {"doubled": WIDE, "other": WIDE}
    (line,) = logged(caplog)
    assert str(path) in line
    assert list(path.parent.glob("*")) in ([], [path]), "nothing half-written stays"


# ------------------------------------------------------------------------------------------------- timing and the rest


def test_ways_take_turns_there_and_back(gpu: Gpu) -> None:
    operation = gpu.operation()
    arguments = cold_arguments(operation)
    assert len(arguments) == 4, "256 MiB of weights before the first come again"
    assert len({np.array(x).tobytes() for (x,) in arguments}) == 4
    with executed_by(gpu):
        times = seconds_per_run(operation, [WIDE, NARROW, None], arguments, clock=gpu.clock)
    assert times == {way: pytest.approx(gpu.seconds[way]) for way in (WIDE, NARROW, None)}
    order = gpu.calls[::4]
    assert order[3:9] == [WIDE, NARROW, None, None, NARROW, WIDE]
    assert len(order) == 3 + 6 * ROUNDS


def test_the_least_time_counts_and_the_budget_ends_it(gpu: Gpu) -> None:
    operation = gpu.operation()
    with executed_by(gpu):
        (seconds,) = seconds_per_run(operation, [WIDE], [operation.arguments(0)], clock=gpu.clock, budget_s=0).values()
    assert seconds == pytest.approx(gpu.seconds[WIDE])
    assert len(gpu.calls) == 3


def test_arguments_are_few_where_they_are_large_or_slow(gpu: Gpu) -> None:
    def operation(size: int, seconds: float, weight_bytes: int = 1) -> Operation:
        def arguments(seed: int) -> Sequence[mx.array]:
            gpu.now += seconds
            return [mx.zeros((size,), mx.uint8)]

        return Operation("any", gpu.operation().run, arguments, (WIDE,), 0, weight_bytes)

    def made(operation: Operation) -> int:
        return len(cold_arguments(operation, gpu.clock))

    assert made(operation(1, 0)) == 24
    assert made(operation(1, 0.05)) == 6
    assert made(operation(1, 60)) == 2
    assert made(operation(64 << 20, 0)) == 4
    assert made(operation(1, 0, 1 << 30)) == 2, "two are checked"


def test_a_variant_without_parameters(gpu: Gpu, chosen: Callable[..., Choice]) -> None:
    gpu.seconds[()] = 1e-4
    assert chosen(gpu.operation(variants=((),)))["doubled"] == ()
    assert chosen(gpu.operation(variants=((),)))["doubled"] == ()
    assert not gpu.calls


def test_runs_wait_for_each_other(gpu: Gpu) -> None:
    """Each run's first argument hangs on the last result, without changing it."""
    seen: list[float] = []

    def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        seen.append(x.sum().item())
        return (x * 3,)

    operation = Operation("tripled", run, lambda seed: [mx.full((4,), float(seed + 1))], (WIDE,), 0, 128 << 20)
    seconds_per_run(operation, [WIDE], cold_arguments(operation))
    assert seen[:2] == [4, 8]


def test_report(gpu: Gpu, chosen: Callable[..., Choice], path: Path) -> None:
    assert "nothing chosen yet" in report(mode="auto", machine=MACHINE, path=path)
    gpu.fails = {ODD: compile_error}
    chosen(gpu.operation(), gpu.operation("broken", (ODD,)), sizes="2880 x 2880")
    lines = report(mode="auto", machine=MACHINE, path=path).splitlines()
    assert lines[0].startswith("Apple M1 Max, 32 GPU cores, macOS 15.5, MLX 0.32.4")
    assert lines[1] == "2880 x 2880:"
    assert lines[2].startswith(
        "  doubled runs by kernel rows=4: kernel rows=4 100 us, kernel rows=2 200 us, MLX 300 us; "
    )
    assert lines[3].startswith("  broken runs by MLX: RuntimeError: ")
    assert "doubled" not in report(mode="auto", machine=OTHER, path=path)
    assert "GPTOSS_KERNELS=portable" in report(mode="portable", machine=MACHINE, path=path)
    assert "no Metal GPU" in report(path=path)


def test_what_macos_says() -> None:
    assert gpu_cores('    "gpu-core-count" = 32\n') == 32
    assert gpu_cores("") == 0
    assert str(MACHINE) == "Apple M1 Max, 32 GPU cores, macOS 15.5, MLX 0.32.4"
    assert power("Now drawing from 'AC Power'\n", " lowpowermode         0\n") is None
    assert power("Now drawing from 'Battery Power'\n", "") == "it runs on battery"
    assert power("Now drawing from 'Battery Power'\n", " lowpowermode         1\n") == (
        "low power mode is on and it runs on battery"
    )
