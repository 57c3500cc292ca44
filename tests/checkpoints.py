"""Writes synthetic gpt-oss checkpoints: the exact file layout of the Hub, random weights, any size.

    python -m tests.checkpoints --preset tiny|two-layer|20b --out DIR [--seed N] [--shards N]

The 20b preset gives files of the same names, sizes and tensor order as openai/gpt-oss-20b on the Hub.
Tensors are made and written in pieces, so that memory stays far below the size of the checkpoint.
Contents depend only on the seed, the configuration and the tensor's name, through raw bits of NumPy's PCG64
and exactly rounded arithmetic: a checkpoint is the same on every machine, and reference logits computed on
one hold on another.
"""

import argparse
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HUB_SHARD_BYTES = 4_800_000_000  # what the Hub's three shards of the 20b were cut at
BLOCK = 32  # MXFP4: elements that share a scale
CODE_RMS = 2.926  # of the sixteen equally likely E2M1 values
PIECE = 1 << 22  # elements made at a time
ITEM_SIZE = {"BF16": 2, "U8": 1}

Bits = np.random.PCG64
Fill = Callable[[Bits, int], NDArray[Any]]


@dataclass(frozen=True)
class Tensor:
    """One entry of a safetensors file; `fill(bits, n)` makes its next n elements, n a multiple of 8."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    fill: Fill

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * ITEM_SIZE[self.dtype]


# --------------------------------------------------------------------------------------------- configurations


def hub_config(**changes: Any) -> dict[str, Any]:
    """config.json of openai/gpt-oss-20b, every field; `changes` replace fields.

    What follows from other fields is updated: `layer_types` alternates over the number of layers;
    `experts_per_token` repeats `num_experts_per_tok`; `max_position_embeddings` and `initial_context_length`
    follow `rope_scaling`; the special tokens move to the end of a vocabulary too small for gpt-oss' own.
    Raises KeyError for a field gpt-oss does not have.
    """
    config: dict[str, Any] = {
        "architectures": ["GptOssForCausalLM"],
        "attention_bias": True,
        "attention_dropout": 0.0,
        "eos_token_id": 200002,
        "experts_per_token": 4,
        "head_dim": 64,
        "hidden_act": "silu",
        "hidden_size": 2880,
        "initial_context_length": 4096,
        "initializer_range": 0.02,
        "intermediate_size": 2880,
        "layer_types": [],
        "max_position_embeddings": 131072,
        "model_type": "gpt_oss",
        "num_attention_heads": 64,
        "num_experts_per_tok": 4,
        "num_hidden_layers": 24,
        "num_key_value_heads": 8,
        "num_local_experts": 32,
        "output_router_logits": False,
        "pad_token_id": 199999,
        "quantization_config": {
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
            "quant_method": "mxfp4",
        },
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "factor": 32.0,
            "original_max_position_embeddings": 4096,
            "rope_type": "yarn",
            "truncate": False,
        },
        "rope_theta": 150000,
        "router_aux_loss_coef": 0.9,
        "sliding_window": 128,
        "swiglu_limit": 7.0,
        "tie_word_embeddings": False,
        "transformers_version": "4.55.0.dev0",
        "use_cache": True,
        "vocab_size": 201088,
    }
    unknown = set(changes) - set(config)
    if unknown:
        raise KeyError(f"not fields of gpt-oss' config.json: {sorted(unknown)}")
    config.update(changes)
    scaling = config["rope_scaling"]
    original = scaling["original_max_position_embeddings"]
    derived = {
        "layer_types": ["full_attention" if i % 2 else "sliding_attention" for i in range(config["num_hidden_layers"])],
        "experts_per_token": config["num_experts_per_tok"],
        "initial_context_length": original,
        "max_position_embeddings": int(original * scaling["factor"]),
    }
    if config["vocab_size"] < 200_019:
        derived |= {"eos_token_id": config["vocab_size"] - 1, "pad_token_id": config["vocab_size"] - 2}
    return config | derived | changes


def tiny_config(**changes: Any) -> dict[str, Any]:
    """A model of a few hundred kilobytes with every feature of gpt-oss; `changes` as in `hub_config`."""
    small: dict[str, Any] = {
        "head_dim": 32,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "num_local_experts": 8,
        "sliding_window": 16,
        "vocab_size": 512,
    }
    return hub_config(**(small | changes))


PRESETS: dict[str, Callable[[], dict[str, Any]]] = {
    "tiny": tiny_config,
    "two-layer": lambda: hub_config(num_hidden_layers=2),
    "20b": hub_config,
}


# ------------------------------------------------------------------------------------------------ the tensors


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16, ties to even; for finite values."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def uniform(low: float, high: float) -> Fill:
    """BF16, evenly spread over [low, high]."""
    step, start = np.float32((high - low) / 65536), np.float32(low)

    def fill(bits: Bits, n: int) -> NDArray[Any]:
        whole = bits.random_raw(n // 4).astype("<u8", copy=False).view("<u2").astype(np.float32)
        return to_bf16((whole + np.float32(0.5)) * step + start)

    return fill


def matrix(gain: float, fan_in: int) -> Fill:
    """BF16 weights that turn `fan_in` inputs of unit variance into outputs of standard deviation `gain`."""
    limit = gain * math.sqrt(3 / fan_in)
    return uniform(-limit, limit)


def codes(bits: Bits, n: int) -> NDArray[Any]:
    """U8, two E2M1 codes a byte, all 256 equally likely."""
    return bits.random_raw(n // 8).astype("<u8", copy=False).view(np.uint8)


def scales(gain: float, fan_in: int) -> Fill:
    """U8, E8M0: three neighbouring powers of two (1:2:1), for outputs of deviation about `gain`."""
    middle = 127 + round(math.log2(gain / math.sqrt(fan_in) / CODE_RMS))

    def fill(bits: Bits, n: int) -> NDArray[Any]:
        draw = codes(bits, n)
        return ((draw & 1) + (draw >> 7) + (middle - 1)).astype(np.uint8)

    return fill


def layer_tensors(config: dict[str, Any], layer: int) -> Iterator[Tensor]:
    """The tensors of one block, in the Hub's order.

    The gains keep every part visible in the logits: attention scores and router logits spread over a few
    units, some gate and up values pass the SwiGLU limit, and each branch adds a fraction of a unit to the
    residual stream, so that it neither vanishes nor blows up over 24 layers.
    """
    hidden, inner, experts = config["hidden_size"], config["intermediate_size"], config["num_local_experts"]
    query = config["num_attention_heads"] * config["head_dim"]
    key = config["num_key_value_heads"] * config["head_dim"]
    up_blocks, down_blocks = hidden // BLOCK, inner // BLOCK
    for name, dtype, shape, fill in (
        ("input_layernorm.weight", "BF16", (hidden,), uniform(0.6, 1.4)),
        ("self_attn.o_proj.bias", "BF16", (hidden,), uniform(-0.1, 0.1)),
        ("self_attn.o_proj.weight", "BF16", (hidden, query), matrix(1.2, query)),
        ("self_attn.q_proj.bias", "BF16", (query,), uniform(-0.5, 0.5)),
        ("self_attn.k_proj.bias", "BF16", (key,), uniform(-0.5, 0.5)),
        ("self_attn.v_proj.bias", "BF16", (key,), uniform(-0.5, 0.5)),
        ("self_attn.q_proj.weight", "BF16", (query, hidden), matrix(1.0, hidden)),
        ("self_attn.k_proj.weight", "BF16", (key, hidden), matrix(1.0, hidden)),
        ("self_attn.v_proj.weight", "BF16", (key, hidden), matrix(1.0, hidden)),
        ("self_attn.sinks", "BF16", (config["num_attention_heads"],), uniform(-3.0, 7.0)),
        ("mlp.router.bias", "BF16", (experts,), uniform(-0.5, 0.5)),
        ("mlp.router.weight", "BF16", (experts, hidden), matrix(1.5, hidden)),
        ("mlp.experts.gate_up_proj_bias", "BF16", (experts, 2 * inner), uniform(-1.0, 1.0)),
        ("mlp.experts.gate_up_proj_blocks", "U8", (experts, 2 * inner, up_blocks, BLOCK // 2), codes),
        ("mlp.experts.gate_up_proj_scales", "U8", (experts, 2 * inner, up_blocks), scales(2.5, hidden)),
        ("mlp.experts.down_proj_bias", "BF16", (experts, hidden), uniform(-0.2, 0.2)),
        ("mlp.experts.down_proj_blocks", "U8", (experts, hidden, down_blocks, BLOCK // 2), codes),
        ("mlp.experts.down_proj_scales", "U8", (experts, hidden, down_blocks), scales(0.12, inner)),
        ("post_attention_layernorm.weight", "BF16", (hidden,), uniform(0.6, 1.4)),
    ):
        yield Tensor(f"model.layers.{layer}.{name}", dtype, shape, fill)


def all_tensors(config: dict[str, Any]) -> list[Tensor]:
    """Every tensor, in the order the Hub's files were cut in: layers by name (0, 1, 10, ...), the rest."""
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    tensors = [
        tensor
        for layer in sorted(range(config["num_hidden_layers"]), key=str)
        for tensor in layer_tensors(config, layer)
    ]
    return [
        *tensors,
        Tensor("model.embed_tokens.weight", "BF16", (vocabulary, hidden), uniform(-1.73, 1.73)),
        Tensor("model.norm.weight", "BF16", (hidden,), uniform(0.6, 1.4)),
        Tensor("lm_head.weight", "BF16", (vocabulary, hidden), matrix(2.5, hidden)),
    ]


