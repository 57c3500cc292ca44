"""The plan with experts on the disk: what each Mac gets, what gives way, and the estimated speed."""

import pytest

from mlx_model.errors import BudgetError, ContextError
from mlx_model.memory.parts import Split
from mlx_model.memory.plan import least, plan, plan_within
from mlx_model.memory.streaming import Speeds, estimated_speed, expert_bytes, hit_rate, streaming_s
from mlx_model.memory.wishes import Budget, Wishes
from mlx_model.transformer.config import PUBLISHED, ModelConfig

GIB = 2**30
B20, B120 = PUBLISHED["gpt-oss-20b"], PUBLISHED["gpt-oss-120b"]
STREAMS = Wishes(streams=True)

# What Metal recommends as a working set: 2/3 or 3/4 of the memory, more since macOS 26 (reported). Of 8 GB a part is
# left to the page cache.
MACS = {
    "8": (8, 5.73),
    "16": (16, 11.45),
    "16, macOS 26": (16, 12.7),
    "24": (24, 17.18),
    "32": (32, 22.91),
    "36, macOS 26": (36, 30.2),
    "48": (48, 38.65),
    "64": (64, 51.54),
    "64, macOS 26": (64, 55.7),
    "128": (128, 103.08),
}

TABLE_20B = """
 8             4 bits, 24 layers with  8 experts, chunk 1024, context  19,968:   4.29 GB, 4 to 5 tokens a second
 16            4 bits, all in memory            , chunk  256, context  12,800:  11.45 GB
 16, macOS 26  8 bits, all in memory            , chunk 1024, context  20,992:  12.70 GB
 24           16 bits, all in memory            , chunk 2048, context 124,928:  17.18 GB
"""

TABLE_120B = """
 8            needs 8.6 GB for a context of 1,024 tokens and 8.9 GB for 8,192
 16            4 bits, 36 layers with 20 experts, chunk 1024, context  10,240:  11.44 GB, 1.7 to 2 tokens a second
 16, macOS 26  4 bits, 36 layers with 22 experts, chunk 1024, context  17,920:  12.69 GB, 1.8 to 2 tokens a second
 24            4 bits, 36 layers with 32 experts, chunk 1024, context  10,496:  17.17 GB, 2 to 4 tokens a second
 32            4 bits, 36 layers with 44 experts, chunk 1024, context  11,008:  22.91 GB, 3 to 5 tokens a second
 36, macOS 26  4 bits, 36 layers with 59 experts, chunk 1024, context  14,592:  30.20 GB, 4 to 7 tokens a second
 48            8 bits, 36 layers with 75 experts, chunk 1024, context  16,128:  38.65 GB, 5 to 8 tokens a second
 64            8 bits, 36 layers with 102 experts, chunk 1024, context  16,640:  51.53 GB, 8 to 12 tokens a second
 64, macOS 26  8 bits, 24 layers with 104 experts, chunk  256, context   8,960:  55.70 GB, 11 to 14 tokens a second
 128          16 bits, all in memory            , chunk 2048, context 131,072:  71.68 GB
"""


def row(config: ModelConfig, gib: int, working_set: int) -> str:
    budget = Budget(working_set, working_set, "", max(0, working_set - (gib - 4) * GIB))  # as device.budget
    try:
        p = plan_within(config, budget, STREAMS, on_gpu=True)
    except BudgetError as error:
        return "needs " + str(error).split("needs ")[1].split(", with")[0]
    experts = (
        f"{p.streamed_layers} layers with {p.slots:2} experts" if p.streamed_layers else "all in memory            "
    )
    line = (
        f"{p.dense_bits:2} bits, {experts}, chunk {p.prefill_chunk:4}, context {p.context:7,}: {p.total / 1e9:6.2f} GB"
    )
    return line + (f", {estimated_speed(config, p.dense_bits, p.split, Speeds()).range}" if p.streamed_layers else "")


@pytest.mark.parametrize(("config", "table"), [(B20, TABLE_20B), (B120, TABLE_120B)])
def test_what_each_mac_gets(config: ModelConfig, table: str) -> None:
    expected = table.strip("\n").splitlines()
    lines = [f" {name:12} {row(config, gib, int(gb * 1e9))}" for name, (gib, gb) in MACS.items()]
    assert lines[: len(expected)] == expected
    # With all the memory that it can use a model is held whole, and never streamed.
    assert all("all in memory" in line for line in lines[len(expected) :])


@pytest.mark.parametrize(("bits", "held"), [(8, (5, 24)), (16, (24, 26))])
def test_a_better_dense_part_is_bought_with_speed_where_it_is_asked_for(bits: int, held: tuple[int, int]) -> None:
    budget = int(11.45e9)
    with pytest.raises(BudgetError):
        plan(B20, budget, Wishes(dense_bits=bits))
    found = plan(B20, budget, Wishes(dense_bits=bits, streams=True))
    assert (found.streamed_layers, found.slots, found.dense_bits) == (*held, bits)
    assert found.context >= 8192 and found.total <= budget
    assert plan(B20, budget, STREAMS).streamed_layers == 0


