"""Whether the kernels get into a loaded model: forced, refused, failing, and on which arrays."""

import logging
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from metal.launch import Call, executed_by
from metal.operation import Operation
from metal.trust import select
from metal.trust.machine import Machine
from metal.trust.select import Choice, Verdict
from mlx_model.errors import RequestError
from mlx_model.memory import device
from mlx_model.model import load
from mlx_model.transformer import kernels
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.kernels import NoKernels, attach_kernels, make_decoder, operations
from mlx_model.weights.loader import load_transformer
from tests.fixtures.checkpoints import tiny_config, write_checkpoint

MACHINE = Machine("Apple M0", 10, "macOS 99", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("kernels"), tiny_config(head_dim=64))


@pytest.fixture
def transformer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Transformer:
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    monkeypatch.setattr(device, "activation_dtype", lambda: mx.float32)
    return load_transformer(folder, ModelConfig.load(folder))[0]


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "this_machine", lambda: MACHINE)
    monkeypatch.setattr(kernels, "decodes_fp4", lambda: True)


def choosing(monkeypatch: pytest.MonkeyPatch, *, by_kernel: bool) -> list[Operation]:
    """Lets every operation run by its first variant, or none; returns what was asked about."""
    asked: list[Operation] = []

    def choose(possible: list[Operation], **_: object) -> Choice:
        asked.extend(possible)
        return Choice([Verdict(each.name, each.variants[0] if by_kernel else None, "") for each in possible])

    monkeypatch.setattr(select, "choose", choose)
    return asked


def test_without_a_gpu_nothing_is_attached(folder: Path) -> None:
    assert load(folder).transformer.decoder is None


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
    choosing(monkeypatch, by_kernel=False)
    attach_kernels(transformer)
    assert transformer.decoder is None


def test_portable_asks_for_nothing(transformer: Transformer, mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTOSS_KERNELS", "portable")
    asked = choosing(monkeypatch, by_kernel=True)
    attach_kernels(transformer)
    assert transformer.decoder is None and not asked


def test_a_wish_that_means_nothing_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTOSS_KERNELS", "fast")
    with pytest.raises(RequestError, match="GPTOSS_KERNELS is 'fast'; it can be auto, metal or portable"):
        load(folder)


def test_a_gpu_that_takes_no_kernel_costs_one_line(
    transformer: Transformer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernels, "this_machine", lambda: MACHINE)

    def refuse(call: Call) -> list[mx.array]:
        raise RuntimeError("[metal::Device] Unable to build metal library from source")

    with executed_by(refuse), caplog.at_level(logging.WARNING):
        attach_kernels(transformer)
    assert transformer.decoder is None
    assert [record.message for record in caplog.records] == [
        "decoding runs by MLX's own operations: [metal::Device] Unable to build metal library from source"
    ]


def test_every_operation_with_none_is_what_the_blocks_compute(transformer: Transformer) -> None:
    decoder = make_decoder(transformer)
    choice = dict.fromkeys((each.name for each in operations(decoder, transformer)), None)
    tokens = mx.array([[5]])
    by_blocks = transformer(tokens, transformer.make_cache())
    mixed = replace(transformer, decoder=replace(decoder, choice=choice))
    found = mixed(tokens, mixed.make_cache())
    assert np.abs(np.array(found - by_blocks)).max() < 2e-5 * np.abs(np.array(by_blocks)).max()


def test_weights_the_kernels_cannot_read_are_named(folder: Path) -> None:
    on_cpu = load_transformer(folder, ModelConfig.load(folder))[0]
    with pytest.raises(NoKernels, match="format"):
        make_decoder(on_cpu)


def test_more_than_one_token_or_sequence_go_through_the_blocks(transformer: Transformer) -> None:
    decoder = make_decoder(transformer)
    assert decoder.takes(1, 1) and not decoder.takes(1, 2) and not decoder.takes(2, 1)
