"""How gpt-oss checkpoints name, shape and pack their tensors: OpenAI's files on the Hub, and what mlx-lm makes of them.

The Hub's layout holds gate and up of an expert as one matrix whose rows take turns, with experts in MXFP4 and all else
in bfloat16. mlx-lm (`mlx_lm.convert`, and so mlx-community and LM Studio) splits it in two and may quantise any dense
matrix. Which of the two a checkpoint is in, the names of its tensors tell; how a matrix is packed, their shapes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from metal.formats import MXFP4, MXFP4_BLOCK, Packing
from mlx_model.errors import CheckpointError
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.checkpoint import Stored

_FLOATS = ("BF16", "F16", "F32")
_WORDS, _BYTES = ("U32",), ("U8",)
_AFFINE_BITS, _AFFINE_GROUPS = (2, 3, 4, 5, 6, 8), (32, 64, 128)  # what mx.quantize makes


@dataclass(frozen=True, slots=True)
class Expected:
    """What config.json makes of a tensor."""

    dtypes: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ExpertNames:
    """The tensors of one matrix of every expert: E2M1 codes, E8M0 scales, bias."""

    codes: str
    scales: str
    bias: str


class Layout(Protocol):
    """Where a checkpoint keeps what."""

    def expected(self) -> dict[str, Expected]:
        """Every tensor of the checkpoint, by name."""
        ...

    def packing(self, stem: str) -> Packing | None:
        """How the dense matrix is packed into `stem`.weight, .scales and, where affine, .biases; None for floats."""
        ...

    def gate_up(self, layer: int) -> tuple[ExpertNames, ...]:
        """One matrix whose rows are gate, up, gate, up ...; or two, gate and up."""
        ...

    def down(self, layer: int) -> ExpertNames:
        """The matrix from inner to hidden size."""
        ...


def layout_of(folder: Path, config: ModelConfig, tensors: Mapping[str, Stored]) -> Layout:
    """The layout that `tensors` are in, all of them there and of the dtype and shape that `config` asks for.

    Raises CheckpointError, naming tensor and file, if one is missing, unknown or not what it should be.
    """
    is_mlx = any(".mlp.experts.gate_proj." in name for name in tensors)
    layout: Layout = MlxLayout(config, tensors) if is_mlx else HubLayout(config, tensors)
    expected = layout.expected()
    for name, tensor in expected.items():
        stored = tensors.get(name)
        if stored is None:
            raise CheckpointError(f"{folder}: the tensor {name} is missing; download the checkpoint again")
        if stored.shape != tensor.shape or stored.dtype not in tensor.dtypes:
            raise CheckpointError(
                f"{stored.file}: {name} is {stored.dtype} {list(stored.shape)}, but config.json asks for "
                f"{' or '.join(tensor.dtypes)} {list(tensor.shape)}; the two don't belong together"
            )
    if extra := sorted(tensors.keys() - expected.keys()):
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise CheckpointError(
            f"{tensors[extra[0]].file}: gpt-oss has no tensor {extra[0]}{more}; "
            "this is another model, or its config.json is"
        )
    return layout


class HubLayout:
    """The layout of openai/gpt-oss-20b and 120b on the Hub.

    Raises CheckpointError if the experts are no MXFP4: fine-tuning saves them as floats, often with the config.json
    of before.
    """

    def __init__(self, config: ModelConfig, tensors: Mapping[str, Stored]) -> None:
        self._config = config
        for layer in range(config.num_hidden_layers):
            for names in (*self.gate_up(layer), self.down(layer)):
                floats = tensors.get(names.codes.removesuffix("_blocks"))
                if floats is not None:
                    raise _no_mxfp4(floats, "plain floats")

    def expected(self) -> dict[str, Expected]:
        """See Layout."""
        tensors = dict(_vectors(self._config))
        for matrix in _dense(self._config):
            tensors[matrix.stem + ".weight"] = Expected(_FLOATS, (matrix.rows, matrix.columns))
        experts, hidden, inner = _expert_sizes(self._config)
        for layer in range(self._config.num_hidden_layers):
            (gate_up,), down = self.gate_up(layer), self.down(layer)
            for names, rows, columns in ((gate_up, 2 * inner, hidden), (down, hidden, inner)):
                blocks = columns // MXFP4_BLOCK
                tensors[names.codes] = Expected(_BYTES, (experts, rows, blocks, MXFP4_BLOCK // 2))
                tensors[names.scales] = Expected(_BYTES, (experts, rows, blocks))
                tensors[names.bias] = Expected(_FLOATS, (experts, rows))
        return tensors

    def packing(self, stem: str) -> Packing | None:
        """See Layout: the Hub's dense matrices are floats."""
        return None

    def gate_up(self, layer: int) -> tuple[ExpertNames]:
        """See Layout: one matrix."""
        return (self._names(layer, "gate_up"),)

    def down(self, layer: int) -> ExpertNames:
        """See Layout."""
        return self._names(layer, "down")

    def _names(self, layer: int, matrix: str) -> ExpertNames:
        stem = f"{_experts(layer)}{matrix}_proj_"
        return ExpertNames(stem + "blocks", stem + "scales", stem + "bias")


