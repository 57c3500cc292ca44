"""The file of `gptoss-chat bench --report`: what is in it, that nothing of it is private, when it is written."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from app.cli import bench, speed
from app.cli import main as cli
from app.cli.measurements import Bandwidth, KernelSpeed, Measurements, NextTurn, Speed
from app.cli.report import TEMPLATE, Evidence, _public_name
from app.cli.report_text import render
from app.store.exchange.export import ExportError
from metal.trust.select import KernelChoice
from mlx_model.model import load
from mlx_model.transformer.kernels import KernelFindings
from tests.fixtures import ROOT
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.metal.trust.conftest import chosen, gpu, path
from tests.metal.trust.gpu import MACHINE, NARROW, ODD, WIDE, Gpu

__all__ = ["chosen", "gpu", "path"]

SECRETS = ("zaphod", "beeble", "heart-of-gold", "trillian", "towel")
"""The person, the computer, the folder of a model, and a conversation."""


@pytest.fixture(autouse=True)
def zaphods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a conversation in it, and the computer's name; returns the home."""
    home = tmp_path / "Users" / "zaphod beeble"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "zaphod")
    monkeypatch.setenv("LOGNAME", "zaphod")
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(home / "chats"))
    monkeypatch.setenv("MLX_MAX_OPS_PER_BUFFER", "200")
    monkeypatch.setenv("MLX_SECRET", "trillian")
    monkeypatch.setattr("socket.gethostname", lambda: "heart-of-gold.local")
    (home / "chats").mkdir(parents=True)
    (home / "chats" / "conversations.db").write_text("where is my towel")
    monkeypatch.setattr(bench, "_LONGEST_S", 0.0)
    monkeypatch.setattr(speed, "_BANDWIDTH_BYTES", 1 << 16)
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "reports"
    made.mkdir()
    return made


def refused(gpu: Gpu, chosen: Callable[..., KernelChoice], home: Path) -> KernelFindings:
    """A default that doesn't compile, with other variants that are wrong; a kernel that is right; one never tried."""

    def complain(result: mx.array) -> mx.array:
        raise RuntimeError(
            f"[metal::Device] Unable to build\nprogram_source:7:3: error: expected ';'\n{home}/a.metal: x"
        )

    def broken(seed: int) -> Sequence[mx.array]:
        raise RuntimeError(f"no arguments in {home}")

    gpu.fails = {WIDE: complain, NARROW: lambda y: y.at[7].add(0.25), ODD: lambda y: y * mx.nan}
    bad = gpu.operation("gate_up", (WIDE, NARROW, ODD))
    verdicts = chosen(bad).verdicts
    gpu.fails = {}
    good, beside = gpu.operation("down"), gpu.operation("qkv")
    object.__setattr__(beside, "arguments", broken)
    return KernelFindings((*verdicts, *chosen(good, beside).verdicts), "a step failed", "FP4 is wrong")


def parts(file: Path) -> tuple[str, dict[str, Any]]:
    """The summary, and the object after it."""
    summary, _, after = file.read_text("utf-8").partition("```json\n")
    found = json.loads(after.removesuffix("\n```\n"))
    assert isinstance(found, dict)
    return summary, found


