"""From a checkpoint's files to a Transformer: every tensor checked first, then loaded one at a time."""

from dataclasses import asdict
from pathlib import Path

import mlx.core as mx
import numpy as np

from metal.address import alignment_of
from metal.experts import MAX_SCALE_BYTE
from metal.formats import Packing
from metal.weights import ExpertMatrix, Head, Matrix, Mixture, Projections, quantised
from mlx_model.memory.parts import ALL, Split
from mlx_model.transformer.attention import Attention
from mlx_model.transformer.blocks import Block, Transformer
from mlx_model.transformer.compute import Compute
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.embedding import Embedding
from mlx_model.transformer.rope import RopeTable
from mlx_model.transformer.streamed import Streamed
from mlx_model.weights.checkpoint import stored_tensors
from mlx_model.weights.expert_memory import SlotMemory
from mlx_model.weights.experts_on_disk import Bytes, ExpertsOnDisk, Part
from mlx_model.weights.layouts import ExpertNames, layout_of
from mlx_model.weights.mapping import MATRIX_ALIGNMENT, VECTOR_ALIGNMENT
from mlx_model.weights.reader import Reader
from mlx_model.weights.residence import Loading, Progress, Residence
from mlx_model.weights.rows import HeldRows, open_rows


class _Loader:
    """Builds the Transformer's parts from a checkpoint and counts the bytes they keep."""

    def __init__(
        self,
        config: ModelConfig,
        loading: Loading,
        compute: Compute,
        dense_bits: int | None,
        map: str,
        experts: ExpertsOnDisk | None,
    ) -> None:
        self.config = config
        self.on_disk = experts
        self.loading = loading
        self.dense_bits = dense_bits
        self.dtype = compute.dtype
        self.tensors, self.layout = loading.tensors, loading.layout
        self.reader = Reader(self.tensors.values(), map, adopts_memory=compute.adopts_memory)

    @property
    def residence(self) -> Residence:
        """Of what was built so far."""
        return self.loading.residence(self.reader.unaligned_bytes, self.reader.refusal)

    def take(self, name: str, alignment: int) -> mx.array:
        """See Reader.take."""
        array = self.reader.take(self.tensors[name], alignment)
        self.loading.report(self.tensors[name].nbytes)
        return array

    def read(self, *names: str, dtype: mx.Dtype | None = None, alignment: int = VECTOR_ALIGNMENT) -> mx.array:
        """The tensor as stored or in `dtype`, computed. Of several [E, rows, ...], one whose rows take turns."""
        # In a variable until what is made of them is computed: see Reader.take.
        parts = [self.take(name, alignment) for name in names]
        array = parts[0] if len(parts) == 1 else mx.stack(parts, axis=2).flatten(1, 2)
        if dtype is not None:
            array = array.astype(dtype)
        mx.eval(array)
        self.count(array.nbytes, names[0] if len(parts) == 1 and array.dtype == parts[0].dtype else None)
        return array

    def count(self, nbytes: int, unchanged: str | None = None) -> None:
        """Adds to what the model keeps; `unchanged` names the tensor that is kept exactly as it was taken."""
        self.loading.count(nbytes, mapped=unchanged in self.reader.mapped)

    def matrix(self, stem: str, *, bias: bool = True, bits: int | None = None) -> Matrix:
        """The matrix `stem`.weight with `stem`.bias; `bits` quantises it, unless it is quantised in the file."""
        added = self.read(stem + ".bias", dtype=self.dtype) if bias else None
        packing = self.layout.packing(stem)
        if packing is not None:
            codes, scales, *offsets = self.packed(stem, packing)
            return Matrix(codes, added, scales, offsets[0] if offsets else None, packing)
        if bits is None:
            return Matrix(self.read(stem + ".weight", dtype=self.dtype, alignment=MATRIX_ALIGNMENT), added)
        stored = self.take(stem + ".weight", MATRIX_ALIGNMENT)
        weight = stored.astype(self.dtype)
        mx.eval(weight)
        del stored
        matrix = quantised(weight, added, bits)
        self.count(matrix.nbytes - (added.nbytes if added is not None else 0))
        return matrix

    def packed(self, stem: str, packing: Packing) -> tuple[mx.array, ...]:
        """A quantised matrix: codes, scales and, where affine, offsets, as mx.quantize gives them."""
        codes = self.read(stem + ".weight", alignment=MATRIX_ALIGNMENT)
        if packing.mode == "affine":
            return codes, *(self.read(f"{stem}.{part}", dtype=self.dtype) for part in ("scales", "biases"))
        scales = self.read(stem + ".scales", alignment=1)
        self.loading.check_scales(stem + ".scales", scales)
        return codes, scales

    def head(self) -> Head:
        """The output matrix and the norm before it; of an empty vocabulary, an empty one."""
        hidden, eps = self.config.hidden_size, self.config.rms_norm_eps
        if not self.config.vocab_size:
            return Head(mx.ones(hidden, self.dtype), eps, Matrix(mx.zeros((0, hidden), self.dtype), None))
        matrix = self.matrix("lm_head", bias=False, bits=self.dense_bits)
        return Head(self.read("model.norm.weight", dtype=self.dtype), eps, matrix)

    def embedding(self, *, is_held: bool) -> Embedding:
        """Its rows, which stay in the file unless the matrix is to be held in memory."""
        if not self.config.vocab_size:
            return Embedding((), self.dtype)
        packing = self.layout.packing("model.embed_tokens")
        parts = ["weight", "scales", "biases"] if packing is not None and packing.mode == "affine" else ["weight"]
        if packing is not None and packing.mode != "affine":
            parts.append("scales")
        names = [f"model.embed_tokens.{part}" for part in parts]
        if is_held:
            return Embedding(tuple(HeldRows(self.read(name, alignment=1)) for name in names), self.dtype, packing)
        stored = [self.tensors[name] for name in names]
        lazily = self.reader.refusal is None or bool(self.reader.mapped)
        rows = tuple(open_rows(tensor, lazily=lazily) for tensor in stored)
        self.loading.report(sum(tensor.nbytes for tensor in stored))
        return Embedding(rows, self.dtype, packing)

    def experts(self, names: tuple[ExpertNames, ...]) -> ExpertMatrix:
        """One matrix of every expert, as it is stored; of two, gate and up, one whose rows take turns."""
        codes = self.read(*(part.codes for part in names), alignment=MATRIX_ALIGNMENT)
        if codes.dtype == mx.uint8:
            # The Hub's bytes as little-endian words: the same memory seen differently, not repacked.
            codes = codes.flatten(-2).view(mx.uint32)
            mx.eval(codes)
        scales = self.read(*(part.scales for part in names), alignment=1)
        self.loading.check_scales(names[0].scales, scales)
        bias = self.read(*(part.bias for part in names), dtype=self.dtype)
        return ExpertMatrix(codes, scales, bias, alignment_of(codes))

    def slots(self, names: tuple[ExpertNames, ...], on_disk: ExpertsOnDisk) -> tuple[ExpertMatrix, SlotMemory]:
        """The same with slots in place of all experts, and the memory of the slots."""
        size, memory = on_disk.size, list[tuple[Part, Bytes]]()
        codes, scales = ([self.tensors[getattr(part, kind)] for part in names] for kind in ("codes", "scales"))
        for part in names:
            self.loading.check_scales(part.scales, self.take(part.scales, 1), most=MAX_SCALE_BYTE)
        bias = self.read(*(part.bias for part in names), dtype=self.dtype)
        arrays = list[mx.array]()
        for stored in (codes, scales):
            tensor = on_disk.disk.part(*stored)
            arrays.append(mx.zeros((size, tensor.nbytes), mx.uint8))
            memory.append((tensor, _bytes_of(arrays[-1])))
            self.count(arrays[-1].nbytes)
        biases = mx.zeros((size, bias.shape[1]), bias.dtype).view(mx.uint8)
        both = [(np.array(bias.view(mx.uint8)), _bytes_of(biases))]
        self.count(biases.nbytes)
        rows = bias.shape[1]
        words = arrays[0].view(mx.uint32).reshape(size, rows, -1)
        self.loading.report(sum(each.nbytes for each in codes))
        mx.eval(words, scaled := arrays[1].reshape(size, rows, -1), kept := biases.view(bias.dtype))
        return ExpertMatrix(words, scaled, kept, alignment_of(words)), SlotMemory(on_disk.disk, memory, both)

    def router(self, stem: str) -> mx.array:
        """Which experts a token goes through: 0.2 MB a layer, and a small error changes all that follows.

        So it is never quantised here; one that is quantised in the file is multiplied out once.
        """
        packing = self.layout.packing(stem)
        if packing is None:
            return self.read(stem + ".weight", dtype=self.dtype)
        codes, scales, *offsets = self.packed(stem, packing)
        weight = mx.dequantize(codes, scales, offsets[0] if offsets else None, **asdict(packing)).astype(self.dtype)
        mx.eval(weight)
        self.count(weight.nbytes - codes.nbytes - scales.nbytes - sum(each.nbytes for each in offsets))
        return weight

    def block(self, layer: int) -> Block:
        """One layer."""
        at = f"model.layers.{layer}."
        norm_before, norm = (
            self.read(f"{at}{name}_layernorm.weight", dtype=self.dtype) for name in ("input", "post_attention")
        )
        query, key, value, output = (
            self.matrix(f"{at}self_attn.{name}_proj", bits=self.dense_bits) for name in ("q", "k", "v", "o")
        )
        attention = Attention(
            config=self.config,
            layer=layer,
            projections=Projections(norm_before, self.config.rms_norm_eps, query, key, value, output),
            sinks=self.read(at + "self_attn.sinks", dtype=self.dtype),
        )
        router = self.router(at + "mlp.router")
        on_disk = self.on_disk if self.on_disk is not None and layer < self.on_disk.layers else None
        names = self.layout.gate_up(layer), (self.layout.down(layer),)
        if on_disk is None:
            gate_up, down = map(self.experts, names)
        else:
            (gate_up, memory), (down, more) = (self.slots(each, on_disk) for each in names)
        mixture = Mixture(
            norm=norm,
            eps=self.config.rms_norm_eps,
            router=router,
            router_bias=self.read(at + "mlp.router.bias", dtype=self.dtype),
            gate_up=gate_up,
            down=down,
            top_k=self.config.num_experts_per_tok,
            limit=self.config.swiglu_limit,
            alignment=min(alignment_of(norm), alignment_of(router)),
        )
        if on_disk is None:
            return Block(attention, mixture)
        return Block(attention, mixture, Streamed(mixture, on_disk.fill(layer, memory.with_parts_of(more))))


