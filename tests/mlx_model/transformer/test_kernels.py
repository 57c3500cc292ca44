"""Whether the kernels get into a loaded model: forced, refused, failing, and on which arrays."""

import logging
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from metal import attend
from metal.launch import Call, executed_by
from metal.operation import Operation, Variant
from metal.trust import remember, select
from metal.trust.check import Trial
from metal.trust.machine import MetalGpu
from metal.trust.select import KernelChoice, Verdict
from metal.trust.selftest import decodes_fp4
from mlx_model.errors import RequestError
from mlx_model.model import load
from mlx_model.transformer import kernels
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.kernels import KernelFindings, NoKernels, attach_kernels, decode_operations, make_decoder
from mlx_model.weights.loader import load_transformer
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.gpu_way import GPU_WAY
from tests.fixtures.mlx_layout import write_mlx_layout

take_step = kernels._take_step
MACHINE = MetalGpu("Apple M0", 10, "macOS 99", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("kernels"), tiny_config(head_dim=64))


@pytest.fixture
def transformer(folder: Path) -> Transformer:
    return load_transformer(folder, ModelConfig.load(folder), GPU_WAY)[0]


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "this_gpu", lambda: MACHINE)
    monkeypatch.setattr(kernels, "decodes_fp4", lambda: True)
    monkeypatch.setattr(kernels, "_take_step", lambda transformer: None)


def choosing(monkeypatch: pytest.MonkeyPatch, *, by_kernel: bool) -> list[Operation]:
    """Lets every operation run by its first variant, or none; returns what was asked about."""
    asked: list[Operation] = []

    def choose(possible: list[Operation], **_: object) -> KernelChoice:
        asked.extend(possible)
        return KernelChoice([Verdict(each.name, each.variants[0] if by_kernel else None, "") for each in possible])

    monkeypatch.setattr(select, "choose", choose)
    return asked


def test_without_a_gpu_nothing_is_attached(folder: Path) -> None:
    model = load(folder)
    assert model.transformer.decoder is None
    assert model.kernels == KernelFindings(refusal="there is no Metal GPU here")


