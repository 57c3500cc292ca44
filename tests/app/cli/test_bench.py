"""`gptoss-chat bench`: what it measures, what it leaves out and says so, and the text it prints."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import cast

import mlx.core as mx
import pytest

from app.cli import bench, speed
from app.cli import main as cli
from app.cli.bench import summary
from app.cli.measurements import Bandwidth, ExpertReads, KernelSpeed, Measurements, NextTurn, Speed
from app.cli.speed import (
    bandwidth,
    expected_s,
    kernel_speeds,
    launches,
    next_turn,
    speeds,
    warm_up,
)
from metal.operation import Operation, Variant
from metal.trust.select import KernelChoice
from mlx_model.events import Stats
from mlx_model.model import Model, load
from mlx_model.transformer.decode import Decoder
from mlx_model.transformer.several_rows import SeveralRows
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.gpu_way import load_as_on_a_gpu
from tests.mlx_model.lora.test_toy_language import ADAPTER

SPEED = Speed(512, 1000.4, 60.04, 40.0)
KERNEL = KernelSpeed("gate_up", 100.0, 352.0, 150.0)
WARM = Stats(prefill_tokens=64, prefill_s=0.064, decode_tokens=4, decode_s=0.03)
"""1,000 tokens of a prompt a second, 100 of an answer."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """One without a tokenizer, whose context is 2,048 tokens."""
    return load(write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config()), context=2048, differentiable=True)


@dataclass
class Idle:
    """A decoder that leaves every step to the blocks, and notes that it was asked."""

    choice: Mapping[str, Variant | None]
    asked: int = 0
    several: object = None

    def takes(self, batch: int, tokens: int, sequences: int) -> bool:
        self.asked += 1
        return False


def decoder_of(model: Model) -> object:
    """Its decoder, or what a test has put in its place."""
    return model.transformer.decoder


def report(power: str | None = None) -> Measurements:
    return Measurements("gptoss-chat 1.0", "Apple M1 Max", power, "gpt-oss-20b", 8, 2.0, 12_000_000_000)


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bandwidth is measured on little of it."""
    monkeypatch.setattr(speed, "_BANDWIDTH_BYTES", 1 << 16)


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "speeds", lambda *_, **__: [SPEED, "a prompt of 8,192 tokens: it would take about 9 s"])
    assert cli.main(["bench", "--model", "demo"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("demo, attention and output matrix at 16 bits, loaded in ")
    assert "\n| 512 | 1000.4 | 60.0 | 40.0 | 1.50 |\n" in printed
    assert "Not measured: a prompt of 8,192 tokens: it would take about 9 s.\n" in printed
    assert "Not measured: Metal kernels and launches: there is no Metal GPU here." in printed
    assert "\nMemory: copying " in printed
    assert "\nThis takes about " in printed
    assert re.search(r"Next turn of a chat: first token after .* tokens computed and [1-9]\d* reused", printed)
    assert printed.splitlines()[-1].startswith("For an issue: gptoss-chat ")


def test_an_adapter_is_measured_and_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_STEPS", {})
    assert cli.main(["bench", "--model", "demo", "--adapter", str(ADAPTER)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("demo + toy, attention") and "; demo + toy at 16 bits" in lines[-1]


def test_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    monkeypatch.setattr(bench, "_CPU_LONGEST_S", 0.0)
    assert cli.main(["bench", "--model", str(model.folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == model.folder.name, "no path: the report is to be shown to others"
    (first,) = found["speeds"]
    assert first["tokens"] == 64
    assert min(first["prefill_tok_s"], first["decode_tok_s"], found["load_s"], found["resident_bytes"]) > 0
    assert first["portable_decode_tok_s"] is None
    assert found["next_turn"] is None
    assert "the next turn of a chat: the model has no tokenizer" in found["missing"]


def test_a_model_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--model", "nobody/nothing"]) == 1
    error = capsys.readouterr().err
    assert "nobody/nothing" in error
    assert len(error.splitlines()) == 1


def test_prompts_that_do_not_fit_are_left_out(model: Model) -> None:
    first, *left_out = speeds(model, WARM, 4, inf, prompts=(8, 2045, 4096))
    assert isinstance(first, Speed)
    assert first.peak_memory_bytes > 0
    assert left_out == [
        "a prompt of 2,045 tokens: the context holds 2,048",
        "a prompt of 4,096 tokens: the context holds 2,048",
    ]


def test_what_takes_too_long_is_left_out_but_for_the_first(model: Model) -> None:
    started: list[tuple[int, float]] = []
    first, left_out = speeds(
        model, WARM, 4, 0.0, prompts=(8, 16), starting=lambda prompt, seconds: started.append((prompt, seconds))
    )
    assert started == [(8, 0.008)]
    assert isinstance(first, Speed)
    assert isinstance(left_out, str)
    assert left_out.startswith("a prompt of 16 tokens: it would take about ")
    assert next_turn(load("demo"), 1.0, 60.0) == "the next turn of a chat: it would take about 1200 s"


def test_stop_tokens_stop_nothing(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many tokens as were asked for are decoded, whatever they are."""
    decoded = []
    run = speed._run

    def noted(model: Model, prompt: int, tokens: int) -> Stats:
        stats = run(model, prompt, tokens)
        decoded.append(stats.decode_tokens)
        return stats

    monkeypatch.setattr(speed, "_run", noted)
    monkeypatch.setattr(Model, "stop_ids", frozenset(range(512)))
    assert len(list(speeds(model, warm_up(model), 7, inf, prompts=(8,)))) == 1
    assert decoded == [4, 7, 7, 7]


def test_kernels_and_their_absence_take_turns(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = Idle({})
    monkeypatch.setattr(model.transformer, "decoder", idle)
    (found,) = speeds(model, WARM, 4, inf, prompts=(8,))
    assert isinstance(found, Speed)
    assert found.portable_decode_tok_s is not None
    assert idle.asked
    assert decoder_of(model) is idle


def test_a_failure_brings_the_kernels_back(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = Idle({})
    monkeypatch.setattr(model.transformer, "decoder", idle)

    def run(*_: object) -> None:
        if model.transformer.decoder is None:
            raise MemoryError

    monkeypatch.setattr(speed, "_run", run)
    with pytest.raises(MemoryError):
        speed._speed(model, 8, 4, 1)
    assert decoder_of(model) is idle


def test_kernels_are_timed_as_they_run(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[Variant | None] = []

    def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        ways.append(variant)
        return (x * 2,)

    wide, narrow = (("ROWS", 4),), (("ROWS", 2),)
    kernels = [
        Operation(name, run, lambda seed: [mx.ones((4,))], (wide, narrow), 0, 1 << 30) for name in ("down", "route")
    ]
    monkeypatch.setattr(speed, "decode_operations", lambda decoder, transformer: kernels)
    monkeypatch.setattr(model.transformer, "decoder", Idle({"down": narrow, "route": None}))
    (found,) = kernel_speeds(model)
    assert found.operation == "down"
    assert found.gigabytes_s == pytest.approx((1 << 30) / found.microseconds / 1e3)
    assert set(ways) == {narrow, None}
    several = SeveralRows(cast(Decoder, None), (), mx.float32, lambda *_, **__: KernelChoice([]))
    monkeypatch.setattr(SeveralRows, "__call__", lambda self, rows: {"route": wide} if rows > 2 else {})
    monkeypatch.setattr(SeveralRows, "operations", lambda self, rows: {each.name: each for each in kernels})
    monkeypatch.setattr(model.transformer, "decoder", Idle({"down": narrow, "route": None}, several=several))
    assert [(each.operation, each.rows) for each in kernel_speeds(model)] == [("down", 1), ("route", 4), ("route", 8)]
    monkeypatch.setattr(model.transformer, "decoder", None)
    assert not list(kernel_speeds(model))


def test_bandwidth() -> None:
    found = bandwidth()
    assert min(found.copy, found.read) > 0
    assert Bandwidth(3.0, 5.0).best == Bandwidth(5.0, 3.0).best == 5.0


def test_how_long_it_will_take() -> None:
    """Prompts of 64 to 8,192 tokens three times where that takes less than a minute, each with an answer of 64, and
    the next turn."""
    prompts, answers, turn = 3 * (64 + 512 + 2048 + 8192) / 1000, 4 * 3 * 0.64, 2.4
    assert expected_s(WARM, 64, 60.0, 131_072, twice=False) == pytest.approx(prompts + answers + turn)
    assert expected_s(WARM, 64, 60.0, 131_072, twice=True) == pytest.approx(2 * (prompts + answers) + turn)
    short = (3 * 64 + 3 * 512 + 2048) / 1000 + 7 * 0.64
    assert expected_s(WARM, 64, 3.0, 4096, twice=False) == pytest.approx(short + turn), "2,048 once, 8,192 not at all"


def test_launches_are_counted_in_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_as_on_a_gpu(monkeypatch)
    loaded = load(write_checkpoint(tmp_path, tiny_config(num_hidden_layers=2)), context=2048)
    counted = launches(loaded)
    assert counted["GatherQMM"] == 4
    assert counted["ArgReduce"] == 1
    assert not {"Transpose", "Broadcast", "Reshape"} & set(counted), "views launch nothing"


@pytest.fixture
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Measurements]:
    """A report as a Mac fills it, from figures made up."""
    monkeypatch.setattr("mlx_model.memory.device.on_gpu", lambda: True)
    monkeypatch.setattr(speed, "speeds", lambda *_, **__: [SPEED, "a prompt of 2,048 tokens: too long"])
    monkeypatch.setattr(speed, "next_turn", lambda *_: NextTurn(200.0, 60, 900.0, 600, 540))
    monkeypatch.setattr(speed, "bandwidth", lambda: Bandwidth(300.0, 352.0))
    monkeypatch.setattr(speed, "launches", lambda _: {"CustomKernel": 218, "SliceUpdate": 48})
    return lambda: report(power="it runs on battery")


def test_the_text_of_a_mac(on_a_mac: Callable[[], Measurements], monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    monkeypatch.setattr(speed, "kernel_speeds", lambda _: iter([KERNEL]))
    filled = on_a_mac()
    text = "\n".join(bench._measure(model, filled))
    assert "Note: it runs on battery." in text
    assert "| 512 | 1000.4 | 60.0 | 40.0 | 1.50 |" in text
    assert "Memory: copying 300 GB/s, reading 352 GB/s" in text
    assert "A decoded token launches 266 operations" in text
    assert "| gate_up | 100 | 352 | 100% | 150 | 1.50 |" in text
    assert "Not measured: a prompt of 2,048 tokens: too long." in text
    assert filled.weights_gigabytes_s is not None
    assert filled.weights_gigabytes_s > 0


def test_a_mac_that_uses_no_kernel_says_so(
    on_a_mac: Callable[[], Measurements], monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    monkeypatch.setattr(speed, "kernel_speeds", lambda _: iter([]))
    assert "`gptoss-chat doctor` says why" in "\n".join(bench._measure(model, on_a_mac()))


def test_the_line_for_an_issue() -> None:
    filled = report("low power mode is on")
    filled.speeds, filled.next_turn, filled.kernels = [SPEED], NextTurn(200.0, 60, 900.0, 600, 540), [KERNEL]
    filled.weights_gigabytes_s, filled.bandwidth_gigabytes_s = 153.7, Bandwidth(300.0, 352.0)
    assert summary(filled) == (
        "gptoss-chat 1.0; Apple M1 Max; gpt-oss-20b at 8 bits; 512: prefill 1000.4, decode 60.0 (without kernels 40.0) "
        "tok/s; next turn 200 of 900 ms; weights 154 GB/s; copy 300, read 352 GB/s; "
        "gate_up 352 GB/s; low power mode is on"
    )


def test_what_decoding_reads_from_the_disk() -> None:
    found = speed.expert_reads(load("demo", experts=3))
    assert found is not None and (found.slots, found.experts, found.layers) == (3, 8, 6)
    assert 0 < found.in_memory < 1 and found.bytes_a_token > 0 and found.wait_s_a_token > 0
    assert speed.expert_reads(load("demo")) is None
    assert bench._experts_line(ExpertReads(13, 32, 24, 0.79, 266.3e6, 0.2049)) == (
        "Experts: 13 of 32 of 24 layers in memory, 79% of those asked for; a decoded token reads 266 MB and waits 205 "
        "ms for them"
    )
