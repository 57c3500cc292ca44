"""The memory plan: what of a model is held in memory, at how many bits, and how long a chat then fits a budget.

A pure function of the model's shape and of a number of bytes; device.py knows the machine. Experts stay as published.
What gives way, in this order, is the size of prefill chunks and the number of places a chat can be rewound to, then the
bits of the dense part (attention and output matrix), then the context. A smaller chunk costs some speed on long
prompts, fewer bits cost accuracy in every answer, so the chunk gives way first.

The embedding comes last: its rows are read from the file, unless a GPU has room for the matrix besides all that was
chosen, the model's whole context or the one that was asked for included. A row of the file comes by the CPU's stream,
which costs some 0.18 ms a token (MLX's issue 4438 measured it on an M3 Ultra): 1% of a token's time on an M4 Pro, 4% on
an M3 Ultra. A Mac with 24 GB would pay for that 1% with 43,520 of gpt-oss-20b's 124,928 tokens; with 32 GB it is free.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor

from metal.formats import MXFP4_BLOCK, QUANT_GROUP
from mlx_model.errors import BudgetError, ContextError, RequestError
from mlx_model.memory.sizes import AS_PUBLISHED, memory_size
from mlx_model.transformer.config import CACHE_STEP, KEY_BLOCK, ModelConfig

DENSE_BITS = (AS_PUBLISHED, 8, 6, 4)

COMFORTABLE = 8192
"""Tokens of context for which quality is traded: a few long answers with their analysis."""

LEAST = 1024
"""Tokens of context below which a chat makes no sense: the system message, a question, a short answer."""

_IN_FLIGHT = 1.2
"""Intermediates of a layer that are held at once, over their sum: MLX allocates ahead of what is computed.

