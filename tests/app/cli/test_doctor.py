"""`gptoss-chat doctor`: what it says on Macs that are made up here, and on the machine that it runs on."""

import asyncio
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app import paths
from app.cli import doctor
from app.cli import main as cli
from app.cli.doctor import describe, raised_limit
from app.cli.doctor_report import render
from app.cli.measurements import Bandwidth
from app.cli.this_computer import Computer, capacity, missing_for_metal
from mlx_model.errors import RequestError
from mlx_model.hub.inventory import LocalModel
from mlx_model.hub.names import resolve
from mlx_model.memory import device
from mlx_model.memory.wishes import Budget, Wishes
from mlx_model.tools.python import Confinement, Python, selftest
from mlx_model.tools.python.sandbox import candidates
from mlx_model.transformer.config import PUBLISHED
from mlx_model.weights import reader
from mlx_model.weights.disk_speed import disk_speed
from tests.fixtures.metal_stand_in import StandIn

GIB = 2**30
MAC = Computer("macOS 15.6", "Apple M4", "arm64", 16 * GIB, 9 * GIB, 11_453_246_122, 0)
LINUX = Computer("Linux 6.8", "Some CPU", "x86_64", 32 * GIB, 20 * GIB, None, None)


@pytest.fixture
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mac mini with 16 GB, without weights."""
    monkeypatch.setattr(doctor, "this_computer", lambda: MAC)
    monkeypatch.setattr(device, "memory", lambda: (MAC.memory, MAC.available))
    monkeypatch.setattr(device, "working_set", lambda: MAC.working_set)
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    monkeypatch.setattr("mlx_model.hub.inventory.local_models", list)
    monkeypatch.setattr("mlx_model.hub.names.default_model", lambda: "demo")
    monkeypatch.setattr("metal.trust.select.report", lambda: "Apple M4, 10 GPU cores\nqkv runs by kernel: faster")


def test_a_mac_with_16_gb(on_a_mac: None) -> None:
    report = doctor.examine()
    text = render(report)
    assert "Apple M4, macOS 15.6 (arm64)" in text
    assert "may hold 10.7 GB (Metal's working set)" in text
    assert "gpt-oss-20b: fits, 4-bit, up to 12k context\n  Now 10.1 GB of weights (all but the" in text
    assert "none; to download 13.8 GB: gptoss-chat download gpt-oss-20b" in text
    assert "demo (loaded by default): " in text
    assert "sudo sysctl iogpu.wired_limit_mb=13312" in text
    assert "Then gpt-oss-20b: 11.7 GB of weights, a context of 25,344 tokens" in text
    assert text.endswith("Kernels\n  Apple M4, 10 GPU cores\n  qkv runs by kernel: faster")
    assert report["plans"]["gpt-oss-20b"]["dense_bits"] == 4


def test_a_budget_of_ones_own(on_a_mac: None) -> None:
    plan = doctor.examine(11_400_000_000)["plans"]["gpt-oss-20b"]
    assert plan["reasons"][0] == "Budget: 10.6 GB, as asked for."
    assert plan["context"] > 8192
    tight = doctor.examine(2 * GIB)["plans"]["gpt-oss-20b"]
    assert tight["fits"] is False
    assert "this model needs 2.4 GB for a context of 1,024 tokens" in tight["problem"]
    assert "gpt-oss-20b: fits, 4-bit, up to 12k context, but not now\n  Budget: 2 GB, as asked for. It does" in render(
        doctor.examine(2 * GIB)
    )


def test_experts_on_the_disk(on_a_mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What memory is too small for, and how fast that would be; a disk with none of its files can't be measured."""
    monkeypatch.setattr("app.cli.speed.bandwidth", lambda: Bandwidth(100, 90))
    text = render(doctor.examine(5 * GIB, "gpt-oss-20b"))
    assert "\n  Experts: 12 of 32 of each layer in memory, " in text
    assert "\n  Estimated speed: 5 to 8 tokens a second, from a disk of 2.5 GB/s, assumed; `gptoss-chat bench`" in text
    # What is now never is more than what could be.
    head = "gpt-oss-120b: fits with experts on the disk, 4-bit, 8k context or more\n  Now "
    assert head in render(doctor.examine(None, "gpt-oss-120b"))
    assert "Estimated speed" not in render(doctor.examine())


