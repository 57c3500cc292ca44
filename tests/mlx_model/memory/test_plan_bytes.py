"""The memory plan to the last byte, at the edges of its choices, and late in a long chat."""

from dataclasses import replace
from unittest.mock import ANY

import numpy as np
import pytest

from metal.formats import QUANT_GROUP
from mlx_model.cpu.cache import CompiledCache, Shape
from mlx_model.errors import BudgetError, ContextError, RequestError
from mlx_model.memory.parts import window_keys
from mlx_model.memory.plan import plan, plan_within, prefill_chunk
from mlx_model.memory.wishes import Budget, Wishes
from mlx_model.transformer.config import PUBLISHED, ModelConfig

B20 = PUBLISHED["gpt-oss-20b"]
MAC = 11_453_246_122
"""What the GPU of a Mac with 16 GB may hold."""


# Worked out by hand from the shapes, and the measured constants of the module.
@pytest.mark.parametrize(
    ("on_gpu", "budget", "wishes", "choices", "experts", "dense", "small", "embedding", "kv", "working"),
    [
        (True, MAC, Wishes(), (4, 256, 8, 16, 12_800),
         10_165_616_640, 684_080_640, 5_094_528, 0, 342_663_168, 150_863_872),
        (True, 10**12, Wishes(context=300), (16, 2048, 48, 16, 300),
         10_165_616_640, 2_432_286_720, 5_094_528, 1_158_266_880, 165_519_360, 997_810_176),
        (True, 18 * 10**9, Wishes(dense_bits=6), (6, 2048, 48, 16, 131_072),
         10_165_616_640, 988_116_480, 5_094_528, 1_158_266_880, 3_374_161_920, 1_265_631_232),
        (False, 11_500_000_000, Wishes(), (4, 16, 8, 16, 8192),
         10_178_887_680, 760_089_600, 10_189_056, 0, 232_955_904, 166_576_128),
        (False, 24 * 10**9, Wishes(), (16, 64, 48, 32, 80_640),
         10_178_887_680, 4_864_573_440, 10_189_056, 0, 4_423_630_848, 4_356_243_456),
        (False, 24 * 10**9, Wishes(context=1), (16, 64, 48, 32, 1),
         10_178_887_680, 4_864_573_440, 10_189_056, 0, 472_596_480, 62_377_984),
    ],
)  # fmt: skip
def test_bytes(
    on_gpu: bool,
    budget: int,
    wishes: Wishes,
    choices: tuple[int, ...],
    experts: int,
    dense: int,
    small: int,
    embedding: int,
    kv: int,
    working: int,
) -> None:
    found = plan(B20, budget, wishes, on_gpu=on_gpu, by_mlx=not on_gpu)
    assert (found.dense_bits, found.prefill_chunk, found.rewind_points, found.kv_bits, found.context) == choices
    assert (found.experts, found.dense, found.small, found.kv, found.working) == (experts, dense, small, kv, working)
    assert (found.budget, found.embedding, found.on_gpu) == (budget, embedding, on_gpu)
    assert found.program == (100_000_000 if on_gpu else 150_000_000)
    assert found.weights == experts + dense + small + embedding
    assert found.total == found.weights + kv + working + found.program <= budget


def test_the_rungs_from_the_best_to_the_leanest() -> None:
    """With as little memory as each needs for a comfortable context, and one byte less."""
    for on_gpu, expected in (
        (True, [(2048, 48, 16), (1024, 24, 16), (512, 16, 16), (256, 8, 16)]),
        (False, [(64, 48, 32), (32, 16, 32), (16, 8, 16), (8, 8, 16)]),
    ):
        rungs, wishes, budget = list[tuple[int, int, int]](), Wishes(context=8192, dense_bits=4), 10**12
        while True:
            try:
                found = plan(B20, budget, wishes, on_gpu=on_gpu, by_mlx=not on_gpu)
            except ContextError:
                break
            if not found.embedding:
                rungs.append((found.prefill_chunk, found.rewind_points, found.kv_bits))
            assert plan(B20, found.total, wishes, on_gpu=on_gpu, by_mlx=not on_gpu).prefill_chunk == found.prefill_chunk
            budget = found.total - 1
        assert rungs == expected


def test_quality_gives_way_in_order() -> None:
    """First the embedding, then the chunk, then the bits. What would free nothing is passed over: large chunks at fewer
    bits."""
    seen, budget = list[tuple[int, int]](), 10**12
    held = plan(B20, budget, Wishes(context=8192))
    assert held.embedding and plan(B20, held.total - 1, Wishes(context=8192)) == replace(
        held, embedding=0, budget=held.total - 1, reasons=ANY
    )
    budget = held.total - 1
    while True:
        try:
            found = plan(B20, budget, Wishes(context=8192))
        except ContextError:
            break
        seen.append((found.dense_bits, found.prefill_chunk))
        budget = found.total - 1
    assert seen == [
        *((16, chunk) for chunk in (2048, 1024, 512, 256)),
        *((8, chunk) for chunk in (2048, 1024, 512, 256)),
        *((6, chunk) for chunk in (512, 256)),
        *((4, chunk) for chunk in (512, 256)),
    ]


