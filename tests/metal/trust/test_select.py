"""What is chosen on a machine, and remembered."""

import json
from pathlib import Path

import mlx.core as mx
import pytest

from metal.operation import Variant
from metal.trust.remember import kernel_text
from metal.trust.select import choose, report, requested_mode
from tests.metal.trust.gpu import MACHINE, NARROW, OTHER, WIDE, Choose, Gpu, logged


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
    chosen: Choose,
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


def test_metal_takes_the_fastest_kernel_however_slow(gpu: Gpu, chosen: Choose) -> None:
    gpu.seconds[None] = 1e-6
    gpu.seconds[NARROW] = 5e-5
    assert chosen(gpu.operation(), mode="metal")["doubled"] == NARROW


def test_portable_computes_nothing(gpu: Gpu, chosen: Choose, path: Path) -> None:
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


def test_without_operations_there_is_nothing_to_choose(chosen: Choose) -> None:
    assert dict(chosen()) == {}


def test_a_choice_is_remembered(gpu: Gpu, chosen: Choose) -> None:
    first = chosen(gpu.operation())
    again = chosen(gpu.operation())
    assert again.verdicts == first.verdicts
    assert not gpu.calls


def test_what_a_try_held_is_given_back(gpu: Gpu, chosen: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each operation, before the next makes its arguments: a model may already fill most of the memory."""
    cleared: list[int] = []
    monkeypatch.setattr(mx, "clear_cache", lambda: cleared.append(len(gpu.calls)))
    chosen(gpu.operation(), gpu.operation("other"))
    assert len(cleared) == 2
    assert 0 < cleared[0] < cleared[1] == len(gpu.calls)
    chosen(gpu.operation(), gpu.operation("other"))
    assert len(cleared) == 2, "what is remembered held nothing"


@pytest.mark.parametrize("change", [{"machine": OTHER}, {"sizes": "E 128"}, {"mode": "metal"}])
def test_something_else_is_chosen_again(gpu: Gpu, chosen: Choose, change: dict[str, object]) -> None:
    chosen(gpu.operation())
    gpu.seconds[NARROW] = 1e-5
    assert chosen(gpu.operation(), **change)["doubled"] == NARROW
    assert chosen(gpu.operation())["doubled"] == WIDE


def test_other_kernel_text_is_chosen_again(gpu: Gpu, chosen: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen(gpu.operation())
    monkeypatch.setattr("metal.trust.select.kernel_text", lambda: "another")
    chosen(gpu.operation())
    assert gpu.calls


def test_the_hash_covers_text_and_launches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("metal.trust.remember.files", lambda package: tmp_path)
    (tmp_path / "kernels").mkdir()
    hashes = [kernel_text()]
    for name, text in (("kernels/a.metal", "1"), ("kernels/a.h", "1"), ("launch.py", "1"), ("kernels/a.metal", "2")):
        (tmp_path / name).write_text(text)
        hashes.append(kernel_text())
    (tmp_path / "launch.pyc").write_text("compiled")
    assert len(set(hashes)) == len(hashes)
    assert kernel_text() == hashes[-1]
    assert {len(each) for each in hashes} == {16}


def test_a_variant_that_is_gone_is_not_remembered(gpu: Gpu, chosen: Choose) -> None:
    chosen(gpu.operation())
    assert chosen(gpu.operation(variants=(NARROW,)))["doubled"] == NARROW


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"a": 1}', '{"a": {"doubled": 1}}', "[" * 100_000, "\xff", '{"a": {"doubled": {"by": "x"}}}'],
)
def test_a_damaged_file_is_replaced(
    gpu: Gpu, chosen: Choose, path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    assert chosen(gpu.operation(), gpu.operation("again"))["doubled"] == WIDE
    assert len(logged(caplog)) == (0 if "by" in text else 1)
    chosen(gpu.operation())
    assert not gpu.calls
    assert not logged(caplog)


def test_damaged_notes_are_replaced(gpu: Gpu, chosen: Choose, path: Path) -> None:
    good = chosen(gpu.operation())
    for name, value in (
        ("variant", 3),
        ("trials", [3]),
        ("message", 3),
        ("variant", [["rows", 9]]),
        ("reason", None),
        ("seconds", "1"),
    ):
        content = json.loads(path.read_text())
        for notes in content.values():
            notes["doubled"][name] = value
        path.write_text(json.dumps(content))
        report(mode="auto", machine=MACHINE, path=path)
        assert chosen(gpu.operation())["doubled"] == good["doubled"]
        assert gpu.calls, name


def test_old_subjects_go(gpu: Gpu, chosen: Choose, path: Path) -> None:
    for number in range(20):
        chosen(gpu.operation(), sizes=str(number))
    assert len(json.loads(path.read_text())) == 16
    chosen(gpu.operation(), sizes="19")
    assert not gpu.calls
