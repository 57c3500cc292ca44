"""The wheel, built from the source distribution and installed in a clean environment, answers with the demo.

To stay within seconds and off the network, the new environment gets the wheel alone and sees the third-party
packages of the running one through a .pth file (which does not follow the editable install there: a test
asserts that the code comes from the wheel). What that could hide, an undeclared dependency, has its own test.
"""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from mlx_model.folders import cache_folder
from mlx_model.tools.python.sandbox import INSIDE
from tests.fixtures import ROOT
from tests.fixtures.imports import imports_of

PACKAGES = ("app", "mlx_model", "metal")
# Extras of what the program does; where one is missing, it names the line that installs it.
OPTIONAL = ("browser", "ddgs", "office", "figures", "mcp", "schema", "server")


def run(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a command without the surrounding PYTHONPATH, in a home of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        # What numba has compiled of these very sources is found again: all else of the home is empty.
        env=clean | {"HOME": str(cwd), "HF_HUB_OFFLINE": "1", "GPTOSS_CACHE_DIR": str(cache_folder())} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made through the sdist as for a release; needs no network where hatchling is installed."""
    out = tmp_path_factory.mktemp("dist")
    local = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    built = run(sys.executable, "-m", "build", *local, "--outdir", out, ROOT, cwd=out)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    """The names of the files in the wheel, without its own metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel in it."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    pip = run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel, cwd=home)
    assert pip.returncode == 0, pip.stdout + pip.stderr
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_everything_needed_at_run_time_is_inside(contents: set[str]) -> None:
    needed = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".tcss", ".metal", ".h"} or path.name == "py.typed"
    }
    assert {"mlx_model/py.typed", "metal/kernels/common.h", "app/tui/styles/screen.tcss"} <= needed
    demo = {path.relative_to(ROOT).as_posix() for path in (ROOT / "assets" / "demo").iterdir() if path.is_file()}
    assert {"assets/demo/config.json", "assets/demo/tokenizer.json"} <= demo
    assert needed | demo | {"assets/__init__.py"} <= contents


def test_nothing_else_is_inside(contents: set[str]) -> None:
    assert {name.split("/")[0] for name in contents} == {*PACKAGES, "assets"}
    assert {name.split("/")[1] for name in contents if name.startswith("assets/")} == {"__init__.py", "demo"}


def test_every_import_is_a_declared_dependency(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    requires = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    declared = {
        normal(re.split(r"[^\w.-]", requirement)[0])
        for requirement in requires
        if (extra := re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)) is None or extra[1] in OPTIONAL
    }
    imported = {
        module.split(".")[0]
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if INSIDE not in path.parents  # it runs in another interpreter, which may have more
        for module, _ in imports_of(path, path.read_text(encoding="utf-8"))
    }
    third_party = imported - sys.stdlib_module_names - {*PACKAGES, "assets"}
    assert {"mlx", "numpy", "textual"} <= third_party
    providers = packages_distributions()
    undeclared = {
        module for module in third_party if not declared & {normal(name) for name in providers.get(module, ())}
    }
    assert not undeclared


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_code_comes_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = "import app, mlx_model, metal; print(app.__file__, mlx_model.__file__, metal.__file__, sep='\\n')"
    result = run(installed / "python", "-c", program, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for file in result.stdout.splitlines():
        assert Path(file).resolve().is_relative_to(installed.parent.resolve())


def test_the_installed_command_answers(installed: Path, tmp_path: Path) -> None:
    result = run(installed / "gptoss-chat", "ask", "--model", "demo", "hi", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    assert "Traceback" not in result.stderr
