"""Writes a checkpoint in the Hub's layout as a GGUF file for llama.cpp, no weight changed.

    python -m tests.peers.gguf_layout FOLDER FILE

Dense matrices stay bfloat16, and a code and a scale of MXFP4 are the same bits there, in other places: ggml's block of
32 weights is the scale and 16 bytes, of which byte j has weight j in its low half and weight j + 16 in its high half;
the Hub's bytes hold neighbours. gate and up, whose rows alternate in the Hub's tensors, are two tensors. Vectors become
float32. A checkpoint with a tokenizer keeps it; one without takes ids alone. Tensors are written one by one, so memory
stays far below the size of the model.

llama.cpp rounds the YaRN ramp to whole dimensions, which gpt-oss' config rules out ("truncate": false) and GGUF has no
field for. So its logits differ a little from the model's, whatever the precision.

Needs the package gguf.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, RopeScalingType, TokenType
from numpy.typing import NDArray

from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.checkpoint import Stored, stored_tensors

Bytes = NDArray[np.uint8]

ARCHITECTURE = "gpt-oss"
PRE_TOKENIZER = "gpt-4o"
"""llama.cpp's name of the expression that cuts text before gpt-oss' byte pairs are merged."""

DENSE = {
    "model.embed_tokens": "token_embd",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.router": "ffn_gate_inp",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "model.norm": "output_norm",
}
"""What has a `weight`, and maybe a `bias`; those of a layer without the layer's name."""


@dataclass(frozen=True)
class Entry:
    """A tensor of the GGUF file; `shape` is that of its elements, rows first, and `read` gives its bytes."""

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    nbytes: int
    read: Callable[[], NDArray[Any]]


# -------------------------------------------------------------------------------------------------- the tensors


def bytes_of(stored: Stored) -> Bytes:
    """A tensor's bytes in the shape of its elements, mapped: [..., item size]."""
    mapped = np.memmap(stored.file, np.uint8, "r", stored.offset, (stored.nbytes,))
    return mapped.reshape(*stored.shape, -1)


def ggml_blocks(blocks: Bytes, scales: Bytes) -> Bytes:
    """The Hub's blocks [..., 16] and their scales [...] as ggml's blocks [..., 17]."""
    block = np.empty((*scales.shape, 17), np.uint8)
    block[..., 0] = scales
    first, second = blocks[..., :8], blocks[..., 8:]  # weights 0 to 15, 16 to 31
    block[..., 1::2] = first & 15 | second << 4
    block[..., 2::2] = first >> 4 | second & 0xF0
    return block


def _vector(name: str, stored: Stored, part: slice = slice(None)) -> Entry:
    """bfloat16 as float32; of an expert bias [experts, rows] the rows of `part`."""

    def read() -> NDArray[Any]:
        halves = bytes_of(stored).view(np.uint16)[..., 0][..., part]
        return (halves.astype(np.uint32) << 16).view(np.float32)

    shape = (*stored.shape[:-1], len(range(stored.shape[-1])[part]))
    return Entry(name, GGMLQuantizationType.F32, shape, 4 * int(np.prod(shape)), read)


def _matrix(name: str, stored: Stored) -> Entry:
    """bfloat16 as it is."""
    return Entry(name, GGMLQuantizationType.BF16, stored.shape, stored.nbytes, lambda: bytes_of(stored))


