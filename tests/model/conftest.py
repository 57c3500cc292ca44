"""The stored reference logits and the models they belong to, on the CPU, where activations are float32."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mlx_model.model import Model, load
from tests.oracle.cases import Reference, read_references

REFERENCES = read_references()


@pytest.fixture(autouse=True, scope="package")
def on_cpu() -> Iterator[None]:
    """The references are float32; on a GPU the model would compute in bfloat16."""
    device = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(device)


@pytest.fixture(scope="package")
def model_of(on_cpu: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Reference], Model]:
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