def _bytes_of(array: mx.array) -> Bytes:
    """The memory of a uint8 array itself, which can be written. Whoever does sees to it that nothing reads it."""
    mx.eval(array)
    return np.array(array, copy=False)


def stored_dense_bits(folder: Path, config: ModelConfig) -> int | None:
    """The bits that the files hold the output matrix at, or a part without one its queries; None for floats.

    Raises CheckpointError, as loading does.
    """
    layout = layout_of(folder, config, stored_tensors(folder, config.part))
    packing = layout.packing("lm_head" if config.vocab_size else "model.layers.0.self_attn.q_proj")
    return None if packing is None else packing.bits


def load_transformer(
    folder: Path,
    config: ModelConfig,
    compute: Compute,
    dense_bits: int | None = None,
    map: str = "auto",
    progress: Progress = lambda done, total: None,
    *,
    holds_embedding: bool = False,
    split: Split = ALL,
) -> tuple[Transformer, Residence]:
    """The model in `folder`, in the Hub's layout or mlx-lm's, and where its weights are.

    `compute` says where it will be computed. `dense_bits` 8, 6 or 4 quantises attention and output matrix while
    loading, where the file has them as floats; the experts stay as published. `map` is how tensors come out of the
    files: see Reader. `holds_embedding` brings the embedding into memory, else its rows are read from the file as they
    are needed. `split` says which experts stay in their files. `progress` is called after every tensor, of which there
    are some hundreds.
    Raises CheckpointError, naming tensor and file, as stored_tensors and layout_of do, before anything is loaded, and
    for MXFP4 scales that are not numbers; RequestError for another `map`.
    """
    loading = Loading.of(folder, config, progress)
    experts = ExpertsOnDisk(config, loading.tensors, split) if split.layers else None
    loader = _Loader(config, loading, compute, dense_bits, map, experts)
    # The output matrix first: while it is converted, it and its conversion are all there is in memory, so that the
    # peak stays that of the finished model.
    head = loader.head()
    transformer = Transformer(
        config=config,
        compute=compute,
        blocks=[loader.block(layer) for layer in range(config.num_hidden_layers)],
        head=head,
        rope=RopeTable(config, mx.array),
        # Last: by then what may be wired is (device.enforce), and this mapping stays pages that come and go.
        embedding=loader.embedding(is_held=holds_embedding),
        streaming=None if experts is None else experts.streaming,
    )
    return transformer, loader.residence
