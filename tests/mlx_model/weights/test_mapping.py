"""Mapping: the arithmetic of pages, the mapped file, and the rule by which memory is offered to Metal."""

import mmap
from itertools import accumulate, pairwise
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metal.adopt import adopt
from mlx_model.weights import mapping
from mlx_model.weights.checkpoint import Stored
from mlx_model.weights.mapping import MappedFile, Region, region, why_copied
from tests.fixtures.checkpoints import all_tensors, cut, file_header, hub_config, in_file_order
from tests.fixtures.metal_stand_in import asked

PAGE = mmap.PAGESIZE
MAPS = Path("/proc/self/maps")


# The arithmetic


@given(st.integers(0, 1 << 45), st.integers(1, 1 << 40), st.sampled_from([4096, 16384]))
def test_a_region_is_the_fewest_whole_pages(offset: int, nbytes: int, page: int) -> None:
    found = region(offset, nbytes, page)
    end, wanted_end = found.start + found.length, offset + nbytes
    assert found.start % page == found.length % page == 0
    assert found.start + found.skip == offset
    assert 0 <= found.skip < page
    assert wanted_end <= end < wanted_end + page


@pytest.mark.parametrize(
    ("offset", "nbytes", "expected"),
    [
        (0, 1, Region(0, 4096, 0)),
        (0, 4096, Region(0, 4096, 0)),
        (0, 4097, Region(0, 8192, 0)),
        (4095, 1, Region(0, 4096, 4095)),
        (4095, 2, Region(0, 8192, 4095)),
        (8200, 4096, Region(8192, 8192, 8)),
    ],
)
def test_regions(offset: int, nbytes: int, expected: Region) -> None:
    assert region(offset, nbytes, 4096) == expected


@pytest.mark.parametrize(
    ("offset", "nbytes", "alignment", "reason"),
    [
        (8, mapping.SMALLEST, 4, None),
        (8, mapping.SMALLEST, 8, None),
        (8, mapping.SMALLEST, 16, "unaligned"),
        (6, mapping.SMALLEST, 4, "unaligned"),
        (7, mapping.SMALLEST, 1, None),
        (16, mapping.SMALLEST - 1, 16, "small"),
    ],
)
def test_what_is_copied(offset: int, nbytes: int, alignment: int, reason: str | None) -> None:
    assert why_copied(Stored("t", Path("f"), "U8", (nbytes,), offset, nbytes), alignment) == reason


def test_the_hubs_20b_can_be_mapped_but_for_a_thousandth() -> None:
    """Its three files are known by size to the byte (test_checkpoints.py). No tensor lies at a multiple of 16."""
    counted = {None: 0, "small": 0, "unaligned": 0}
    for part in cut(all_tensors(hub_config()), None):
        ordered = in_file_order(part)
        offset = len(file_header(ordered))
        for tensor in ordered:
            assert offset % 16 == 8
            stored = Stored(tensor.name, Path("f"), tensor.dtype, tensor.shape, offset, tensor.nbytes)
            if tensor.name != "model.embed_tokens.weight":
                counted[why_copied(stored, asked(tensor.name))] += tensor.nbytes
            offset += tensor.nbytes
    assert counted == {None: 12_584_632_320, "small": 670_848, "unaligned": 17_694_720}


# The mapping itself


@pytest.mark.parametrize("size", [1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 100])
def test_pages_hold_the_file_and_zeros_behind_it(tmp_path: Path, size: int) -> None:
    data = np.random.default_rng(size).integers(1, 256, size, np.uint8)
    path = tmp_path / "file"
    path.write_bytes(data.tobytes())
    mapped = MappedFile(path)
    whole = mapped.pages(region(0, size, PAGE))
    assert whole.nbytes % PAGE == whole.ctypes.data % PAGE == 0
    assert (whole[:size] == data).all()
    assert not whole[size:].any()
    last = mapped.pages(region(size - 1, 1, PAGE))
    assert last[(size - 1) % PAGE] == data[-1]
    with pytest.raises(ValueError, match="read-only"):
        whole[0] = 0
    with pytest.raises(ValueError, match="not within"):
        mapped.pages(Region(0, whole.nbytes + PAGE, 0))


def test_pages_of_a_file_of_the_hubs_size(tmp_path: Path) -> None:
    """Every tensor of the first shard of gpt-oss-20b, 4.8 GB, with its first and last byte; the file is all holes."""
    ordered = in_file_order(cut(all_tensors(hub_config()), None)[0])
    starts = list(accumulate((tensor.nbytes for tensor in ordered), initial=len(file_header(ordered))))
    path = tmp_path / "shard"
    with path.open("wb") as file:
        file.truncate(starts[-1])
        for number, (start, end) in enumerate(pairwise(starts)):
            for place in (start, end - 1):
                file.seek(place)
                file.write(bytes([1 + number % 255]))
    mapped = MappedFile(path)
    path.unlink()
    for number, (start, end) in enumerate(pairwise(starts)):
        where = region(start, end - start, PAGE)
        pages = mapped.pages(where)
        assert pages.ctypes.data % PAGE == pages.nbytes % PAGE == 0
        assert pages[where.skip] == pages[where.skip + end - start - 1] == 1 + number % 255
    assert starts[-1] > 1 << 32


@pytest.mark.skipif(not MAPS.exists(), reason="mappings are listed in Linux' /proc")
def test_a_mapping_lasts_as_long_as_its_last_page(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * PAGE))
    mapped = MappedFile(path)
    pages = [mapped.pages(Region(start * PAGE, PAGE, 0)) for start in range(3)]
    del mapped
    while pages:
        assert str(path) in MAPS.read_text()
        pages.pop()
    assert str(path) not in MAPS.read_text()


@pytest.mark.skipif(mx.metal.is_available(), reason="this is what happens without Metal")
def test_nothing_is_adopted_without_metal(tmp_path: Path) -> None:
    """Read-only memory comes as far as MLX's allocator, which is what refuses it here."""
    path = tmp_path / "file"
    path.write_bytes(bytes(PAGE))
    pages = MappedFile(path).pages(Region(0, PAGE, 0))
    assert adopt(pages) is None
    with pytest.raises(ValueError, match="Cannot import a CPU array without a copy"):
        mx.asarray(pages, copy=False)


def test_only_whole_pages_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[int] = []

    def asarray(pages: np.ndarray, *, copy: bool) -> mx.array:
        assert not copy
        offered.append(pages.nbytes)
        return mx.array(pages)

    monkeypatch.setattr(mx, "asarray", asarray)
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * PAGE))
    pages = MappedFile(path).pages(Region(0, 2 * PAGE, 0))
    assert adopt(pages[16 : PAGE + 16]) is adopt(pages[: PAGE + 16]) is adopt(pages[:0]) is None
    assert not offered
    assert adopt(pages[PAGE:]) is not None
    assert offered == [PAGE]
