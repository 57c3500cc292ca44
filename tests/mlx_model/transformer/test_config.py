"""config.json: what is read from it, and one clear error for each way in which it can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.transformer.config import ModelConfig
from tests.fixtures.checkpoints import hub_config


def load(folder: Path, config: Any, generation: Any = None) -> ModelConfig:
    (folder / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return ModelConfig.load(folder)


def test_gpt_oss_20b(tmp_path: Path) -> None:
    config = load(tmp_path, hub_config())
    assert (config.num_hidden_layers, config.num_local_experts, config.vocab_size) == (24, 32, 201088)
    assert [config.window(layer) for layer in range(4)] == [128, None, 128, None]
    assert config.yarn.truncate is False
    assert config.max_position_embeddings == 131072


def test_gpt_oss_120b_differs_only_in_numbers(tmp_path: Path) -> None:
    config = load(tmp_path, hub_config(num_hidden_layers=36, num_local_experts=128))
    assert (config.num_hidden_layers, config.num_local_experts) == (36, 128)


def test_rope_where_transformers_5_writes_it(tmp_path: Path) -> None:
    fields = hub_config()
    fields["rope_parameters"] = fields.pop("rope_scaling") | {"rope_theta": fields.pop("rope_theta")}
    assert load(tmp_path, fields) == load(tmp_path, hub_config())


def test_rope_as_it_was_called_before(tmp_path: Path) -> None:
    """transformers wrote "type" before version 4.43, and other programs still do."""
    rope = hub_config()["rope_scaling"]
    old = {("type" if name == "rope_type" else name): value for name, value in rope.items()}
    assert load(tmp_path, hub_config(rope_scaling=old)) == load(tmp_path, hub_config())


def test_ends_of_generation(tmp_path: Path) -> None:
    assert load(tmp_path, hub_config()).eos_token_ids == (200002,)
    assert load(tmp_path, hub_config(), {"eos_token_id": [200002, 199999]}).eos_token_ids == (200002, 199999)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "LlamaForCausalLM"),
        ({"hidden_size": 2881}, '"hidden_size" is 2881, not a multiple of 32'),
        ({"intermediate_size": 100}, '"intermediate_size" is 100, not a multiple of 32'),
        ({"head_dim": None}, '"head_dim" is None'),
        ({"num_attention_heads": 0}, '"num_attention_heads" is 0'),
        ({"num_key_value_heads": 7}, "64 attention heads can't share 7"),
        ({"num_experts_per_tok": 40}, "40 experts a token, but only 32 exist"),
        ({"sliding_window": "128"}, "\"sliding_window\" is '128'"),
        ({"layer_types": ["full_attention"]}, '"layer_types" must name 24 layers'),
        ({"rope_scaling": {"rope_type": "linear"}}, '"rope_scaling" of type "yarn" is missing'),
        ({"rope_scaling": {"type": "linear"}}, '"rope_scaling" of type "yarn" is missing'),
        ({"rope_scaling": {"type": "yarn", "rope_type": "linear"}}, '"rope_scaling" of type "yarn" is missing'),
        ({"rope_theta": None}, '"rope_theta" is None'),
        ({"rope_theta": "x" * 5000}, f""""rope_theta" is '{"x" * 79} ..., not a number"""),
        ({"eos_token_id": "<|return|>"}, "\"eos_token_id\" is '<|return|>'"),
        (
            {"quantization_config": {"quant_method": "gptq"}},
            "the experts are stored as 'gptq'; gptoss-chat needs OpenAI's MXFP4: take the published",
        ),
        ({"quantization_config": None}, "the experts are stored as plain floats"),
        ({"attention_bias": False}, '"attention_bias" is false, but gpt-oss has attention biases; take the published'),
        ({"tie_word_embeddings": True}, "doesn't belong to these weights; take the published model"),
        ({"num_hidden_layers": 1e300}, '"num_hidden_layers" is 1e+300'),
        ({"num_hidden_layers": 10**9}, "believes at most 1000"),
        ({"rope_scaling": hub_config()["rope_scaling"] | {"original_max_position_embeddings": 1.5}}, "is 1.5, not"),
        ({"vocab_size": True}, '"vocab_size" is True'),
    ],
)
def test_wrong_field(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError) as error:
        load(tmp_path, hub_config() | change)
    assert message in str(error.value)
    assert str(tmp_path / "config.json") in str(error.value)


@pytest.mark.parametrize(
    "field", ["hidden_size", "rms_norm_eps", "swiglu_limit", "sliding_window", "head_dim", "num_experts_per_tok"]
)
def test_missing_field(tmp_path: Path, field: str) -> None:
    fields = hub_config()
    del fields[field]
    with pytest.raises(CheckpointError, match=f'the field "{field}" is missing, .*; take the published'):
        load(tmp_path, fields)


@pytest.mark.parametrize("text", ["", "[]", "{", '"text"', "\udcff"])
def test_not_an_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match="download it again"):
        ModelConfig.load(tmp_path)


def test_no_config(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("about it")
    with pytest.raises(CheckpointError, match=r"config.json is missing: this folder is not a complete checkpoint"):
        ModelConfig.load(tmp_path)
