"""The Python that runs the model's code: one with the packages that its code expects, made once when asked for."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from app.paths import python_folder
from mlx_model.errors import GptossError

PACKAGES = ("ipython", "numpy", "pandas", "matplotlib", "scipy", "sympy", "pillow")

_COMPLETE = "complete"


class ManagedPythonError(GptossError):
    """It could not be made; the text says at which step."""


def find() -> Path | None:
    """The Python that `make` has made, None if it was not asked for or was given up."""
    folder = python_folder()
    return folder / "bin" / "python" if (folder / _COMPLETE).is_file() else None


def make() -> Path:
    """Make it, or bring its packages up to date; returns the Python. What pip says goes to standard output.

    Raises ManagedPythonError. One that is there stays as it is until pip begins.
    """
    folder = python_folder()
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    if find() is None:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], f"the environment {folder} could not be made")
    (folder / _COMPLETE).unlink(missing_ok=True)
    options = ("--disable-pip-version-check", "--upgrade", "--progress-bar", "off")
    install = [str(python), "-I", "-m", "pip", "install", *options, *PACKAGES]
    _run(install, "pip could not install the packages: is there a network, and some 500 MB of disk?")
    (folder / _COMPLETE).touch()
    return python


def _run(command: Sequence[str], problem: str) -> None:
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ManagedPythonError(f"{problem} ({error.strerror})") from None
    except subprocess.CalledProcessError as error:
        raise ManagedPythonError(f"{problem} (code {error.returncode}; its own words stand above)") from None