# -------------------------------------------------------------------------------------------------- the files


def in_file_order(tensors: list[Tensor]) -> list[Tensor]:
    """As the safetensors library orders them within a file: by item size, then by name."""
    return sorted(tensors, key=lambda tensor: (-ITEM_SIZE[tensor.dtype], tensor.name))


def file_header(ordered: list[Tensor]) -> bytes:
    """The start of a safetensors file, up to the first tensor's data."""
    entries: dict[str, Any] = {}
    offset = 0
    for tensor in ordered:
        end = offset + tensor.nbytes
        entries[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": (offset, end)}
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_safetensors(path: Path, tensors: list[Tensor], seed: int) -> None:
    """Streams the tensors into one file."""
    ordered = in_file_order(tensors)
    with path.open("wb") as file:
        file.write(file_header(ordered))
        for tensor in ordered:
            bits = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(tensor.name.encode())]))
            left = math.prod(tensor.shape)
            while left:
                count = min(left, PIECE)
                file.write(tensor.fill(bits, count + -count % 8)[:count].tobytes())
                left -= count


def cut(tensors: list[Tensor], shards: int | None) -> list[list[Tensor]]:
    """The tensors of each file: `shards` files of about equal size, or as few as the Hub's limit allows."""
    total = sum(tensor.nbytes for tensor in tensors)
    parts: list[list[Tensor]] = [[]]
    size = done = 0
    for tensor in tensors:
        full = size + tensor.nbytes > HUB_SHARD_BYTES if shards is None else done * shards >= total * len(parts)
        if full and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(tensor)
        size += tensor.nbytes
        done += tensor.nbytes
    return parts


