"""How `make metal-check` puts a GPU in the bench's place."""

from typing import Any

import mlx.core as mx
import pytest

from metal import launch
from metal.launch import Call, Kernel, executed_by
from tests import msl as bench
from tests.fixtures.recorder import recorded
from tests.metal import on_gpu
from tests.msl import run

CALL = Call(
    Kernel("toy", ("x",), ("y",), "y[0] = x[0];", ""),
    (mx.ones((8,)),),
    (),
    (32, 1, 1),
    (32, 1, 1),
    ((8,),),
    (mx.float32,),
)


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[mx.Device]:
    """MLX runs calls wherever it is told; returns where that was. The bench is there again after the test."""
    streams: list[mx.Device] = []

    def run_with_mlx(call: Call, *, stream: Any) -> list[mx.array]:
        streams.append(stream)
        return [call.inputs[0] + 1]

    monkeypatch.setattr(launch, "run_with_mlx", run_with_mlx)
    for module in (bench, run):
        monkeypatch.setattr(module, "run_kernel", module.run_kernel)
    on_gpu.pytest_configure()
    return streams


def test_every_way_to_the_bench_leads_to_the_gpu(gpu: list[mx.Device]) -> None:
    assert mx.array_equal(bench.run_kernel(CALL, "trace", lanes="reversed").outputs[0], mx.full((8,), 2.0))
    with executed_by(bench.executor("nofma")):
        assert mx.array_equal(launch.launch(CALL)[0], mx.full((8,), 2.0))
    with recorded() as recorder:
        launch.launch(CALL)
    assert recorder.reports[0].findings == []
    assert gpu == [mx.gpu] * 3


@pytest.mark.parametrize("option", [{"flush_denormals": True}, {"misalign": {"x": 8}}, {"text": "kernel"}])
def test_what_only_the_bench_can_do_is_skipped(gpu: list[mx.Device], option: dict[str, Any]) -> None:
    with pytest.raises(pytest.skip.Exception):
        bench.run_kernel(CALL, **option)
    assert not gpu


def test_what_only_the_bench_counts_is_skipped() -> None:
    report = bench.run_kernel(CALL)
    with pytest.raises(pytest.skip.Exception, match="traffic is counted by the bench alone"):
        report.traffic["x"]


@pytest.mark.skipif(mx.metal.is_available(), reason="there is a Metal GPU here")
def test_without_a_gpu_it_says_so_and_fails_in_continuous_integration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert on_gpu.main([]) == 0
    assert "no Metal GPU here" in capsys.readouterr().out
    monkeypatch.setenv("CI", "true")
    assert on_gpu.main([]) == 1
