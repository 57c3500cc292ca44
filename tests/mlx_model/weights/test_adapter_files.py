"""Adapters in peft's files: its own is read, ours says the same, and what can't be used is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlx_model.errors import CheckpointError
from mlx_model.transformer.adapters import Adapters
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.adapter_files import CONFIG, REMEDY, WEIGHTS, adapter_facts, read_adapter, write_adapter
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.oracle import lora


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    folder = tmp_path_factory.mktemp("config")
    (folder / "config.json").write_text(json.dumps(lora.CONFIG))
    return ModelConfig.load(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the adapter that peft has written."""
    return Path(shutil.copytree(lora.FOLDER, tmp_path / "adapter"))


def change(folder: Path, **fields: Any) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_pefts_is_read(config: ModelConfig) -> None:
    adapters = read_adapter(lora.FOLDER, config).adapters
    assert len(adapters.scales) == 2 * 7
    assert adapters.scales["0.q_proj"] == lora.ALPHA / lora.RANK
    assert adapters.scales["1.gate_up_proj"] == lora.ALPHA / 2
    assert adapters.arrays["1.gate_up_proj.b"].shape == (6, 192, 2)


def test_ours_has_the_same_tensors(config: ModelConfig, tmp_path: Path) -> None:
    """tests/oracle/write_adapter.py has let peft load what is written here."""
    adapters = read_adapter(lora.FOLDER, config).adapters
    write_adapter(tmp_path, adapters, "gpt-oss-20b", config.num_hidden_layers, {"steps": "7"})
    ours, theirs = load_file(tmp_path / WEIGHTS), load_file(lora.FOLDER / WEIGHTS)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    again = read_adapter(tmp_path, config)
    assert (again.base, again.facts["steps"]) == ("gpt-oss-20b", "7")
    assert again.adapters.scales == adapters.scales
    fields, peft = (json.loads((each / CONFIG).read_text()) for each in (tmp_path, lora.FOLDER))
    assert sorted(fields["target_modules"]) == sorted(peft["target_modules"])
    assert fields["target_parameters"] == peft["target_parameters"]


def test_a_transposed_array_is_written_by_its_numbers(config: ModelConfig, tmp_path: Path) -> None:
    adapters = read_adapter(lora.FOLDER, config).adapters
    turned = {name: mx.contiguous(array.swapaxes(-1, -2)).swapaxes(-1, -2) for name, array in adapters.arrays.items()}
    write_adapter(tmp_path, Adapters(turned, adapters.scales), "", config.num_hidden_layers, {})
    again = read_adapter(tmp_path, config).adapters
    assert all(mx.array_equal(again.arrays[name], array) for name, array in adapters.arrays.items())


def test_some_layers_are_named_one_by_one(config: ModelConfig, tmp_path: Path) -> None:
    adapters = read_adapter(lora.FOLDER, config).adapters.of_layer(1)
    write_adapter(tmp_path, adapters, "", config.num_hidden_layers, {})
    fields = json.loads((tmp_path / CONFIG).read_text())
    assert fields["target_modules"][0] == "layers.1.self_attn.q_proj"
    assert fields["target_parameters"][-2:] == ["layers.1.mlp.experts.gate_up_proj", "layers.1.mlp.experts.down_proj"]
    assert read_adapter(tmp_path, config).adapters.scales == adapters.scales


def test_one_matrix_of_the_experts_alone(config: ModelConfig, tmp_path: Path) -> None:
    """Then there is one wrapper, whose tensors have the name of the outer one."""
    for matrix in ("gate_up_proj", "down_proj"):
        adapters = read_adapter(lora.FOLDER, config).adapters.of_layer(0)
        place = f"0.{matrix}"
        arrays = {name: array for name, array in adapters.arrays.items() if name.startswith(place)}
        write_adapter(tmp_path, type(adapters)(arrays, {place: 2.0}), "", config.num_hidden_layers, {})
        assert all(".mlp.experts.lora_" in name for name in load_file(tmp_path / WEIGHTS))
        (read,) = read_adapter(tmp_path, config).adapters.scales
        assert read == place


