"""Which computer holds which layers: from what each can hold, and how fast its memory is.

A token goes through the computers one after the other, so its time is the sum of theirs: many layers on the fastest
memory. Among splits that are nearly as fast the one with the longest context is taken, which leaves each computer
about as much room as the others. A pure function; the first computer has the embedding and the output matrix besides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil, floor

from mlx_model.distributed.machine import Machine
from mlx_model.errors import BudgetError, GptossError
from mlx_model.memory.plan import MemoryPlan, least, plan_within
from mlx_model.memory.sizes import memory_size
from mlx_model.memory.wishes import Wishes
from mlx_model.part import Part
from mlx_model.transformer.config import ModelConfig

_NEARLY = 1.1
"""How much longer a token may take than by the fastest split, for a longer context."""

_OF_BANDWIDTH = 0.7
"""What a decode step makes of its memory's bandwidth, about."""

_UNKNOWN_GIGABYTES_S = 100
"""Of memory whose bandwidth is not known: computers that nothing is known of are taken for equal."""


@dataclass(frozen=True, slots=True)
class Split:
    """The part of each computer, in order, and how each would hold it.

    `token_s` is what a token takes by the bandwidths of their memories, where they are known (`is_estimated`); the way
    between the computers comes on top of that.
    """

    parts: tuple[Part, ...]
    plans: tuple[MemoryPlan, ...]
    token_s: float
    is_estimated: bool

    @property
    def context(self) -> int:
        """The shortest of theirs."""
        return min(plan.context for plan in self.plans)

    @property
    def dense_bits(self) -> int:
        """The fewest of theirs."""
        return min(plan.dense_bits for plan in self.plans)

    def kept_to(self, plan: MemoryPlan) -> MemoryPlan:
        """The plan by which the first computer has loaded its part, with no more than what all of them can keep to."""
        chunk = min(each.prefill_chunk for each in (plan, *self.plans))
        points = min(each.rewind_points for each in (plan, *self.plans))
        return replace(plan, context=self.context, prefill_chunk=chunk, rewind_points=points)


def split(
    config: ModelConfig,
    machines: Sequence[Machine],
    wishes: Wishes | None = None,
    *,
    layers: Sequence[frozenset[int]] | None = None,
    at_best: bool = False,
) -> Split:
    """The best split over these computers, each of which gets a part.

    `layers` has for each computer those that it can have, by default all; `at_best` plans with all that the computers
    could give, not with what is free now. Raises BudgetError where no split fits.
    """
    plans = _Plans(config, machines, wishes or Wishes(), at_best)
    found = [each for parts in _parts(config, len(machines), layers) if (each := plans.split(parts)) is not None]
    if not found:
        raise BudgetError(_nothing_fits(config, machines, plans, at_best))
    bits = max(each.dense_bits for each in found)
    best = [each for each in found if each.dense_bits == bits]
    fastest = min(each.token_s for each in best)
    near = (each for each in best if each.token_s <= _NEARLY * fastest)
    return max(near, key=lambda each: (each.context, min(map(_spare, each.plans)), -each.token_s))


def _parts(config: ModelConfig, machines: int, layers: Sequence[frozenset[int]] | None) -> Iterator[tuple[Part, ...]]:
    """Every way to give each computer some of the layers, of those that it can have.

    The first has one of each kind at least: see transformer/staged.py.
    """
    count = config.num_hidden_layers
    first = 1 + max(config.layer_types.index(kind) for kind in {*config.layer_types})
    for cuts in combinations(range(first, count), machines - 1):
        ends = (0, *cuts, count)
        parts = tuple(Part(ends[i], ends[i + 1], ends=i == 0) for i in range(machines))
        if layers is None or all(
            there.issuperset(range(part.start, part.stop)) for part, there in zip(parts, layers, strict=True)
        ):
            yield parts


def _spare(plan: MemoryPlan) -> int:
    return plan.budget - plan.total


class _Plans:
    """How each computer would hold a part. What it takes depends on how many layers of each kind there are."""

    def __init__(self, config: ModelConfig, machines: Sequence[Machine], wishes: Wishes, at_best: bool) -> None:
        self._config, self._machines, self.wishes, self._at_best = config, machines, wishes, at_best
        self._known: dict[tuple[int, int, int], MemoryPlan | None] = {}
        self.problem = ""
        """Why the last part that did not fit did not."""

    def split(self, parts: tuple[Part, ...]) -> Split | None:
        """The split with these parts; None where one doesn't fit."""
        plans = [self._plan(index, part) for index, part in enumerate(parts)]
        if None in plans:
            return None
        found = tuple(plan for plan in plans if plan is not None)
        seconds = sum(self._token_s(machine, plan) for machine, plan in zip(self._machines, found, strict=True))
        return Split(parts, found, seconds, all(machine.gigabytes_s for machine in self._machines))

    def _plan(self, index: int, part: Part) -> MemoryPlan | None:
        config, machine = self._config.of_part(part), self._machines[index]
        key = index, part.layers, config.layer_types.count("full_attention")
        if key not in self._known:
            self._known[key] = None
            budget = machine.to_plan_with(at_best=self._at_best)
            try:
                self._known[key] = plan_within(
                    config, budget, self.wishes, on_gpu=machine.on_gpu, by_mlx=machine.way == "mlx"
                )
            except GptossError as error:
                self.problem = str(error)
        return self._known[key]

    def _token_s(self, machine: Machine, plan: MemoryPlan) -> float:
        """Seconds that reading the weights of a token takes."""
        read = plan.experts * self._config.num_experts_per_tok / self._config.num_local_experts + plan.dense
        return read / (_OF_BANDWIDTH * (machine.gigabytes_s or _UNKNOWN_GIGABYTES_S) * 1e9)


def _nothing_fits(config: ModelConfig, machines: Sequence[Machine], plans: _Plans, at_best: bool) -> str:
    if not plans.problem:
        return f"{len(machines)} computers can't share the model's {config.num_hidden_layers} layers"
    if plans.wishes.context is not None:
        return f"a context of {plans.wishes.context:,} tokens doesn't fit: on one of the computers {plans.problem}"
    need = memory_size(least(config, on_gpu=machines[0].on_gpu), ceil)
    budgets = (machine.limit if at_best else machine.budget for machine in machines)
    there = " and ".join(memory_size(budget, floor) for budget in budgets)
    return f"this model needs {need} of memory; the computers have {there}"
