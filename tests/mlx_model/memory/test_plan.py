"""The memory plan: what a person with each Mac gets, that every byte is counted, and that it is kept to."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import ceil, floor
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model import model as model_module
from mlx_model.cpu.transformer import CompiledTransformer
from mlx_model.errors import BudgetError, ContextError, RequestError
from mlx_model.generation.runner import Runner
from mlx_model.memory import device
from mlx_model.memory.plan import MemoryPlan, plan, plan_within, prefill_chunk
from mlx_model.memory.sizes import disk_size, memory_size, parse_memory
from mlx_model.memory.wishes import Budget, Wishes
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.transformer.cache import Cache
from mlx_model.transformer.config import PUBLISHED, ModelConfig
from mlx_model.weights.loader import load_transformer
from tests.fixtures.checkpoints import hub_config, tiny_config, write_checkpoint

GIB = 2**30
B20, B120 = PUBLISHED["gpt-oss-20b"], PUBLISHED["gpt-oss-120b"]

# What Metal recommends as a working set is 2/3 of the memory of smaller Macs, 3/4 of larger ones.
MACS = {"8": 2 / 3, "16": 2 / 3, "18": 2 / 3, "24": 2 / 3, "32": 2 / 3, "64": 3 / 4, "128": 3 / 4}

TABLE_20B = """
 Mac     GPU  | dense  chunk  rewind  context | weights      KV working   total
   8    5.73  | does not fit: 10.4 GB for 1,024 tokens, 10.6 GB for 8,192
  16   11.45  |     4    256       8   12,800 |   10.85     0.34     0.15    11.45
  18   12.88  |     8   1024      24   27,904 |   11.46     0.76     0.56    12.88
  24   17.18  |    16   2048      48  124,928 |   12.60     3.22     1.25    17.18
  32   22.91  |    16   2048      48  131,072 |   13.76     3.37     1.27    18.50
  64   51.54  |    16   2048      48  131,072 |   13.76     3.37     1.27    18.50
 128  103.08  |    16   2048      48  131,072 |   13.76     3.37     1.27    18.50
"""

TABLE_120B = """
 Mac     GPU  | dense  chunk  rewind  context | weights      KV working   total
   8    5.73  | does not fit: 58 GB for 1,024 tokens, 58.2 GB for 8,192
  16   11.45  | does not fit: 58 GB for 1,024 tokens, 58.2 GB for 8,192
  18   12.88  | does not fit: 58 GB for 1,024 tokens, 58.2 GB for 8,192
  24   17.18  | does not fit: 58 GB for 1,024 tokens, 58.2 GB for 8,192
  32   22.91  | does not fit: 58 GB for 1,024 tokens, 58.2 GB for 8,192
  64   51.54  | does not fit: 58 GB for 1,024 tokens, 58.2 GB for 8,192
 128  103.08  |    16   2048      48  131,072 |   65.25     5.06     1.27    71.68
"""

# On a CPU the dense part is float32 unless it is quantised, and so are keys and values until memory is short.
TABLE_20B_ON_A_CPU = """
GB free       | dense  chunk  rewind  context | weights      KV working   total
   11.0       | does not fit: 10.5 GB for 1,024 tokens, 10.7 GB for 8,192
   11.5       |     4     16       8   11,520 |   10.87     0.33     0.00    11.50
   12.0       |     6     16       8   19,456 |   11.17     0.52     0.00    12.00
   13.0       |     8     64      48   15,104 |   11.48     1.21     0.01    12.99
   16.0       |    16     64      48   52,992 |   12.62     3.07     0.01    16.00
   20.0       |    16     64      48  131,072 |   12.62     6.91     0.01    19.83
   24.0       |    16     64      48  131,072 |   12.62     6.91     0.01    19.83
