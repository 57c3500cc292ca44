"""One step of training: the gradient of a batch, clipped, and AdamW."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from mlx.optimizers import AdamW

from mlx_model.lora.forward import Row, loss, losses
from mlx_model.transformer.adapters import Adapters
from mlx_model.transformer.blocks import Transformer

MAX_NORM = 1.0
"""The longest gradient that is not shortened."""
WEIGHT_DECAY = 0.01

_MOMENTS = ("m", "v")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rates: rising over the first `warmup` of `steps`, then a cosine down to `floor` times the `peak`."""

    peak: float
    steps: int
    warmup: int
    floor: float = 0.1

    def rate(self, step: int) -> float:
        """That of a step, the first of which is 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / (self.warmup + 1)
        left = (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup))) / 2
        return self.peak * (self.floor + (1 - self.floor) * left)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step found before it changed anything: the weighted mean of the losses, and the gradient's length."""

    loss: float
    norm: float

    @property
    def is_finite(self) -> bool:
        """Whether both are numbers. If not, nothing was changed."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


class Trainer:
    """Adapters in float32 and what AdamW remembers of them. `step` changes them."""

    def __init__(self, transformer: Transformer, adapters: Adapters) -> None:
        """The transformer must have been loaded to be differentiated: else its gradients are zero."""
        assert transformer.compute.differentiable
        self._transformer = transformer
        self._scales = adapters.scales
        self._arrays = dict(adapters.arrays)
        self._optimizer = AdamW(learning_rate=0.0, weight_decay=WEIGHT_DECAY, bias_correction=True)
        self._optimizer.init(self._arrays)

    @property
    def adapters(self) -> Adapters:
        """As they are now."""
        return Adapters(self._arrays, self._scales)

    @property
    def state(self) -> dict[str, mx.array]:
        """All that the next step depends on: the adapters' arrays, and two moments of each."""
        moments = {
            f"{name}.{moment}": self._optimizer.state[name][moment] for name in self._arrays for moment in _MOMENTS
        }
        return self._arrays | moments

    def restore(self, state: dict[str, mx.array], steps: int) -> None:
        """Goes back to a `state` after so many steps."""
        self._arrays = {name: state[name] for name in self._arrays}
        self._optimizer.init(self._arrays)
        for name in self._arrays:
            for moment in _MOMENTS:
                self._optimizer.state[name][moment] = state[f"{name}.{moment}"]
        self._optimizer.state["step"] = mx.array(steps, mx.uint64)

    def step(self, rows: Sequence[Row], rate: float) -> StepResult:
        """Learns from a batch. The loss is the mean over all learnt tokens of all its rows, each by its weight."""
        total, gradients = 0.0, dict[str, mx.array]()
        share = 1 / sum(float(row.weights.sum()) for row in rows)
        for row in rows:
            value, found = mx.value_and_grad(self._loss)(self._arrays, row, share)
            gradients = {name: array + gradients[name] if gradients else array for name, array in found.items()}
            mx.eval(value, gradients)  # else the graphs of all rows are held at once
            total += _number(value)
        squares = mx.stack([(array * array).sum() for array in gradients.values()])
        norm = _number(mx.sqrt(squares.sum()))
        result = StepResult(total, norm)
        if not result.is_finite:
            return result
        shorter = min(1.0, MAX_NORM / (norm + 1e-6))
        self._optimizer.learning_rate = rate
        changed = {name: array * shorter for name, array in gradients.items()}
        self._arrays = self._optimizer.apply_gradients(changed, self._arrays)
        mx.eval(self._arrays, self._optimizer.state)
        return result

    def held_out(self, rows: Sequence[Row]) -> float:
        """The weighted mean of the losses of rows that are not learnt from."""
        total = weights = 0.0
        for row in rows:
            total += float((np.array(losses(self._transformer, self.adapters, row)) * row.weights).sum())
            weights += float(row.weights.sum())
        return total / weights

    def _loss(self, arrays: dict[str, mx.array], row: Row, share: float) -> mx.array:
        return share * loss(self._transformer, Adapters(arrays, self._scales), row)


def _number(array: mx.array) -> float:
    return float(array.item())  # type: ignore[arg-type]  # a real number
