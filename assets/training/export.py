"""Export a training checkpoint in the Hub's layout: `python -m assets.training.export build/demo assets/demo`."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from .model import Config, GptOss
from .mxfp4 import pack
from .tokenizer import SPECIALS, HarmonyTokenizer

# The last matrix is multiplied by this power of two, which changes no choice of a greedy decoder and no bit of a
# mantissa. At temperature 1.0, the default of gpt-oss, the demo model then samples as it would at 0.5 and slips less.
SHARPENING = 2.0


def hub_config(config: Config, special: dict[str, int]) -> dict[str, Any]:
    """config.json as openai/gpt-oss-20b has it, with the sizes of the demo model."""
    layers = config.num_hidden_layers
    return {
        "architectures": ["GptOssForCausalLM"],
        "attention_bias": True,
        "attention_dropout": 0.0,
        "eos_token_id": special["<|return|>"],
        "experts_per_token": config.num_experts_per_tok,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "initial_context_length": config.initial_context_length,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate_size,
        "layer_types": ["full_attention" if i % 2 else "sliding_attention" for i in range(layers)],
        "max_position_embeddings": int(config.initial_context_length * config.rope_factor),
        "model_type": "gpt_oss",
        "num_attention_heads": config.num_attention_heads,
        "num_experts_per_tok": config.num_experts_per_tok,
        "num_hidden_layers": layers,
        "num_key_value_heads": config.num_key_value_heads,
        "num_local_experts": config.num_local_experts,
        "output_router_logits": False,
        "pad_token_id": special["<|endoftext|>"],
        "quantization_config": {
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
            "quant_method": "mxfp4",
        },
        "rms_norm_eps": config.rms_norm_eps,
        "rope_scaling": {
            "beta_fast": config.beta_fast,
            "beta_slow": config.beta_slow,
            "factor": config.rope_factor,
            "original_max_position_embeddings": config.initial_context_length,
            "rope_type": "yarn",
            "truncate": False,
        },
        "rope_theta": config.rope_theta,
        "router_aux_loss_coef": 0.9,
        "sliding_window": config.sliding_window,
        "swiglu_limit": config.swiglu_limit,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }


def generation_config(special: dict[str, int]) -> dict[str, Any]:
    """generation_config.json: gpt-oss stops at the end of an answer and at a call."""
    return {
        "bos_token_id": special["<|startoftext|>"],
        "do_sample": True,
        "eos_token_id": [special["<|return|>"], special["<|endoftext|>"], special["<|call|>"]],
        "pad_token_id": special["<|endoftext|>"],
    }


def tokenizer_config(special: dict[str, int]) -> dict[str, Any]:
    """tokenizer_config.json."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {
        "added_tokens_decoder": {str(special[name]): {"content": name, **flags} for name in SPECIALS},
        "bos_token": "<|startoftext|>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|return|>",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def hub_tensors(model: GptOss) -> dict[str, torch.Tensor]:
    """The weights under the Hub's names: experts as MXFP4 blocks and scales, everything else bfloat16."""
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in model.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        if leaf in ("gate_up_proj", "down_proj"):
            tensors[f"{owner}.experts.{leaf}_blocks"], tensors[f"{owner}.experts.{leaf}_scales"] = pack(weight)
        elif leaf in ("gate_up_proj_bias", "down_proj_bias"):
            tensors[f"{owner}.experts.{leaf}"] = weight.bfloat16()
        else:
            tensors[name] = (weight * SHARPENING if name == "lm_head.weight" else weight).bfloat16()
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def export(source: Path, target: Path) -> None:
    """Write the model of a training folder to `target`, each file replaced only when the new one is complete."""
    state = torch.load(source / "checkpoint.pt")
    model = GptOss(Config(**state["config"]))
    model.load_state_dict(state["model"])
    special = HarmonyTokenizer(source / "tokenizer.json").special
    written = {
        "config.json": hub_config(model.config, special),
        "generation_config.json": generation_config(special),
        "tokenizer_config.json": tokenizer_config(special),
    }
    target.mkdir(parents=True, exist_ok=True)
    for name, content in written.items():
        (target / f"{name}.partial").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json.partial")
    weights = save(hub_tensors(model), metadata={"format": "pt"})
    (target / "model.safetensors.partial").write_bytes(weights)
    for name in (*written, "tokenizer.json", "model.safetensors"):
        (target / f"{name}.partial").replace(target / name)
    print(f"step {state['step']}: {(target / 'model.safetensors').stat().st_size:,} bytes in {target}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m assets.training.export", description=(__doc__ or "").split(":")[0])
    parser.add_argument("source", type=Path, help="folder with checkpoint.pt and tokenizer.json")
    parser.add_argument("target", type=Path, help="folder to write")
    options = parser.parse_args()
    export(options.source, options.target)


if __name__ == "__main__":
    main()
