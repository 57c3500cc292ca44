"""From the Hub's safetensors files to a Transformer: every tensor checked first, then loaded one at a time."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
from safetensors import SafetensorError, safe_open

from mlx_model import device
from mlx_model.attention import Attention
from mlx_model.config import MXFP4_BLOCK, ModelConfig
from mlx_model.errors import CheckpointError, RequestError
from mlx_model.experts import ExpertMatrix, MixtureOfExperts
from mlx_model.linear import QUANT_GROUP, Linear, make_linear
from mlx_model.rope import RopeTable
from mlx_model.transformer import Block, Transformer

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_FLOATS = ("BF16", "F16", "F32")


def expected_tensors(config: ModelConfig) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Every tensor of the checkpoint: name to (dtypes allowed, shape), as on the Hub."""
    hidden, inner, experts = config.hidden_size, config.intermediate_size, config.num_local_experts
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    floats: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab_size, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (config.vocab_size, hidden),
    }
    packed: dict[str, tuple[int, ...]] = {}
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}."
        floats |= {
            at + "input_layernorm.weight": (hidden,),
            at + "post_attention_layernorm.weight": (hidden,),
            at + "self_attn.sinks": (config.num_attention_heads,),
            at + "mlp.router.weight": (experts, hidden),
            at + "mlp.router.bias": (experts,),
        }
        for name, rows, columns in (
            ("q", queries, hidden),
            ("k", keys, hidden),
            ("v", keys, hidden),
            ("o", hidden, queries),
        ):
            floats[f"{at}self_attn.{name}_proj.weight"] = (rows, columns)
            floats[f"{at}self_attn.{name}_proj.bias"] = (rows,)
        for name, rows, columns in (("gate_up", 2 * inner, hidden), ("down", hidden, inner)):
            stem = f"{at}mlp.experts.{name}_proj_"
            floats[stem + "bias"] = (experts, rows)
            packed[stem + "blocks"] = (experts, rows, columns // MXFP4_BLOCK, MXFP4_BLOCK // 2)
            packed[stem + "scales"] = (experts, rows, columns // MXFP4_BLOCK)
    return {name: (_FLOATS, shape) for name, shape in floats.items()} | {
        name: (("U8",), shape) for name, shape in packed.items()
    }


@dataclass(slots=True)
class _Stored:
    file: Path
    dtype: str
    shape: tuple[int, ...]


class Checkpoint:
    """A folder of safetensors files whose tensors have been checked against the config, read one by one.

    Raises CheckpointError, naming the tensor and the file, if a tensor is missing, unknown, of the wrong shape or
    dtype, or reaches beyond the end of its file. Nothing is loaded before all of that is known to be right.
    """

    def __init__(self, folder: Path, config: ModelConfig) -> None:
        self.folder = folder
        self._tensors: dict[str, _Stored] = {}
        for file in _files(folder):
            self._tensors |= _headers(file)
        self._check(expected_tensors(config))
        self._lazy: dict[Path, dict[str, mx.array]] = {}

    def _check(self, expected: dict[str, tuple[tuple[str, ...], tuple[int, ...]]]) -> None:
        for name, (dtypes, shape) in expected.items():
            stored = self._tensors.get(name)
            if stored is None:
                raise CheckpointError(f"{self.folder}: the tensor {name} is missing; download the checkpoint again")
            if stored.shape != shape or stored.dtype not in dtypes:
                raise CheckpointError(
                    f"{stored.file}: {name} is {stored.dtype} {list(stored.shape)}, but config.json asks for "
                    f"{' or '.join(dtypes)} {list(shape)}; the two don't belong together"
                )
        if extra := sorted(self._tensors.keys() - expected.keys()):
            more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
            raise CheckpointError(
                f"{self._tensors[extra[0]].file}: gpt-oss has no tensor {extra[0]}{more}; "
                "this is another model, or its config.json is"
            )

    def take(self, name: str) -> mx.array:
        """The tensor, read from its file now; the checkpoint keeps no reference to it."""
        file = self._tensors[name].file
        if file not in self._lazy:
            self._lazy[file] = mx.load(str(file))  # type: ignore[assignment]
        tensor = self._lazy[file].pop(name)
        mx.eval(tensor)
        return tensor


def _files(folder: Path) -> list[Path]:
    """The safetensors files of the checkpoint: those its index names, or the single one."""
    index = folder / _INDEX
    if not index.is_file():
        if not (folder / _SINGLE).is_file():
            raise CheckpointError(f"{folder} holds neither {_SINGLE} nor {_INDEX}: it is no complete checkpoint")
        return [folder / _SINGLE]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index} can't be read ({error}); download it again") from None
    files = []
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{index} names the file {name!r}, which is not a plain file name")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing; download the checkpoint again, it resumes")
        files.append(folder / name)
    return files


