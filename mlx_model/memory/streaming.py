"""What experts in files cost: how often one is asked for that is not in memory, and the seconds that takes.

A model with stated assumptions, not a measurement: `gptoss-chat bench` and the statistics of an answer measure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mlx_model.memory.parts import Sizes, Split
from mlx_model.memory.sizes import memory_size
from mlx_model.transformer.config import ModelConfig

_SHARES = (0.125, 0.25, 0.3125, 0.40625, 0.5, 0.625, 0.75, 0.8125, 0.875, 0.9375, 1.0)
_MIDDLE = (0.35, 0.63, 0.71, 0.79, 0.85, 0.91, 0.95, 0.97, 0.98, 0.99, 1.0)
_WEAK = (0.24, 0.52, 0.60, 0.70, 0.78, 0.85, 0.91, 0.94, 0.96, 0.98, 1.0)
_STRONG = (0.43, 0.71, 0.78, 0.85, 0.90, 0.94, 0.97, 0.98, 0.99, 0.99, 1.0)
"""Of the experts that a token asks for, those in memory, where such shares of a layer's are: simulated for 4 of 32 by
aged counts, where some experts are more popular than others (Zipf with 1.0, 0.7 and 1.2) and topics change. Others
have measured 0.85 at 0.3 for gpt-oss-120b by another rule (mlx-lm#1438)."""

_WORTH = 0.8
"""Of the time that a token waits if all layers are streamed: what it must wait with some of them whole for that to be
better, since prompts are then computed in small chunks."""

_OF_BANDWIDTH = 0.7
"""What decoding gets of the memory's bandwidth."""


@dataclass(frozen=True, slots=True)
class Speeds:
    """Of a computer: bytes a second from the disk in pieces of some MB and from memory, and the seconds that a layer
    waits until its routing is known where the experts are to be read. What is not measured is assumed."""

    disk: float = 2.5e9
    memory: float = 1e11
    routing_s: float = 0.5e-3


ASSUMED = Speeds()
"""Of a Mac with 8 GB, about: by these the plan weighs its choices, whose order hardly depends on them."""


@dataclass(frozen=True, slots=True)
class SpeedEstimate:
    """Tokens a second: as they are to be expected, and where texts use the experts evenly, and where unevenly."""

    likely: float
    least: float
    most: float

    @property
    def range(self) -> str:
        """In words: "3 to 5 tokens a second"."""
        low, high = (f"{value:.0f}" if value >= 2 else f"{value:.1f}" for value in (self.least, self.most))
        return f"{low} tokens a second" if low == high else f"{low} to {high} tokens a second"


def hit_rate(share: float, curve: tuple[float, ...] = _MIDDLE) -> float:
    """How many of the experts asked for are in memory, where a `share` of a layer's is."""
    points = pairwise(zip((0.0, *_SHARES), (0.0, *curve), strict=True))
    for (left, low), (right, high) in points:
        if share <= right:
            return low + (high - low) * (share - left) / (right - left)
    return 1.0


def streaming_s(config: ModelConfig, split: Split, speeds: Speeds = ASSUMED, hits: float | None = None) -> float:
    """Seconds that a decoded token waits for routing and the disk; `hits` where the rate of these is known."""
    if not split.layers:
        return 0.0
    found = hit_rate(split.slots / config.num_local_experts) if hits is None else hits
    missed = (1 - found) * config.num_experts_per_tok * expert_bytes(config)
    return split.layers * (speeds.routing_s + missed / speeds.disk)


def expert_bytes(config: ModelConfig) -> int:
    """Codes and scales of one expert of one layer, which is what is read from the disk."""
    return Sizes(config, on_gpu=True, by_mlx=True).codes()


def estimated_speed(config: ModelConfig, dense_bits: int, split: Split, speeds: Speeds) -> SpeedEstimate:
    """How fast a model decodes whose dense part has so many bits, and whose experts are held so."""
    sizes = Sizes(config, on_gpu=True, by_mlx=True)
    read = sizes.dense(dense_bits) + config.num_hidden_layers * config.num_experts_per_tok * sizes.codes()
    computing = read / (_OF_BANDWIDTH * speeds.memory)
    share = split.slots / config.num_local_experts
    rates = (hit_rate(share, curve) for curve in (_MIDDLE, _WEAK, _STRONG))
    return SpeedEstimate(*(1 / (computing + streaming_s(config, split, speeds, hits)) for hits in rates))


def fastest(config: ModelConfig, splits: Sequence[Split]) -> Split:
    """Of some splits that with which a token waits the least; with layers that are whole only where it pays."""
    best = min(splits, key=lambda split: streaming_s(config, split))
    most = max(splits, key=lambda split: split.layers)
    return best if streaming_s(config, best) <= _WORTH * streaming_s(config, most) else most


def experts_in_words(config: ModelConfig, split: Split, held: int, every: int) -> str:
    """What becomes of the experts, of which so many of all bytes are in memory."""
    if not split.layers:
        return f"Experts: {memory_size(held)}, as published (MXFP4), never converted."
    here = f"{split.slots} of {config.num_local_experts}"
    whole = config.num_hidden_layers - split.layers
    here = f"all of {whole} layers and {here} of the other {split.layers}" if whole else f"{here} of each layer"
    sizes = f"{memory_size(held)} of {memory_size(every)}"
    return f"Experts: {here} in memory, {sizes}; the others are read from the disk when they are needed."


def least_slots(config: ModelConfig) -> int:
    """Experts of a layer below which nothing is to be had: an eighth, and all that one token asks for."""
    return max(config.num_experts_per_tok, config.num_local_experts // 8)


def comfortable_slots(config: ModelConfig) -> int:
    """Experts of a layer for which other programs may have to give way: a quarter."""
    return max(config.num_experts_per_tok, config.num_local_experts // 4)
