"""LoRA adapters in the files of Hugging Face's peft, read and written, so that other programs take them too.

A folder has adapter_config.json and adapter_model.safetensors. Of a dense matrix, `lora_A.weight` is [rank, in] and
`lora_B.weight` [out, rank]. peft wraps the two matrices of the experts one around the other: which is which shows in
the shapes alone. Their A is [E * rank, in], expert by expert; B is [out, rank * E], rank by rank.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from metal.files import replace_file
from mlx_model.checkpoint_files import read_object
from mlx_model.errors import CheckpointError
from mlx_model.transformer.adapters import ATTENTION, EXPERTS, MATRICES, ROUTER, Adapters, operations_of, shapes
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.checkpoint import Stored, metadata_of, tensors_of

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE_WEIGHTS = "base_weights"
"""The fact by which an adapter names the weights beside which it was trained: their fingerprint."""
REMEDY = "copy the adapter here again, or train it again with `gptoss-chat finetune --restart`"
"""What to do about a damaged one: no download brings it back."""

_MOST_RANK = 1024
_START = "base_model.model.model.layers."
_MODULES = {f"self_attn.{name}": name for name in ATTENTION} | {"mlp.router": ROUTER}
_EXPERTS = ("mlp.experts.base_layer", "mlp.experts")
"""What peft calls the inner and the outer of the two; the inner is the first of `target_parameters`."""
_PARAMETERS = {ROUTER: "mlp.router.weight"} | {name: f"mlp.experts.{name}" for name in EXPERTS}
_DTYPES = ("F32", "BF16", "F16")
_UNREAD = ("use_dora", "use_bdlora", "use_qalora", "modules_to_save", "layer_replication", "trainable_token_indices")
"""Options of peft that would change what an adapter computes."""


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """What a folder holds: adapters in float32, the name of the model that they belong to, "" where it is not said, and
    what the program that wrote them says of them."""

    adapters: Adapters
    base: str
    facts: Mapping[str, str]


def read_adapter(folder: Path, config: ModelConfig) -> AdapterFile:
    """The adapters in a folder, for a model of this configuration.

    Raises CheckpointError, which names the file: one is missing or damaged, it is another kind of adapter, or one for
    a model of another shape. Shapes are checked before anything is allocated.
    """
    path, file = folder / CONFIG, folder / WEIGHTS
    fields = read_object(path, REMEDY)
    _check_kind(path, fields)
    stored = {tensor.name: tensor for tensor in tensors_of(file, REMEDY)}
    places = dict(_places(file, stored, config))
    if not places:
        raise CheckpointError(f"{file} holds no adapter")
    loaded = mx.load(str(file))
    assert isinstance(loaded, dict)
    arrays, scales = dict[str, mx.array](), dict[str, float]()
    for place, (stem, rank) in places.items():
        for part, letter in (("a", "A"), ("b", "B")):
            array = loaded.pop(f"{stem}.lora_{letter}.weight").astype(mx.float32)
            arrays[f"{place}.{part}"] = _from_peft(array, place, part, rank, config)
        scales[place] = _scale(path, fields, place, rank)
    mx.eval(arrays)
    for name, array in arrays.items():
        if not mx.isfinite(array).all().item():
            raise CheckpointError(f"{file} is damaged: {name} holds values that are not numbers; {REMEDY}")
    base = fields.get("base_model_name_or_path")
    return AdapterFile(Adapters(arrays, scales), base if isinstance(base, str) else "", metadata_of(file, REMEDY))


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What is known of an adapter without a model: the name of its model, its size on the disk, and the operations of a
    decode step that leave the kernels because of it."""

    base: str
    nbytes: int
    operations: tuple[str, ...]


