"""Imports go one way, app -> mlx_model -> metal; Textual stays in app/tui; messages need no MLX."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.imports import ROOT, imports_of, name_of

LAYERS = ("app", "mlx_model", "metal")  # from the top; each may import those after it
TERMINAL_AND_STORE = {"textual", "rich", "curses", "prompt_toolkit", "sqlite3", "multiprocessing"}
WITHOUT_MLX = ("mlx_model.harmony", "mlx_model.events", "mlx_model.options", "mlx_model.errors")


def under(module: str, *packages: str) -> bool:
    """Whether the module is one of these packages or inside one."""
    return any(module == package or module.startswith(package + ".") for package in packages)


def violation(importer: str, imported: str) -> str | None:
    """Which rule this import breaks, if any."""
    layer = importer.split(".")[0]
    if under(imported, "tests", *LAYERS[: LAYERS.index(layer)]):
        return "imports go app -> mlx_model -> metal, and never to the tests"
    if under(imported, "textual") and not under(importer, "app.tui"):
        return "Textual is imported under app/tui alone"
    if layer != "app" and under(imported, *TERMINAL_AND_STORE):
        return "the model knows nothing of terminals, processes and databases"
    if under(importer, *WITHOUT_MLX) and under(imported, "mlx", "metal") and not under(imported, "metal.files"):
        return "messages, events, options and errors are free of MLX"
    return None


SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    broken = [
        f"{path}:{line}: {name_of(path)} imports {imported}: {rule}"
        for imported, line in imports_of(path, path.read_text(encoding="utf-8"))
        if (rule := violation(name_of(path), imported))
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("file", "source", "caught"),
    [
        ("metal/launch.py", "import mlx_model", True),
        ("metal/launch.py", "import mlx.core as mx", False),
        ("mlx_model/model.py", "def f():\n    from app import cli", True),
        ("mlx_model/model.py", "from metal import launch", False),
        ("mlx_model/model.py", "import textual.app", True),
        ("mlx_model/hub.py", "import sqlite3", True),
        ("mlx_model/events.py", "import mlx.core", True),
        ("mlx_model/harmony/parse.py", "from .. import events", False),
        ("mlx_model/harmony/parse.py", "from ...app import cli", True),
        ("app/cli.py", "from textual.app import App", True),
        ("app/tui/app.py", "from textual.app import App", False),
        ("app/cli.py", "from tests import checkpoints", True),
        ("app/cli.py", "import mlx_model.generate", False),
    ],
)
def test_the_rules_catch(file: str, source: str, caught: bool) -> None:
    path = ROOT / file
    found = [violation(name_of(path), imported) for imported, _ in imports_of(path, source)]
    assert any(found) == caught


def test_messages_and_events_load_without_mlx() -> None:
    """At run time, with everything they import in turn: a process that only passes events on stays small."""
    modules = [name_of(path) for path in SOURCES if under(name_of(path), *WITHOUT_MLX)]
    assert {"mlx_model.harmony.message", "mlx_model.events"} <= set(modules)
    program = "\n".join(["import sys", *(f"import {module}" for module in modules), "print(sorted(sys.modules))"])
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = ast.literal_eval(result.stdout)
    assert "mlx_model.events" in loaded
    assert not [module for module in loaded if under(module, "mlx", "metal") and module not in ("metal", "metal.files")]
