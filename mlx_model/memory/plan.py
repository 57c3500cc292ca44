"""The memory plan: what of a model is held in memory, at how many bits, and how long a chat then fits a budget.

A pure function of the model's shape and of a number of bytes; device.py knows the machine. Experts stay as published.
What gives way, in this order, is the size of prefill chunks and the number of places a chat can be rewound to, then the
bits of the dense part (attention and output matrix), then the context. A smaller chunk costs some speed on long
prompts, fewer bits cost accuracy in every answer, so the chunk gives way first.

The embedding comes last: its rows are read from the file, unless a GPU has room for the matrix besides all that was
chosen, the model's whole context or the one that was asked for included. A row of the file comes by the CPU's stream,
which costs some 0.18 ms a token (MLX's issue 4438 measured it on an M3 Ultra): 1% of a token's time on an M4 Pro, 4% on
an M3 Ultra. A Mac with 24 GB would pay for that 1% with 43,520 of gpt-oss-20b's 124,928 tokens; with 32 GB it is free.

Where not even the leanest of that fits, experts stay in their files: `slots` of a layer's are in memory, in as many
layers as costs the least time (streaming.py). That costs speed and no bit of an answer. It is never chosen where the
model fits whole; who asks for a dense part that doesn't fit, or for so many experts, asks for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor

from metal.formats import QUANT_GROUP
from mlx_model.errors import BudgetError, ContextError, RequestError
from mlx_model.memory.parts import ALL, Rung, Sizes, Split
from mlx_model.memory.sizes import AS_PUBLISHED, memory_size
from mlx_model.memory.streaming import comfortable_slots, experts_in_words, fastest, least_slots
from mlx_model.memory.wishes import Budget, Wishes
from mlx_model.transformer.config import CACHE_STEP, ModelConfig

DENSE_BITS = (AS_PUBLISHED, 8, 6, 4)

COMFORTABLE = 8192
"""Tokens of context for which quality is traded: a few long answers with their analysis."""

LEAST = 1024
"""Tokens of context below which a chat makes no sense: the system message, a question, a short answer."""

MOST_PARALLEL = 8
"""Answers that are computed together at most. More of them gain little: a step reads nearly all experts then."""

_GPU = (Rung(2048, 48, 16), Rung(1024, 24, 16), Rung(512, 16, 16), Rung(256, 8, 16))
# On a CPU the arithmetic of 64 tokens takes longer than reading the weights for them: larger chunks gain little, and a
# prompt that is cancelled waits for one.
_CPU = (Rung(64, 48, 32), Rung(32, 16, 32), Rung(16, 8, 16), Rung(8, 8, 16))

# Where all layers are streamed a chunk reads most experts once, whatever its size: so it is large.
_GPU_STREAMED, _CPU_STREAMED = Rung(1024, 16, 16), Rung(256, 16, 32)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What is held, in bytes, and how, on a GPU or a CPU, there `by_mlx` or by the compiled layers, whose weights are
    pages of the files. Where `dense_bits` is 16 the dense part is not quantised.

    `context`, `prefill_chunk` in tokens; `rewind_points` are positions the KV cache can be rewound to; `kv_bits` are
    those of a cached number. `small` is router, norms, biases and sinks; `embedding` is what is kept of the embedding;
    `kv` is the cache when the context is full; `working` what a prefill chunk needs then; `program` all the rest.
    `slots` experts of each of the first `streamed_layers` are in memory, the others are read from their files.
    """

    budget: int
    dense_bits: int
    prefill_chunk: int
    rewind_points: int
    kv_bits: int
    context: int
    streamed_layers: int
    slots: int
    experts: int
    dense: int
    small: int
    embedding: int
    kv: int
    working: int
    program: int
    on_gpu: bool
    by_mlx: bool
    reasons: tuple[str, ...]

    @property
    def is_compiled(self) -> bool:
        """Whether it is made for the compiled layers of a CPU."""
        return not self.on_gpu and not self.by_mlx

    @property
    def parallel(self) -> int:
        """Answers that may be asked for at once: those that fit at their shortest. Longer ones wait for memory."""
        return max(1, min(MOST_PARALLEL, self.context // LEAST))

    @property
    def split(self) -> Split:
        """Which experts are in memory."""
        return Split(self.streamed_layers, self.slots)

    @property
    def weights(self) -> int:
        """Bytes of everything that is loaded."""
        return self.experts + self.dense + self.small + self.embedding

    @property
    def total(self) -> int:
        """Bytes held at most."""
        return self.weights + self.kv + self.working + self.program


def plan(
    config: ModelConfig, budget: int, wishes: Wishes | None = None, *, on_gpu: bool = True, by_mlx: bool = False
) -> MemoryPlan:
    """The best that fits into `budget` bytes.

    Quality is traded for the context that `wishes` asks for, or for COMFORTABLE; if it asks for none, the context is
    then as long as fits. Raises BudgetError if not even LEAST fits, ContextError if the requested context doesn't,
    RequestError for impossible wishes; each names what would fit.
    """
    return _Planner(config, wishes or Wishes(), on_gpu, by_mlx).plan(budget)


def plan_within(
    config: ModelConfig, budget: Budget, wishes: Wishes | None = None, *, on_gpu: bool, by_mlx: bool = False
) -> MemoryPlan:
    """The plan for a machine. Free memory comes and goes with other programs: where it is too little for a comfortable
    context at the leanest, the plan takes that much nevertheless, up to the limit. Raises as `plan` does."""
    planner = _Planner(config, wishes or Wishes(), on_gpu, by_mlx)
    nbytes, limit, lean = budget.nbytes, budget.limit, planner.leanest(planner.target)
    if planner.must_stream(limit):
        limit -= budget.cached
        nbytes, lean = min(nbytes, limit), planner.leanest(planner.target, comfortable_slots(config))
    comfortable = min(limit, lean.total)
    if comfortable <= nbytes:
        return planner.plan(nbytes, budget.reason)
    more = "The system has to make room by compressing or swapping other programs: close some if it gets slow."
    reason = f"{budget.reason} The model takes {memory_size(comfortable)} at the leanest. {more}"
    return planner.plan(comfortable, reason)


def least(config: ModelConfig, wishes: Wishes | None = None, *, on_gpu: bool) -> int:
    """Bytes below which the model does not fit: the leanest plan, with a context of LEAST tokens."""
    planner = _Planner(config, wishes or Wishes(), on_gpu, by_mlx=False)
    return planner.least(min(planner.target, LEAST)).total


def leanest(config: ModelConfig, wishes: Wishes, *, on_gpu: bool, by_mlx: bool = False) -> MemoryPlan:
    """What the context that `wishes` asks for takes at least, with all experts in memory. Raises as `plan` does."""
    planner = _Planner(config, wishes, on_gpu, by_mlx)
    return planner.leanest(planner.target)


def prefill_chunk(config: ModelConfig, plan: MemoryPlan, position: int, free: int) -> int:
    """Tokens to compute at once after `position` tokens with `free` bytes left: the plan's chunk, halved until what
    it needs is there. A chunk of one token is always tried: it needs no more than the answer itself will."""
    sizes, chunk = Sizes(config, plan.on_gpu, plan.by_mlx), plan.prefill_chunk
    while chunk > 1 and sizes.working(chunk, position + chunk, plan.kv_bits, plan.split) > free:
        chunk //= 2
    return chunk


class _Planner:
    """Tries choices from the best to the leanest until one fits."""

    def __init__(self, config: ModelConfig, wishes: Wishes, on_gpu: bool, by_mlx: bool) -> None:
        self.config = config
        self.sizes = Sizes(config, on_gpu, by_mlx)
        self.on_gpu = on_gpu
        self.by_mlx = by_mlx
        self.wishes = wishes
        self.longest = config.max_position_embeddings
        bits, context = wishes.dense_bits, wishes.context
        if bits is not None and bits not in DENSE_BITS:
            raise RequestError(f"dense_bits is {bits}; it can be 16 (as published), 8, 6 or 4")
        quantisable = not (config.hidden_size % QUANT_GROUP or self.sizes.queries % QUANT_GROUP)
        if bits not in (None, AS_PUBLISHED) and not quantisable:
            raise RequestError(
                f"dense_bits needs matrix sizes that are multiples of {QUANT_GROUP}; this model's are not"
            )
        if context is not None and not 0 < context <= self.longest:
            raise ContextError(
                f"a context of {context:,} tokens is not possible; this model's holds 1 to {self.longest:,}"
            )
        self.bits = (bits,) if bits is not None else DENSE_BITS if quantisable else (AS_PUBLISHED,)
        if wishes.stored_bits is not None:
            self.bits = (min(known for known in DENSE_BITS if known >= wishes.stored_bits),)
        self.target = min(self.longest, context or COMFORTABLE)
        most, least = config.num_local_experts, config.num_experts_per_tok
        if wishes.slots is not None and not least <= wishes.slots <= most:
            raise RequestError(f"experts is {wishes.slots}; for this model it must be from {least} to {most}")
        self.slots = None if wishes.slots == most else wishes.slots
        self.streams = self.slots is not None or (wishes.streams and wishes.slots is None and least < most)

    def plan(self, budget: int, because: str = "") -> MemoryPlan:
        """See the function `plan`; `because` says where the budget comes from."""
        rejected: list[tuple[int, Rung]] = []
        if self.must_stream(budget):
            found = self.streamed(budget)
            if found is None:
                raise self.too_little(budget)
            return replace(found, budget=budget, reasons=self.reasons(found, budget, rejected, because))
        for bits, rung in self.choices():
            if self.held(bits, rung, self.target).total <= budget:
                break
            rejected.append((bits, rung))
        else:
            bits, rung = rejected.pop()
            if self.held(bits, rung, min(self.target, LEAST)).total > budget:
                raise self.nothing_fits(budget)
            if self.wishes.context is not None:
                raise self.context_error(budget, self.most_context(bits, rung, budget))
        context = self.wishes.context or self.most_context(bits, rung, budget)
        found, embedding = self.held(bits, rung, context), self.sizes.embedding()
        if self.on_gpu and found.total + embedding <= budget:
            found = replace(found, embedding=embedding)
        return replace(found, budget=budget, reasons=self.reasons(found, budget, rejected, because))

    def must_stream(self, budget: int) -> bool:
        """Whether experts stay in their files: it is asked for, or so many bytes hold the model in no other way."""
        if self.slots is not None:
            return True
        return self.streams and self.leanest(min(self.target, LEAST)).total > budget

    def streamed(self, budget: int) -> MemoryPlan | None:
        """The fastest that fits with experts in their files, None if none does.

        Where nobody asks for so many experts, the dense part has 8 bits if half of them are in memory then, else fewer.
        """
        config, found = self.config, None
        coarse = [bits for bits in self.bits if bits < AS_PUBLISHED] or self.bits
        for bits in coarse if self.slots is None else self.bits:
            found = self.with_bits(bits, budget) or found
            if found is not None:
                in_files = found.streamed_layers * (config.num_local_experts - found.slots)
                if self.slots is not None or 2 * in_files <= config.num_hidden_layers * config.num_local_experts:
                    break
        return found

    def with_bits(self, bits: int, budget: int) -> MemoryPlan | None:
        """With a dense part of so many bits: the number of streamed layers, and of experts of each that are in memory,
        with which a token waits the least. None if none fits."""
        config, layers = self.config, self.config.num_hidden_layers
        least = least_slots(config) if self.slots is None else self.slots
        counts = range(1, layers + 1) if self.slots is None else (layers,)
        # A chat's usual context comes before experts in memory.
        for context in (self.target, self.target if self.wishes.context else min(self.target, LEAST)):
            found = list[Split]()
            for count in counts:
                spare = budget - self.held(bits, self.streamed_rung(count), context, Split(count, least)).total
                if spare >= 0:
                    more = 0 if self.slots is not None else spare // (count * self.sizes.slot())
                    found.append(Split(count, min(least + more, config.num_local_experts - 1)))
            if found:
                break
        else:
            return None
        split = fastest(config, found)
        rung = self.streamed_rung(split.layers)
        context = self.wishes.context or self.most_context(bits, rung, budget, split)
        return self.held(bits, rung, context, split)

    def streamed_rung(self, layers: int) -> Rung:
        """How prompts are computed where so many layers are streamed: as leanly as possible where others are whole.
        But for compiled layers, to which more tokens at once cost little memory: they spare reads."""
        if layers == self.config.num_hidden_layers:
            return _GPU_STREAMED if self.on_gpu else _CPU_STREAMED
        lean = (_GPU if self.on_gpu else _CPU)[-1]
        return replace(lean, chunk=_CPU_STREAMED.chunk) if self.sizes.compiled else lean

    def least(self, context: int) -> MemoryPlan:
        """The least that a context of so many tokens can be had with, experts in their files if that may be."""
        return self.leanest(context, least_slots(self.config)) if self.streams else self.leanest(context)

    def choices(self) -> Iterator[tuple[int, Rung]]:
        """From the best to the leanest."""
        return ((bits, rung) for bits in self.bits for rung in (_GPU if self.on_gpu else _CPU))

    def leanest(self, context: int, slots: int | None = None) -> MemoryPlan:
        """The least that a context of so many tokens can be had with: with all experts in memory, or with so many of
        each layer, unless another number is asked for."""
        *_, (bits, rung) = self.choices()
        if slots is None:
            return self.held(bits, rung, context)
        layers = self.config.num_hidden_layers
        return self.held(bits, self.streamed_rung(layers), context, Split(layers, self.slots or slots))

    def held(self, bits: int, rung: Rung, context: int, split: Split = ALL) -> MemoryPlan:
        """What these choices hold at a context of so many tokens, with the embedding in its file."""
        sizes = self.sizes
        return MemoryPlan(
            budget=0,
            dense_bits=bits,
            prefill_chunk=rung.chunk,
            rewind_points=rung.rewind_points,
            kv_bits=rung.kv_bits,
            context=context,
            streamed_layers=split.layers,
            slots=split.slots,
            experts=sizes.experts(split),
            dense=sizes.dense(bits),
            small=sizes.small(),
            embedding=0,
            kv=sizes.kv(context, rung),
            working=sizes.working(rung.chunk, context, rung.kv_bits, split),
            program=sizes.program(),
            on_gpu=self.on_gpu,
            by_mlx=self.by_mlx,
            reasons=(),
        )

    def most_context(self, bits: int, rung: Rung, budget: int, split: Split = ALL) -> int:
        """The longest context that fits, in steps of the cache's growth; the model's own where all of it does."""
        if self.held(bits, rung, self.longest, split).total <= budget:
            return self.longest
        fits, beyond = 0, -(-self.longest // CACHE_STEP)
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            if self.held(bits, rung, middle * CACHE_STEP, split).total <= budget:
                fits = middle
            else:
                beyond = middle
        return fits * CACHE_STEP

    def too_little(self, budget: int) -> BudgetError | ContextError:
        """Why not even experts in their files help: the context is too long, or nothing fits."""
        lean = self.least(min(self.target, LEAST))
        if self.wishes.context is None or lean.total > budget:
            return self.nothing_fits(budget)
        rung = self.streamed_rung(lean.streamed_layers)
        return self.context_error(budget, self.most_context(lean.dense_bits, rung, budget, lean.split))

    def context_error(self, budget: int, fits: int) -> ContextError:
        """The context that is asked for is longer than what fits."""
        return ContextError(
            f"a context of {self.target:,} tokens doesn't fit into {memory_size(budget)}; {fits:,} tokens do"
        )

    def nothing_fits(self, budget: int) -> BudgetError:
        """What is missing, and what would do."""
        least, better = self.least(min(self.target, LEAST)), self.least(self.target)
        at = (
            "" if least.dense_bits == AS_PUBLISHED else f", with attention and output matrix at {least.dense_bits} bits"
        )
        text = (
            f"this model needs {memory_size(least.total, ceil)} for a context of {least.context:,} tokens and "
            f"{memory_size(better.total, ceil)} for {better.context:,}{at}; there are {memory_size(budget, floor)}"
        )
        if self.wishes.dense_bits is not None and self.wishes.dense_bits > DENSE_BITS[-1]:
            text += ". Fewer dense bits need less"
        return BudgetError(text)

    def reasons(
        self, found: MemoryPlan, budget: int, rejected: list[tuple[int, Rung]], because: str
    ) -> tuple[str, ...]:
        """One sentence for each decision."""
        sizes, bits, context = self.sizes, found.dense_bits, found.context
        resident = memory_size(sizes.embedding())
        reasons = [because] if because else []
        reasons.append(experts_in_words(self.config, found.split, found.experts, sizes.experts()))
        if found.embedding:
            reasons.append(f"Embedding: {resident} in memory: there is room for it, and no token waits for its row.")
        else:
            reasons.append(f"Embedding: its rows are read from the file, one a token, instead of {resident}.")
        dense = f"Attention and output matrix: {memory_size(sizes.dense(bits))} "
        tokens = f"a context of {self.target:,} tokens"
        if bits == AS_PUBLISHED:
            reasons.append(dense + ("in float32, for MLX on a CPU." if self.by_mlx else "as published (bfloat16)."))
        elif self.wishes.stored_bits is not None:
            reasons.append(f"{dense}at {bits} bits, as in the files.")
        elif self.wishes.dense_bits is not None:
            reasons.append(f"{dense}at {bits} bits, as asked for.")
        elif found.streamed_layers:
            reasons.append(f"{dense}at {bits} bits, which leaves room for experts.")
        else:
            more = [pair for pair in rejected if pair[0] != bits][-1]
            need = memory_size(self.held(*more, self.target).total)
            reasons.append(f"{dense}at {bits} bits: at {more[0]}, {tokens} would need {need}.")
        larger = [pair for pair in rejected if pair[0] == bits]
        if larger:
            need = memory_size(self.held(*larger[-1], self.target).total)
            kv = ", keys and values in bfloat16" if not self.on_gpu and found.kv_bits < 32 else ""
            reasons.append(
                f"Prompts: {found.prefill_chunk} tokens at a time and {found.rewind_points} points to rewind to{kv}: "
                f"with {larger[-1][1].chunk} and {larger[-1][1].rewind_points}, {tokens} would need {need}."
            )
        else:
            points = f"{found.rewind_points} points to rewind to"
            reasons.append(f"Prompts: {found.prefill_chunk:,} tokens at a time, {points}.")
        if self.wishes.context is not None:
            reasons.append(f"Context: {context:,} tokens, as asked for.")
        elif context == self.longest:
            reasons.append(f"Context: all of the model's {context:,} tokens.")
        else:
            reasons.append(f"Context: {context:,} of {self.longest:,} tokens, as many as {memory_size(budget)} hold.")
        return tuple(reasons)