def _experts(name: str, blocks: Stored, scales: Stored, part: slice = slice(None)) -> Entry:
    """MXFP4; of each expert the rows of `part`."""

    def read() -> NDArray[Any]:
        return ggml_blocks(bytes_of(blocks)[:, part, ..., 0], bytes_of(scales)[:, part, ..., 0])

    experts, rows, count, _ = blocks.shape
    shape = (experts, len(range(rows)[part]), 32 * count)
    return Entry(name, GGMLQuantizationType.MXFP4, shape, int(np.prod(shape)) // 32 * 17, read)


def entries(tensors: dict[str, Stored], layers: int) -> Iterator[Entry]:
    """Every tensor of the model under llama.cpp's name."""
    for prefix, new_prefix in (("", ""), *((f"model.layers.{i}.", f"blk.{i}.") for i in range(layers))):
        for stem, new_stem in DENSE.items():
            for kind in ("weight", "bias"):
                stored = tensors.get(f"{prefix}{stem}.{kind}")
                if stored is not None:
                    name = f"{new_prefix}{new_stem}.{kind}"
                    # The router decides which experts are used: llama.cpp has it in float32.
                    is_matrix = len(stored.shape) == 2 and stem != "mlp.router"
                    yield _matrix(name, stored) if is_matrix else _vector(name, stored)
        if not prefix:
            continue
        yield _vector(f"{new_prefix}attn_sinks.weight", tensors[f"{prefix}self_attn.sinks"])
        for projection, part, new in (
            ("gate_up", slice(0, None, 2), "gate"),
            ("gate_up", slice(1, None, 2), "up"),
            ("down", slice(None), "down"),
        ):
            stem, new_stem = f"{prefix}mlp.experts.{projection}_proj", f"{new_prefix}ffn_{new}_exps"
            yield _experts(f"{new_stem}.weight", tensors[f"{stem}_blocks"], tensors[f"{stem}_scales"], part)
            yield _vector(f"{new_stem}.bias", tensors[f"{stem}_bias"], part)


# ------------------------------------------------------------------------------------------------- the metadata


def _describe(writer: GGUFWriter, config: ModelConfig) -> None:
    """What llama.cpp must know of the model; it knows of gpt-oss that every other layer has a window."""
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_expert_feed_forward_length(config.intermediate_size)
    writer.add_expert_count(config.num_local_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_sliding_window(config.sliding_window)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(config.yarn.factor)
    writer.add_rope_scaling_orig_ctx_len(config.yarn.original_context)
    writer.add_rope_scaling_yarn_beta_fast(config.yarn.beta_fast)
    writer.add_rope_scaling_yarn_beta_slow(config.yarn.beta_slow)


def _add_tokenizer(writer: GGUFWriter, folder: Path, config: ModelConfig) -> None:
    """Tokens and merges; without a tokenizer.json only how many ids there are."""
    writer.add_vocab_size(config.vocab_size)
    path = folder / "tokenizer.json"
    if not path.is_file():
        writer.add_tokenizer_model("no_vocab")
        return
    stored = json.loads(path.read_text())
    texts = [f"[unused {id}]" for id in range(config.vocab_size)]
    kinds = [TokenType.UNUSED] * config.vocab_size
    for text, id in stored["model"]["vocab"].items():
        texts[id], kinds[id] = text, TokenType.NORMAL
    for token in stored["added_tokens"]:
        texts[token["id"]], kinds[token["id"]] = token["content"], TokenType.CONTROL
    merges = stored["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(texts.index("<|startoftext|>"))
    writer.add_eos_token_id(texts.index("<|return|>"))
    writer.add_pad_token_id(texts.index("<|endoftext|>"))
    writer.add_add_bos_token(False)


def write_gguf(folder: Path, file: Path) -> Path:
    """Writes the checkpoint in `folder` into `file`, which appears when it is whole; returns it.

    Raises CheckpointError if the checkpoint is not a sound gpt-oss model in the Hub's layout.
    """
    config = ModelConfig.load(folder)
    contents = list(entries(stored_tensors(folder), config.num_hidden_layers))
    unfinished = file.with_name(file.name + ".part")
    writer = GGUFWriter(unfinished, ARCHITECTURE)
    _describe(writer, config)
    _add_tokenizer(writer, folder, config)
    for entry in contents:
        writer.add_tensor_info(entry.name, entry.shape, np.dtype(np.float32), entry.nbytes, raw_dtype=entry.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for entry in contents:
        writer.write_tensor_data(entry.read())
    writer.close()
    return unfinished.rename(file)


def main() -> int:
    """The command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers.gguf_layout")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("file", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    print(f"{write_gguf(arguments.folder, arguments.file).stat().st_size:,} bytes in {arguments.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