def test_every_operation_of_a_step_is_chosen(
    transformer: Transformer, mac: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = choosing(monkeypatch, by_kernel=True)
    attach_kernels(transformer)
    assert {each.name for each in asked} == {"qkv", "attend", "o_proj", "route", "gate_up", "down", "lm_head"}
    assert transformer.decoder is not None and set(transformer.decoder.choice) == {each.name for each in asked}


def test_where_no_kernel_is_chosen_the_blocks_run(
    transformer: Transformer, mac: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = choosing(monkeypatch, by_kernel=False)
    verdicts = attach_kernels(transformer).verdicts
    assert transformer.decoder is None
    assert [verdict.operation for verdict in verdicts] == [each.name for each in asked]


def test_kernels_are_compiled_before_the_first_token_with_a_count(
    transformer: Transformer, mac: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At the first start for each operation that is tried, then for a step; at the next for the step alone."""
    monkeypatch.setattr(remember, "user_cache_path", lambda *_, **__: tmp_path)
    steps: list[bool] = []
    monkeypatch.setattr(kernels, "_take_step", lambda transformer: steps.append(transformer.decoder is not None))
    monkeypatch.setattr(select, "tried", lambda operation, *_: [Trial(operation.variants[0])])
    monkeypatch.setattr(select, "seconds_per_run", lambda operation, *_, **__: {operation.variants[0]: 0.1, None: 0.2})
    for counts in (range(8), range(7, 8)):
        prepared: list[tuple[int, int]] = []
        transformer.decoder = None
        attach_kernels(transformer, lambda done, total, to=prepared: to.append((done, total)))  # type: ignore[misc]
        assert prepared == [(done, 8) for done in counts]
    assert steps == [True, True]


def test_a_step_that_fails_with_kernels_that_were_right_is_left_to_mlx(
    transformer: Transformer, mac: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choosing(monkeypatch, by_kernel=True)
    monkeypatch.setattr(kernels, "_take_step", take_step)

    def refuse(call: Call) -> list[mx.array]:
        raise RuntimeError(f"no pipeline for {call.kernel.name}")

    with executed_by(refuse), caplog.at_level(logging.WARNING):
        found = attach_kernels(transformer)
    assert transformer.decoder is None
    assert found.refusal == "no pipeline for qkv"
    assert len(found.verdicts) == 7
    assert [record.message for record in caplog.records] == [
        "decoding runs by MLX's own operations: no pipeline for qkv"
    ]


@pytest.mark.parametrize("others_run", [True, False])
def test_a_step_that_fails_has_what_is_remembered_tried_anew_and_keeps_the_rest(
    transformer: Transformer,
    mac: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    others_run: bool,
) -> None:
    def choose(possible: list[Operation], *, rechecks: bool = False, **_: object) -> KernelChoice:
        def variant(each: Operation) -> Variant | None:
            fails = rechecks and (each.name == "qkv" or not others_run)
            return None if fails else each.variants[0]

        return KernelChoice([Verdict(each.name, variant(each), "") for each in possible])

    def step(transformer: Transformer) -> None:
        assert transformer.decoder is not None
        if transformer.decoder.choice["qkv"] is not None:
            raise RuntimeError("no pipeline for qkv")

    monkeypatch.setattr(select, "choose", choose)
    monkeypatch.setattr(kernels, "_take_step", step)
    found = attach_kernels(transformer)
    assert (found.refusal, caplog.records) == (None, [])
    by_kernel = {verdict.operation for verdict in found.verdicts if verdict.variant is not None}
    assert by_kernel == ({"attend", "o_proj", "route", "gate_up", "down", "lm_head"} if others_run else set())
    choice = {} if transformer.decoder is None else transformer.decoder.choice
    assert {name for name, variant in choice.items() if variant is not None} == by_kernel
    assert (transformer.decoder is not None) == others_run


def test_portable_asks_for_nothing(transformer: Transformer, mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTOSS_KERNELS", "portable")
    asked = choosing(monkeypatch, by_kernel=True)
    assert attach_kernels(transformer) == KernelFindings(refusal="GPTOSS_KERNELS=portable")
    assert transformer.decoder is None and not asked


def test_a_wish_that_means_nothing_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTOSS_KERNELS", "fast")
    with pytest.raises(RequestError, match="GPTOSS_KERNELS is 'fast'; it can be auto, metal or portable"):
        load(folder, differentiable=True)


def test_where_the_self_test_fails_experts_are_tried_with_a_table_and_the_rest_as_ever(
    transformer: Transformer, mac: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = choosing(monkeypatch, by_kernel=True)

    def refuse(call: Call) -> list[mx.array]:
        raise RuntimeError("[metal::Device] Unable to build metal library from source\nerror: expected ';'")

    monkeypatch.setattr(kernels, "decodes_fp4", decodes_fp4)
    with executed_by(refuse), caplog.at_level(logging.WARNING):
        found = attach_kernels(transformer)
    tables = {each.name for each in asked if all(("TABLE", 1) in variant for variant in each.variants)}
    assert tables == {"gate_up", "down"} < {each.name for each in asked}
    assert transformer.decoder is not None
    assert [record.message for record in caplog.records] == [f"FP4 is decoded by a table: {found.table}"]
    assert found.table == "[metal::Device] Unable to build metal library from source\nerror: expected ';'"


def test_a_model_that_the_kernels_cannot_read_costs_one_line(
    transformer: Transformer, mac: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attend, "why_not", lambda **_: "head_dim is 32, not 64")
    with caplog.at_level(logging.WARNING):
        found = attach_kernels(transformer)
    assert transformer.decoder is None
    assert found == KernelFindings(refusal="head_dim is 32, not 64")
    assert [record.message for record in caplog.records] == [
        "decoding runs by MLX's own operations: head_dim is 32, not 64"
    ]


def test_every_operation_with_none_is_what_the_blocks_compute(transformer: Transformer) -> None:
    decoder = make_decoder(transformer)
    choice = dict.fromkeys((each.name for each in decode_operations(decoder, transformer)), None)
    tokens = mx.array([[5]])
    by_blocks = transformer(tokens, transformer.make_cache())
    mixed = replace(transformer, decoder=replace(decoder, choice=choice))
    found = mixed(tokens, mixed.make_cache())
    assert np.abs(np.array(found - by_blocks)).max() < 2e-5 * np.abs(np.array(by_blocks)).max()


@pytest.mark.parametrize(
    ("packing", "objection"),
    [
        ({"mode": "affine", "bits": 5, "group_size": 64}, "affine at 5 bits in groups of 64"),
        ({"mode": "affine", "bits": 8, "group_size": 32}, "affine at 8 bits in groups of 32"),
        ({"mode": "mxfp4", "bits": 4, "group_size": 32}, "mxfp4 at 4 bits in groups of 32"),
    ],
)
def test_weights_the_kernels_cannot_read_are_named(
    folder: Path, tmp_path: Path, packing: dict[str, object], objection: str
) -> None:
    converted = write_mlx_layout(folder, tmp_path / "mlx", lambda stem: packing)
    with pytest.raises(NoKernels, match=f"a matrix is {objection}; the kernels read affine at 8, 6 or 4"):
        make_decoder(load_transformer(converted, ModelConfig.load(converted), GPU_WAY)[0])


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (None, {"qkv": 8, "o_proj": 8, "lm_head": 8, "route": 16, "gate_up": 8, "down": 4}),
        (8, {"qkv": 16, "o_proj": 16, "lm_head": 16, "route": 16, "gate_up": 8, "down": 4}),
    ],
)
def test_each_operation_has_the_alignment_of_its_own_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bits: int | None, expected: dict[str, int]
) -> None:
    """Of a mapped file, where the experts begin past a multiple of 16: quantised dense matrices are MLX's own memory,
    and are loaded 16 bytes at once all the same."""
    transformer = load_transformer(folder, ModelConfig.load(folder), GPU_WAY, bits)[0]
    mixture = transformer.blocks[1].mixture
    in_the_file = {id(mixture.gate_up.blocks): 8, id(mixture.down.blocks): 4}
    if bits is None:
        matrices = [getattr(transformer.blocks[1].attention.projections, name) for name in ("key", "output")]
        in_the_file |= {id(matrix.weight): 8 for matrix in (*matrices, transformer.head.matrix)}
    monkeypatch.setattr(kernels, "alignment_of", lambda array: in_the_file.get(id(array), 16))
    decoder = make_decoder(transformer)
    for layer in decoder.layers:
        projections, mixture = layer.projections, layer.mixture
        assert {each.alignment for each in (projections.query, projections.key, projections.value)} == {expected["qkv"]}
        assert projections.output.alignment == expected["o_proj"]
        assert mixture.alignment == expected["route"]
        assert (mixture.gate_up.alignment, mixture.down.alignment) == (expected["gate_up"], expected["down"])
    assert decoder.head.matrix.alignment == expected["lm_head"]


def test_what_is_to_be_differentiated_gets_no_kernels(
    transformer: Transformer, mac: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = choosing(monkeypatch, by_kernel=True)
    differentiable = replace(transformer, compute=replace(GPU_WAY, differentiable=True))
    assert attach_kernels(differentiable) == KernelFindings(refusal="kernels have no gradient")
    assert differentiable.decoder is None and not asked


def test_more_than_one_token_or_sequence_go_through_the_blocks(transformer: Transformer) -> None:
    decoder = make_decoder(transformer)
    assert decoder.takes(1, 1, 1) and not decoder.takes(1, 2, 1) and not decoder.takes(2, 1, 1)