@pytest.mark.parametrize("context", [1, 256, 257, 512, 131_072])
def test_full_layers_grow_by_whole_steps(context: int) -> None:
    shorter = plan(B20, 10**12, Wishes(context=max(1, context - 1)))
    found = plan(B20, 10**12, Wishes(context=context))
    assert found.kv - shorter.kv == (12 * 2 * 8 * 64 * 2 * 256 if context % 256 == 1 and context > 1 else 0)


@pytest.mark.parametrize(("chunk", "keys"), [(1, 128), (126, 253), (127, 254), (128, 127), (2048, 127)])
def test_a_window_of_a_short_chunk_may_keep_the_chunk(chunk: int, keys: int) -> None:
    assert window_keys(B20, chunk) == keys


@pytest.mark.parametrize("context", [1024, 8192])
def test_blocks_that_windows_have_in_common_are_planned_once(context: int) -> None:
    """In compiled layers, beside a cache that is filled to the planned context and keeps all points to go back to."""
    found = plan(B20, 8 * 10**9, Wishes(context=context, streams=True), on_gpu=False)
    windows = [B20.window(layer) for layer in range(B20.num_hidden_layers)]
    shape = Shape(B20.num_key_value_heads, B20.head_dim, np.dtype(np.float32))
    cache = CompiledCache(windows, shape, most_marks=found.rewind_points)
    step = context // (found.rewind_points + 1) - 3
    cache.mark(range(step, step * found.rewind_points + 1, step))
    for _ in range(0, context, 32):
        cache.extend(1, 32)
        cache.advance(32)
    blocks = {
        block.address: block.numbers.nbytes
        for layer in cache.layers
        for kept in (layer._held, *layer._marked.values())
        for block in kept.blocks
    }
    assert 0.8 * found.kv < sum(blocks.values()) <= found.kv


# Late in a long chat


@pytest.mark.parametrize(
    ("position", "chunks"),
    [(0, [256, 256, 128, 64]), (6000, [256, 256, 128, 64]), (12_000, [256, 256, 128, 32]), (60_000, [256, 32, 1, 1])],
)
def test_a_chunk_far_into_the_context_is_smaller_on_a_gpu(position: int, chunks: list[int]) -> None:
    found = plan(B20, MAC)
    frees = (10**9, 150_000_000, 100_000_000, 50_000_000)
    assert [prefill_chunk(B20, found, position, free) for free in frees] == chunks


