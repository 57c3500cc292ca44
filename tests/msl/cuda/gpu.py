"""The cases on a GPU: right or wrong, and how fast on cold weights."""

import json
import math
from collections.abc import Callable
from ctypes import c_void_p
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from tests.msl.cuda.arrays import STORED, made, nbytes
from tests.msl.cuda.driver import Gpu
from tests.msl.cuda.judge import Stored, sets
from tests.msl.cuda.manifest import ENTRY, Array, Case

COLD_BYTES = 600 << 20
"""Launches go round so many bytes of weights, several times a GPU's last cache: as in decoding, all come from DRAM."""

CEILINGS = r"""
extern "C" __global__ void empty() {}
extern "C" __global__ void read_all(const uint4* from, unsigned long long count, unsigned* out) {
  unsigned sum = 0;
  const unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
  unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  for (; i + 3 * step < count; i += 4 * step) {
    const uint4 a = from[i], b = from[i + step], c = from[i + 2 * step], d = from[i + 3 * step];
    sum ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w ^ c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
  }
  if (sum == 0x12345678) *out = sum;
}
"""
"""What the times are held against: a launch that does nothing, and a plain read."""

_CEILING_BYTES = 2 << 30
_EMPTY_LAUNCHES = 512
_MOST_LAUNCHES = 1024
_PLACE = 256
_UNWRITTEN = 0xFF


@dataclass(frozen=True, slots=True)
class Held:
    """An array on the GPU: `count` of it, `stride` bytes apart, the first one `offset` after `address`."""

    address: int
    count: int
    stride: int
    offset: int
    size: int

    def place(self, index: int) -> int:
        """The address of one of them."""
        return self.address + index % self.count * self.stride + self.offset


class OnGpu:
    """A backend of `judge`; `code` gives the machine code of a text.

    With `exact_size` each array is an allocation of just its size, so that memcheck sees its end.
    """

    def __init__(self, gpu: Gpu, code: Callable[[str], bytes], *, exact_size: bool = False) -> None:
        self._gpu, self._code, self._exact_size = gpu, code, exact_size
        self._functions: dict[str, c_void_p] = {}
        self._held: dict[str, Held] = {}
        self._key = ""
        self._sets = self._copies = 1

    def run(self, case: Case, inputs: Stored, step: int) -> Stored:
        """See Backend."""
        self._prepare(case, inputs)
        for name, array in case.arrays.items():
            if array.role != "input":
                held = self._held[name]
                self._gpu.fill(held.address, _UNWRITTEN, held.offset + held.size)
        self._launch(case, step)
        self._gpu.wait()
        outputs = {}
        for name, array in case.arrays.items():
            if array.role == "output":
                octets = self._gpu.download(self._held[name].place(0), nbytes(array))
                outputs[name] = octets.view(STORED[array.dtype]).reshape(array.shape)
        return outputs

    def seconds(self, case: Case) -> float:
        """Of one pass over the case's launches, after `run`. They follow each other in a graph."""
        steps = self._sets * self._copies

        def enqueue() -> None:
            for step in range(steps):
                self._launch(case, step)

        return self._gpu.seconds(enqueue) / steps

    def _prepare(self, case: Case, inputs: Stored) -> None:
        """All copies of all arrays on the GPU. Cases on the same arrays share them, unless each is to be alone."""
        key = json.dumps({name: asdict(array) for name, array in case.arrays.items()}, sort_keys=True)
        if key == self._key and not self._exact_size:
            return
        self.release()
        self._sets = sets(case)
        cold = sum(nbytes(array) for array in case.arrays.values() if array.cold)
        wanted = 1 if self._exact_size or not cold else math.ceil(COLD_BYTES / cold)
        self._copies = max(1, min(wanted, _MOST_LAUNCHES // self._sets))
        for name, array in case.arrays.items():
            self._held[name] = self._uploaded(array, inputs.get(name))
        self._gpu.wait()
        self._key = key

    def _uploaded(self, array: Array, first: NDArray[Any] | None) -> Held:
        """All sets of an input, or all copies of its one set `first`."""
        size = nbytes(array)
        every = array.sets > 1 and not self._exact_size
        count = array.sets if every else self._copies if array.cold else 1
        stride = size + array.offset if count == 1 else -(-(size + array.offset) // _PLACE) * _PLACE
        held = Held(self._gpu.allocated(count * stride), count, stride, array.offset, size)
        if first is None:
            return held
        for index in range(count):
            if every:
                self._gpu.upload(held.place(index), made(array, index))
            elif index == 0:
                self._gpu.upload(held.place(0), first)
            else:
                self._gpu.copy(held.place(index), held.place(0), size)
        return held

    def release(self) -> None:
        """Gives the memory of the last case back."""
        for held in self._held.values():
            self._gpu.free(held.address)
        self._held, self._key = {}, ""

    def _launch(self, case: Case, step: int) -> None:
        for launch in case.launches:
            if launch.text not in self._functions:
                self._functions[launch.text] = self._gpu.function(self._code(launch.text), ENTRY)
            places = [
                self._held[name].place(step if case.arrays[name].sets > 1 else step // self._sets)
                for name in launch.arguments
            ]
            self._gpu.launch(self._functions[launch.text], launch.blocks, launch.threads, places)

    def ceilings(self, code: bytes) -> dict[str, float]:
        """What this GPU can: GB/s of a copy (read and written) and of a read, microseconds of an empty launch."""
        gpu = self._gpu
        empty, read_all = gpu.function(code, "empty"), gpu.function(code, "read_all")
        source, to, out = (gpu.allocated(size) for size in (_CEILING_BYTES, _CEILING_BYTES, 4))

        def nothing() -> None:
            for _ in range(_EMPTY_LAUNCHES):
                gpu.launch(empty, (1, 1, 1), (32, 1, 1), [])

        def copy() -> None:
            gpu.copy(to, source, _CEILING_BYTES)

        def read() -> None:
            gpu.launch(read_all, (16 * gpu.multiprocessors, 1, 1), (256, 1, 1), [source, _CEILING_BYTES // 16, out])

        found = {
            "copy_gbps": 2 * _CEILING_BYTES / gpu.seconds(copy) / 1e9,
            "read_gbps": _CEILING_BYTES / gpu.seconds(read) / 1e9,
            "empty_us": gpu.seconds(nothing) / _EMPTY_LAUNCHES * 1e6,
        }
        for address in (source, to, out):
            gpu.free(address)
        return found
