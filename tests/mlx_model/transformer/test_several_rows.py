"""A decode step of several rows on the kernels: the logits each row has alone, and which kernels come to compute it."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import mlx.core as mx
import pytest

from metal.launch import Call, executed_by
from metal.operation import Operation, Variant
from metal.trust import select
from metal.trust.machine import MetalGpu
from metal.trust.select import KernelChoice, Verdict
from mlx_model.generation.runner import Runner
from mlx_model.generation.scheduler import Scheduler
from mlx_model.model import load
from mlx_model.options import Options
from mlx_model.transformer import kernels
from mlx_model.transformer.adapters import adapted
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.kernels import attach_kernels, several_rows
from mlx_model.transformer.several_rows import SeveralRows
from mlx_model.weights.loader import load_transformer
from tests import msl as bench
from tests.fixtures.by_kernels import by_kernels
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.gpu_way import GPU_WAY
from tests.mlx_model.transformer.test_adapters import adapters_of

SIZES = {
    "num_hidden_layers": 2,  # one slides, one doesn't
    "hidden_size": 192,
    "intermediate_size": 96,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
}
MACHINE = MetalGpu("bench", 10, "Linux", "any")
OF_A_STEP = {"qkv", "o_proj", "lm_head", "route", "gate_up", "down"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("rows"), tiny_config(**SIZES, sliding_window=16))


@pytest.fixture(scope="module")
def transformer(folder: Path) -> Transformer:
    return load_transformer(folder, ModelConfig.load(folder), GPU_WAY, 8)[0]


ROWS = 3


def stepped(transformer: Transformer, *, together: bool, steps: int = 2) -> mx.array:
    """Logits [steps, rows, vocab] behind prompts of different lengths, the last one longer than the window."""
    caches = [transformer.make_cache() for _ in range(ROWS)]
    bare = replace(transformer, decoder=None)
    for row, cache in enumerate(caches):
        mx.eval(bare(mx.array([[(5 * at * at + row) % 500 for at in range(3 + 9 * row)]]), cache, "none"))
    logits = []
    for step in range(steps):
        ids = [(7 * row + step) % 500 for row in range(ROWS)]
        if together:
            logits.append(transformer(mx.array([ids]), caches)[0])
        else:
            each = (transformer(mx.array([[token]]), cache)[0] for token, cache in zip(ids, caches, strict=True))
            logits.append(mx.concatenate([*each]))
    assert [cache.offset for cache in caches] == [3 + 9 * row + steps for row in range(ROWS)]
    return mx.stack(logits)


def test_each_row_has_the_logits_that_it_has_alone(transformer: Transformer) -> None:
    """To the bit; and those of MLX's operations but for rounding."""
    by_kernel = replace(transformer, decoder=by_kernels(transformer))
    with executed_by(bench.executor("fast")):
        together, alone = (stepped(by_kernel, together=each) for each in (True, False))
    assert mx.array_equal(together, alone)
    by_mlx = stepped(transformer, together=True)
    assert mx.abs(together - by_mlx).max() < 2e-5 * mx.abs(by_mlx).max()


@pytest.mark.parametrize("name", [*sorted(OF_A_STEP), "attend"])
def test_each_operation_may_run_either_way(transformer: Transformer, name: str) -> None:
    """Nothing is computed by a kernel but what is left; the rest by MLX's operations, on rows where they lie."""
    decoder = by_kernels(transformer)
    without: dict[str, Variant | None] = dict.fromkeys(decoder.choice)
    alone = replace(decoder, choice=without | {name: decoder.choice[name]})
    launched = []

    def record(call: Call) -> list[mx.array]:
        launched.append(call.kernel.name)
        return bench.run_kernel(call).outputs

    with executed_by(record):
        found = stepped(replace(transformer, decoder=alone), together=True, steps=1)
    by_mlx = stepped(transformer, together=True, steps=1)
    assert mx.abs(found - by_mlx).max() < 2e-5 * mx.abs(by_mlx).max()
    # With attention alone all goes the way of the blocks: a row's own launch shares no weights.
    assert {each.removesuffix("_rows") for each in launched} == ({name} if name != "attend" else set())


