"""Brings the Metal kernels into a loaded transformer: whether they can be used, on which arrays, in which variants."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import mlx.core as mx

from metal import attend, dense, experts
from metal.address import alignment_of
from metal.operation import Operation
from metal.trust import select
from metal.trust.candidates import attend_operation, dense_operations, expert_operations
from metal.trust.check import whole_text
from metal.trust.machine import this_gpu
from metal.trust.selftest import decodes_fp4
from mlx_model.errors import RequestError
from mlx_model.transformer.blocks import Block, Transformer
from mlx_model.transformer.decode import DecodeLayer, Decoder
from mlx_model.transformer.rope import score_scale
from mlx_model.transformer.several_rows import Choose, SeveralRows

log = logging.getLogger(__name__)

_PROJECTIONS = ("query", "key", "value", "output")


class NoKernels(Exception):
    """Why a transformer can't decode on the kernels."""


@dataclass(frozen=True, slots=True)
class KernelFindings:
    """What was decided on the kernels: a verdict for each operation, or in `refusal` why none is used nevertheless.

    `table` says why FP4 is decoded by a table, None where it isn't. Both are whole texts, of several lines maybe.
    `unkept` says in one line why those of a CPU are compiled at each start, "" where they aren't.
    """

    verdicts: tuple[select.Verdict, ...] = ()
    refusal: str | None = None
    table: str | None = None
    unkept: str = ""


def attach_kernels(
    transformer: Transformer, preparing: Callable[[int, int], None] = lambda done, total: None
) -> KernelFindings:
    """Lets a transformer decode on the kernels, where there is a GPU on which they are right and faster.

    They are compiled before this returns, so that the first token needn't wait for it. `preparing` is told how many of
    how many pieces of that work are done: each operation that is tried here for the first time, then a decode step.
    Not one that is to be differentiated: kernels have no gradient. Raises RequestError if GPTOSS_KERNELS has another
    value than metal.trust.select.MODES.

    What several rows use is found out when several are computed for the first time.
    """
    try:
        mode = select.requested_mode()
    except ValueError as error:
        raise RequestError(str(error)) from None
    machine = this_gpu()
    if machine is None:
        return KernelFindings(refusal="there is no Metal GPU here")
    if mode == "portable":
        return KernelFindings(refusal=f"{select.ENVIRONMENT}={mode}")
    if transformer.compute.differentiable:
        return KernelFindings(refusal="kernels have no gradient")
    try:
        decoder = make_decoder(transformer, gpu_cores=machine.gpu_cores)
        table = _why_table()
        possible = decode_operations(decoder, transformer, table=table is not None)
    except Exception as error:  # MLX has several types for what Metal refuses, and an answer comes without kernels, too
        log.warning("decoding runs by MLX's own operations: %s", error)
        return KernelFindings(refusal=whole_text(error))
    total = len(possible) + 1
    choose = partial(select.choose, sizes=_sizes(transformer, decoder), mode=mode, machine=machine)
    choice = choose(possible, trying=lambda index: preparing(index, total))
    preparing(total - 1, total)
    failure = _attach(transformer, replace(decoder, choice=choice))
    if failure is not None:  # a kernel that is remembered as right, maybe; the others are kept
        choice = choose(possible, rechecks=True)
        failure = _attach(transformer, replace(decoder, choice=choice))
    if failure is not None:
        transformer.decoder = None
        log.warning("decoding runs by MLX's own operations: %s", failure)
    elif (chosen := transformer.decoder) is not None:
        several = several_rows(transformer, chosen, choose, table=table is not None)
        transformer.decoder = replace(chosen, several=several)
    return KernelFindings(choice.verdicts, failure, table)


def _attach(transformer: Transformer, decoder: Decoder) -> str | None:
    """Lets a transformer decode on the kernels that were chosen, if any were, and takes a step.

    Returns what went wrong, None if nothing did.
    """
    if all(variant is None for variant in decoder.choice.values()):
        transformer.decoder = None
        return None
    transformer.decoder = decoder
    try:
        _take_step(transformer)
    except Exception as error:  # of several types, as above
        return whole_text(error)
    return None


def _take_step(transformer: Transformer) -> None:
    """A token through all layers, whose launches compile what they run."""
    cache = transformer.make_cache()
    if transformer.config.vocab_size:
        step = transformer(mx.array([[0]]), cache, "last")
    else:  # layers alone
        row = mx.ones((1, 1, transformer.config.hidden_size), transformer.compute.dtype)
        step = transformer.through(row, [cache])
    mx.eval(step, cache.arrays())


def _why_table() -> str | None:
    """Why FP4 has to be decoded by a table, None where it needn't.

    A GPU that takes the kernels' text but not this one's still has the others: what reads FP4 is tried by itself.
    """
    try:
        return None if decodes_fp4() else "FP4 codes come out wrong: half denormals are not kept"
    except Exception as error:  # of several types, as above
        log.warning("FP4 is decoded by a table: %s", error)
        return whole_text(error)


