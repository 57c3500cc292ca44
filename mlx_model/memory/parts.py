"""Bytes of a model's parts, from its shape."""

from dataclasses import dataclass

from metal.formats import MXFP4_BLOCK, QUANT_GROUP
from mlx_model.memory.sizes import AS_PUBLISHED
from mlx_model.transformer.config import CACHE_STEP, KEY_BLOCK, ModelConfig

_IN_FLIGHT = 1.2
"""Intermediates of a layer that are held at once, over their sum: MLX allocates ahead of what is computed.

An allowance. At the widths of 20b the sum is 0.81 MB a token in float32, of which MLX's CPU backend holds 0.63 at once
(measured, the GPU's sorted experts included); but that computes one operation at a time, and a GPU has several command
buffers under way."""

_WAITING = 5
"""Copies of what experts in slots make of their rows, until all of these are there: as they come, joined, in the order
of the tokens, and in float32, which is twice as wide on a GPU."""

_SCORES = 3
"""Copies of the attention scores that MLX's CPU backend holds at once (measured: 3.0 to 3.1)."""


_PROGRAM_GPU = 100_000_000
"""Bytes on a GPU that are nobody's tensors: rounding to pages, command buffers, compiled kernels. An allowance."""

_PROGRAM_CPU = 150_000_000
"""Resident bytes of the process itself: Python, MLX, NumPy (55 MB, measured), the vocabulary, the allocator's slack."""

_PROGRAM_COMPILED = 300_000_000
"""The same with numba and LLVM, which take 140 MB (measured); 0.2 GB more in the one start that compiles the kernels,
which is not planned for: it would take context from all the others."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A way to run the same model: tokens of a prefill chunk, rewind points, bits of a cached number."""

    chunk: int
    rewind_points: int
    kv_bits: int


@dataclass(frozen=True, slots=True)
class Split:
    """Which experts are in memory: `slots` of each of the first `layers`, all of the others."""

    layers: int = 0
    slots: int = 0


ALL = Split()
"""No layer is streamed."""


class Sizes:
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

    def program(self) -> int:
        """All that is no part of a model."""
        return _PROGRAM_GPU if self.on_gpu else _PROGRAM_COMPILED if self.compiled else _PROGRAM_CPU

    def codes(self) -> int:
        """Of one expert: 4 bits a weight, and a scale of 8 for MXFP4_BLOCK of them."""
        weights = 3 * self.config.intermediate_size * self.config.hidden_size
        return weights // 2 + weights // MXFP4_BLOCK

    def biases(self) -> int:
        """Of one expert."""
        return (2 * self.config.intermediate_size + self.config.hidden_size) * self.item

    def slot(self) -> int:
        """What one expert more in memory costs a streamed layer; by MLX's operations its biases lie beside it."""
        return self.codes() + (0 if self.compiled else self.biases())

    def experts(self, split: Split = ALL) -> int:
        """Codes and scales of those in memory, biases of all."""
        c = self.config
        whole = (c.num_hidden_layers - split.layers) * c.num_local_experts * (self.codes() + self.biases())
        return whole + split.layers * (c.num_local_experts * self.biases() + split.slots * self.slot())

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

    def kv(self, context: int, rung: Rung) -> int:
        """The cache at `context` tokens: full layers in steps of growth, sliding windows now and at rewind points.

        The tail that full layers have while decoding is held where the intermediates of a prefill chunk are not.
        """
        token = 2 * self.keys * rung.kv_bits // 8
        grown = -(-context // CACHE_STEP) * CACHE_STEP
        sliding = sliding_keys(self.config, context, 1 + rung.rewind_points, rung.chunk, compiled=self.compiled)
        return token * (self.full * grown + self.sliding * sliding)

    def working(self, chunk: int, keys: int, kv_bits: int, split: Split = ALL) -> int:
        """Intermediates of a prefill chunk whose queries see up to `keys` keys, and a layer's cache while it is copied
        to grow.

        Where all layers are streamed as many rows go through experts at once as the chunk has tokens, and their results
        wait for the others.
        """
        c = self.config
        if self.compiled:
            # One layer's, and none of the scores; the cache grows by blocks, of which none is replaced.
            lanes = 3 * c.hidden_size + 2 * self.queries + 2 * self.keys + c.num_local_experts
            token = (lanes + c.hidden_size + c.num_experts_per_tok * (c.intermediate_size + 4)) * self.item
            return int(_IN_FLIGHT * chunk * token)
        pair = 6 * c.hidden_size + 7 * c.intermediate_size  # rows in, gate_up thrice, SwiGLU, out thrice, two more
        attention = 6 * c.hidden_size + 8 * self.queries + 6 * self.keys  # q and k once more by halves, in rotation
        streamed = split.layers == c.num_hidden_layers
        pairs = pair + _WAITING * c.num_experts_per_tok * c.hidden_size if streamed else c.num_experts_per_tok * pair
        token = (pairs + attention) * self.item
        layer = int(_IN_FLIGHT * chunk * token)
        cached = 2 * self.keys * keys
        growth = cached * kv_bits // 8
        if self.on_gpu:
            return layer + growth  # attention is one kernel there, and masks are 0.1 MB (metal.portable.QUERY_BLOCK)
        scores = _SCORES * c.num_attention_heads * chunk * keys * self.item
        widened = cached * self.item if kv_bits < 32 else 0
        return layer + growth + scores + widened


def sliding_keys(config: ModelConfig, tokens: int, windows: int, chunk: int, *, compiled: bool = False) -> int:
    """Keys that a sliding layer holds for so many windows of a sequence of `tokens`, where a prefill chunk has up to
    `chunk`: the present window and those of the points that can be gone back to."""
    held = windows * window_keys(config, chunk, compiled=compiled)
    if not compiled:
        return held
    # Windows have blocks in common: there are those of the sequence, and one cut short at each point.
    return min(held + _whole_blocks(chunk), _whole_blocks(tokens) + KEY_BLOCK * (windows - 1))


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