@contextmanager
def launches() -> Iterator[Counter[str]]:
    """Counts them by kernel; nothing is computed."""
    launched: Counter[str] = Counter()

    def record(call: Call) -> list[mx.array]:
        launched[call.kernel.name] += 1
        return [mx.zeros(*output) for output in zip(call.output_shapes, call.output_dtypes, strict=True)]

    with executed_by(record):
        yield launched


def test_answers_under_way_share_the_launches_of_a_step(folder: Path) -> None:
    """Of eight tokens of an answer seven are computed; the prompts come in one after the other."""
    model = load(folder, differentiable=True)
    model.mlx_transformer.decoder = by_kernels(model.mlx_transformer)
    scheduler = Scheduler(model)
    options = Options(temperature=0, max_tokens=8)
    answers = [Runner(model, scheduler).steps([1, 2, 3 + number], options) for number in range(3)]
    with launches() as launched:
        while answers:
            answers = [steps for steps in answers if any(item is None for item in steps)]
    assert 7 <= launched["lm_head"] <= 7 + 2 + 3, "one for each step, and for a prompt's last token"
    assert launched["down_rows"] >= 2 * 7, "a layer and step"


@pytest.mark.parametrize("rows", [1, 2, 4, 8])
def test_launches_of_a_step(transformer: Transformer, rows: int) -> None:
    """Attention alone is launched for each row."""
    by_kernel = replace(transformer, decoder=by_kernels(transformer))
    caches = [by_kernel.make_cache() for _ in range(rows)]
    with launches() as launched:
        assert by_kernel(mx.zeros((1, rows), mx.int32), caches, "all").shape == (1, rows, 512)
    down = "down_rows" if rows > 1 else "down"
    each_layer = {"qkv": 1, "attend": rows, "o_proj": 1, "route": 1, "gate_up": 1, down: 1}
    assert launched == {"lm_head": 1} | {name: 2 * number for name, number in each_layer.items()}


def test_what_goes_the_way_of_the_blocks(transformer: Transformer) -> None:
    decoder = by_kernels(transformer)
    assert decoder.takes(1, 1, 1) and decoder.takes(1, 1, 2) and decoder.takes(1, 1, 8)
    assert not decoder.takes(1, 1, 9) and not decoder.takes(1, 2, 2) and not decoder.takes(2, 1, 2)
    assert not replace(decoder, several=lambda rows: {}).takes(1, 1, 2)


def test_an_operation_with_an_adapter_leaves_the_kernels_for_several_rows_too(transformer: Transformer) -> None:
    by_kernel = replace(transformer, decoder=by_kernels(transformer))
    changed = adapted(by_kernel, adapters_of(transformer.config, "q_proj", "down_proj")).decoder
    assert changed is not None
    by_mlx = {name for name, variant in changed._chosen(2).items() if variant is None}
    assert by_mlx - {"attend"} == {"qkv", "down"}, "attention is each row's own"


# Which kernels are chosen


Chooses = Callable[[Sequence[Operation], bool], KernelChoice]


def first(operations: Sequence[Operation], rechecks: bool = False) -> KernelChoice:
    return KernelChoice([Verdict(each.name, each.variants[0], "") for each in operations])


def choosing(transformer: Transformer, choose: Chooses = first, **choice: Variant | None) -> SeveralRows:
    """For a decoder whose choice for one row is by kernels, but for those given."""
    decoder = by_kernels(transformer)
    decoder = replace(decoder, choice={**decoder.choice, **choice})
    return several_rows(transformer, decoder, lambda operations, rechecks: choose(operations, rechecks))


