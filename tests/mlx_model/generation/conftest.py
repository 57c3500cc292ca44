"""A model that answers quickly."""

from pathlib import Path

import pytest

from mlx_model import Model, load
from tests.fixtures.quick_model import write_quick_model


@pytest.fixture(scope="package")
def quick_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a random model with the demo's tokenizer."""
    return write_quick_model(tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="package")
def quick(quick_folder: Path) -> Model:
    """A random model with the demo's tokenizer, for what does not depend on what a model has learnt."""
    return load(quick_folder)
