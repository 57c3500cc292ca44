"""From a checkpoint's files to a CompiledTransformer, whose weights are views of the mapped files where they can be."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from metal.formats import QUANT_GROUP
from mlx_model.cpu.kernels.formats import Affine4, Affine6, Affine8, Experts, Floats
from mlx_model.cpu.layer import Layer
from mlx_model.cpu.transformer import CompiledTransformer, Head
from mlx_model.memory.parts import ALL, Split
from mlx_model.transformer.compute import Compute
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.embedding import Embedding
from mlx_model.weights.checkpoint import Stored, stored_tensors
from mlx_model.weights.expert_memory import SlotMemory
from mlx_model.weights.experts_on_disk import Bytes, ExpertsOnDisk, Part
from mlx_model.weights.layouts import ExpertNames, layout_of
from mlx_model.weights.residence import Loading, Progress, Residence
from mlx_model.weights.rows import open_rows
from mlx_model.weights.views import Views

Array = NDArray[Any]
Dense = Floats | Affine8 | Affine6 | Affine4

_AFFINE: dict[int, type[Affine8 | Affine6 | Affine4]] = {8: Affine8, 6: Affine6, 4: Affine4}
_NO_BIAS = np.zeros(0, np.float32)
_NO_BIAS.flags.writeable = False
_QUANTISED_AT_ONCE = 1 << 24  # weights: what is in memory beside the matrix while it is made


def why_not_compiled(folder: Path, config: ModelConfig) -> str | None:
    """What prevents a checkpoint from being computed by the compiled layers; None if nothing does.

    Raises CheckpointError, as loading does.
    """
    layout = layout_of(folder, config, stored_tensors(folder, config.part))
    if config.num_attention_heads * config.head_dim % 32:
        return "the model's heads together are no multiple of 32 numbers wide"
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}.self_attn."
        kinds = [layout.packing(f"{at}{name}_proj") for name in "qkvo"]
        if len({*kinds[:3]}) > 1 or not all(map(_is_read, kinds)):
            return f"layer {layer} of the model is packed in a way that the CPU kernels don't read"
    return (
        None
        if _is_read(layout.packing("lm_head"))
        else "the model's output matrix is packed in a way that the CPU kernels don't read"
    )


def _is_read(packing: Any) -> bool:
    return packing is None or (
        packing.mode == "affine" and packing.bits in _AFFINE and packing.group_size == QUANT_GROUP
    )


class _Loader:
    """Builds the parts of a CompiledTransformer and counts the bytes they keep."""

    def __init__(
        self,
        config: ModelConfig,
        loading: Loading,
        dense_bits: int | None,
        views: Views,
        on_disk: ExpertsOnDisk | None,
    ) -> None:
        self.config, self.loading, self.dense_bits, self.views = config, loading, dense_bits, views
        self.on_disk = on_disk
        self.tensors, self.layout = loading.tensors, loading.layout

    def kept(self, array: Array, stored: Sequence[Stored] = ()) -> Array:
        """Counts an array as part of the model, and keeps it from being written; `stored` are the tensors it is made
        of, whose pages it has if it is a view."""
        array.flags.writeable = False
        self.loading.count(array.nbytes, mapped=any(self.views.has(array, each) for each in stored))
        return array

    def read(self, name: str) -> Array:
        """The tensor as it is stored, bfloat16 as uint16, for its bytes to be counted by the caller."""
        stored = self.tensors[name]
        array = self.views.take(stored)
        self.loading.report(stored.nbytes)
        return array

    def take(self, name: str) -> Array:
        """The tensor as it is stored."""
        return self.kept(self.read(name), [self.tensors[name]])

    def vector(self, name: str) -> Array:
        """The tensor in float32."""
        return self.kept(floats(self.read(name)))

    def numbers(self, name: str) -> Array:
        """The tensor as kernels read floats: bfloat16 and float32 as stored, float16 in float32."""
        return self.vector(name) if self.tensors[name].dtype == "F16" else self.take(name)

    def matrix(self, stem: str, *, bias: bool = True) -> Dense:
        """The matrix `stem`.weight with `stem`.bias; quantised here if that is asked for and it is not in the file."""
        added = self.vector(stem + ".bias") if bias else _NO_BIAS
        packing = self.layout.packing(stem)
        if packing is not None:
            rows = self.tensors[stem + ".weight"].shape[0]
            codes = self.take(stem + ".weight").view(np.uint8).reshape(rows, -1)
            return _AFFINE[packing.bits](codes, self.numbers(stem + ".scales"), self.numbers(stem + ".biases"), added)
        if self.dense_bits is None:
            return Floats(self.numbers(stem + ".weight"), added)
        codes, scales, offsets = map(self.kept, quantised(self.read(stem + ".weight"), self.dense_bits))
        return _AFFINE[self.dense_bits](codes, scales, offsets, added)

    def router(self, stem: str) -> Floats:
        """Which experts a token goes through; one that is quantised in the file is multiplied out once."""
        bias, packing = self.vector(stem + ".bias"), self.layout.packing(stem)
        if packing is None:
            return Floats(self.numbers(stem + ".weight"), bias)
        codes, scales = (mx.array(self.read(f"{stem}.{part}")) for part in ("weight", "scales"))
        offsets = None
        if packing.mode == "affine":
            scales, offsets = mx.array(floats(np.asarray(scales))), mx.array(floats(self.read(stem + ".biases")))
        weight = mx.dequantize(codes, scales, offsets, **asdict(packing)).astype(mx.float32)
        return Floats(self.kept(np.array(weight)), bias)

    def experts(self, names: tuple[ExpertNames, ...]) -> Experts:
        """One matrix of every expert, as it is stored; of two, gate and up, one whose rows take turns."""
        codes, scales, bias = (
            self.turns([getattr(part, name) for part in names]) for name in ("codes", "scales", "bias")
        )
        experts, rows = bias.shape
        self.loading.check_scales(names[0].scales, scales)
        bias = self.kept(floats(bias))
        stored = self.tensors[names[0].codes], self.tensors[names[0].scales]
        blocks = codes.view(np.uint8).reshape(experts, rows, -1)
        return Experts(self.kept(blocks, stored[:1]), self.kept(scales, stored[1:]), bias)

    def slots(self, names: tuple[ExpertNames, ...], on_disk: ExpertsOnDisk) -> tuple[Experts, list[tuple[Part, Bytes]]]:
        """The same with slots in place of all experts' blocks and scales, and the memory of the slots."""
        bias = self.turns([part.bias for part in names])
        for part in names:
            self.loading.check_scales(part.scales, self.read(part.scales))
        codes, scales = ([self.tensors[getattr(part, kind)] for part in names] for kind in ("codes", "scales"))
        self.loading.report(sum(stored.nbytes for stored in codes))
        parts = [on_disk.disk.part(*codes), on_disk.disk.part(*scales)]
        memory = [np.empty((on_disk.size, part.nbytes), np.uint8) for part in parts]
        blocks, factors = (self.kept(each.reshape(on_disk.size, bias.shape[1], -1).view()) for each in memory)
        return Experts(blocks, factors, self.kept(floats(bias))), [*zip(parts, memory, strict=True)]

    def turns(self, names: Sequence[str]) -> Array:
        """A tensor [E, rows, ..], or two whose rows take turns."""
        parts = [self.read(name) for name in names]
        if len(parts) == 1:
            return parts[0]
        experts, rows, *others = parts[0].shape
        return np.stack(parts, axis=2).reshape(experts, 2 * rows, *others)

    def layer(self, index: int) -> Layer:
        """One layer."""
        at = f"model.layers.{index}."
        query, key, value, output = (self.matrix(f"{at}self_attn.{name}_proj") for name in "qkvo")
        names = self.layout.gate_up(index), (self.layout.down(index),)
        if self.on_disk is None or index >= self.on_disk.layers:
            gate_up, down = map(self.experts, names)
            slots = np.arange(self.config.num_local_experts, dtype=np.int32)
        else:
            (gate_up, memory), (down, more) = (self.slots(each, self.on_disk) for each in names)
            slots = self.on_disk.fill(index, SlotMemory(self.on_disk.disk, [*memory, *more])).slot_of.view()
        slots.flags.writeable = False
        return Layer(
            attention_norm=self.vector(at + "input_layernorm.weight"),
            query=query,
            key=key,
            value=value,
            output=output,
            sinks=self.vector(at + "self_attn.sinks"),
            mixture_norm=self.vector(at + "post_attention_layernorm.weight"),
            router=self.router(at + "mlp.router"),
            slots=slots,
            gate_up=gate_up,
            down=down,
        )

    def head(self) -> Head:
        """The output matrix and the norm before it; of an empty vocabulary, an empty one."""
        if not self.config.vocab_size:
            hidden = self.config.hidden_size
            return Head(np.ones(hidden, np.float32), Floats(np.zeros((0, hidden), np.float32), _NO_BIAS))
        matrix = self.matrix("lm_head", bias=False)
        return Head(self.vector("model.norm.weight"), matrix)

    def embedding(self) -> Embedding:
        """Its rows, which stay in the file."""
        if not self.config.vocab_size:
            return Embedding((), mx.float32)
        packing = self.layout.packing("model.embed_tokens")
        parts = ["weight"] if packing is None else ["weight", "scales"]
        parts += ["biases"] if packing is not None and packing.mode == "affine" else []
        stored = [self.tensors[f"model.embed_tokens.{part}"] for part in parts]
        self.loading.report(sum(tensor.nbytes for tensor in stored))
        return Embedding(tuple(open_rows(tensor, lazily=False) for tensor in stored), mx.float32, packing)


