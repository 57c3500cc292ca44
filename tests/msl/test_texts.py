"""The one list of the kernels' texts: complete, each text once, each with a name."""

from pathlib import Path

import mlx.core as mx
import pytest

from tests.fixtures import ROOT
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
    assert all(there("attend", ("SPLIT", split), ("TOKENS", 1)) for split in (True, False))
    assert all(there(kernel, ("TOKENS", 4)) for kernel in ("attend", "qkv", "o_proj", "lm_head"))
    assert any("const constant bfloat16_t* sinks" in each.text for each in texts)


def test_each_text_stands_there_once_under_a_name_of_its_own(texts: tuple[KernelText, ...]) -> None:
    for values in ([each.text for each in texts], [each.name for each in texts], [each.function for each in texts]):
        assert len({*values}) == len(values)
    for each in texts:
        assert f"void {each.function}(" in each.text
        assert all(size % 32 == 0 for size in each.threadgroup[:1])
        assert all(size % part == 0 for size, part in zip(each.grid, each.threadgroup, strict=True))


def test_each_is_written_to_a_file(texts: tuple[KernelText, ...], tmp_path: Path) -> None:
    files = write(texts[:3], tmp_path / "new")
    assert [file.name for file in files] == [f"{each.name}.metal" for each in texts[:3]]
    assert [file.read_text("ascii") for file in files] == [each.text for each in texts[:3]]
