"""Writes checkpoints in the layout of mlx-lm's conversions, from checkpoints in the Hub's, with MLX's own operations.

tests/peers/test_mlx_lm_conversion.py holds it against mlx-lm itself.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx

AFFINE_8 = {"mode": "affine", "bits": 8, "group_size": 64}
AFFINE_4 = {"mode": "affine", "bits": 4, "group_size": 32}
MXFP4 = {"mode": "mxfp4", "bits": 4, "group_size": 32}

Choice = Callable[[str], dict[str, Any] | None]
"""How the dense matrix of a name is quantised, None: not at all."""


def hub_tensors(folder: Path) -> dict[str, mx.array]:
    """All tensors of a checkpoint, of one file or several."""
    tensors: dict[str, mx.array] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        tensors |= mx.load(str(file))  # type: ignore[arg-type]
    return tensors


def split_experts(tensors: dict[str, mx.array]) -> dict[str, mx.array]:
    """mlx-lm's names, with gate and up apart, as models/gpt_oss.py's `sanitize` makes them."""
    renamed: dict[str, mx.array] = {}
    for name, tensor in tensors.items():
        if ".experts." not in name:
            renamed[name] = tensor
            continue
        stem, kind = name.rsplit("_", 1)
        if kind == "blocks":
            tensor, kind = tensor.view(mx.uint32).flatten(-2), "weight"
        if stem.endswith("gate_up_proj"):
            for part, start in (("gate_proj", 0), ("up_proj", 1)):
                renamed[f"{stem.removesuffix('gate_up_proj')}{part}.{kind}"] = mx.contiguous(tensor[:, start::2])
        else:
            renamed[f"{stem}.{kind}"] = tensor
    return renamed


def is_dense(name: str, tensor: mx.array) -> bool:
    """Whether the tensor is a matrix that mlx-lm may quantise."""
    return name.endswith(".weight") and tensor.ndim == 2 and ".experts." not in name


def quantise(tensors: dict[str, mx.array], choice: Choice) -> tuple[dict[str, mx.array], dict[str, Any]]:
    """The tensors with dense matrices quantised, and what config.json says of each."""
    packed: dict[str, mx.array] = {}
    entries: dict[str, Any] = {}
    for name, tensor in tensors.items():
        stem = name.removesuffix(".weight")
        how = choice(stem) if is_dense(name, tensor) else None
        if how is None:
            packed[name] = tensor
            continue
        parts = mx.quantize(tensor, **how)
        packed |= {f"{stem}.{part}": array for part, array in zip(("weight", "scales", "biases"), parts, strict=False)}
        entries[stem] = how
    return packed, entries


def write_mlx_layout(source: Path, folder: Path, choice: Choice = lambda stem: None, shards: int = 1) -> Path:
    """Converts the checkpoint in `source`, and returns the new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors, entries = quantise(split_experts(hub_tensors(source)), choice)
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors" if shards > 1 else "model.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        mx.save_safetensors(str(folder / file), part, metadata={"format": "mlx"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": sum(array.nbytes for array in tensors.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = json.loads((source / "config.json").read_text())
    config["quantization"] = config["quantization_config"] = {"group_size": 32, "bits": 4, "mode": "mxfp4", **entries}
    (folder / "config.json").write_text(json.dumps(dict(sorted(config.items())), indent=4))
    return folder


def write_dequantised(source: Path, hub: Path, folder: Path) -> Path:
    """The mlx-lm checkpoint in `source` in the Hub's layout: dense matrices in float32, exactly as their codes say;
    experts, which no conversion changes, from the checkpoint `hub` that it was made of."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors, packed = hub_tensors(hub), hub_tensors(source)
    entries = json.loads((source / "config.json").read_text())["quantization"]
    for name in list(tensors):
        stem = name.removesuffix(".weight")
        if is_dense(name, tensors[name]) and f"{stem}.scales" in packed:
            how = {"mode": "affine"} | entries[stem]
            codes, scales, offsets = (packed.get(f"{stem}.{part}") for part in ("weight", "scales", "biases"))
            if offsets is not None:
                scales, offsets = scales.astype(mx.float32), offsets.astype(mx.float32)
            tensors[name] = mx.dequantize(codes, scales, offsets, **how, dtype=mx.float32)
    mx.save_safetensors(str(folder / "model.safetensors"), tensors)
    (folder / "config.json").write_text((hub / "config.json").read_text())
    return folder
