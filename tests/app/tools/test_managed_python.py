"""The Python for the model's code: made in steps, used only when all of them have succeeded."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import main as cli
from app.tools import managed_python, python_kit
from app.tools.managed_python import PACKAGES, ManagedPythonError, find, make
from app.tools.python_kit import PythonKit


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run, in place of it; a venv leaves its Python."""
    run: list[list[str]] = []

    def record(command: list[str], **_: object) -> None:
        run.append(command)
        if "venv" in command:
            python = Path(command[-1], "bin", "python")
            python.parent.mkdir(parents=True)
            python.touch()

    monkeypatch.setattr(managed_python.subprocess, "run", record)  # type: ignore[attr-defined]
    return run


def test_it_is_made_once_and_then_brought_up_to_date(
    commands: list[list[str]], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = home / "python" / "bin" / "python"
    assert find() is None
    assert cli.main(["tools", "python"]) == 0
    assert str(python) in capsys.readouterr().out
    assert find() == python
    assert commands[0] == [sys.executable, "-m", "venv", "--clear", str(home / "python")]
    assert commands[1][:5] == [str(python), "-I", "-m", "pip", "install"]
    assert commands[1][-len(PACKAGES) :] == [*PACKAGES]
    assert make() == python
    assert [command[0] for command in commands[2:]] == [str(python)]


def test_what_was_given_up_is_not_used(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    python = find()

    def fail(command: list[str], **_: object) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(managed_python.subprocess, "run", fail)  # type: ignore[attr-defined]
    with pytest.raises(ManagedPythonError, match="pip could not install the packages"):
        make()
    assert python is not None
    assert find() is None
    with pytest.raises(ManagedPythonError, match="could not be made"):
        make()


def test_the_tool_runs_code_in_it(commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[object] = []
    monkeypatch.setattr(python_kit, "Python", lambda folder, **wishes: used.append(wishes["interpreter"]))
    for _ in range(2):
        PythonKit(tmp_path)
        make()
    assert used == [None, find()]