def make_decoder(transformer: Transformer, *, gpu_cores: int = 0) -> Decoder:
    """A decoder on the transformer's own arrays, nothing copied; nothing is chosen yet. Raises NoKernels."""
    config, dtype = transformer.config, transformer.compute.dtype
    at = _alignments(transformer)
    layers = tuple(_layer(block, at) for block in transformer.blocks)
    head = transformer.head
    if config.vocab_size:
        head = replace(head, matrix=replace(head.matrix, alignment=at["lm_head"]))
    objections = (
        attend.why_not(
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            dtype=dtype,
        ),
        dense.why_not(head, dtype) if config.vocab_size else None,
        *(dense.why_not(layer.projections, dtype) for layer in layers),
        *(experts.why_not(layer.mixture, dtype) for layer in layers),
    )
    if objection := next(filter(None, objections), None):
        raise NoKernels(objection)
    return Decoder(layers, head, score_scale(config), {}, gpu_cores)


def decode_operations(decoder: Decoder, transformer: Transformer, *, table: bool = False) -> list[Operation]:
    """The operations of a decode step, for metal.trust.select to try; `table` where decodes_fp4() is false."""
    config, dtype, cores = transformer.config, transformer.compute.dtype, decoder.gpu_cores
    of_dense = dense_operations([layer.projections for layer in decoder.layers], decoder.head, dtype, gpu_cores=cores)
    return [
        *(operation for operation in of_dense if operation.name != "lm_head" or config.vocab_size),
        attend_operation(
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            window=config.sliding_window,
            dtype=dtype,
            gpu_cores=cores,
        ),
        *expert_operations(decoder.layers[0].mixture, dtype, table=table, gpu_cores=cores),
    ]


def several_rows(
    transformer: Transformer, decoder: Decoder, choose: Choose = select.choose, *, table: bool = False
) -> SeveralRows:
    """What chooses the kernels of several rows, for a decoder with a choice for one; `table` as decode_operations.

    It holds the transformer's arrays, not the transformer, which holds it.
    """
    config = transformer.config
    windows = tuple(config.window(layer) for layer in range(config.num_hidden_layers))
    return SeveralRows(decoder, windows, transformer.compute.dtype, choose, table)


def _layer(block: Block, at: Mapping[str, int]) -> DecodeLayer:
    """A layer as the kernels take it; `at` has what the addresses of each operation's weights are a multiple of."""
    projections, mixture = block.attention.projections, block.mixture
    matrices = {
        name: replace(getattr(projections, name), alignment=at["o_proj" if name == "output" else "qkv"])
        for name in _PROJECTIONS
    }
    gate_up, down = (replace(getattr(mixture, name), alignment=at[name]) for name in ("gate_up", "down"))
    return DecodeLayer(
        replace(projections, **matrices),
        block.attention.sinks,
        replace(mixture, gate_up=gate_up, down=down, alignment=at["route"]),
        block.streamed,
    )


def _alignments(transformer: Transformer) -> dict[str, int]:
    """By operation: what the addresses of all that its kernel reads in wide loads are a multiple of, in bytes.

    One number for all layers: another alignment is another kernel, and which were tried must be those that run. One
    for each operation: what was quantised at loading lies in MLX's own memory, however the experts' file is laid out.
    """
    read: dict[str, list[mx.array]] = {}
    if transformer.config.vocab_size:
        read["lm_head"] = [transformer.head.norm, transformer.head.matrix.weight]
    for block in transformer.blocks:
        projections, mixture = block.attention.projections, block.mixture
        query, key, value, output = (getattr(projections, name).weight for name in _PROJECTIONS)
        for name, arrays in (
            ("qkv", [projections.norm, query, key, value]),
            ("o_proj", [output]),
            ("route", [mixture.norm, mixture.router]),
            ("gate_up", [mixture.gate_up.blocks]),
            ("down", [mixture.down.blocks]),
        ):
            read.setdefault(name, []).extend(arrays)
    return {name: min(map(alignment_of, arrays)) for name, arrays in read.items()}


def _sizes(transformer: Transformer, decoder: Decoder) -> str:
    """What tells this model's operations from another's."""
    config, packing = transformer.config, transformer.blocks[0].attention.projections.query.packing
    projections, mixture = decoder.layers[0].projections, decoder.layers[0].mixture
    aligned = (
        projections.query,
        projections.output,
        mixture,
        mixture.gate_up,
        mixture.down,
        decoder.head.matrix,
    )
    return (
        f"hidden {config.hidden_size}, intermediate {config.intermediate_size}, "
        f"{config.num_experts_per_tok} of {mixture.held} experts, "
        f"{config.num_attention_heads} heads on {config.num_key_value_heads}, vocabulary {config.vocab_size}, "
        f"{transformer.compute.dtype}, dense part at {packing.bits if packing is not None else 16} bits, "
        f"aligned to {', '.join(str(weights.alignment) for weights in aligned)} bytes"
    )