def test_kernels_pass_the_trial_and_a_step_on_the_bench(
    transformer: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the first step of four rows on a Mac: each is checked, on four rows and on three, timed and remembered."""
    monkeypatch.setattr(kernels, "this_gpu", lambda: MACHINE)
    ticks = count()
    tried: list[str] = []

    def choose(operations: Sequence[Operation], rechecks: bool) -> KernelChoice:
        return select.choose(
            operations,
            mode="metal",
            machine=MACHINE,
            path=tmp_path / "kernels.json",
            clock=lambda: float(next(ticks)),
            trying=lambda index: tried.append(operations[index].name),
        )

    with executed_by(bench.executor("fast")):
        for _ in range(2):
            chosen = choosing(transformer, choose)(3)
            assert {name for name, variant in chosen.items() if variant is not None} == OF_A_STEP
    assert tried == [f"{name}, 4 rows" for name in ("qkv", "o_proj", "lm_head", "route", "gate_up", "down")]


def test_few_texts_are_tried(transformer: Transformer) -> None:
    """Each has to be compiled, while rows wait for it: in all nine of two rows, and as many of four and of eight, of
    which gate_up and down are the same; of route there is none that one row has not."""
    several = choosing(transformer)
    for rows in (2, 4, 8):
        assert [len(each.variants) for each in several.operations(rows).values()] == [1, 1, 1, 1, 2, 2]


def test_only_what_one_row_computes_by_a_kernel_is_tried_and_with_its_loads(transformer: Transformer) -> None:
    packed = (("ROWS", 4), ("TABLE", 0), ("PACKED", 1))
    several = choosing(transformer, qkv=None, down=packed)
    layer = several.decoder.layers[0]
    mixture = replace(layer.mixture, down=replace(layer.mixture.down, alignment=8))
    layers = [replace(layer, mixture=mixture), *several.decoder.layers[1:]]
    found = replace(several, decoder=replace(several.decoder, layers=layers)).operations(4)
    assert set(found) == OF_A_STEP - {"qkv"}
    assert all(("PACKED", 1) in variant for variant in found["down"].variants)
    assert not any(("PACKED", 1) in variant for variant in found["gate_up"].variants)


def test_each_number_of_rows_is_found_out_once(transformer: Transformer) -> None:
    asked: list[str] = []

    def choose(operations: Sequence[Operation], rechecks: bool) -> KernelChoice:
        asked.append(operations[0].name)
        return KernelChoice([Verdict(each.name, None, "slower") for each in operations])

    several = choosing(transformer, choose)
    assert [several(rows) for rows in (2, 3, 4, 5, 6, 7, 8, 2, 3)] == [{}] * 9
    assert asked == ["qkv, 2 rows", "qkv, 4 rows", "qkv, 8 rows"]


@pytest.mark.parametrize("mends", [True, False])
def test_a_step_that_fails_has_what_is_remembered_tried_anew(
    transformer: Transformer, caplog: pytest.LogCaptureFixture, mends: bool
) -> None:
    asked: list[bool] = []

    def choose(operations: Sequence[Operation], rechecks: bool) -> KernelChoice:
        asked.append(rechecks)
        by_kernel = {"route, 2 rows"} if rechecks and mends else {each.name for each in operations}
        return KernelChoice(
            [Verdict(each.name, each.variants[0] if each.name in by_kernel else None, "") for each in operations]
        )

    def refuse(call: Call) -> list[mx.array]:
        if mends and call.kernel.name in ("route", "attend"):
            return [mx.zeros(*output) for output in zip(call.output_shapes, call.output_dtypes, strict=True)]
        raise RuntimeError(f"no pipeline for {call.kernel.name}")

    several = choosing(transformer, choose)
    with executed_by(refuse), caplog.at_level(logging.WARNING):
        chosen = several(2)
    assert asked == [False, True]
    assert [name for name, variant in chosen.items() if variant is not None] == (["route"] if mends else [])
    warning = "steps of 2 rows run by MLX's own operations: no pipeline for qkv"
    assert [record.message for record in caplog.records] == ([] if mends else [warning])


def test_a_loaded_model_waits_with_it(transformer: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until several rows are computed for the first time: then those are chosen as one row's were."""
    asked: list[tuple[list[str], str]] = []

    def choose(operations: Sequence[Operation], *, sizes: str, rechecks: bool = False, **_: object) -> KernelChoice:
        asked.append(([each.name for each in operations], sizes))
        return first(operations)

    monkeypatch.setattr(kernels, "this_gpu", lambda: MACHINE)
    monkeypatch.setattr(kernels, "decodes_fp4", lambda: True)
    monkeypatch.setattr(kernels, "_take_step", lambda transformer: None)
    monkeypatch.setattr(select, "choose", choose)
    attached = replace(transformer)
    attach_kernels(attached)
    assert len(asked) == 1
    assert attached.decoder is not None
    monkeypatch.setattr(SeveralRows, "_take_step", lambda self, choice, rows: None)
    assert attached.decoder.takes(1, 1, 2)
    assert asked[1][0][0] == "qkv, 2 rows" and asked[1][1] == asked[0][1]
