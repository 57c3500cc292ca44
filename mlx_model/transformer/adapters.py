"""LoRA adapters beside a transformer's matrices: which matrices can have one, and a layer with its adapters in place.

Adapters are flat dicts of arrays, which is what an optimiser and `mx.value_and_grad` take: "3.q_proj.a" and
"3.q_proj.b" are those of layer 3's query matrix, of the shapes that metal.weights.Adapter has.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import mlx.core as mx

from metal.trust.select import Verdict
from metal.weights import Adapter, ExpertMatrix, Matrix, Mixture, Projections
from mlx_model.errors import RequestError
from mlx_model.transformer.blocks import Block, Transformer
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.kernels import KernelFindings

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
EXPERTS = ("gate_up_proj", "down_proj")
ROUTER = "router"
MATRICES = (*ATTENTION, ROUTER, *EXPERTS)
"""All that can have an adapter, by their names in files."""

_OPERATIONS = {
    "q_proj": "qkv",
    "k_proj": "qkv",
    "v_proj": "qkv",
    "o_proj": "o_proj",
    "router": "route",
    "gate_up_proj": "gate_up",
    "down_proj": "down",
}
"""The operation of a decode step that multiplies by each matrix."""

AnyMatrix = TypeVar("AnyMatrix", Matrix, ExpertMatrix)

_FALLBACK = "an adapter sits beside its matrices, which the kernels don't apply"


@dataclass(frozen=True, slots=True)
class Adapters:
    """`arrays` as above; `scales` has the factor on each pair's product, "3.q_proj" for example."""

    arrays: Mapping[str, mx.array]
    scales: Mapping[str, float]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations of a decode step that run by MLX's operations because of them."""
        return operations_of({place.partition(".")[2] for place in self.scales})

    def of_layer(self, layer: int) -> "Adapters":
        """Those of one layer alone."""
        start = f"{layer}."
        return Adapters(
            {name: array for name, array in self.arrays.items() if name.startswith(start)},
            {place: scale for place, scale in self.scales.items() if place.startswith(start)},
        )


def operations_of(matrices: Collection[str]) -> tuple[str, ...]:
    """The operations of a decode step that multiply by these matrices, in the order of a layer."""
    return tuple(dict.fromkeys(_OPERATIONS[matrix] for matrix in MATRICES if matrix in matrices))


def shapes(config: ModelConfig, matrix: str, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of the two arrays of an adapter of this rank beside a matrix, "q_proj" for example."""
    hidden, inner, experts = config.hidden_size, config.intermediate_size, config.num_local_experts
    queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    rows, columns = {
        "q_proj": (queries, hidden),
        "k_proj": (keys, hidden),
        "v_proj": (keys, hidden),
        "o_proj": (hidden, queries),
        ROUTER: (experts, hidden),
        "gate_up_proj": (2 * inner, hidden),
        "down_proj": (hidden, inner),
    }[matrix]
    each = (experts,) if matrix in EXPERTS else ()
    return (*each, rank, columns), (*each, rows, rank)


def adapted_projections(projections: Projections, layer: int, adapters: Adapters) -> Projections:
    """A layer's attention with its adapters, computed in the dtype of its norm, which is that of activations."""
    dtype = projections.norm.dtype
    return replace(
        projections,
        query=_beside(projections.query, layer, "q_proj", adapters, dtype),
        key=_beside(projections.key, layer, "k_proj", adapters, dtype),
        value=_beside(projections.value, layer, "v_proj", adapters, dtype),
        output=_beside(projections.output, layer, "o_proj", adapters, dtype),
    )


def adapted_mixture(mixture: Mixture, layer: int, adapters: Adapters) -> Mixture:
    """A layer's mixture of experts with its adapters, likewise.

    The router's is added to it, in float32: that is how its logits are computed, and rounding the sum to 16 bits would
    lose half of a small one.
    """
    dtype, router = mixture.norm.dtype, mixture.router
    if (adapter := _adapter(layer, ROUTER, adapters, mx.float32)) is not None:
        router = router.astype(mx.float32) + adapter.scale * (adapter.b @ adapter.a)
    return replace(
        mixture,
        router=router,
        gate_up=_beside(mixture.gate_up, layer, "gate_up_proj", adapters, dtype),
        down=_beside(mixture.down, layer, "down_proj", adapters, dtype),
    )


def adapted_block(block: Block, layer: int, adapters: Adapters) -> Block:
    """A layer with its adapters."""
    projections = adapted_projections(block.attention.projections, layer, adapters)
    mixture = adapted_mixture(block.mixture, layer, adapters)
    return replace(block, attention=replace(block.attention, projections=projections), mixture=mixture)


def adapted(transformer: Transformer, adapters: Adapters) -> Transformer:
    """A transformer with adapters, on the arrays of the one without.

    Its decode step keeps the kernels of all operations that have none. Raises RequestError for adapters of experts
    that are not all in memory.
    """
    if transformer.streaming is not None and {*EXPERTS} & {place.partition(".")[2] for place in adapters.scales}:
        why = "the adapter changes experts, and these are read from the disk here"
        raise RequestError(f"{why}; leave out --experts or give more --memory")
    blocks = [adapted_block(block, layer, adapters) for layer, block in enumerate(transformer.blocks)]
    decoder = transformer.decoder
    if decoder is not None:
        layers = [
            replace(
                layer,
                projections=adapted_projections(layer.projections, index, adapters),
                mixture=adapted_mixture(layer.mixture, index, adapters),
            )
            for index, layer in enumerate(decoder.layers)
        ]
        choice = {name: None if name in adapters.operations else way for name, way in decoder.choice.items()}
        decoder = replace(decoder, layers=layers, choice=choice)
    return replace(transformer, blocks=blocks, decoder=decoder)


def adapted_findings(findings: KernelFindings, adapters: Adapters) -> KernelFindings:
    """What was decided on the kernels, with the operations that fall back because of the adapters."""
    verdicts = tuple(
        Verdict(verdict.operation, None, _FALLBACK) if verdict.operation in adapters.operations else verdict
        for verdict in findings.verdicts
    )
    return replace(findings, verdicts=verdicts)


def _beside(matrix: AnyMatrix, layer: int, name: str, adapters: Adapters, dtype: mx.Dtype) -> AnyMatrix:
    return replace(matrix, adapter=_adapter(layer, name, adapters, dtype))


def _adapter(layer: int, matrix: str, adapters: Adapters, dtype: mx.Dtype) -> Adapter | None:
    place = f"{layer}.{matrix}"
    if place not in adapters.scales:
        return None
    a, b = (adapters.arrays[f"{place}.{part}"].astype(dtype) for part in "ab")
    return Adapter(a, b, adapters.scales[place])
