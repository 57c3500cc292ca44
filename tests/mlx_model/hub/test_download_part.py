"""Fetching a part of a model: the shards of its layers and no others, and what is whole already stays."""

from pathlib import Path

import pytest

from mlx_model.checkpoint_files import INDEX, weight_files
from mlx_model.distributed.machine import Files
from mlx_model.errors import CheckpointError
from mlx_model.hub import names as hub
from mlx_model.hub.download import DownloadPlan, fetch, of_part, prepare
from mlx_model.part import Part
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.checkpoint import stored_tensors
from mlx_model.weights.layouts import layout_of
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.hub import REPO
from tests.fixtures.hub_server import HubServer

FIRST, LAST = Part(0, 2, ends=True), Part(2, 4, ends=False)


@pytest.fixture
def published(server: HubServer, tmp_path: Path) -> HubServer:
    """A model of four layers in seven shards, without a tokenizer that could be loaded."""
    folder = write_checkpoint(tmp_path / "made", tiny_config(), shards=7)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    server.repos[REPO].publish({"tokenizer.json": b"{}", **files})
    return server


def run(plan: DownloadPlan) -> Path:
    *_, last = fetch(plan)
    return last.folder  # type: ignore[union-attr]


def shards(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.safetensors")}


def test_the_shards_of_some_layers_and_no_others(published: HubServer) -> None:
    plan = of_part(prepare("gpt-oss-20b"), LAST)
    folder = run(plan)
    assert shards(folder) == {*weight_files(folder, LAST)} < {*weight_files(folder)}
    assert plan.total == sum((folder / file.name).stat().st_size for file in plan.files)
    layers = Files.in_folder(folder).layers
    assert {2, 3} <= {*layers} and 0 not in layers
    config = ModelConfig.load(folder).of_part(LAST)
    assert layout_of(folder, config, stored_tensors(folder, LAST)).packing("lm_head") is None  # all that it needs
    with pytest.raises(CheckpointError, match="is missing"):
        stored_tensors(folder, FIRST)
    assert hub.default_model() == "demo"  # it is not all there


def test_the_rest_joins_it(published: HubServer) -> None:
    """Nothing is fetched twice, and with all parts the model is whole."""
    run(of_part(prepare("gpt-oss-20b"), LAST))
    published.requested.clear()
    folder = run(of_part(prepare("gpt-oss-20b"), FIRST))
    assert {*published.requested} == {*weight_files(folder, FIRST)} - {*weight_files(folder, LAST)}
    assert hub.is_complete(folder)


def test_of_a_model_that_is_whole_nothing_is_fetched(published: HubServer) -> None:
    whole = run(prepare("gpt-oss-20b"))
    published.requests.clear()
    assert run(of_part(prepare("gpt-oss-20b"), LAST)) == whole
    assert not published.requests


def test_a_part_of_a_newer_revision_leaves_the_older_whole_one(published: HubServer) -> None:
    whole = run(prepare("gpt-oss-20b"))
    files = published.repos[REPO].commits[published.commit(REPO)]
    published.repos[REPO].publish(files | {INDEX: files[INDEX] + b" "})
    assert run(of_part(prepare("gpt-oss-20b", update=True), LAST)) != whole
    assert hub.resolve("gpt-oss-20b") == whole
