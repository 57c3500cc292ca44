"""Experts in slots by the decode kernels: the same bits by the same text. Other ways: test_experts_on_disk.py."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import mlx.core as mx
import numpy as np
import pytest

from metal.experts import expert_layer, why_not
from metal.launch import executed_by
from metal.operation import Variant
from metal.weights import Mixture
from mlx_model.errors import RequestError
from mlx_model.transformer.adapters import Adapters, adapted
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.decode import DecodeLayer
from mlx_model.transformer.slots import Pending, Reads, Slots, Streaming
from mlx_model.transformer.streamed import Streamed
from tests import msl as bench
from tests.fixtures.reference import random_mixture

SLOTS = 3
KERNELS: dict[str, Variant | None] = {
    "route": (("SIMDGROUPS", 1),),
    "gate_up": (("ROWS", 4), ("SIMDGROUPS", 2), ("TABLE", 0)),
    "down": (("ROWS", 4), ("TABLE", 0)),
}


@dataclass
class Copies:
    """A store whose files are arrays."""

    pairs: Sequence[tuple[np.ndarray, np.ndarray]]

    def read(self, places: Sequence[tuple[int, int]]) -> Pending:
        """See Store."""
        for every, in_slots in self.pairs:
            for expert, slot in places:
                in_slots[slot] = every[expert]
        return self

    def drop(self, expert: int) -> None:
        """See Store."""

    def wait(self) -> int:
        """See Pending."""
        return 0


def in_slots(mixture: Mixture) -> Streamed:
    """The same experts, of which SLOTS are in memory."""
    pairs, matrices = list[tuple[np.ndarray, np.ndarray]](), {}
    for name in ("gate_up", "down"):
        matrix = getattr(mixture, name)
        held = {}
        for part in ("blocks", "scales", "bias"):
            every = getattr(matrix, part)
            held[part] = mx.zeros((SLOTS, *every.shape[1:]), every.dtype)
            mx.eval(held[part])
            as_bytes = (each.view(mx.uint8) for each in (every, held[part]))
            pairs.append(tuple(np.array(each, copy=False) for each in as_bytes))  # type: ignore[arg-type]
        matrices[name] = replace(matrix, **held)
    slots = Slots(mixture.experts, SLOTS, Copies(pairs), Reads(), np.zeros(mixture.experts))
    return Streamed(replace(mixture, **matrices), slots)


def bits(x: mx.array) -> bytes:
    return np.array(x.view(mx.uint8)).tobytes()


@pytest.mark.parametrize("choice", [KERNELS, dict.fromkeys(KERNELS)], ids=["kernels", "MLX"])
def test_a_token_has_the_bits_that_it_has_with_all_experts(choice: dict[str, Variant | None]) -> None:
    """Eight experts, two a token, three slots: one makes way at nearly every step."""
    mixture = random_mixture(128, 128, 8, 2, mx.bfloat16)
    streamed = in_slots(mixture)
    assert (streamed.mixture.experts, streamed.mixture.held, mixture.held) == (8, SLOTS, 8)
    assert why_not(streamed.mixture, mx.bfloat16) is None
    layer = DecodeLayer(None, None, streamed.mixture, streamed)  # type: ignore[arg-type]
    rows = mx.array(np.random.default_rng(1).standard_normal((6, 1, 128)).astype(np.float32) * 3).astype(mx.bfloat16)
    with executed_by(bench.executor("fast")):
        for row in rows:
            assert bits(layer.experts(row, choice)) == bits(expert_layer(row, mixture, choice))


def test_slots_hold_logits_where_experts_are_and_nothing_elsewhere() -> None:
    streamed = in_slots(random_mixture(128, 128, 8, 2, mx.float32))
    scores = np.array([[0, 5, 1, 9, 9, 2, 3, 4]], np.float32)
    found = np.array(streamed.logits_of_slots(mx.array(scores)))[0]
    slots = streamed.slots.slot_of
    assert found[slots[3]] == found[slots[4]] == 9
    assert slots[3] < slots[4]  # of equal ones the first comes first
    assert np.isneginf(found).sum() == 1


def test_adapters_of_experts_are_refused_and_others_taken() -> None:
    streamed = in_slots(random_mixture(128, 128, 8, 2))
    transformer = Transformer(
        config=None,  # type: ignore[arg-type]
        compute=None,  # type: ignore[arg-type]
        embedding=None,  # type: ignore[arg-type]
        blocks=[],
        head=None,  # type: ignore[arg-type]
        rope=None,  # type: ignore[arg-type]
        streaming=Streaming([streamed.slots], Reads(), lambda counts: None),
    )
    with pytest.raises(RequestError, match="the adapter changes experts, and these are read from the disk here"):
        adapted(transformer, Adapters({}, {"0.down_proj": 1.0}))
    assert adapted(transformer, Adapters({}, {"0.q_proj": 1.0})).streaming is transformer.streaming