def floats(array: Array) -> Array:
    """A tensor as Views.take gives it, in float32, in memory of its own."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def quantised(weight: Array, bits: int) -> tuple[Array, Array, Array]:
    """Codes, scales and offsets of a matrix as Views.take gives it, by mx.quantize, as on a GPU."""
    rows, columns = weight.shape
    step = max(1, _QUANTISED_AT_ONCE // columns)
    found = []
    for start in range(0, rows, step):
        part = mx.array(weight[start : start + step])
        part = part.view(mx.bfloat16) if weight.dtype == np.uint16 else part
        codes, *factors = mx.quantize(part, group_size=QUANT_GROUP, bits=bits)
        found.append((np.array(codes), *(_stored(factor) for factor in factors)))
    whole = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    return whole[0].view(np.uint8), whole[1], whole[2]


def _stored(factor: mx.array) -> Array:
    """bfloat16 as uint16, anything else in float32."""
    return np.array(factor.view(mx.uint16) if factor.dtype == mx.bfloat16 else factor.astype(mx.float32))


def load_compiled(
    folder: Path,
    config: ModelConfig,
    compute: Compute,
    dense_bits: int | None = None,
    map: str = "auto",
    progress: Progress = lambda done, total: None,
    *,
    split: Split = ALL,
) -> tuple[CompiledTransformer, Residence]:
    """What loader.load_transformer does, for the compiled layers; `map` as in Views.

    Raises what that does. `why_not_compiled` must have found nothing.
    """
    loading = Loading.of(folder, config, progress)
    views = Views(loading.tensors.values(), map)
    on_disk = ExpertsOnDisk(config, loading.tensors, split) if split.layers else None
    loader = _Loader(config, loading, dense_bits, views, on_disk)
    head = loader.head()
    layers = [loader.layer(index) for index in range(config.num_hidden_layers)]
    streaming = None if on_disk is None else on_disk.streaming
    transformer = CompiledTransformer(
        config, compute, loader.embedding(), layers, head, views.check, streaming=streaming
    )
    return transformer, loading.residence(views.unaligned_bytes, views.refusal)
