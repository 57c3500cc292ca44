"""Every way in which a kernel or the file can fail ends on an answer, with one line in the log."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from metal.operation import Operation, Variant
from metal.trust.check import compared
from tests.fixtures import ROOT
from tests.metal.trust.gpu import NARROW, ODD, WIDE, Choose, Gpu, compile_error, logged


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
    gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture, failure: str, mode: str
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


def test_one_failing_kernel_leaves_the_others(gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture) -> None:
    gpu.fails = {ODD: compile_error}
    choice = chosen(gpu.operation("broken", (ODD,)), gpu.operation())
    assert dict(choice) == {"broken": None, "doubled": WIDE}
    assert len(logged(caplog)) == 1


def test_where_the_default_fails_another_variant_runs(
    gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.fails = {WIDE: lambda y: y * 1.5}
    assert chosen(gpu.operation())["doubled"] == NARROW
    assert "it runs by kernel rows=2" in logged(caplog)[0]


def test_where_the_default_does_not_compile_another_variant_runs(
    gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.fails = {WIDE: compile_error}
    choice = chosen(gpu.operation(variants=(WIDE, NARROW, ODD)))
    assert choice["doubled"] == NARROW
    assert "kernel rows=3 200 us" in choice.verdicts[0].reason
    (line,) = logged(caplog)
    assert line == (
        "doubled: RuntimeError: [metal::Device] Unable to build metal library from source; it runs by kernel rows=2"
    )


def test_what_is_wrong_is_said_once_for_all_variants(
    gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.fails = {WIDE: compile_error, NARROW: lambda y: y * 1.5, ODD: compile_error}
    reason = chosen(gpu.operation(variants=(WIDE, NARROW, ODD))).verdicts[0].reason
    assert reason.count("Unable to build") == 1
    assert "; kernel rows=2 is off by 5.0e-01 of the largest value, 1.0e-06 allowed" in reason
    assert logged(caplog) == [f"doubled: {reason}; it runs by MLX"]


@pytest.mark.parametrize(("off", "right"), [(0.9e-6, True), (1.1e-6, False)])
def test_the_tolerance_is_a_share_of_the_largest_value(gpu: Gpu, chosen: Choose, off: float, right: bool) -> None:
    gpu.fails = {WIDE: lambda y: y.at[mx.argmin(mx.abs(y))].add(off * mx.abs(y).max())}
    assert (chosen(gpu.operation(variants=(WIDE,)))["doubled"] == WIDE) == right


def test_zeros_are_right_and_anything_else_is_not() -> None:
    operation = Gpu().operation()
    zeros, none = [mx.zeros(4)], [mx.zeros(0)]

    def problem(found: list[mx.array], expected: list[mx.array]) -> str | None:
        return compared(WIDE, [found], [expected], operation).problem

    assert problem(zeros, zeros) is None
    assert problem(none, none) is None
    assert problem([mx.full(4, 1e-9)], zeros) == (
        "kernel rows=4 is off by 1.0e-09 of the largest value, 1.0e-06 allowed"
    )
    assert problem([*zeros, mx.ones(4)], [*zeros, mx.zeros(4)]) is not None
    assert problem(zeros, [*zeros, *zeros]) == "kernel rows=4 gives results of other shapes or dtypes"


@pytest.mark.parametrize(("seconds", "used"), [(5.0, WIDE), (5.1, None)])
def test_how_long_a_first_run_may_take(gpu: Gpu, chosen: Choose, seconds: float, used: Variant | None) -> None:
    """Ten seconds for the two arguments that it is checked on."""
    gpu.seconds = {WIDE: seconds, None: 100.0}
    assert chosen(gpu.operation(variants=(WIDE,)))["doubled"] == used


def test_a_variant_that_differs_in_a_bit_is_dropped(gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture) -> None:
    def last_bit(y: mx.array) -> mx.array:
        return (y.view(mx.uint32) ^ (mx.arange(y.size) == 5)).view(mx.float32)

    gpu.fails = {NARROW: last_bit}
    gpu.seconds[NARROW] = 1e-5
    assert chosen(gpu.operation())["doubled"] == WIDE
    assert "kernel rows=2 gives other bits than kernel rows=4" in logged(caplog)[0]


def test_bfloat16_is_no_float32(gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture) -> None:
    def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        rounded = x.astype(mx.bfloat16)
        return (rounded.astype(mx.float32) if variant == NARROW else rounded,)

    operation = Operation("rounded", run, gpu.operation().arguments, (WIDE, NARROW), 0, 1)
    assert chosen(operation)["rounded"] == WIDE
    assert "kernel rows=2 gives results of other shapes or dtypes" in logged(caplog)[0]


def test_indices_must_be_equal(gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture) -> None:
    def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        return (mx.array([1000, 999 if variant else 998]),)

    assert chosen(Operation("route", run, gpu.operation().arguments, (WIDE,), 0.1, 1))["route"] is None
    assert "other whole numbers" in logged(caplog)[0]


def test_a_run_that_takes_for_ever_ends_on_the_portable_path(
    gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.seconds[WIDE] = 20
    assert chosen(gpu.operation())["doubled"] is None
    assert "took 40 s" in logged(caplog)[0]
    assert NARROW not in gpu.calls, "the GPU is left alone after that"


def test_a_failure_while_timing_ends_on_the_portable_path(
    gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture
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


def leave_unended(gpu: Gpu, chosen: Choose, path: Path, by: object) -> None:
    """The file as a process leaves it that dies in the try of "doubled"."""
    left: list[str] = []

    def die(y: mx.array) -> mx.array:
        content = json.loads(path.read_text())
        for notes in content.values():
            notes["doubled"]["by"] = by
        left.append(json.dumps(content))
        raise Dies

    gpu.fails = {WIDE: die}
    with pytest.raises(Dies):
        chosen(gpu.operation())
    path.write_text(left[-1])
    gpu.fails = {}


def dead_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_after_a_crash_the_portable_path_then_one_more_try_then_never_again(
    gpu: Gpu, chosen: Choose, path: Path, caplog: pytest.LogCaptureFixture
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


def test_a_process_that_dies_is_noticed(gpu: Gpu, chosen: Choose, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As when Metal ends the process over a command buffer."""
    program = (
        "import os, sys, pathlib; from metal.launch import executed_by; from metal.trust.select import choose\n"
        "from tests.metal.trust.gpu import MACHINE, WIDE, Gpu\n"
        "gpu = Gpu(); gpu.fails[WIDE] = lambda y: os._exit(9)\n"
        "with executed_by(gpu):\n"
        "    choose([gpu.operation()], mode='auto', machine=MACHINE, path=pathlib.Path(sys.argv[1]), clock=gpu.clock)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, timeout=60).returncode == 9
    assert chosen(gpu.operation())["doubled"] is None
    assert not gpu.calls
    assert "never ended" in logged(caplog)[0]


def test_after_a_program_closed_early_the_second_try_counts(gpu: Gpu, chosen: Choose, path: Path) -> None:
    leave_unended(gpu, chosen, path, dead_process())
    chosen(gpu.operation())
    assert chosen(gpu.operation())["doubled"] == WIDE


@pytest.mark.parametrize("by", [-1, 0, 2**70, "1", None, []])
def test_no_process_is_no_hindrance(gpu: Gpu, chosen: Choose, path: Path, by: object) -> None:
    leave_unended(gpu, chosen, path, by)
    assert "never ended" in chosen(gpu.operation()).verdicts[0].reason
    assert chosen(gpu.operation())["doubled"] == WIDE


def test_while_another_process_tries_this_one_keeps_away(
    gpu: Gpu, chosen: Choose, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_unended(gpu, chosen, path, os.getppid())
    before = path.read_text()
    choice = chosen(gpu.operation())
    assert choice["doubled"] is None
    assert "is trying the kernel just now" in choice.verdicts[0].reason
    assert not gpu.calls
    assert path.read_text() == before


def test_an_interruption_is_not_blamed_on_the_kernel(gpu: Gpu, chosen: Choose) -> None:
    def interrupted(y: mx.array) -> mx.array:
        raise KeyboardInterrupt

    gpu.fails = {WIDE: interrupted}
    with pytest.raises(KeyboardInterrupt):
        chosen(gpu.operation())
    gpu.fails = {}
    assert chosen(gpu.operation())["doubled"] == WIDE


@pytest.mark.parametrize("hurdle", ["folder is a file", "file is a folder"])
def test_an_unwritable_file_costs_one_line(
    gpu: Gpu, chosen: Choose, path: Path, caplog: pytest.LogCaptureFixture, hurdle: str
) -> None:
    if hurdle == "folder is a file":
        path.parent.write_text("in the way")
    else:
        path.mkdir(parents=True)
    assert dict(chosen(gpu.operation(), gpu.operation("other"))) == {"doubled": WIDE, "other": WIDE}
    (line,) = logged(caplog)
    assert str(path) in line
    assert list(path.parent.glob("*")) in ([], [path]), "nothing half-written stays"


def test_a_remembered_kernel_that_fails_is_tried_anew_where_that_is_asked_for(
    gpu: Gpu, chosen: Choose, caplog: pytest.LogCaptureFixture
) -> None:
    """Its other variant takes its place at this start and the next; the other operation is not tried again."""
    failing, other = gpu.operation(), gpu.operation("other", (ODD,))
    assert dict(chosen(failing, other)) == {"doubled": WIDE, "other": ODD}
    gpu.fails[WIDE] = compile_error
    assert chosen(failing, other)["doubled"] == WIDE
    assert dict(chosen(failing, other, rechecks=True)) == {"doubled": NARROW, "other": ODD}
    assert gpu.calls.count(ODD) == 1
    (line,) = logged(caplog)
    assert line.startswith("doubled: RuntimeError: [metal::Device] Unable to build")
    gpu.fails.clear()
    assert chosen(failing, other)["doubled"] == NARROW and not gpu.calls