@pytest.mark.usefixtures("by_mlx")
def test_a_report_with_refused_kernels_and_a_failure_has_nothing_private(
    zaphods: Path,
    folder: Path,
    gpu: Gpu,
    chosen: Callable[..., KernelChoice],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def bandwidth() -> Bandwidth:
        raise RuntimeError(f"zaphod on heart-of-gold ran out of memory in {zaphods}/x y")

    def attach(transformer: object, preparing: Callable[[int, int], None]) -> KernelFindings:
        preparing(3, 8)
        return refused(gpu, chosen, zaphods)

    monkeypatch.setattr("mlx_model.model.attach_kernels", attach)
    monkeypatch.setattr(speed, "bandwidth", bandwidth)
    model = write_checkpoint(zaphods / "trillian", tiny_config())
    assert cli.main(["bench", "--model", str(model), "--report", str(folder)]) == 1, "a step failed"
    (file,) = folder.iterdir()
    said = capsys.readouterr().err
    assert "gptoss-chat: preparing the kernels: 4 of 8\n" in said
    assert f"the report is in {file}; " in said
    text = file.read_text("utf-8")
    assert not [secret for secret in SECRETS if secret in text.lower()]
    summary, found = parts(file)

    assert found["model"]["name"] == "a folder"
    assert found["settings"] == {"GPTOSS_KERNELS": "auto", "MLX_MAX_OPS_PER_BUFFER": "200"}
    (failure,) = found["failures"]
    assert failure["step"] == "the bandwidth of memory"
    assert failure["message"] == "[name] on [name] ran out of memory in [path]"
    assert failure["where"][-1].startswith("app/cli/bench.py:")
    assert "the bandwidth of memory: it failed" in found["missing"]
    assert "Metal kernels and launches: there is no Metal GPU here" in found["missing"]

    gate_up, down, qkv = found["kernels"]["operations"]
    compiler, wrong, nan = gate_up["trials"]
    message = "[metal::Device] Unable to build\nprogram_source:7:3: error: expected ';'\n[path]: x"
    assert (compiler["variant"], compiler["message"]) == ("kernel rows=4", message)
    assert (wrong["wrong"]["index"], wrong["wrong"]["wrong"], wrong["wrong"]["elements"]) == ([7], 1, 32)
    assert nan["wrong"]["found"] == "nan"
    assert (down["runs"], down["tolerance"]) == ("kernel rows=4", 1e-6)
    assert qkv["message"] == "no arguments in [path]"
    for said in (
        "1 of 3 were right and faster.",
        "| gate_up | MLX | 0 of 3 | - | - | - | - | - |",
        "| down, kernel rows=4 | yes | 0.0e+00 | 1.0e-06 | 100 |",
        f"```\n{message}\n```",
        "kernel rows=2: 1 of 32 elements of result 0 are wrong, first [7]: expected "
        f"{wrong['wrong']['expected']}, got {wrong['wrong']['found']} (",
        "None is used:\n\n```\na step failed\n```\n",
        "FP4 is decoded by a table:\n\n```\nFP4 is wrong\n```",
        "## Failed: the bandwidth of memory",
        "RuntimeError: [name] on [name] ran out of memory in [path]\n",
    ):
        assert said in summary, said


def test_the_demo_is_named_and_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turn = NextTurn(200.0, 60, 900.0, 600, 540)

    def speeds(model: object, warm: object, tokens: int, longest_s: float, **_: object) -> list[Speed | str]:
        assert longest_s == bench._LONGEST_S, "as long as on a Mac"
        return [Speed(64, 100.0, 50.0, 40.0, 9 << 20), "a prompt: too long"]

    monkeypatch.setattr(speed, "speeds", speeds)
    monkeypatch.setattr(speed, "next_turn", lambda *_: turn)
    monkeypatch.chdir(folder)
    assert cli.main(["bench", "--model", "demo", "--report"]) == 0
    said = capsys.readouterr()
    assert "demo is measured for a few minutes; Ctrl-C ends it, and nothing is written then" in said.err
    assert "gptoss-chat: 6 of 6: Metal kernels" in said.err
    (file,) = folder.iterdir()
    summary, found = parts(file)
    assert found["model"]["name"] == "demo"
    assert found["failures"] == []
    assert found["kernels"]["refusal"] == "there is no Metal GPU here"
    assert found["measured"]["next_turn"] == asdict(turn)
    planned, measured = found["memory"]["planned"], found["memory"]["measured"]
    assert planned["weights"] == measured["weights"] > 0
    assert measured["peak"] == 9 << 20
    assert found["missing"] == ["a prompt: too long", "Metal kernels and launches: there is no Metal GPU here"]
    assert "- There is no Metal GPU: " in summary
    assert "| 64 | 100.0 | 50.0 | 40.0 |" in summary
    assert "first token after 200 ms, 540 tokens reused and 60 computed; with an empty KV cache 900 ms, 600" in summary


def test_a_macs_report(gpu: Gpu, chosen: Callable[..., KernelChoice], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of figures made up: GB/s beside the bandwidth, launches, the GPU."""
    model = load("demo")
    model.kernels = KernelFindings(chosen(gpu.operation("down")).verdicts)
    report = Measurements("gptoss-chat 1", "Apple M1 Max", None, "demo", 16, 1.0, 5)
    report.bandwidth_gigabytes_s, report.launches = Bandwidth(300.0, 352.0), {"CustomKernel": 170, "SliceUpdate": 48}
    report.kernels, report.weights_gigabytes_s = [KernelSpeed("down", 100.0, 264.0, 150.0)], 200.4
    monkeypatch.setattr("metal.trust.machine.this_gpu", lambda: MACHINE)
    text = render(Evidence("").contents(model, report))
    assert "- GPU: Apple M1 Max, 32 cores, may hold " in text
    assert "1 of 1 were right and faster.\nMemory: copying 300 GB/s, reading 352 GB/s." in text
    assert "| down | kernel rows=4 | 2 of 2 | 100 | 264 | 75% | 150 | 1.50 |" in text
    assert "A decoded token launches 218: CustomKernel 170, SliceUpdate 48." in text
    assert "reads 200 GB/s of weights" in text
    assert "### down" not in text, "it has nothing wrong"


def test_a_model_that_does_not_load_for_no_fault_of_the_person_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("[metal] no buffer")

    monkeypatch.setattr("mlx_model.model.load", fail)
    assert cli.main(["bench", "--model", "demo", "--report", str(folder)]) == 1
    assert cli.main(["bench", "--model", "demo", "--report", str(folder)]) == 1
    first, second = sorted(folder.iterdir())
    assert first.name != second.name, "no file is overwritten"
    summary, found = parts(first)
    assert "## Failed: loading the model\n\n```\nRuntimeError: [metal] no buffer\napp/cli/bench.py:" in summary
    assert "model" not in found


def test_an_interruption_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(speed, "warm_up", interrupted)
    assert cli.main(["bench", "--model", "demo", "--report", str(folder)]) == 130
    assert not list(folder.iterdir())


def test_a_place_that_takes_no_file_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "nowhere"):
        assert cli.main(["bench", "--model", "no/model", "--report", str(tmp_path / place)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(f"{place} is no folder; the report needs one that is there")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert cli.main(["bench", "--model", "no/model", "--report", str(tmp_path)]) == 1
    assert "can't be written into" in capsys.readouterr().err


def test_what_can_not_be_written_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evidence = Evidence.for_folder(str(folder))
    folder.rmdir()
    with pytest.raises(ExportError):
        evidence.write(None, None)
    assert capsys.readouterr().out.startswith("# gptoss-chat ")


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("demo", "demo"),
        ("gpt-oss-20b", "gpt-oss-20b"),
        ("openai/gpt-oss-120b@main", "gpt-oss-120b"),
        ("mlx-community/gpt-oss-20b-MXFP4-Q8@zaphods-branch", "mlx-community/gpt-oss-20b-MXFP4-Q8"),
        ("zaphod/secret", "another model"),
        ("/Users/zaphod/secret", "another model"),
    ],
)
def test_only_published_models_are_named(name: str, public: str) -> None:
    assert _public_name(name) == public


def test_the_form_for_an_issue_has_the_name_that_is_said() -> None:
    (form,) = (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")
    assert form.read_text().startswith(f"name: {TEMPLATE}\n")