def test_what_is_asked_of_a_model(on_a_mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Experts make room for a better dense part, or as many are held as is said: what that costs is told before."""
    monkeypatch.setattr("app.cli.speed.bandwidth", lambda: Bandwidth(100, 90))
    report = doctor.examine(MAC.working_set, asked=Wishes(dense_bits=16))
    assert report["shown"] == ["gpt-oss-20b"]
    text = render(report)
    assert "gpt-oss-20b: fits with experts on the disk, 8k context or more\n" in text
    assert "Experts: 26 of 32 of each layer in memory, " in text and "Estimated speed: " in text
    text = render(doctor.examine(None, "demo", Wishes(slots=4)))
    assert "Experts: 4 of 8 of each layer in memory, " in text
    with pytest.raises(RequestError, match="experts is 9; for this model it must be from 2 to 8"):
        doctor.examine(None, "demo", Wishes(slots=9))
    assert cli.main(["doctor", "demo", "--experts", "9"]) == 1


def test_what_an_adapter_costs_on_a_mac(on_a_mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"name": "mine", "base": "gpt-oss-20b", "bytes": 16_000_000, "operations": ("qkv", "o_proj")}
    monkeypatch.setattr(doctor, "_adapters", lambda: [found])
    line = "  mine  for gpt-oss-20b, 16 MB; with it MLX's operations compute qkv, o_proj, in place of kernels"
    assert line in render(doctor.examine()).splitlines()


def test_the_disk_is_measured_on_the_models_own_files(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"x" * (9 << 20))
    found = disk_speed([file, tmp_path / "missing"])
    assert found is not None and found > 1e6
    file.write_bytes(b"x" * (7 << 20))
    assert disk_speed([file]) is None  # too little to tell


@pytest.mark.parametrize(("gib", "megabytes"), [(16, 13_312), (24, 21_504), (32, 28_672), (64, 57_344), (128, 114_688)])
def test_the_line_that_raises_the_limit(gib: int, megabytes: int) -> None:
    """3 GiB are left to the system, or an eighth."""
    found = raised_limit(replace(MAC, memory=gib * GIB, working_set=gib * GIB * 2 // 3))
    assert found is not None
    assert found["command"] == f"sudo sysctl iogpu.wired_limit_mb={megabytes}"
    assert "can't be swapped" in found["risks"] and "lasts until the Mac restarts" in found["risks"]


def test_a_limit_that_is_high_already_is_left_alone() -> None:
    assert raised_limit(replace(MAC, memory=8 * GIB, working_set=8 * GIB * 2 // 3)) is None
    assert raised_limit(replace(MAC, working_set=14 * GIB)) is None


def test_what_is_missing_for_metal() -> None:
    assert missing_for_metal(MAC) is None
    assert "needs a Mac with Apple Silicon" in str(missing_for_metal(LINUX))
    rosetta = Computer("macOS 15.6", "Apple M4", "x86_64", 16 * GIB, 9 * GIB, None, 0)
    assert "This Python is built for x86_64" in str(missing_for_metal(rosetta))
    virtual = Computer("macOS 15.6", "Apple M4", "arm64", 16 * GIB, 9 * GIB, None, None)
    assert "MLX finds no Metal GPU" in str(missing_for_metal(virtual))
    assert raised_limit(LINUX) is None


def test_names_from_outside_are_cleaned(
    on_a_mac: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = LocalModel("org/\x1b]52;c;evil\x07", "Hub cache", Path("/x"), 5, None, complete=True, verified=False)
    monkeypatch.setattr("mlx_model.hub.inventory.local_models", lambda: [evil])
    monkeypatch.setenv("TERM_PROGRAM", "\x1b[2Jterm")
    assert doctor.show(None, as_json=False) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text and "\x07" not in text
    assert "5" in text and "(not verified)" in text
    assert doctor.show(None, as_json=True) == 0
    raw = capsys.readouterr().out
    assert "\x1b" not in raw
    assert json.loads(raw)["models"][0]["name"] == evil.name


def test_here(capsys: pytest.CaptureFixture[str]) -> None:
    """The real thing, through the command line, options before and after the word."""
    assert cli.main(["--memory", "12GB", "doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    plan = report["plans"]["gpt-oss-20b"]
    assert plan["budget"] == 12 * GIB or plan["fits"] is False
    assert report["versions"]["mlx"] != "missing"
    assert report["disk"]["free"] > 0
    assert cli.main(["doctor", "--memory", "12GB"]) == 0
    text = capsys.readouterr().out
    assert "Budget: 12 GB, as asked for." in text
    if report["machine"]["working_set"] is None:
        assert report["kernels"] == [] and "Kernels" not in text


def test_a_size_that_makes_no_sense_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["doctor", "--memory", "lots"])
    assert stopped.value.code == cli.USAGE
    assert "write it like" in capsys.readouterr().err


def test_a_plan_in_one_line() -> None:
    found = describe(PUBLISHED["gpt-oss-20b"], Budget(10**12, 10**12, "Budget: much."), on_gpu=True)
    assert found["summary"].startswith("12.8 GB of weights, a context of 131,072 tokens, at most ")


def test_whether_weights_are_mapped(on_a_mac: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = StandIn()
    monkeypatch.setattr(reader, "adopt", stand_in)
    assert "\nWeights    used where they lie in their files (mapped)\n" in render(doctor.examine())
    stand_in.refuses = lambda pages: True
    refusal = "MLX adopts no memory here (pages of model.safetensors)"
    assert f"\nWeights    copied into memory: {refusal}\n" in render(doctor.examine())
    shutil.copytree(resolve("demo"), tmp_path / "demo")
    (tmp_path / "demo" / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr("mlx_model.hub.names.resolve", lambda name: tmp_path / "demo")
    assert f"\nWeights    {tmp_path / 'demo' / 'model.safetensors'} is damaged: " in render(doctor.examine())


# One model


def test_a_model_of_ones_own_choice(on_a_mac: None, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("gpt-oss-120b", "openai/gpt-oss-120b"):
        assert cli.main(["doctor", name]) == 0
        text = capsys.readouterr().out
        assert "on the disk, 4-bit, 8k context or more" in text and "of 128 of each layer" in text
        assert "\ngpt-oss-20b: " not in text
    assert cli.main(["doctor", str(resolve("demo")), "--memory", "2GB"]) == 0
    text = capsys.readouterr().out
    assert re.search(rf"\n{re.escape(str(resolve('demo')))}: fits, .*\n  Now \d\.\d MB of weights", text)


def test_a_model_that_fits_and_is_not_here_can_be_downloaded(on_a_mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "memory", lambda: (128 * GIB, 120 * GIB))
    monkeypatch.setattr(device, "working_set", lambda: 96 * GIB)
    assert "\n  To download 65.2 GB: gptoss-chat download gpt-oss-120b" in render(doctor.examine(None, "gpt-oss-120b"))
    assert "To download" not in render(doctor.examine(None, "demo"))


@pytest.mark.parametrize("name", ["nonsense", "org/none", "/nowhere/at/all"])
def test_no_model_is_one_line(on_a_mac: None, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert cli.main(["doctor", name]) == 1
    printed = capsys.readouterr()
    assert name in printed.err and printed.err.count("\n") == 1 and printed.out == ""


def test_what_the_chat_reads_is_the_same_at_every_start(on_a_mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much memory happens to be free."""
    found = [doctor.examine()["plans"]]
    monkeypatch.setattr(device, "memory", lambda: (MAC.memory, 2 * GIB))
    found.append(doctor.examine()["plans"])
    assert found[0].keys() == {"gpt-oss-20b", "gpt-oss-120b", "demo"}
    whole = {"dense_bits": 4, "context": 12_800, "streamed_layers": 0, "slots": 0}
    assert found[0]["gpt-oss-20b"]["at_best"] == whole
    assert found[0]["gpt-oss-120b"]["at_best"]["streamed_layers"] == 36
    assert found[0]["gpt-oss-120b"]["needs"] == pytest.approx(9.178e9, rel=0.001)
    for key in ("at_best", "needs"):
        assert [plan[key] for plan in found[0].values()] == [plan[key] for plan in found[1].values()]
    without_gpu = replace(MAC, working_set=None)
    # At its best it never is less than it is now.
    report = doctor.examine(16 * GIB)["plans"]["gpt-oss-20b"]
    assert report["at_best"]["context"] >= report["context"]
    assert capacity(MAC) == MAC.working_set and capacity(without_gpu) == 13 * GIB


def test_a_model_that_can_not_be_read_takes_no_plan_away(on_a_mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = LocalModel("org/damaged", "Hub cache", Path("/x"), 5, None, False, False, "config.json is damaged")
    monkeypatch.setattr("mlx_model.hub.inventory.local_models", lambda: [damaged])
    report = doctor.examine()
    assert "org/damaged" not in report["plans"] and "gpt-oss-20b" in report["plans"]
    assert "(damaged: config.json is damaged)" in render(report)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (None, "Python     the tool's sandbox was not tried yet: that happens when the model first gets python"),
        ((Confinement.LANDLOCK, ""), "Python     the tool is confined by landlock: no network, one folder"),
        (
            (Confinement.NONE, "bubblewrap: bwrap is\nnot installed"),
            "Python     the tool is not confined, so it asks before every cell: bubblewrap: bwrap is not installed",
        ),
    ],
)
def test_the_sandbox_of_the_python_tool(
    on_a_mac: None, monkeypatch: pytest.MonkeyPatch, home: Path, found: tuple[Confinement, str] | None, line: str
) -> None:
    files: list[Path | None] = []
    monkeypatch.setattr("mlx_model.tools.python.selftest.remembered", lambda python, memory, verdicts: found)
    monkeypatch.setattr("mlx_model.tools.python.selftest.Verdicts", files.append)
    report = json.loads(json.dumps(doctor.examine()))
    assert line in render(report).splitlines()
    assert files == [home / "sandboxes.json"]


def test_a_test_of_the_sandbox_is_found_again(on_a_mac: None, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """What the tool keeps when it is first used is what is looked up here."""
    monkeypatch.setattr(selftest, "why_not_here", lambda way, interpreter: None)
    monkeypatch.setattr(selftest, "probe", lambda sandbox: "")
    assert doctor.examine()["python_tool"] == {"confined_by": None, "problem": None}
    asyncio.run(Python(home / "work", verdicts=paths.verdicts_file()).prepare())
    assert doctor.examine()["python_tool"]["confined_by"] == candidates()[0]