def write_checkpoint(folder: Path, config: dict[str, Any], *, seed: int = 0, shards: int | None = None) -> Path:
    """Writes config.json, generation_config.json and the weights into `folder`; returns the folder.

    One file is named model.safetensors; several are numbered as on the Hub (from 00000, "of" the last number)
    and come with model.safetensors.index.json. A checkpoint that was there before is replaced. config.json is
    written last: where it is, the checkpoint is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / "config.json", *folder.glob("model*.safetensors*")):
        old.unlink(missing_ok=True)
    eos, pad, vocabulary = config["eos_token_id"], config["pad_token_id"], config["vocab_size"]
    own_vocabulary = eos == 200002
    generation = {
        "bos_token_id": 199998 if own_vocabulary else vocabulary - 3,
        "do_sample": True,
        "eos_token_id": [eos, pad, 200012] if own_vocabulary else [eos, pad],
        "pad_token_id": pad,
        "transformers_version": "4.55.0.dev0",
    }
    parts = cut(all_tensors(config), shards)
    weight_map: dict[str, str] = {}
    for number, part in enumerate(parts):
        name = f"model-{number:05}-of-{len(parts) - 1:05}.safetensors"
        if len(parts) == 1:
            name = "model.safetensors"
        write_safetensors(folder / name, part, seed)
        weight_map |= {tensor.name: name for tensor in part}
    if len(parts) > 1:
        total = sum(tensor.nbytes for part in parts for tensor in part)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return folder


def main() -> int:
    """The command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.checkpoints", description="Write a synthetic checkpoint.")
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", type=int, help="number of weight files (default: as on the Hub, below 4.8 GB each)")
    arguments = parser.parse_args()
    folder = write_checkpoint(arguments.out, PRESETS[arguments.preset](), seed=arguments.seed, shards=arguments.shards)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>14,}  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
