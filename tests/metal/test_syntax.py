"""What Apple's compiler refuses of the kernels' texts is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.metal import syntax


def test_what_the_compiler_refuses_is_named(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.metal", tmp_path / "bad.metal"
    good.write_text("good")
    bad.write_text("bad")
    compiler = [sys.executable, "-c", "import sys; 'bad' in open(sys.argv[1]).read() and sys.exit('it is bad')"]
    assert syntax.refused([good, bad], compiler) == {bad: "it is bad\n"}


def test_the_compiler_finds_what_mlx_puts_before_a_text() -> None:
    assert Path(syntax.COMPILER[syntax.COMPILER.index("-include") + 1]).is_file()


def test_a_mac_without_the_compiler_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    missing = subprocess.CompletedProcess[str]([], 72)
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: missing)
    assert syntax.main([]) == 1
    assert "xcodebuild -downloadComponent MetalToolchain" in capsys.readouterr().out