An allowance. At the widths of 20b the sum is 0.81 MB a token in float32, of which MLX's CPU backend holds 0.63 at once
(measured, the GPU's sorted experts included); but that computes one operation at a time, and a GPU has several command
buffers under way."""

_SCORES = 3
"""Copies of the attention scores that MLX's CPU backend holds at once (measured: 3.0 to 3.1)."""

_PROGRAM_GPU = 100_000_000
"""Bytes on a GPU that are nobody's tensors: rounding to pages, command buffers, compiled kernels. An allowance."""

_PROGRAM_CPU = 150_000_000
"""Resident bytes of the process itself: Python, MLX, NumPy (55 MB, measured), the vocabulary, the allocator's slack."""

_PROGRAM_COMPILED = 300_000_000
"""The same with numba and LLVM, which take 140 MB (measured)."""


@dataclass(frozen=True, slots=True)
class _Rung:
    """A way to run the same model: tokens of a prefill chunk, rewind points, bits of a cached number."""

    chunk: int
    rewind_points: int
    kv_bits: int


_GPU = (_Rung(2048, 48, 16), _Rung(1024, 24, 16), _Rung(512, 16, 16), _Rung(256, 8, 16))
# On a CPU the arithmetic of 64 tokens takes longer than reading the weights for them: larger chunks gain little, and a
# prompt that is cancelled waits for one.
_CPU = (_Rung(64, 48, 32), _Rung(32, 16, 32), _Rung(16, 8, 16), _Rung(8, 8, 16))


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the plan must keep to: a context of so many tokens, a dense part at so many bits (one of DENSE_BITS).

    `stored_bits` are those at which the files hold the dense part already, which no choice can change.
    """

    context: int | None = None
    dense_bits: int | None = None
    stored_bits: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes to plan with. Up to `limit` the plan may go if a model does not fit otherwise. `reason` is one sentence."""

    nbytes: int
    limit: int
    reason: str


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What is held, in bytes, and how, on a GPU or a CPU, there `by_mlx` or by the compiled layers, whose weights are
    pages of the files. Where `dense_bits` is 16 the dense part is not quantised.

    `context`, `prefill_chunk` in tokens; `rewind_points` are positions the KV cache can be rewound to; `kv_bits` are
    those of a cached number. `small` is router, norms, biases and sinks; `embedding` is what is kept of the embedding;
    `kv` is the cache when the context is full; `working` what a prefill chunk needs then; `program` all the rest.
    """

    budget: int
    dense_bits: int
    prefill_chunk: int
    rewind_points: int
    kv_bits: int
    context: int
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
    comfortable = min(budget.limit, planner.leanest(planner.target).total)
    if comfortable <= budget.nbytes:
        return planner.plan(budget.nbytes, budget.reason)
    more = "The system has to make room by compressing or swapping other programs: close some if it gets slow."
    reason = f"{budget.reason} The model takes {memory_size(comfortable)} at the leanest. {more}"
    return planner.plan(comfortable, reason)


def least(config: ModelConfig, wishes: Wishes | None = None, *, on_gpu: bool) -> int:
    """Bytes below which the model does not fit: the leanest plan, with a context of LEAST tokens."""
    planner = _Planner(config, wishes or Wishes(), on_gpu, by_mlx=False)
    return planner.leanest(min(planner.target, LEAST)).total


def prefill_chunk(config: ModelConfig, plan: MemoryPlan, position: int, free: int) -> int:
    """Tokens to compute at once after `position` tokens with `free` bytes left: the plan's chunk, halved until what
    it needs is there. A chunk of one token is always tried: it needs no more than the answer itself will."""
    sizes, chunk = _Sizes(config, plan.on_gpu, plan.by_mlx), plan.prefill_chunk
    while chunk > 1 and sizes.working(chunk, position + chunk, plan.kv_bits) > free:
        chunk //= 2
    return chunk


def window_keys(config: ModelConfig, chunk: int, *, compiled: bool = False) -> int:
    """Keys that a sliding layer holds for one window, where a prefill chunk has up to `chunk` tokens.

    A window cut from a short chunk is a view of that chunk joined with the window before it (transformer/cache.py).
    Compiled layers keep whole blocks, the first of which may be another window's but for a key (cpu/cache.py).
    """
    kept = config.sliding_window - 1
    if compiled:
        return _whole_blocks(kept + KEY_BLOCK - 1)
    return kept if chunk > kept else kept + chunk


def _whole_blocks(keys: int) -> int:
    return -(-keys // KEY_BLOCK) * KEY_BLOCK


class _Sizes:
    """Bytes of a model's parts, from its shape.

    `item` are those of an activation, a bias or a norm's weight: bfloat16 on a GPU, float32 on a CPU; `stored` those of
    a number of a dense matrix, which the compiled layers read as the files have it.
    """

    def __init__(self, config: ModelConfig, on_gpu: bool, by_mlx: bool) -> None:
        self.config = config
        self.on_gpu = on_gpu
        self.compiled = not on_gpu and not by_mlx
        self.item = 2 if on_gpu else 4
        self.stored = 2 if self.compiled else self.item
        self.queries = config.num_attention_heads * config.head_dim
        self.keys = config.num_key_value_heads * config.head_dim
        self.sliding = sum(kind == "sliding_attention" for kind in config.layer_types)
        self.full = config.num_hidden_layers - self.sliding

    def experts(self) -> int:
        """Codes, scales and biases: 4 bits a weight and 8 for MXFP4_BLOCK of them."""
        c = self.config
        weights = 3 * c.intermediate_size * c.hidden_size
        rows = 2 * c.intermediate_size + c.hidden_size
        one = weights // 2 + weights // MXFP4_BLOCK + rows * self.item
        return c.num_hidden_layers * c.num_local_experts * one

    def dense(self, bits: int) -> int:
        """Attention's four matrices of each layer, and the output matrix; scale and offset as wide as a number."""
        c = self.config
        weights = c.hidden_size * (c.num_hidden_layers * 2 * (self.queries + self.keys) + c.vocab_size)
        if bits == AS_PUBLISHED:
            return weights * self.stored
        return weights * bits // 8 + weights // QUANT_GROUP * 2 * self.stored

    def embedding(self) -> int:
        """The whole matrix, as published."""
        return self.config.vocab_size * self.config.hidden_size * 2

    def small(self) -> int:
        """Router, norms, biases, sinks."""
        c = self.config
        router = c.num_local_experts * c.hidden_size * self.stored
        biases = self.queries + 2 * self.keys + c.hidden_size + c.num_local_experts
        layer = router + (biases + 2 * c.hidden_size + c.num_attention_heads) * self.item
        return c.num_hidden_layers * layer + c.hidden_size * self.item

    def kv(self, context: int, rung: _Rung) -> int:
        """The cache at `context` tokens: full layers in steps of growth, sliding windows now and at rewind points.

        The tail that full layers have while decoding is held where the intermediates of a prefill chunk are not.
        """
        token = 2 * self.keys * rung.kv_bits // 8
        window = window_keys(self.config, rung.chunk, compiled=self.compiled)
        grown = -(-context // CACHE_STEP) * CACHE_STEP
        room = _whole_blocks(rung.chunk) if self.compiled else 0
        return token * (self.full * grown + self.sliding * (room + window * (1 + rung.rewind_points)))

    def working(self, chunk: int, keys: int, kv_bits: int) -> int:
        """Intermediates of a prefill chunk whose queries see up to `keys` keys, and a layer's cache while it is copied
        to grow."""
        c = self.config
        if self.compiled:
            # One layer's, and none of the scores; the cache grows by blocks, of which none is replaced.
            lanes = 3 * c.hidden_size + 2 * self.queries + 2 * self.keys + c.num_local_experts
            token = (lanes + c.hidden_size + c.num_experts_per_tok * (c.intermediate_size + 4)) * self.item
            return int(_IN_FLIGHT * chunk * token)
        pair = 6 * c.hidden_size + 7 * c.intermediate_size  # rows in, gate_up thrice, SwiGLU, out thrice, two more
        attention = 6 * c.hidden_size + 8 * self.queries + 6 * self.keys  # q and k once more by halves, in rotation
        token = (c.num_experts_per_tok * pair + attention) * self.item
        layer = int(_IN_FLIGHT * chunk * token)
        cached = 2 * self.keys * keys
        growth = cached * kv_bits // 8
        if self.on_gpu:
            return layer + growth  # attention is one kernel there, and masks are 0.1 MB (metal.portable.QUERY_BLOCK)
        scores = _SCORES * c.num_attention_heads * chunk * keys * self.item
        widened = cached * self.item if kv_bits < 32 else 0
        return layer + growth + scores + widened


class _Planner:
    """Tries choices from the best to the leanest until one fits."""

    def __init__(self, config: ModelConfig, wishes: Wishes, on_gpu: bool, by_mlx: bool) -> None:
        self.config = config
        self.sizes = _Sizes(config, on_gpu, by_mlx)
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

    def plan(self, budget: int, because: str = "") -> MemoryPlan:
        """See the function `plan`; `because` says where the budget comes from."""
        rejected: list[tuple[int, _Rung]] = []
        for bits, rung in self.choices():
            if self.held(bits, rung, self.target).total <= budget:
                break
            rejected.append((bits, rung))
        else:
            bits, rung = rejected.pop()
            if self.held(bits, rung, min(self.target, LEAST)).total > budget:
                raise self.nothing_fits(budget)
            if self.wishes.context is not None:
                raise ContextError(
                    f"a context of {self.target:,} tokens doesn't fit into {memory_size(budget)}; "
                    f"{self.most_context(bits, rung, budget):,} tokens do"
                )
        context = self.wishes.context or self.most_context(bits, rung, budget)
        found, embedding = self.held(bits, rung, context), self.sizes.embedding()
        if self.on_gpu and found.total + embedding <= budget:
            found = replace(found, embedding=embedding)
        return replace(found, budget=budget, reasons=self.reasons(found, rung, budget, rejected, because))

    def choices(self) -> Iterator[tuple[int, _Rung]]:
        """From the best to the leanest."""
        return ((bits, rung) for bits in self.bits for rung in (_GPU if self.on_gpu else _CPU))

    def leanest(self, context: int) -> MemoryPlan:
        """The least that a context of so many tokens can be had with."""
        *_, (bits, rung) = self.choices()
        return self.held(bits, rung, context)

    def held(self, bits: int, rung: _Rung, context: int) -> MemoryPlan:
        """What these choices hold at a context of so many tokens, with the embedding in its file."""
        sizes = self.sizes
        return MemoryPlan(
            budget=0,
            dense_bits=bits,
            prefill_chunk=rung.chunk,
            rewind_points=rung.rewind_points,
            kv_bits=rung.kv_bits,
            context=context,
            experts=sizes.experts(),
            dense=sizes.dense(bits),
            small=sizes.small(),
            embedding=0,
            kv=sizes.kv(context, rung),
            working=sizes.working(rung.chunk, context, rung.kv_bits),
            program=_PROGRAM_GPU if self.on_gpu else _PROGRAM_CPU if self.by_mlx else _PROGRAM_COMPILED,
            on_gpu=self.on_gpu,
            by_mlx=self.by_mlx,
            reasons=(),
        )

    def most_context(self, bits: int, rung: _Rung, budget: int) -> int:
        """The longest context that fits, in steps of the cache's growth; the model's own where all of it does."""
        if self.held(bits, rung, self.longest).total <= budget:
            return self.longest
        fits, beyond = 0, -(-self.longest // CACHE_STEP)
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            if self.held(bits, rung, middle * CACHE_STEP).total <= budget:
                fits = middle
            else:
                beyond = middle
        return fits * CACHE_STEP

    def nothing_fits(self, budget: int) -> BudgetError:
        """What is missing, and what would do."""
        least, better = self.leanest(min(self.target, LEAST)), self.leanest(self.target)
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
        self, found: MemoryPlan, rung: _Rung, budget: int, rejected: list[tuple[int, _Rung]], because: str
    ) -> tuple[str, ...]:
        """One sentence for each decision."""
        sizes, bits, context = self.sizes, found.dense_bits, found.context
        resident = memory_size(sizes.embedding())
        reasons = [because] if because else []
        reasons.append(f"Experts: {memory_size(sizes.experts())}, as published (MXFP4), never converted.")
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
        else:
            more = [pair for pair in rejected if pair[0] != bits][-1]
            need = memory_size(self.held(*more, self.target).total)
            reasons.append(f"{dense}at {bits} bits: at {more[0]}, {tokens} would need {need}.")
        larger = [pair for pair in rejected if pair[0] == bits]
        if larger:
            need = memory_size(self.held(*larger[-1], self.target).total)
            kv = ", keys and values in bfloat16" if not self.on_gpu and rung.kv_bits < 32 else ""
            reasons.append(
                f"Prompts: {rung.chunk} tokens at a time and {rung.rewind_points} points to rewind to{kv}: "
                f"with {larger[-1][1].chunk} and {larger[-1][1].rewind_points}, {tokens} would need {need}."
            )
        else:
            reasons.append(f"Prompts: {rung.chunk:,} tokens at a time, {rung.rewind_points} points to rewind to.")
        if self.wishes.context is not None:
            reasons.append(f"Context: {context:,} tokens, as asked for.")
        elif context == self.longest:
            reasons.append(f"Context: all of the model's {context:,} tokens.")
        else:
            reasons.append(f"Context: {context:,} of {self.longest:,} tokens, as many as {memory_size(budget)} hold.")
        return tuple(reasons)
