"""The command that installs an extra: for this Python, by whatever installs packages into it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mlx_model import extras
from mlx_model.extras import install_line


def test_it_names_this_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "my venv" / "bin" / "python"))
    monkeypatch.setattr(extras, "find_spec", lambda name: object())
    monkeypatch.chdir(tmp_path)
    assert install_line("mcp") == "'my venv/bin/python' -m pip install 'gptoss-chat[mcp]'"
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "executable", "/opt/python")
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert install_line("mcp") == "uv pip install --python opt/python 'gptoss-chat[mcp]'"


@pytest.mark.skipif(find_spec("pip") is None, reason="this Python has no pip")
def test_pip_needs_no_index_for_a_package_that_is_there_with_all_of_the_extra() -> None:
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--dry-run", "gptoss-chat[figures]"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
