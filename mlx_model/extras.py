"""Optional packages (extras): the command that installs one into the Python that runs this program."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path


def install_line(extra: str) -> str:
    """The command that installs an extra of pyproject.toml.

    It names this Python, for a person may have several, and a package that is installed already with an extra: then
    only what is missing is fetched. Without pip, as in the environments that uv makes, it is uv's.
    """
    python, package = shlex.quote(_short(Path(sys.executable))), f"'gptoss-chat[{extra}]'"
    if find_spec("pip") is None:
        return f"uv pip install --python {python} {package}"
    return f"{python} -m pip install {package}"


def _short(path: Path) -> str:
    """A path as one would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
