"""The one list of the kernels' texts: complete, each text once, each with a name."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path

import mlx.core as mx
import pytest

from metal.launch import Call, executed_by
from metal.operation import Choice, Operation, rows_of_text
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.kernels import decode_operations, make_decoder, several_rows
from mlx_model.weights.loader import load_transformer
from tests.fixtures import ROOT
from tests.fixtures.gpu_way import GPU_WAY
from tests.msl.source import generated_text
from tests.msl.texts import KernelText, kernel_texts, write


@pytest.fixture(scope="module")
def texts() -> tuple[KernelText, ...]:
    return kernel_texts()


def test_every_kernel_is_there_in_every_dtype_alignment_and_number_of_bits(texts: tuple[KernelText, ...]) -> None:
    kernels = {path.stem for path in (ROOT / "metal" / "kernels").glob("*.metal")}
    assert {each.name.split("-")[0] for each in texts} == kernels
    found = {(each.name.split("-")[0], *each.parameters) for each in texts}

    def there(kernel: str, *parameters: tuple[str, object]) -> bool:
        return any(kernel == name and {*parameters} <= {*given} for name, *given in found)

    for alignment in (("ALIGN", 16), ("ALIGN", 8), ("ALIGN", 4)):
        for dtype in (("T", mx.bfloat16), ("T", mx.float16), ("T", mx.float32)):
            for kernel in ("qkv", "o_proj", "lm_head"):
                assert all(there(kernel, dtype, alignment, ("BITS", bits)) for bits in (0, 4, 6, 8))
            assert there("route", dtype, alignment)
            assert there("down", dtype, alignment, ("E", 32))
        for kernel in ("gate_up", "down"):
            assert there(kernel, alignment, ("E", 128))
            assert there(kernel, alignment, ("TABLE", 1))
        for rows in (2, 4, 8):
            several = (("TOKENS", rows), alignment, ("T", mx.bfloat16))
            for kernel in ("qkv", "o_proj", "lm_head"):
                assert all(there(kernel, *several, ("BITS", bits)) for bits in (0, 4, 6, 8))
        for share in (2, 4):
            assert all(there(kernel, ("SHARE", share), alignment) for kernel in ("gate_up", "down_rows"))
    for kernel in ("gate_up", "down_rows"):
        for share in (2, 4):
            assert there(kernel, ("SHARE", share), ("E", 128))
            assert there(kernel, ("SHARE", share), ("TABLE", 1))
    assert all(there("attend", ("SPLIT", split), ("TOKENS", 1)) for split in (True, False))
    assert there("attend", ("TOKENS", 4))
    assert any("const constant bfloat16_t* sinks" in each.text for each in texts)


def test_what_the_demo_model_launches_for_one_row_and_for_several_is_there(texts: tuple[KernelText, ...]) -> None:
    folder = ROOT / "assets" / "demo"
    transformer = load_transformer(folder, ModelConfig.load(folder), replace(GPU_WAY, dtype=mx.bfloat16), None)[0]
    decoder = make_decoder(transformer)
    operations = decode_operations(decoder, transformer)
    launched: list[Call] = []

    def record(call: Call) -> list[mx.array]:
        launched.append(call)
        return [mx.zeros(*output) for output in zip(call.output_shapes, call.output_dtypes, strict=True)]

    def choices(operations: Mapping[str, Operation]) -> Iterator[Choice]:
        for variants in zip_longest(*(operation.variants for operation in operations.values())):
            pairs = zip(operations.items(), variants, strict=True)
            yield {name: variant or operation.variants[0] for (name, operation), variant in pairs}

    def of_rows(choice: Choice, rows: int) -> Choice:
        return choice

    for choice in choices({operation.name: operation for operation in operations}):
        chosen = replace(decoder, choice=choice)
        with executed_by(record):
            replace(transformer, decoder=chosen)(mx.array([[1]]), transformer.make_cache())
            for rows in (2, 3, 8):
                for several in choices(several_rows(transformer, chosen).operations(rows_of_text(rows))):
                    caches = [transformer.make_cache() for _ in range(rows)]
                    by_kernels = replace(chosen, several=partial(of_rows, several))
                    replace(transformer, decoder=by_kernels)(mx.zeros((1, rows), mx.int32), caches)
    assert {each.kernel.name for each in launched} == {*(each.name for each in operations), "down_rows"}
    assert {generated_text(each) for each in launched} <= {each.text for each in texts}


def test_each_text_stands_there_once_under_a_name_of_its_own(texts: tuple[KernelText, ...]) -> None:
    for values in ([each.text for each in texts], [each.name for each in texts], [each.function for each in texts]):
        assert len({*values}) == len(values)
    for each in texts:
        assert f"void {each.function}(" in each.text
        assert "//" not in each.text
        assert "/*" not in each.text
        assert all(size % 32 == 0 for size in each.threadgroup[:1])
        assert all(size % part == 0 for size, part in zip(each.grid, each.threadgroup, strict=True))


def test_each_is_written_to_a_file(texts: tuple[KernelText, ...], tmp_path: Path) -> None:
    files = write(texts[:3], tmp_path / "new")
    assert [file.name for file in files] == [f"{each.name}.metal" for each in texts[:3]]
    assert [file.read_text("ascii") for file in files] == [each.text for each in texts[:3]]