def adapter_facts(folder: Path) -> AdapterFacts:
    """Of the adapter in a folder, from the header of its file. Raises CheckpointError."""
    path, file = folder / CONFIG, folder / WEIGHTS
    fields = read_object(path, REMEDY)
    _check_kind(path, fields)
    tensors = tensors_of(file, REMEDY)
    modules = {tensor.name.partition(".lora_")[0].removeprefix(_START).partition(".")[2] for tensor in tensors}
    matrices = {_MODULES[module] for module in modules & {*_MODULES}}
    if modules & {*_EXPERTS}:
        matrices |= {*EXPERTS}
    base = fields.get("base_model_name_or_path")
    size = sum(tensor.nbytes for tensor in tensors)
    return AdapterFacts(base if isinstance(base, str) else "", size, operations_of(matrices))


def write_adapter(folder: Path, adapters: Adapters, base: str, layers: int, facts: Mapping[str, str]) -> None:
    """Writes both files, each in one step and to the disk, over those that were there. Raises OSError.

    `base` is the name of the model, which has so many `layers`, and `facts` what else is to be known.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for place in adapters.scales:
        layer, matrix = place.split(".")
        for part, letter in (("a", "A"), ("b", "B")):
            array = np.array(adapters.arrays[f"{place}.{part}"].astype(mx.float32), order="C")
            tensors[f"{_START}{layer}.{_stem(matrix, place, adapters)}.lora_{letter}.weight"] = _to_peft(array, part)
    # `save` writes memory as it lies, which is why the arrays are in C order.
    content = save(tensors, {"format": "pt", **facts})
    replace_file(folder / WEIGHTS, content, durable=True)
    text = json.dumps(_config(adapters, base, layers), indent=2) + "\n"
    replace_file(folder / CONFIG, text.encode(), durable=True)


def _check_kind(path: Path, fields: Mapping[str, Any]) -> None:
    if fields.get("peft_type") != "LORA":
        raise CheckpointError(f"{path} is of the type {str(fields.get('peft_type'))[:40]!r}; only LORA can be used")
    if used := [name for name in _UNREAD if fields.get(name)]:
        raise CheckpointError(f"{path} sets {used[0]}, which gptoss-chat doesn't apply")
    if fields.get("bias", "none") != "none":
        raise CheckpointError(f"{path} has trained biases, which gptoss-chat doesn't apply")


def _places(file: Path, stored: dict[str, Stored], config: ModelConfig) -> Iterator[tuple[str, tuple[str, int]]]:
    """Each place with the name of its tensors up to "lora_A", and its rank."""
    rest = set(stored)
    for name in sorted(stored):
        stem, is_first, _ = name.partition(".lora_A.weight")
        other = f"{stem}.lora_B.weight"
        if not is_first or other not in stored:
            continue
        rest -= {name, other}
        layer, _, module = stem.removeprefix(_START).partition(".")
        if not stem.startswith(_START) or not layer.isdecimal() or len(layer) > 4:
            raise CheckpointError(f"{file} has an adapter for {stem[:120]!r}, which is no matrix of gpt-oss")
        if int(layer) >= config.num_hidden_layers:
            raise CheckpointError(
                f"{file} is for a model with a layer {int(layer)}; this one has {config.num_hidden_layers} layers"
            )
        a, b = stored[name], stored[other]
        matrix, rank = _matrix(file, stem, module, a, b, config)
        if a.dtype not in _DTYPES or b.dtype not in _DTYPES:
            raise CheckpointError(f"{file}: {stem[:120]} is of the type {a.dtype}; {', '.join(_DTYPES)} can be read")
        yield f"{int(layer)}.{matrix}", (stem, rank)
    if rest:
        raise CheckpointError(f"{file} holds {min(rest)[:120]!r}, which gptoss-chat doesn't apply")


def _matrix(file: Path, stem: str, module: str, a: Stored, b: Stored, config: ModelConfig) -> tuple[str, int]:
    """Which matrix a pair of tensors belongs to, and its rank."""
    candidates = EXPERTS if module in _EXPERTS else (_MODULES[module],) if module in _MODULES else ()
    for matrix in candidates:
        experts = config.num_local_experts if matrix in EXPERTS else 1
        rank = a.shape[0] // experts if a.shape else 0
        if not 1 <= rank <= _MOST_RANK:
            continue
        first, second = shapes(config, matrix, rank)
        if a.shape == (experts * rank, first[-1]) and b.shape == (second[-2], experts * rank):
            return matrix, rank
    if not candidates:
        raise CheckpointError(f"{file} has an adapter for {stem[:120]!r}, which is no matrix that can have one")
    raise CheckpointError(
        f"{file} is for another model: {stem[:120]} has the shapes {list(a.shape)} and {list(b.shape)}, which fit no "
        "matrix of this one"
    )


def _from_peft(array: mx.array, place: str, part: str, rank: int, config: ModelConfig) -> mx.array:
    if place.partition(".")[2] not in EXPERTS:
        return array
    experts = config.num_local_experts
    if part == "a":
        return array.reshape(experts, rank, -1)
    return array.reshape(-1, rank, experts).transpose(2, 0, 1)


def _to_peft(array: NDArray[Any], part: str) -> NDArray[Any]:
    if array.ndim == 2:
        return array
    if part == "a":
        return array.reshape(-1, array.shape[-1])
    return np.ascontiguousarray(array.transpose(1, 2, 0)).reshape(array.shape[1], -1)


def _stem(matrix: str, place: str, adapters: Adapters) -> str:
    """What peft calls the module of a place within its layer."""
    if matrix not in EXPERTS:
        return next(module for module, name in _MODULES.items() if name == matrix)
    both = all(f"{place.split('.')[0]}.{name}" in adapters.scales for name in EXPERTS)
    return _EXPERTS[0 if both and matrix == EXPERTS[0] else 1]


def _scale(path: Path, fields: Mapping[str, Any], place: str, rank: int) -> float:
    """The factor on a pair's product: alpha over the rank, or over its root. peft's patterns of alpha are read where
    they are names."""
    name = f"model.{_target(place).removesuffix('.weight')}"
    alpha, patterns = fields.get("lora_alpha"), fields.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise CheckpointError(f"{path}: alpha_pattern is no object")
    for pattern, value in patterns.items():
        if not all(part.isidentifier() or part.isdecimal() for part in pattern.split(".")):
            raise CheckpointError(f"{path}: alpha_pattern has {pattern[:80]!r}; only names can be read")
        if f".{name}".endswith(f".{pattern.removesuffix('.weight')}"):
            alpha = value
            break
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1e6:
        raise CheckpointError(f"{path}: lora_alpha is {str(alpha)[:40]!r}; it must be a number above 0")
    return alpha / (math.sqrt(rank) if fields.get("use_rslora") else rank)


def _config(adapters: Adapters, base: str, layers: int) -> dict[str, Any]:
    """adapter_config.json. What most places have in common is said once, the rest place by place."""
    ranks = {place: adapters.arrays[f"{place}.a"].shape[-2] for place in adapters.scales}
    alphas = {place: adapters.scales[place] * rank for place, rank in ranks.items()}
    rank, alpha = Counter(ranks.values()).most_common(1)[0][0], Counter(alphas.values()).most_common(1)[0][0]
    targets: dict[bool, list[str]] = {True: [], False: []}
    for matrix in MATRICES:  # in this order: the inner of two wrappers is that of the first parameter
        mine = [place for place in ranks if place.endswith(f".{matrix}")]
        name = _PARAMETERS.get(matrix, matrix)
        names = [name] if len(mine) == layers else [_target(place) for place in mine]
        targets[matrix in _PARAMETERS] += names if mine else []
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {_target(place): value for place, value in ranks.items() if value != rank},
        "alpha_pattern": {_target(place): value for place, value in alphas.items() if value != alpha},
        "target_modules": targets[False],
        "target_parameters": targets[True],
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }


def _target(place: str) -> str:
    """What peft calls one place."""
    layer, matrix = place.split(".")
    return f"layers.{layer}.{_PARAMETERS.get(matrix, f'self_attn.{matrix}')}"
