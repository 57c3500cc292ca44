"""A part of a model: some of its layers, and with the first of them what stands at the model's two ends."""

import re
from dataclasses import dataclass

_LAYER = re.compile(r"model\.layers\.(\d{1,4})\.")


@dataclass(frozen=True, slots=True)
class Part:
    """The layers from `start` up to `stop`, not included; with `ends` the embedding, the last norm, the output matrix.

    A part is computed as a model of its own whose first layer is layer 0.
    """

    start: int
    stop: int
    ends: bool

    @property
    def layers(self) -> int:
        """How many."""
        return self.stop - self.start

    def holds(self, tensor: str) -> bool:
        """Whether a tensor of the checkpoint, by its name, belongs to it."""
        layer = _LAYER.match(tensor)
        return self.ends if layer is None else self.start <= int(layer[1]) < self.stop

    def inner(self, tensor: str) -> str:
        """The name that a tensor it holds has in it."""
        return _LAYER.sub(lambda layer: f"model.layers.{int(layer[1]) - self.start}.", tensor, count=1)

    def __str__(self) -> str:
        return f"layers {self.start} to {self.stop - 1}" if self.layers > 1 else f"layer {self.start}"