def test_alphas_of_single_places(config: ModelConfig, folder: Path) -> None:
    change(folder, alpha_pattern={"layers.1.self_attn.q_proj": 9, "experts.down_proj": 12}, use_rslora=True)
    scales = read_adapter(folder, config).adapters.scales
    assert scales["0.q_proj"] == pytest.approx(lora.ALPHA / 3**0.5)
    assert scales["1.q_proj"] == pytest.approx(9 / 3**0.5)
    assert scales["0.down_proj"] == scales["1.down_proj"] == pytest.approx(12 / 3**0.5)


def test_what_is_known_without_a_model(folder: Path) -> None:
    change(folder, base_model_name_or_path="openai/gpt-oss-20b")
    facts = adapter_facts(folder)
    assert facts.base == "openai/gpt-oss-20b"
    assert facts.operations == ("qkv", "o_proj", "route", "gate_up", "down")
    assert facts.nbytes == sum(array.nbytes for array in load_file(folder / WEIGHTS).values())


def cut(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def rewrite(edit: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        edit(tensors)
        save_file(tensors, folder / WEIGHTS)

    return apply


QUERY = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / CONFIG).unlink(), "is missing"),
        (lambda folder: (folder / CONFIG).write_text("[]"), f"is not a JSON object; {REMEDY}"),
        (lambda folder: (folder / WEIGHTS).unlink(), f"is missing; {REMEDY}"),
        (cut, f"is damaged: it ends after .*; {REMEDY}$"),
        (lambda folder: (folder / WEIGHTS).write_text("version https://git-lfs\n"), f"git lfs pull.*, or {REMEDY}$"),
        (lambda folder: change(folder, peft_type="IA3"), "of the type 'IA3'"),
        (lambda folder: change(folder, use_dora=True), "sets use_dora"),
        (lambda folder: change(folder, modules_to_save=["lm_head"]), "sets modules_to_save"),
        (lambda folder: change(folder, bias="all"), "trained biases"),
        (lambda folder: change(folder, lora_alpha="16"), "lora_alpha is '16'"),
        (lambda folder: change(folder, alpha_pattern={"(a+)+": 3}), "only names can be read"),
        (rewrite(dict.clear), "holds no adapter"),
        (rewrite(lambda tensors: tensors.__delitem__(QUERY)), "lora_B.weight', which gptoss-chat doesn't apply"),
        (rewrite(lambda tensors: tensors.update({QUERY: np.zeros((3, 65), np.float32)})), "is for another model"),
        (rewrite(lambda tensors: tensors.update({QUERY: np.zeros((3, 64), np.float64)})), "of the type F64"),
        (rewrite(lambda tensors: tensors.update({QUERY: np.full((3, 64), np.nan, np.float32)})), "not numbers"),
        (
            rewrite(lambda tensors: tensors.update({n.replace("rs.0.", "rs.7."): tensors[n] for n in [*tensors]})),
            "a layer 7; this one has 2 layers",
        ),
        (
            rewrite(lambda tensors: tensors.update({n.replace("q_proj", "lm_head"): tensors[n] for n in [*tensors]})),
            "no matrix that can have one",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(
    config: ModelConfig, folder: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=reason) as error:
        read_adapter(folder, config)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def test_a_model_of_another_shape(folder: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", tiny_config(num_hidden_layers=2, hidden_size=96))
    with pytest.raises(CheckpointError, match="is for another model"):
        read_adapter(folder, ModelConfig.load(other))


def test_16_bits_are_read(config: ModelConfig, folder: Path) -> None:
    tensors = mx.load(str(folder / WEIGHTS))
    assert isinstance(tensors, dict)
    half = {name: array.astype(mx.bfloat16) for name, array in tensors.items()}
    mx.save_safetensors(str(folder / WEIGHTS), half)
    found = read_adapter(folder, config).adapters.arrays["0.q_proj.a"]
    assert found.dtype == mx.float32
    assert mx.array_equal(found, half[QUERY].astype(mx.float32))
