"""Pages of a file around a tensor: the arithmetic of it, and the mapping itself."""

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlx_model.weights.checkpoint import Stored

SMALLEST = 64 * 1024
"""Bytes below which a tensor is copied: adopting costs a buffer of its own and the pages around it, and saves nothing.
All tensors that small are 0.7 MB of gpt-oss-20b."""

MATRIX_ALIGNMENT = 4
"""Bytes that the address of a dense matrix or of expert codes must be a multiple of: kernels read whole 32-bit words.

16 would suit their widest loads, and would leave nothing to map: in each of the Hub's three shards of gpt-oss-20b every
tensor begins 8 bytes after a multiple of 16. For such addresses the decode kernels have a variant."""

VECTOR_ALIGNMENT = 16
"""The same of everything else but MXFP4 scales, which are read byte by byte: norms, biases, sinks, routers."""


@dataclass(frozen=True, slots=True)
class Region:
    """Whole pages of a file, `length` bytes from `start`; the tensor begins `skip` bytes into them."""

    start: int
    length: int
    skip: int


def region(offset: int, nbytes: int, page: int) -> Region:
    """The pages that `nbytes` bytes (at least one) from `offset` of a file lie in."""
    start = offset - offset % page
    end = offset + nbytes
    return Region(start, end + -end % page - start, offset - start)


def why_copied(tensor: Stored, alignment: int) -> str | None:
    """Why the tensor can't be used where it lies in its mapped file, if `alignment` bytes are asked of its address.

    A mapping starts on a page, and pages are multiples of any alignment, so the offset in the file decides.
    """
    if tensor.nbytes < SMALLEST:
        return "small"
    if tensor.offset % alignment:
        return "unaligned"
    return None


class MappedFile:
    """A file's pages in memory, read when they are touched and never written; unmapped with its last user.

    Shared and read-only, as llama.cpp maps its files for Metal: pages stay those of the file, which the system drops
    instead of swapping. A private writable mapping would leave it to the GPU's driver whether it makes copies of them.
    Raises OSError or ValueError if the file can't be mapped.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._address = np.frombuffer(self._map, np.uint8).ctypes.data

    @property
    def is_whole(self) -> bool:
        """Whether the file is still as long as it was: touching a page behind its end would end the process."""
        return self._map.size() >= len(self._map)

    def holds(self, address: int) -> bool:
        """Whether that is an address in the mapping."""
        return self._address <= address < self._address + len(self._map)

    def pages(self, region: Region) -> NDArray[np.uint8]:
        """uint8 [region.length] over the mapping itself, which it keeps alive.

        The file's last page reaches beyond the file's end: the system fills it up with zeros.
        """
        end = len(self._map) + -len(self._map) % mmap.PAGESIZE
        if region.start < 0 or region.start + region.length > end:
            raise ValueError(f"{region} is not within the {end} bytes of the mapping")
        return np.asarray(_Memory(self._map, self._address + region.start, region.length))


class _Memory:
    """Memory for numpy (its array interface protocol), with what must stay alive for it."""

    def __init__(self, owner: object, address: int, nbytes: int) -> None:
        self.owner = owner
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (nbytes,), "data": (address, True)}