@pytest.mark.parametrize(
    ("position", "chunks"), [(0, [16, 16, 16, 16]), (8000, [16, 16, 16, 1]), (17_000, [16, 16, 4, 1])]
)
def test_a_chunk_far_into_the_context_is_smaller_on_a_cpu(position: int, chunks: list[int]) -> None:
    found = plan(B20, 16 * 10**9, on_gpu=False, by_mlx=True)
    frees = (10**9, found.working, found.working // 2, found.working // 8)
    assert [prefill_chunk(B20, found, position, free) for free in frees] == chunks


@pytest.mark.parametrize("on_gpu", [True, False])
def test_the_last_chunk_of_a_full_context_takes_what_the_plan_gave_it(on_gpu: bool) -> None:
    """To the byte: with one less it is halved."""
    found = plan(B20, 24 * 10**9, Wishes(context=20_000), on_gpu=on_gpu)
    position = 20_000 - found.prefill_chunk
    assert prefill_chunk(B20, found, position, found.working) == found.prefill_chunk
    assert prefill_chunk(B20, found, position, found.working - 1) == found.prefill_chunk // 2


# Edges of wishes and budgets


def test_a_budget_that_just_suffices() -> None:
    """The leanest plan at a comfortable context asks for no other memory where it fits to the byte."""
    lean = plan_within(B20, Budget(0, 10**12, "Nothing is free."), on_gpu=True)
    assert (lean.budget, lean.context) == (lean.total, 8192)
    assert lean.reasons[0].startswith("Nothing is free. The model takes 10.5 GB at the leanest. The system has to")
    fits = plan_within(B20, Budget(lean.total, 10**12, "Free."), on_gpu=True)
    assert (fits.reasons[0], fits.total) == ("Free.", lean.total)
    short = plan_within(B20, Budget(lean.total - 1, 10**12, "Free."), on_gpu=True)
    assert "at the leanest" in short.reasons[0]
    limited = plan_within(B20, Budget(0, lean.total - 1, "Free."), on_gpu=True)
    assert limited.total <= lean.total - 1
    assert limited.context == 8192 - 256


def test_the_least_context_to_the_byte() -> None:
    refused, budget = 0, 10**12
    while budget - refused > 1:
        middle = (refused + budget) // 2
        try:
            plan(B20, middle)
            budget = middle
        except BudgetError:
            refused = middle
    assert (plan(B20, budget).total, plan(B20, budget).context) == (budget, 1024)
    assert "10.4 GB for a context of 1,024 tokens" in message(B20, budget - 1)
    assert "for a context of 600 tokens and" in message(replace(B20, max_position_embeddings=600), 0)


def message(config: ModelConfig, budget: int) -> str:
    with pytest.raises(BudgetError) as error:
        plan(config, budget)
    return str(error.value)


def test_a_refusal_says_what_would_do() -> None:
    assert message(B20, 10**9) == (
        "this model needs 10.4 GB for a context of 1,024 tokens and 10.6 GB for 8,192, with attention and output "
        "matrix at 4 bits; there are 953.6 MB"
    )
    for bits in (16, 8, 6, 4):
        more = "; there are 953.6 MB" + (". Fewer dense bits need less" if bits > 4 else "")
        with pytest.raises(BudgetError) as error:
            plan(B20, 10**9, Wishes(dense_bits=bits))
        assert str(error.value).endswith(more)
        assert (f"output matrix at {bits} bits; there" in str(error.value)) == (bits < 16)


def test_the_longest_context_is_possible_and_so_is_one_token() -> None:
    for context in (1, 131_072):
        assert plan(B20, 10**12, Wishes(context=context)).context == context
    short = replace(B20, max_position_embeddings=600)
    assert plan(short, 10**12).context == 600
    assert plan(short, 10**12).reasons[-1] == "Context: all of the model's 600 tokens."


@pytest.mark.parametrize("bits", [0, 2, 5, 7, 32])
def test_impossible_bits(bits: int) -> None:
    with pytest.raises(RequestError, match=rf"dense_bits is {bits}; it can be 16 \(as published\), 8, 6 or 4"):
        plan(B20, 10**12, Wishes(dense_bits=bits))


@pytest.mark.parametrize(
    "change", [{"hidden_size": 2880 + QUANT_GROUP // 2}, {"num_attention_heads": 1, "head_dim": QUANT_GROUP // 2}]
)
def test_sizes_that_cant_be_quantised_stay_as_they_are(change: dict[str, int]) -> None:
    odd = replace(B20, **change)  # type: ignore[arg-type]
    assert plan(odd, 10**12).dense_bits == plan(odd, 10**12, Wishes(dense_bits=16)).dense_bits == 16
    with pytest.raises(RequestError, match="multiples of"):
        plan(odd, 10**12, Wishes(dense_bits=8))
    assert "matrix at" not in message(odd, 10**9)


@pytest.mark.parametrize(("stored", "bits"), [(2, 4), (3, 4), (4, 4), (5, 6), (6, 6), (7, 8), (8, 8), (16, 16)])
def test_stored_bits_count_as_the_next_known(stored: int, bits: int) -> None:
    found = plan(B20, 10**12, Wishes(stored_bits=stored, dense_bits=4))
    assert found.dense_bits == bits


def test_reasons_name_what_was_chosen_and_by_whom() -> None:
    def reason(start: str, budget: int, wishes: Wishes | None = None, *, on_gpu: bool = True) -> str:
        reasons = plan(B20, budget, wishes, on_gpu=on_gpu, by_mlx=not on_gpu).reasons
        (found,) = [each for each in reasons if each.startswith(start)]
        return found.removeprefix(start)

    dense = "Attention and output matrix: "
    assert reason(dense, 10**12) == "2.3 GB as published (bfloat16)."
    assert reason(dense, 10**12, on_gpu=False) == "4.5 GB in float32, for MLX on a CPU."
    assert reason(dense, 10**12, Wishes(dense_bits=6)) == "942.3 MB at 6 bits, as asked for."
    assert reason(dense, 10**12, Wishes(dense_bits=6, stored_bits=8)) == "1.2 GB at 8 bits, as in the files."
    prompts = "Prompts: "
    assert reason(prompts, 10**12) == "2,048 tokens at a time, 48 points to rewind to."
    assert reason(prompts, 13 * 10**9) == "2,048 tokens at a time, 48 points to rewind to."  # though at fewer bits
    assert reason(prompts, 11_500_000_000, on_gpu=False) == (
        "16 tokens at a time and 8 points to rewind to, keys and values in bfloat16: "
        "with 32 and 16, a context of 8,192 tokens would need 11.1 GB."
    )
    assert reason(prompts, 13 * 10**9, on_gpu=False) == (
        "32 tokens at a time and 16 points to rewind to: with 64 and 48, a context of 8,192 tokens would need 12.2 GB."
    )
    assert reason("Context: ", 11_500_000_000, on_gpu=False) == "8,192 of 131,072 tokens, as many as 10.7 GB hold."
    assert reason("Context: ", 10**12, Wishes(context=131_072)) == "131,072 tokens, as asked for."
    assert plan(B20, 10**12).reasons[0].startswith("Experts: 9.5 GB")
