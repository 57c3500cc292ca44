"""Folders that are no checkpoint of gpt-oss: each is said to be what it is, with what to take instead."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlx_model.checkpoint_files import is_pointer
from mlx_model.errors import CheckpointError
from mlx_model.hub.names import is_complete
from mlx_model.model import load
from tests.fixtures.checkpoints import hub_config

ORIGINAL = {"num_hidden_layers": 24, "num_experts": 32, "experts_per_token": 4, "vocab_size": 201088}
ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "openai/gpt-oss-20b", "r": 8}
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 13761300984\n"
DOWNLOAD = "take the published model instead: gptoss-chat download gpt-oss-20b"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            {"adapter_config.json": ADAPTER, "adapter_model.safetensors": ""},
            "a LoRA adapter for openai/gpt-oss-20b, not",
        ),
        ({"adapter_config.json": ADAPTER, "config.json": {"model_type": "x"}}, "a LoRA adapter for openai/gpt-oss-20b"),
        ({"adapter_config.json": "[" * 100_000}, "a LoRA adapter, not a model: give it as the adapter of one"),
        ({"adapter_config.json": {"base_model_name_or_path": ["\x1b[2J"]}}, "a LoRA adapter, not a model"),
        (
            {"adapter_config.json": {"base_model_name_or_path": "\x1b]0;x\nevil" * 99}},
            "a LoRA adapter for \u241b]0;x evil",
        ),
        ({"config.json": ADAPTER}, "a LoRA adapter, not a model"),
        ({"gpt-oss-20b-Q4_K_M.gguf": "GGUF"}, "holds GGUF, llama.cpp's format"),
        ({"a-00001-of-00002.GGUF": "", "README.md": ""}, "holds GGUF"),
        ({"config.json": ORIGINAL, "model.safetensors": ""}, "OpenAI's own layout (`original/` on the Hub)"),
        ({"dtypes.json": "{}", "model--00001-of-00007.safetensors": ""}, "OpenAI's own layout"),
        ({"pytorch_model.bin": ""}, "holds weights of PyTorch"),
        ({"consolidated.00.pth": ""}, "holds weights of PyTorch"),
        ({}, "is empty"),
    ],
)
def test_what_a_folder_is(tmp_path: Path, files: dict[str, Any], says: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    text = str(caught.value)
    assert says in text and DOWNLOAD in text and str(tmp_path) in text
    assert text.isprintable() and len(text) < len(str(tmp_path)) + 400
    assert not is_complete(tmp_path)


def test_the_folder_above_the_original_one(tmp_path: Path) -> None:
    (tmp_path / "original").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(hub_config()))
    (tmp_path / "original" / "config.json").write_text(json.dumps(ORIGINAL))
    with pytest.raises(CheckpointError, match=f"take the folder above it, {tmp_path}$"):
        load(tmp_path / "original")


def test_the_metal_folder(tmp_path: Path) -> None:
    (tmp_path / "metal").mkdir()
    (tmp_path / "metal" / "model.bin").touch()
    with pytest.raises(CheckpointError, match="OpenAI's weights for its own Metal program"):
        load(tmp_path / "metal")


@pytest.mark.parametrize(("count", "more"), [(1, ""), (3, ", one of 3")])
def test_a_folder_of_models(tmp_path: Path, count: int, more: str) -> None:
    for number in range(count):
        (tmp_path / f"model {number}").mkdir()
        (tmp_path / f"model {number}" / "config.json").touch()
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    assert str(caught.value).endswith(f"try {tmp_path / 'model 0'}{more}")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_a_clone_without_git_lfs(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(hub_config()))
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(CheckpointError, match=f"{name} is only git-lfs's pointer to the file: run `git lfs pull`"):
        load(tmp_path)


def test_pointers_in_place_of_weights_are_no_complete_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(hub_config()))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("weights")
    assert is_complete(tmp_path)
    (tmp_path / "model.safetensors").write_text(POINTER)
    assert is_pointer(tmp_path / "model.safetensors") and not is_complete(tmp_path)


def test_a_config_saved_by_an_editor_on_windows(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(hub_config()), encoding="utf-8-sig")
    with pytest.raises(CheckpointError, match=r"holds neither model.safetensors nor"):
        load(tmp_path)