def test_so_many_experts_as_are_asked_for() -> None:
    found = plan(B20, 20 * 10**9, Wishes(slots=13))
    assert (found.streamed_layers, found.slots, found.dense_bits) == (24, 13, 16)
    assert found.reasons[0] == (
        "Experts: 13 of 32 of each layer in memory, 3.9 GB of 9.5 GB; the others are read from the disk when they are "
        "needed."
    )
    whole = plan(B20, 20 * 10**9, Wishes(slots=32))
    assert (whole.streamed_layers, whole.slots) == (0, 0)
    with pytest.raises(BudgetError, match="needs 5"):
        plan(B20, 3 * 10**9, Wishes(slots=13))


def test_a_chats_context_comes_before_experts() -> None:
    assert plan(B20, 4 * 10**9, STREAMS).context >= 8192
    longer = plan(B20, 5 * 10**9, Wishes(context=60_000, streams=True))
    assert longer.context == 60_000 and longer.slots < plan(B20, 5 * 10**9, STREAMS).slots
    with pytest.raises(ContextError, match=r"a context of 131,072 tokens doesn't fit into 3.7 GB; 5\d,\d+ tokens do"):
        plan(B20, 4 * 10**9, Wishes(context=131_072, streams=True))


def test_the_least_is_an_eighth_of_the_experts() -> None:
    for config in (B20, B120):
        needed = least(config, STREAMS, on_gpu=True)
        found = plan(config, needed, STREAMS)
        assert (found.total, found.context) == (needed, 1024)
        assert found.slots == config.num_local_experts // 8
        with pytest.raises(BudgetError):
            plan(config, needed - 1, STREAMS)


def test_too_little_free_memory_takes_a_quarter_of_the_experts_up_to_what_is_left_to_pages() -> None:
    budget = Budget(2 * 10**9, int(5.73e9), "Little is free.", int(1.44e9))
    found = plan_within(B20, budget, STREAMS, on_gpu=True)
    assert found.slots == 8 and found.context >= 8192
    assert found.total <= 4.29e9
    assert "close some" in found.reasons[0]
    roomy = plan_within(B20, Budget(int(5.73e9), int(5.73e9), "", int(1.44e9)), STREAMS, on_gpu=True)
    assert roomy.total <= 4.29e9  # not all that the GPU could hold


def test_a_chunk_on_a_cpu_reads_experts_once_for_many_tokens() -> None:
    """Also where other layers are whole: 8 tokens, which is what is lean there without streaming, would have most
    experts of a prompt read 32 times as often."""
    found = plan(B20, 10 * GIB, STREAMS, on_gpu=False)
    assert 0 < found.streamed_layers < 24
    assert (found.prefill_chunk, found.total <= 10 * GIB, found.context >= 8192) == (256, True, True)


def test_bytes() -> None:
    """One expert of one layer, as the Hub's files have it, and what is held of all of them."""
    assert expert_bytes(B20) == expert_bytes(B120) == 13_219_200
    by_mlx = plan(B20, 10**10, Wishes(slots=10, dense_bits=4)).experts
    assert by_mlx == 24 * (10 * (13_219_200 + 17_280) + 32 * 17_280)
    compiled = plan(B20, 10**10, Wishes(slots=10, dense_bits=4), on_gpu=False).experts
    assert compiled == 24 * (10 * 13_219_200 + 32 * 2 * 17_280)


def test_the_estimated_speed() -> None:
    split = Split(24, 13)
    speeds = Speeds(disk=1.3e9, memory=1e11, routing_s=0.0)
    missed = (1 - 0.79) * 96 * 13_219_200 / 1.3e9
    assert streaming_s(B20, split, speeds) == pytest.approx(missed)
    assert streaming_s(B20, split, speeds, hits=1.0) == 0
    assert streaming_s(B20, split, Speeds(1.3e9, 1e11, 1e-3), hits=1.0) == pytest.approx(0.024)
    computed = (684_080_640 + 96 * 13_219_200) / (0.7 * 1e11)
    found = estimated_speed(B20, 4, split, speeds)
    assert found.likely == pytest.approx(1 / (computed + missed))
    assert found.least < found.likely < found.most
    assert found.range == "3 to 6 tokens a second"
    assert estimated_speed(B20, 4, Split(), speeds).range == "36 tokens a second"
    assert streaming_s(B20, Split()) == 0


def test_hits_grow_with_what_is_in_memory() -> None:
    rates = [hit_rate(share / 32) for share in range(33)]
    assert rates == sorted(rates) and (rates[0], rates[4], rates[13], rates[32]) == (0, 0.35, 0.79, 1)
