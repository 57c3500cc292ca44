"""The stored reference logits and the models they belong to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_model.model import Model, load
from tests.oracle.cases import Reference, read_references

REFERENCES = read_references()


@pytest.fixture(scope="package")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Reference], Model]:
    """The loaded model of a reference; each is written and loaded once."""
    loaded: dict[str, Model] = {}

    def model(reference: Reference) -> Model:
        name = reference.case.name
        if name not in loaded:
            loaded[name] = load(reference.write_checkpoint(tmp_path_factory.mktemp(name)))
        return loaded[name]

    return model


@pytest.fixture(params=REFERENCES)
def reference(request: pytest.FixtureRequest) -> Reference:
    """Every stored reference in turn."""
    return REFERENCES[request.param]


@pytest.fixture
def model(reference: Reference, model_of: Callable[[Reference], Model]) -> Model:
    """The model `reference` belongs to."""
    return model_of(reference)


@pytest.fixture
def with_config(tmp_path: Path) -> Callable[[Reference, dict[str, Any]], Model]:
    """The same weights under a config.json with some fields changed."""

    def changed(reference: Reference, changes: dict[str, Any]) -> Model:
        folder = reference.write_checkpoint(tmp_path)
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return load(folder)

    return changed
