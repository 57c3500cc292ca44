"""The memory that a run of training takes, estimated from a model's shape; and what would fit where it doesn't.

The rule was found on MLX's CPU backend, at the widths of 20b and at narrower ones (tests/mlx_model/lora/test_plan.py
has the figures); what a Mac's GPU holds is worked out by it, with activations half as wide.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor

from mlx_model.errors import BudgetError
from mlx_model.lora.behaviour import MAX_TOKENS
from mlx_model.lora.forward import LOGITS, QUERIES, ROWS
from mlx_model.lora.recipe import Recipe
from mlx_model.memory.plan import DENSE_BITS, leanest
from mlx_model.memory.sizes import memory_size
from mlx_model.memory.wishes import Wishes
from mlx_model.transformer.config import ModelConfig

_LOGITS = 3.75
"""Copies of a block of logits in float32 that are held at once (measured: 3.74), in 16 bits on a GPU two more."""
_SCORES, _ALL_SCORES = 19.5, 0.12
"""Copies of the scores of a block of queries, and of those of all, that are held at once (measured)."""
_PAIRS = 2
"""Times that what a row is on its way through an expert is held: once computed, once for the gradient (measured)."""

LENGTHS = (8192, 4096, 2048, 1024, 512, 256)
"""Lengths of a row that are proposed where another doesn't fit."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a run holds at most, in bytes. `inputs` is what layers keep for their gradient, `layer` what one of them
    takes while it is computed again, `logits` what a block of logits does; these two never at once. `adapters` are
    arrays, gradients and moments. `answering` is what held-out prompts take behind the run, with a `context` of so many
    tokens."""

    dense_bits: int
    length: int
    context: int
    weights: int
    adapters: int
    inputs: int
    layer: int
    logits: int
    answering: int
    program: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        training = self.inputs + max(self.layer, self.logits)
        return self.weights + self.adapters + max(training, self.answering) + self.program


def needs(config: ModelConfig, recipe: Recipe, dense_bits: int, *, on_gpu: bool) -> TrainingPlan:
    """What a run of this recipe holds, with the dense part at so many bits."""
    item = 2 if on_gpu else 4
    context = min(recipe.length + MAX_TOKENS, config.max_position_embeddings)
    held = leanest(config, Wishes(context, dense_bits), on_gpu=on_gpu, by_mlx=not on_gpu)
    queries = config.num_attention_heads * config.head_dim
    hidden, inner, length = config.hidden_size, config.intermediate_size, recipe.length
    first = min(int(place.partition(".")[0]) for place in recipe.places(config))
    rows, block = min(ROWS, length), min(QUERIES, length)
    mixture = rows * (_PAIRS * config.num_experts_per_tok * (6 * hidden + 7 * inner) + 8 * hidden) * item
    mixture += 2 * inner * hidden * item  # gate and up of an expert as numbers (measured)
    scores = config.num_attention_heads * length * (_SCORES * block + _ALL_SCORES * length)
    attention = (scores + 2 * queries * length) * item
    return TrainingPlan(
        dense_bits=dense_bits,
        length=length,
        context=context,
        weights=held.weights,
        adapters=20 * recipe.parameters(config),
        inputs=(config.num_hidden_layers - first + 2) * length * hidden * item,
        layer=int(max(mixture, attention)),
        logits=int(min(LOGITS, length) * config.vocab_size * (_LOGITS * 4 + (2 * item if on_gpu else 0))),
        answering=held.kv + held.working,
        program=held.program,
    )


def fitting(config: ModelConfig, recipe: Recipe, wishes: Wishes, budget: int, *, on_gpu: bool) -> TrainingPlan:
    """The plan at the most bits that fit into so many bytes.

    Raises BudgetError, which says what is missing, and with which length or layers a run would fit.
    """
    found: TrainingPlan | None = None
    for bits in _bits(wishes):
        found = needs(config, recipe, bits, on_gpu=on_gpu)
        if found.total <= budget:
            return found
    assert found is not None
    raise BudgetError(
        f"training with rows of {recipe.length:,} tokens takes {memory_size(found.total, ceil)}; there are "
        f"{memory_size(budget, floor)}{_instead(config, recipe, wishes, budget, on_gpu=on_gpu)}"
    )


def _bits(wishes: Wishes) -> tuple[int, ...]:
    """Bits of the dense part that may be tried, the most first."""
    if wishes.dense_bits is not None:
        return (wishes.dense_bits,)
    if wishes.stored_bits is not None:
        return (min(bits for bits in DENSE_BITS if bits >= wishes.stored_bits),)
    return tuple(bits for bits in DENSE_BITS if bits != 6)


def _instead(config: ModelConfig, recipe: Recipe, wishes: Wishes, budget: int, *, on_gpu: bool) -> str:
    """What to say of a recipe that would fit."""
    last = tuple(range(config.num_hidden_layers * 2 // 3, config.num_hidden_layers))
    for words, changed in _leaner(recipe, last):
        if any(needs(config, changed, bits, on_gpu=on_gpu).total <= budget for bits in _bits(wishes)):
            return f"; {words} would fit"
    smallest = replace(recipe, length=LENGTHS[-1], targets=("attention",), layers=last)
    least = min(needs(config, smallest, bits, on_gpu=on_gpu).total for bits in _bits(wishes))
    more = "; `gptoss-chat doctor` says whether the GPU may hold more" if on_gpu else ""
    return f", and the least that can be trained takes {memory_size(least, ceil)}{more}"


def _leaner(recipe: Recipe, last: tuple[int, ...]) -> Iterator[tuple[str, Recipe]]:
    for length in LENGTHS:
        if length < recipe.length:
            yield f"--length {length}", replace(recipe, length=length)
    if recipe.targets != ("attention",):
        lean = replace(recipe, targets=("attention",), length=min(recipe.length, 512))
        yield f"--targets attention --length {lean.length}", lean
    lean = replace(recipe, targets=("attention",), layers=last, length=min(recipe.length, 256))
    yield f"--targets attention --layers {last[0]}-{last[-1]} --length {lean.length}", lean