"""


def row(config: ModelConfig, budget: int, *, on_gpu: bool = True) -> str:
    try:
        p = plan(config, budget, on_gpu=on_gpu)
    except BudgetError as error:
        needs = str(error).split("needs ")[1].split(", with")[0]
        return "| does not fit: " + needs.replace(" for a context of", " for").replace(" and ", ", ")
    sizes = "".join(f"{size / 1e9:8.2f} " for size in (p.weights, p.kv, p.working, p.total)).rstrip()
    return f"| {p.dense_bits:5} {p.prefill_chunk:6} {p.rewind_points:7} {p.context:8,} |{sizes}"


@pytest.mark.parametrize(("config", "table"), [(B20, TABLE_20B), (B120, TABLE_120B)])
def test_what_each_mac_gets(config: ModelConfig, table: str) -> None:
    lines = table.strip("\n").splitlines()[:1]
    for gib, share in MACS.items():
        budget = int(int(gib) * GIB * share)
        lines.append(f"{gib:>4} {budget / 1e9:7.2f}  {row(config, budget)}")
    assert "\n".join(lines) == table.strip("\n")


def test_what_a_cpu_gets() -> None:
    lines = TABLE_20B_ON_A_CPU.strip("\n").splitlines()[:1]
    for free in (11, 11.5, 12, 13, 16, 20, 24):
        lines.append(f"{free:7.1f}       {row(B20, int(free * 1e9), on_gpu=False)}")
    assert "\n".join(lines) == TABLE_20B_ON_A_CPU.strip("\n")


def test_how_many_are_answered_at_once() -> None:
    for context, answers in ((512, 1), (1024, 1), (7168, 7), (8192, 8), (131_072, 8)):
        assert plan(B20, 20 * GIB, Wishes(context)).parallel == answers


def test_reasons_on_a_mac_with_16_gb() -> None:
    budget = int(16 * GIB * 2 / 3)
    assert plan_within(B20, Budget(budget, budget, "Budget: 10.7 GB."), on_gpu=True).reasons == (
        "Budget: 10.7 GB.",
        "Experts: 9.5 GB, as published (MXFP4), never converted.",
        "Embedding: its rows are read from the file, one a token, instead of 1.1 GB.",
        "Attention and output matrix: 652.4 MB at 4 bits: at 6, a context of 8,192 tokens would need 10.8 GB.",
        "Prompts: 256 tokens at a time and 8 points to rewind to: "
        "with 512 and 16, a context of 8,192 tokens would need 10.7 GB.",
        "Context: 12,800 of 131,072 tokens, as many as 10.7 GB hold.",
    )


# Every byte is counted


def test_published_sizes(tmp_path: Path) -> None:
    """The total_size of the index on the Hub: where there is room, all is loaded as published."""
    for config, total in ((B20, 13_761_264_768), (B120, 65_248_815_744)):
        assert plan(config, 10**12).weights == total
    (tmp_path / "config.json").write_text(json.dumps(hub_config()))
    assert replace(ModelConfig.load(tmp_path), eos_token_ids=B20.eos_token_ids) == B20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config(hidden_size=128))


@pytest.mark.parametrize("bits", [16, 8, 6, 4])
@pytest.mark.parametrize("gpu", [False, True])
def test_weights_are_what_is_loaded(folder: Path, bits: int, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if gpu:
        monkeypatch.setattr(device, "on_gpu", lambda: True)
    monkeypatch.setattr(CompiledTransformer, "compile", lambda self, dtype: None)  # it answers nothing
    model = load(folder, dense_bits=bits)
    assert model.plan.dense_bits == bits
    assert model.plan.weights == model.resident_bytes


def held_by(cache: Cache) -> int:
    """Bytes of all arrays of a cache, each buffer counted once, views as what they show."""
    mx.eval(cache.arrays())
    return sum(array.nbytes for array in cache.arrays())


@pytest.mark.parametrize(("memory", "narrow"), [(None, False), (154_000_000, True)])
def test_kv_is_what_the_cache_holds(folder: Path, memory: int | None, narrow: bool) -> None:
    """Filled to the last token, with every rewind point taken."""
    model = load(folder, memory=memory, context=1500, dense_bits=4, differentiable=True)
    assert (model.plan.kv_bits == 16) == narrow
    cache = model.make_cache()
    cache.mark(range(1, 1500))
    chunk = model.plan.prefill_chunk
    for start in range(0, 1500, chunk):
        count = min(chunk, 1500 - start)
        for layer in range(model.config.num_hidden_layers):
            keys = mx.zeros((1, model.config.num_key_value_heads, count, model.config.head_dim))
            assert cache.append(layer, keys, keys)[0].dtype == mx.float32
        cache.advance(count)
    assert 0.7 * model.plan.kv < held_by(cache) <= model.plan.kv


def test_narrow_keys_and_values_stay_near(folder: Path) -> None:
    """By MLX; test_loader.py compares compiled layers, which take long to compile, with the exact model."""
    exact, narrow = (load(folder, differentiable=True) for _ in range(2))
    narrow.plan = replace(narrow.plan, kv_bits=16)
    tokens = [(7 * i * i) % 500 for i in range(60)]
    logits, rounded = (model.forward(tokens, model.make_cache()) for model in (exact, narrow))
    error = mx.sqrt(((logits - rounded) ** 2).mean() / (logits**2).mean()).item()
    assert 1e-4 < error < 0.1  # type: ignore[operator]  # float32's rounding is a hundredth of that


@settings(max_examples=60, deadline=None)
@given(
    budget=st.integers(10**9, 2 * 10**11),
    context=st.none() | st.integers(1, 131_072),
    bits=st.sampled_from([None, 16, 8, 6, 4]),
    gpu=st.booleans(),
    config=st.sampled_from([B20, B120]),
)
def test_a_plan_keeps_to_its_budget(
    config: ModelConfig, budget: int, context: int | None, bits: int | None, gpu: bool
) -> None:
    wishes = Wishes(context, bits)
    try:
        found = plan(config, budget, wishes, on_gpu=gpu)
    except (BudgetError, ContextError):
        return
    assert found.total <= budget
    assert found.context == (context or found.context) >= (1 if context else 1024)
    assert bits in (None, found.dense_bits)
    more = plan(config, budget + 10**9, wishes, on_gpu=gpu)
    assert (more.dense_bits, more.prefill_chunk) >= (found.dense_bits, 0)


def test_a_step_more_context_would_not_fit() -> None:
    found = plan(B20, int(16 * GIB * 2 / 3))
    assert found.total <= found.budget
    with pytest.raises(ContextError, match=rf"a context of 13,056 tokens doesn't fit into 10.7 GB; {found.context:,}"):
        plan(B20, found.budget, Wishes(context=found.context + 256))


# Wishes


def test_a_context_of_ones_own_is_paid_with_quality() -> None:
    budget = int(18 * GIB * 2 / 3)
    assert plan(B20, budget).dense_bits == 8
    longer = plan(B20, budget, Wishes(context=65_536))
    assert (longer.dense_bits, longer.context) == (4, 65_536)
    assert longer.reasons[-1] == "Context: 65,536 tokens, as asked for."


def test_bits_of_ones_own_are_paid_with_context() -> None:
    budget = int(16 * GIB * 2 / 3)
    finer = plan(B20, budget, Wishes(dense_bits=6))
    assert (finer.dense_bits, finer.prefill_chunk) == (6, 256)
    assert 1024 <= finer.context < 8192
    with pytest.raises(BudgetError, match=r"needs 11 GB .* at 8 bits; there are 10\.6 GB\. Fewer dense bits"):
        plan(B20, budget, Wishes(dense_bits=8))


def test_what_the_files_hold_is_taken_as_it_is() -> None:
    found = plan(B20, 10**12, Wishes(stored_bits=8))
    assert found.dense_bits == 8
    assert "at 8 bits, as in the files." in " ".join(found.reasons)


@pytest.mark.parametrize("context", [0, -1, 131_073])
def test_impossible_contexts(context: int) -> None:
    with pytest.raises(ContextError, match="holds 1 to 131,072"):
        plan(B20, 10**12, Wishes(context=context))


def test_the_embedding_takes_nothing_but_what_is_left() -> None:
    """Of a Mac with 24 GB it would take a third of the context; where that is not asked for, it is held."""
    budget = int(24 * GIB * 2 / 3)
    matrix = B20.vocab_size * B20.hidden_size * 2
    for wishes, held in ((Wishes(), 0), (Wishes(context=81_408), matrix), (Wishes(context=81_664), 0)):
        found = plan(B20, budget, wishes)
        assert (found.embedding, found.dense_bits) == (held, 16)
        assert found.total <= budget < found.total + matrix
        where = "1.1 GB in memory: there is room" if held else "its rows are read from the file"
        assert sum(reason.startswith(f"Embedding: {where}") for reason in found.reasons) == 1
    roomy = plan(B20, 10**12)
    assert plan(B20, roomy.total).embedding == matrix and plan(B20, roomy.total - 1).embedding == 0
    assert plan(B20, 10**12, on_gpu=False).embedding == 0  # there rows are read by the core that computes


# The machine


def test_too_little_free_memory_gives_the_leanest_plan() -> None:
    """A browser's memory can be compressed, so the model starts, and says so; beyond the limit it doesn't."""
    limit = int(16 * GIB * 2 / 3)
    lean = plan_within(B20, Budget(7 * 10**9, limit, "Budget: 7 GB, free now."), on_gpu=True)
    assert (lean.dense_bits, lean.context) == (4, 8192)
    assert lean.total <= limit
    assert "The model takes 10.5 GB at the leanest" in lean.reasons[0]
    assert "close some" in lean.reasons[0]
    with pytest.raises(BudgetError, match=r"there are 7\.4 GB"):
        plan_within(B20, Budget(7 * 10**9, 8 * 10**9, ""), on_gpu=True)


GPU_LIMIT = 11_453_246_122


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A Mac with 16 GB, of which as many bytes as one says are free."""

    def free(nbytes: int) -> None:
        monkeypatch.setattr(device, "memory", lambda: (16 * GIB, nbytes))
        monkeypatch.setattr(device, "working_set", lambda: GPU_LIMIT)

    return free


