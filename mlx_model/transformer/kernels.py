"""Brings the Metal kernels into a loaded transformer: whether they can be used, on which arrays, in which variants."""

import logging
from dataclasses import replace

from metal import attend, dense, experts
from metal.address import MOST, alignment_of
from metal.dense import Head, Projections
from metal.operation import Operation
from metal.trust import select
from metal.trust.dense_candidates import attend_operation
from metal.trust.dense_candidates import operations as dense_operations
from metal.trust.expert_candidates import operations as expert_operations
from metal.trust.machine import this_machine
from metal.trust.selftest import decodes_fp4
from metal.weights import QUANT_GROUP, Matrix
from mlx_model.errors import RequestError
from mlx_model.transformer.blocks import Block, Transformer
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.decode import DecodeLayer, Decoder
from mlx_model.transformer.linear import Linear, QuantizedLinear, StoredLinear
from mlx_model.transformer.rope import score_scale

log = logging.getLogger(__name__)


class NoKernels(Exception):
    """Why a transformer can't decode on the kernels."""


def attach_kernels(transformer: Transformer) -> None:
    """Lets a transformer decode on the kernels, where there is a GPU on which they are right and faster.

    Raises RequestError for a GPTOSS_KERNELS that means nothing.
    """
    try:
        mode = select.requested_mode()
    except ValueError as error:
        raise RequestError(str(error)) from None
    machine = this_machine()
    if machine is None or mode == "portable":
        return
    try:
        decoder = make_decoder(transformer, gpu_cores=machine.gpu_cores)
        possible = operations(decoder, transformer, table=not decodes_fp4())
    except Exception as error:  # MLX has several types for what Metal refuses, and an answer comes without kernels, too
        log.warning("decoding runs by MLX's own operations: %s", error)
        return
    choice = select.choose(possible, sizes=_sizes(transformer, decoder), mode=mode, machine=machine)
    if any(variant is not None for variant in choice.values()):
        transformer.decoder = replace(decoder, choice=choice)


def make_decoder(transformer: Transformer, *, gpu_cores: int = 0) -> Decoder:
    """A decoder on the transformer's own arrays, nothing copied; nothing is chosen yet. Raises NoKernels."""
    config = transformer.config
    aligned = _alignment(transformer)
    layers = tuple(_layer(block, config, aligned) for block in transformer.blocks)
    head = Head(transformer.norm, config.rms_norm_eps, _matrix(transformer.lm_head, aligned))
    objections = (
        attend.why_not(
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            dtype=transformer.dtype,
        ),
        dense.why_not(head, transformer.dtype),
        *(dense.why_not(layer.projections, transformer.dtype, config.head_dim) for layer in layers),
        *(experts.why_not(layer.mixture, transformer.dtype) for layer in layers),
    )
    if objection := next(filter(None, objections), None):
        raise NoKernels(objection)
    return Decoder(layers, head, score_scale(config), {}, gpu_cores)


def operations(decoder: Decoder, transformer: Transformer, *, table: bool = False) -> list[Operation]:
    """The operations of a decode step, for metal.trust.select to try; `table` where decodes_fp4() is false."""
    config, dtype, cores = transformer.config, transformer.dtype, decoder.gpu_cores
    return [
        *dense_operations([layer.projections for layer in decoder.layers], decoder.head, dtype, gpu_cores=cores),
        attend_operation(
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            window=config.sliding_window,
            dtype=dtype,
            gpu_cores=cores,
        ),
        *expert_operations(decoder.layers[0].mixture, dtype, table=table, gpu_cores=cores),
    ]


def _layer(block: Block, config: ModelConfig, aligned: int) -> DecodeLayer:
    attention, mixture = block.attention, block.mixture
    linears = (attention.query, attention.key, attention.value, attention.output)
    projections = Projections(
        block.attention_norm, config.rms_norm_eps, *(_matrix(linear, aligned) for linear in linears)
    )
    gate_up, down = (replace(matrix, alignment=aligned) for matrix in (mixture.gate_up, mixture.down))
    return DecodeLayer(projections, attention.sinks, replace(mixture, gate_up=gate_up, down=down, alignment=aligned))


def _matrix(linear: Linear, aligned: int) -> Matrix:
    """A dense matrix as kernels take it."""
    match linear:
        case StoredLinear(weight=weight, bias=bias):
            return Matrix(weight, bias, alignment=aligned)
        case QuantizedLinear(packed=[codes, scales, offsets], bias=bias, packing=packing) if (
            packing.mode == "affine" and packing.group_size == QUANT_GROUP
        ):
            return Matrix(codes, bias, scales, offsets, packing.bits, aligned)
    raise NoKernels("a dense matrix is in a format that they don't read")


def _alignment(transformer: Transformer) -> int:
    """What the addresses of all that kernels read in wide loads are a multiple of, in bytes.

    One number for all layers: another alignment is another kernel, and which were tried must be those that run.
    """
    linears = [transformer.lm_head]
    arrays = [transformer.norm]
    for block in transformer.blocks:
        attention, mixture = block.attention, block.mixture
        linears += [attention.query, attention.key, attention.value, attention.output]
        arrays += [block.attention_norm, mixture.norm, mixture.router, mixture.gate_up.blocks, mixture.down.blocks]
    arrays += [_matrix(linear, MOST).weight for linear in linears]
    return min(map(alignment_of, arrays))


def _sizes(transformer: Transformer, decoder: Decoder) -> str:
    """What tells this model's operations from another's."""
    config, linear = transformer.config, transformer.blocks[0].attention.query
    bits = linear.packing.bits if isinstance(linear, QuantizedLinear) else None
    return (
        f"hidden {config.hidden_size}, intermediate {config.intermediate_size}, "
        f"{config.num_experts_per_tok} of {config.num_local_experts} experts, "
        f"{config.num_attention_heads} heads on {config.num_key_value_heads}, vocabulary {config.vocab_size}, "
        f"{transformer.dtype}, dense part at {bits or 16} bits, "
        f"aligned to {decoder.head.matrix.alignment} bytes"
    )