class MlxLayout:
    """What mlx-lm writes (models/gpt_oss.py, `sanitize`; utils.py, `quantize_model`).

    Raises CheckpointError if a matrix is packed in a way that gptoss-chat doesn't compute with.
    """

    def __init__(self, config: ModelConfig, tensors: Mapping[str, Stored]) -> None:
        self._config = config
        self._packings = {
            matrix.stem: _packing(matrix, tensors)
            for matrix in _dense(config)
            if f"{matrix.stem}.scales" in tensors and f"{matrix.stem}.weight" in tensors
        }
        self._check_experts(tensors)

    def expected(self) -> dict[str, Expected]:
        """See Layout."""
        tensors = dict(_vectors(self._config))
        for matrix in _dense(self._config):
            packing = self.packing(matrix.stem)
            if packing is None:
                tensors[matrix.stem + ".weight"] = Expected(_FLOATS, (matrix.rows, matrix.columns))
                continue
            groups = (matrix.rows, matrix.columns // packing.group_size)
            tensors[matrix.stem + ".weight"] = Expected(_WORDS, (matrix.rows, matrix.columns * packing.bits // 32))
            tensors[matrix.stem + ".scales"] = Expected(_FLOATS if packing.mode == "affine" else _BYTES, groups)
            if packing.mode == "affine":
                tensors[matrix.stem + ".biases"] = Expected(_FLOATS, groups)
        experts, hidden, inner = _expert_sizes(self._config)
        for layer in range(self._config.num_hidden_layers):
            gate, up = self.gate_up(layer)
            for names, rows, columns in ((gate, inner, hidden), (up, inner, hidden), (self.down(layer), hidden, inner)):
                tensors[names.codes] = Expected(_WORDS, (experts, rows, columns // 8))
                tensors[names.scales] = Expected(_BYTES, (experts, rows, columns // MXFP4_BLOCK))
                tensors[names.bias] = Expected(_FLOATS, (experts, rows))
        return tensors

    def packing(self, stem: str) -> Packing | None:
        """See Layout."""
        return self._packings.get(stem)

    def gate_up(self, layer: int) -> tuple[ExpertNames, ExpertNames]:
        """See Layout: two matrices."""
        return self._names(layer, "gate"), self._names(layer, "up")

    def down(self, layer: int) -> ExpertNames:
        """See Layout."""
        return self._names(layer, "down")

    def _check_experts(self, tensors: Mapping[str, Stored]) -> None:
        """Says of other formats of experts what they are; whether all tensors are there is seen later."""
        for layer in range(self._config.num_hidden_layers):
            for names in (*self.gate_up(layer), self.down(layer)):
                codes, offsets = tensors.get(names.codes), names.scales.removesuffix("scales") + "biases"
                if codes is not None and (codes.dtype in _FLOATS or offsets in tensors):
                    kept = "plain floats" if codes.dtype in _FLOATS else "affine-quantised"
                    raise _no_mxfp4(codes, kept)

    def _names(self, layer: int, matrix: str) -> ExpertNames:
        stem = f"{_experts(layer)}{matrix}_proj."
        return ExpertNames(stem + "weight", stem + "scales", stem + "bias")


def _no_mxfp4(codes: Stored, kept: str) -> CheckpointError:
    return CheckpointError(
        f"{codes.file}: the experts are {kept} ({codes.name}); gptoss-chat needs OpenAI's MXFP4, "
        "so take a copy made from the original weights, or the original: gptoss-chat download"
    )


@dataclass(frozen=True, slots=True)
class _Matrix:
    stem: str
    rows: int
    columns: int


def _experts(layer: int) -> str:
    return f"model.layers.{layer}.mlp.experts."


def _expert_sizes(config: ModelConfig) -> tuple[int, int, int]:
    return config.num_local_experts, config.hidden_size, config.intermediate_size


def _dense(config: ModelConfig) -> Iterator[_Matrix]:
    """The matrices that are not experts'."""
    hidden = config.hidden_size
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    if config.vocab_size:
        yield _Matrix("model.embed_tokens", config.vocab_size, hidden)
        yield _Matrix("lm_head", config.vocab_size, hidden)
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}."
        yield _Matrix(at + "self_attn.q_proj", queries, hidden)
        yield _Matrix(at + "self_attn.k_proj", keys, hidden)
        yield _Matrix(at + "self_attn.v_proj", keys, hidden)
        yield _Matrix(at + "self_attn.o_proj", hidden, queries)
        yield _Matrix(at + "mlp.router", config.num_local_experts, hidden)


def _vectors(config: ModelConfig) -> Iterator[tuple[str, Expected]]:
    """Norms, sinks and the biases of dense matrices: floats, and named alike in both layouts."""
    if config.vocab_size:
        yield "model.norm.weight", Expected(_FLOATS, (config.hidden_size,))
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}."
        for norm in ("input", "post_attention"):
            yield f"{at}{norm}_layernorm.weight", Expected(_FLOATS, (config.hidden_size,))
        yield at + "self_attn.sinks", Expected(_FLOATS, (config.num_attention_heads,))
    for matrix in _dense(config):
        if matrix.stem.startswith("model.layers."):
            yield matrix.stem + ".bias", Expected(_FLOATS, (matrix.rows,))


def _packing(matrix: _Matrix, tensors: Mapping[str, Stored]) -> Packing:
    """How a matrix is packed, from its tensors' shapes. Raises CheckpointError if in no way that is supported.

    Its shapes alone tell (mlx-lm infers it in the same way where config.json is silent): an entry in config.json could
    only contradict them.
    """
    weight, scales = tensors[matrix.stem + ".weight"], tensors[matrix.stem + ".scales"]
    bits = 32 * weight.shape[-1] / matrix.columns if weight.shape else 0
    group = matrix.columns / scales.shape[-1] if scales.shape and scales.shape[-1] else 0
    if scales.dtype in _FLOATS and bits in _AFFINE_BITS and group in _AFFINE_GROUPS:
        return Packing("affine", int(bits), int(group))
    if scales.dtype in _BYTES and (bits, group) == (MXFP4.bits, MXFP4.group_size):
        return MXFP4
    raise CheckpointError(
        f"{weight.file}: {weight.name} is {weight.dtype} {list(weight.shape)} with scales {scales.dtype} "
        f"{list(scales.shape)}, which is neither affine nor MXFP4 quantisation of a matrix {matrix.rows} x "
        f"{matrix.columns}; gptoss-chat reads those two"
    )