def test_the_budget_of_a_mac(mac: Callable[[int], None]) -> None:
    mac(14 * GIB)
    assert device.budget() == Budget(
        GPU_LIMIT, GPU_LIMIT, "Budget: 10.7 GB, all that the GPU of a computer with 16 GB may hold."
    )
    mac(9 * GIB)
    assert (device.budget().nbytes, device.budget().limit) == (8 * GIB, GPU_LIMIT)
    assert device.budget(10 * GIB) == Budget(10 * GIB, 10 * GIB, "Budget: 10 GB, as asked for.")
    assert device.budget(10**11).nbytes == GPU_LIMIT
    mac(10**8)
    assert device.budget().nbytes == 0


def test_the_budget_of_this_machine() -> None:
    total, available = device.memory()
    assert 0 < available <= total
    assert device.budget().limit == total


def test_limits_are_set_from_the_plan(mac: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[str, int] = {}
    for name in ("memory", "cache", "wired"):
        monkeypatch.setattr(mx, f"set_{name}_limit", lambda nbytes, name=name: limits.update({name: nbytes}))
    found = plan(B20, GPU_LIMIT)
    device.enforce(found)
    assert limits == {}  # on a CPU there is nothing to limit
    mac(0)
    device.enforce(found, mapped_bytes=1_158_266_880)
    assert limits == {
        "memory": GPU_LIMIT + 1_158_266_880,
        "cache": found.working,
        "wired": found.weights + device.WHOLE_PAGES,
    }
    monkeypatch.setattr(device, "working_set", lambda: 10**10)
    device.enforce(found)
    assert limits["wired"] == 10**10  # MLX refuses more


@pytest.mark.parametrize("name", ["gpt-oss-20b", "gpt-oss-120b"])
def test_no_mapped_tensor_stays_unwired_for_its_pages(name: str) -> None:
    """Each of a layer's eight matrices, the output matrix and the embedding: two pages that aren't its own, at most."""
    mapped = 8 * PUBLISHED[name].num_hidden_layers + 2
    assert 2 * mapped * 16 * 1024 < device.WHOLE_PAGES


def test_limits_come_before_the_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLX wires what fits at the moment it is allocated: a limit that came later would choose at random."""
    done: list[str] = []
    monkeypatch.setattr(device, "enforce", lambda plan, mapped_bytes=0: done.append(f"limits, {mapped_bytes} mapped"))

    def noting(*arguments: Any, **options: Any) -> Any:
        done.append("weights")
        return load_transformer(*arguments, **options)

    monkeypatch.setattr(model_module, "load_transformer", noting)
    load(folder, differentiable=True)
    assert done == ["limits, 0 mapped", "weights", "limits, 0 mapped"]


# Kept to while it runs


@pytest.mark.parametrize(
    ("free", "chunk"), [(10**10, 256), (120_000_000, 128), (60_000_000, 64), (1_000_000, 2), (-1, 1)]
)
def test_chunks_shrink_with_what_is_left(free: int, chunk: int) -> None:
    found = plan(B20, GPU_LIMIT)
    assert prefill_chunk(B20, found, 0, free) == chunk


def ids(model: Model, prompt: list[int]) -> list[int]:
    items = Runner(model).run(prompt, Options(temperature=0, max_tokens=8))
    return [item for item in items if isinstance(item, int)]


def test_memory_taken_by_others_shrinks_the_chunks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(folder, differentiable=True)
    prompt = [(7 * i * i + 3 * i) % 500 for i in range(90)]
    expected = ids(model, prompt)
    assert model.prefill_chunk(0) == 64
    monkeypatch.setattr(device, "active_bytes", lambda mapped: model.plan.budget - model.plan.program - 500_000)
    assert 1 <= model.prefill_chunk(0) < 32
    assert ids(model, prompt) == expected


def test_a_prompt_beyond_what_fits_is_refused(folder: Path) -> None:
    model = load(folder, memory=154_000_000, differentiable=True)
    fits = model.context_length
    assert 1024 <= fits < model.config.max_position_embeddings
    assert model.plan.total <= 154_000_000
    with pytest.raises(ContextError, match=rf"context holds {fits:,} \(the model's 131,072 don't fit into 146\.9 MB\)"):
        ids(model, [1] * fits)
    with pytest.raises(BudgetError, match=r"there are 143\.5 MB"):
        load(folder, memory=150_500_000, differentiable=True)
    with pytest.raises(ContextError, match=r"a context of 100,000 tokens doesn't fit into 146\.9 MB; [\d,]+ tokens do"):
        load(folder, memory=154_000_000, context=100_000, differentiable=True)


# Sizes in words


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("10GB", 10 * GIB),
        ("10.5 gb", 21 * GIB // 2),
        ("9GiB", 9 * GIB),
        ("9500M", 9500 * 2**20),
        (" 512 MiB ", 512 * 2**20),
        ("11453246122", 11_453_246_122),
        (123, 123),
        ("1.5tb", 1536 * GIB),
    ],
)
def test_sizes(text: str | int, nbytes: int) -> None:
    assert parse_memory(text) == nbytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "1e9", "ten", "10 GB free", "10GBB", "9" * 30, "\x1b[2J", -5])
def test_sizes_that_make_no_sense(text: str | int) -> None:
    with pytest.raises(RequestError, match="can't be used; write it like"):
        parse_memory(text)


def test_memory_is_as_it_is_sold_and_a_disk_as_the_hub_counts() -> None:
    """And what is written of memory is understood where a person types it."""
    assert (memory_size(16 * GIB), disk_size(16 * 10**9)) == ("16 GB", "16 GB")
    assert (memory_size(GPU_LIMIT), disk_size(13_761_300_984)) == ("10.7 GB", "13.8 GB")
    assert (memory_size(652 * 2**20), disk_size(999_900_000), disk_size(5)) == ("652 MB", "999.9 MB", "0 MB")
    assert (memory_size(GPU_LIMIT, ceil), memory_size(GPU_LIMIT, floor)) == ("10.7 GB", "10.6 GB")
    assert parse_memory(memory_size(16 * GIB)) == 16 * GIB


def test_a_plan_is_a_value() -> None:
    first, second = plan(B20, GPU_LIMIT), plan(B20, GPU_LIMIT)
    assert first == second
    assert isinstance(first, MemoryPlan)
    with pytest.raises(AttributeError):
        first.context = 1  # type: ignore[misc]