def _headers(file: Path) -> dict[str, _Stored]:
    """Dtype and shape of every tensor in the file, from its header alone."""
    try:
        with safe_open(file, framework="numpy") as tensors:
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            return {name: _Stored(file, s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}
    except (SafetensorError, OSError) as error:
        where = _first_beyond_end(file)
        raise CheckpointError(
            f"{file} is damaged: {where or error}; delete it and download the checkpoint again"
        ) from None


def _first_beyond_end(file: Path) -> str | None:
    """Which tensor a truncated file lost first, if its header can still be read."""
    size = file.stat().st_size
    try:
        with file.open("rb") as raw:
            (length,) = struct.unpack("<Q", raw.read(8))
            header = json.loads(raw.read(length)) if length < size else {}
        ends = sorted((e["data_offsets"][1], name) for name, e in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None
    lost = [name for end, name in ends if 8 + length + end > size]
    return f"it ends after {size} bytes, within or before the tensor {lost[0]}" if lost else None


class _Loader:
    """Builds the Transformer's parts from a checkpoint and counts the bytes they keep."""

    def __init__(self, checkpoint: Checkpoint, config: ModelConfig, dense_bits: int | None) -> None:
        self.checkpoint = checkpoint
        self.config = config
        self.dense_bits = dense_bits
        self.dtype = device.activation_dtype()
        self.resident_bytes = 0

    def vector(self, name: str) -> mx.array:
        """A small tensor in the activations' dtype."""
        return self._kept(self.checkpoint.take(name).astype(self.dtype))

    def stored(self, name: str) -> mx.array:
        """A tensor exactly as stored."""
        return self._kept(self.checkpoint.take(name))

    def _kept(self, array: mx.array) -> mx.array:
        mx.eval(array)
        self.resident_bytes += array.nbytes
        return array

    def linear(self, stem: str, *, bias: bool = True, bits: int | None = None) -> Linear:
        """The matrix `stem`.weight with `stem`.bias."""
        weight = self.checkpoint.take(stem + ".weight").astype(self.dtype)
        offset = self.checkpoint.take(stem + ".bias").astype(self.dtype) if bias else None
        linear = make_linear(weight, offset, bits)
        self.resident_bytes += linear.nbytes
        return linear

    def experts(self, stem: str) -> ExpertMatrix:
        """The Hub's `_blocks` as uint32 words: the same bytes seen differently, not repacked."""
        blocks = self.stored(stem + "_blocks")
        return ExpertMatrix(
            blocks=blocks.flatten(-2).view(mx.uint32),
            scales=self.stored(stem + "_scales"),
            bias=self.vector(stem + "_bias"),
        )

    def block(self, layer: int) -> Block:
        at = f"model.layers.{layer}."
        attention = Attention(
            config=self.config,
            layer=layer,
            query=self.linear(at + "self_attn.q_proj", bits=self.dense_bits),
            key=self.linear(at + "self_attn.k_proj", bits=self.dense_bits),
            value=self.linear(at + "self_attn.v_proj", bits=self.dense_bits),
            output=self.linear(at + "self_attn.o_proj", bits=self.dense_bits),
            sinks=self.vector(at + "self_attn.sinks"),
        )
        experts = MixtureOfExperts(
            top_k=self.config.num_experts_per_tok,
            swiglu_limit=self.config.swiglu_limit,
            # The router decides what is computed at all, and is 0.1 MB a layer: it is never quantised.
            router=self.linear(at + "mlp.router"),
            gate_up=self.experts(at + "mlp.experts.gate_up_proj"),
            down=self.experts(at + "mlp.experts.down_proj"),
        )
        norms = (self.vector(at + f"{name}_layernorm.weight") for name in ("input", "post_attention"))
        return Block(next(norms), attention, next(norms), experts)


def load_transformer(folder: Path, config: ModelConfig, dense_bits: int | None = None) -> tuple[Transformer, int]:
    """The model in `folder`, and the bytes its weights keep in memory.

    `dense_bits` 8, 6 or 4 quantises attention and output matrix while loading; the experts stay as published.
    Raises CheckpointError as Checkpoint does, RequestError for other `dense_bits` or sizes they don't divide.
    """
    if dense_bits is not None and dense_bits not in (8, 6, 4):
        raise RequestError(f"dense_bits is {dense_bits}; it can be 8, 6 or 4")
    if dense_bits and (config.hidden_size % QUANT_GROUP or config.num_attention_heads * config.head_dim % QUANT_GROUP):
        raise RequestError(f"dense_bits needs matrix sizes that are multiples of {QUANT_GROUP}; this model's are not")
    loader = _Loader(Checkpoint(folder, config), config, dense_bits)
    # The output matrix first: while it is converted, it and its conversion are all there is in memory, so that the
    # peak stays that of the finished model.
    lm_head = loader.linear("lm_head", bias=False, bits=dense_bits)
    transformer = Transformer(
        config=config,
        dtype=loader.dtype,
        embedding=loader.stored("model.embed_tokens.weight"),
        blocks=[loader.block(layer) for layer in range(config.num_hidden_layers)],
        norm=loader.vector("model.norm.weight"),
        lm_head=lm_head,
        rope=RopeTable(config),
    )
    return transformer, loader.resident_bytes
