"""What is trained, and how: the numbers of one run, and the adapters that it begins with."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_model.errors import RequestError
from mlx_model.lora.examples import Weights
from mlx_model.lora.trainer import Schedule
from mlx_model.transformer.adapters import ATTENTION, EXPERTS, ROUTER, Adapters, shapes
from mlx_model.transformer.config import ModelConfig

TARGETS = {"attention": ATTENTION, "router": (ROUTER,), "experts": EXPERTS}
"""What can be trained, and the matrices of each."""

_MOST_RANK = 256


@dataclass(frozen=True, slots=True)
class Recipe:
    """The defaults are those of OpenAI's cookbook (Beeching, Gallouedec, Tunstall 2025), but for the experts of three
    layers that it trains too: an adapter beside attention alone is what every program reads.

    `layers` are those whose attention and router have adapters, `expert_layers` those whose experts do; None: all, and
    of the experts three, evenly spread, the last layer among them. `expert_rank` None is `rank`. `alpha` over the rank
    is the factor on an adapter. `steps` None: as many as `epochs` take. `length` is the most tokens of a row, `batch`
    the examples of a step, `warmup` a share of the steps, `held_out` a share of the conversations.
    Raises RequestError for values outside their range.
    """

    targets: tuple[str, ...] = ("attention",)
    rank: int = 8
    expert_rank: int | None = None
    alpha: float = 16.0
    layers: tuple[int, ...] | None = None
    expert_layers: tuple[int, ...] | None = None
    learning_rate: float = 2e-4
    batch: int = 16
    epochs: float = 1.0
    steps: int | None = None
    warmup: float = 0.03
    length: int = 2048
    held_out: float = 0.05
    analysis_weight: float = 1.0
    final_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        ranks = (self.rank, self.rank if self.expert_rank is None else self.expert_rank)
        for name, fine, allowed in (
            ("targets", self.targets and set(self.targets) <= {*TARGETS}, f"some of {', '.join(TARGETS)}"),
            ("rank", all(1 <= rank <= _MOST_RANK for rank in ranks), f"from 1 to {_MOST_RANK}"),
            ("alpha", 0 < self.alpha < math.inf, "above 0"),
            ("learning_rate", 0 < self.learning_rate < 1, "above 0 and below 1"),
            ("batch", self.batch >= 1, "at least 1"),
            ("layers", self.layers is None or self.layers, "at least one"),
            ("expert_layers", self.expert_layers is None or self.expert_layers, "at least one"),
            ("epochs", 0 < self.epochs < math.inf, "above 0"),
            ("steps", self.steps is None or self.steps >= 1, "at least 1"),
            ("warmup", 0 <= self.warmup < 1, "0 or more, and below 1"),
            ("length", self.length >= 32, "at least 32 tokens"),
            ("held_out", 0 <= self.held_out < 1, "0 or more, and below 1"),
            ("analysis_weight", 0 <= self.analysis_weight < math.inf, "0 or more"),
            ("final_weight", 0 <= self.final_weight < math.inf, "0 or more"),
            ("seed", 0 <= self.seed < 2**32, "from 0 to 2^32 - 1"),
        ):
            if not fine:
                value = getattr(self, name)
                shown = (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else repr(value)
                raise RequestError(f"{name} is {shown}; it must be {allowed}")
        if not self.analysis_weight + self.final_weight:
            raise RequestError("analysis_weight and final_weight are both 0, so nothing is learnt")

    @property
    def weights(self) -> Weights:
        """What the tokens of each channel count."""
        return Weights(self.analysis_weight, self.final_weight)

    def total_steps(self, examples: int) -> int:
        """Steps of the whole run, with so many examples to learn from."""
        return self.steps or max(1, math.ceil(self.epochs * math.ceil(examples / self.batch)))

    def schedule(self, examples: int) -> Schedule:
        """The learning rate of each step."""
        steps = self.total_steps(examples)
        return Schedule(self.learning_rate, steps, math.ceil(self.warmup * steps))

    def places(self, config: ModelConfig) -> dict[str, int]:
        """Where adapters are, "3.q_proj" for example, and the rank of each. Raises RequestError for layers that the
        model doesn't have."""
        found, count = dict[str, int](), config.num_hidden_layers
        spread = tuple(dict.fromkeys((part * count + 2) // 3 - 1 for part in (1, 2, 3)))
        for target in (target for target in TARGETS if target in self.targets):
            is_experts = target == "experts"
            chosen = self.expert_layers if is_experts else self.layers
            layers = (spread if is_experts else range(count)) if chosen is None else chosen
            _check_layers(layers, count)
            rank = self.expert_rank if is_experts and self.expert_rank is not None else self.rank
            found |= {f"{layer}.{matrix}": rank for layer in layers for matrix in TARGETS[target]}
        return found

    def parameters(self, config: ModelConfig) -> int:
        """How many numbers are trained."""
        return sum(
            math.prod(shape)
            for place, rank in self.places(config).items()
            for shape in shapes(config, place.partition(".")[2], rank)
        )

    def adapters(self, config: ModelConfig) -> Adapters:
        """What a run begins with: A evenly spread within 1/sqrt(columns), as peft has it, and B zero."""
        arrays, scales, rng = dict[str, mx.array](), dict[str, float](), np.random.default_rng(self.seed)
        for place, rank in self.places(config).items():
            a, b = shapes(config, place.partition(".")[2], rank)
            within = 1 / math.sqrt(a[-1])
            arrays[f"{place}.a"] = mx.array(rng.uniform(-within, within, a).astype(np.float32))
            arrays[f"{place}.b"] = mx.zeros(b)
            scales[place] = self.alpha / rank
        return Adapters(arrays, scales)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    @staticmethod
    def names() -> list[str]:
        """Of the fields."""
        return [field.name for field in fields(Recipe)]


def _check_layers(layers: Sequence[int], count: int) -> None:
    if wrong := [layer for layer in layers if not 0 <= layer < count]:
        raise RequestError(f"there is no layer {wrong[0]}; this model has the layers 0 to {count - 1}")
