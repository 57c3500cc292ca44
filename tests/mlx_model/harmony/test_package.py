"""The package on its own: its worked example, its names, and what it does without."""

import doctest
import subprocess
import sys
from pathlib import Path

import mlx_model.harmony
from tests.fixtures.vocabulary import hub_folder

# mlx is for the model, numpy comes with it; the app's packages are for the terminal. None in sys.modules forbids them.
ALONE = """
import sys
for name in ("mlx", "numpy", "textual", "safetensors", "huggingface_hub"):
    sys.modules[name] = None
import importlib, pkgutil, mlx_model.harmony
for module in pkgutil.iter_modules(mlx_model.harmony.__path__):
    importlib.import_module(f"mlx_model.harmony.{module.name}")
for name in mlx_model.harmony.__all__:
    getattr(mlx_model.harmony, name)
print(*sorted(name for name in sys.modules if name.startswith("mlx_model.") and ".harmony" not in name))
"""


def test_worked_example() -> None:
    results = doctest.testmod(mlx_model.harmony, extraglobs={"folder": hub_folder()})
    assert results.failed == 0
    assert results.attempted > 10


def test_needs_nothing_of_the_model() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=root, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    names = ("checkpoint_files", "errors", "events", "folders", "options", "part", "request", "text")
    assert done.stdout.split() == [f"mlx_model.{name}" for name in names]


def test_messages_load_no_tokenizer() -> None:
    script = "import sys; from mlx_model.harmony import Message; print('tiktoken' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.check_output([sys.executable, "-c", script], cwd=root, text=True) == "False\n"
