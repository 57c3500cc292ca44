"""NVIDIA's driver through ctypes: memory, machine code, launches, graphs, events."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16
_NON_BLOCKING = 1
_CAPTURE_RELAXED = 2
_u64, _u32, _size, _pointer = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_size_t, ctypes.c_void_p


class NoGpuError(Exception):
    """This machine has no NVIDIA GPU, or no driver for it."""


class CudaError(Exception):
    """A call of the driver failed. After a kernel's failure every later call of the process fails, too."""


class Gpu:
    """The first GPU of the machine, for one thread."""

    def __init__(self) -> None:
        """Raises NoGpuError."""
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise NoGpuError(f"there is no driver of an NVIDIA GPU here ({error})") from None
        device, context = ctypes.c_int(), _pointer()
        try:
            self._call("cuInit", _u32(0))
            self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        except CudaError as error:
            raise NoGpuError(f"there is no NVIDIA GPU here ({error})") from None
        self._device = device
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._stream = _pointer()
        self._call("cuStreamCreate", ctypes.byref(self._stream), _u32(_NON_BLOCKING))

    @property
    def name(self) -> str:
        """As "NVIDIA H100 80GB HBM3"."""
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, ctypes.c_int(256), self._device)
        return text.value.decode()

    @property
    def architecture(self) -> str:
        """As "sm_90"."""
        return f"sm_{self._attribute(_MAJOR)}{self._attribute(_MINOR)}"

    @property
    def multiprocessors(self) -> int:
        """How many there are."""
        return self._attribute(_MULTIPROCESSORS)

    @property
    def driver(self) -> str:
        """The newest CUDA that the driver knows, as "13.0"."""
        number = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(number))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"

    def allocated(self, size: int) -> int:
        """The address of so many bytes."""
        address = _u64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), _size(max(size, 1)))
        return address.value

    def free(self, address: int) -> None:
        """Gives memory back."""
        self._call("cuMemFree_v2", _u64(address))

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Copies a contiguous array to the GPU."""
        self._call("cuMemcpyHtoD_v2", _u64(address), _pointer(array.ctypes.data), _size(array.nbytes))
        # It may return with the last part still under way, which a stream like ours doesn't wait for.
        self._call("cuCtxSynchronize")

    def download(self, address: int, size: int) -> NDArray[np.uint8]:
        """Copies so many bytes from the GPU."""
        octets = np.empty(size, np.uint8)
        self._call("cuMemcpyDtoH_v2", _pointer(octets.ctypes.data), _u64(address), _size(size))
        return octets

    def copy(self, to: int, source: int, size: int) -> None:
        """Within the GPU, in the order of its launches."""
        self._call("cuMemcpyDtoDAsync_v2", _u64(to), _u64(source), _size(size), self._stream)

    def fill(self, address: int, byte: int, size: int) -> None:
        """In the order of launches."""
        self._call("cuMemsetD8Async", _u64(address), ctypes.c_ubyte(byte), _size(size), self._stream)

    def wait(self) -> None:
        """Until all is done. Raises CudaError if a kernel has failed."""
        self._call("cuStreamSynchronize", self._stream)

    def function(self, cubin: bytes, name: str) -> ctypes.c_void_p:
        """A kernel of machine code, for `launch`."""
        module, function = _pointer(), _pointer()
        self._call("cuModuleLoadData", ctypes.byref(module), cubin)
        self._call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        return function

    def launch(
        self, function: ctypes.c_void_p, blocks: Sequence[int], threads: Sequence[int], arguments: Sequence[int]
    ) -> None:
        """Arguments are addresses, or numbers of 8 bytes."""
        values = (_u64 * max(len(arguments), 1))(*arguments)
        first, step = ctypes.addressof(values), ctypes.sizeof(_u64)
        places = (_pointer * max(len(arguments), 1))(*(first + step * i for i in range(len(arguments))))
        sizes = [_u32(each) for each in (*blocks, *threads, 0)]
        self._call("cuLaunchKernel", function, *sizes, self._stream, places, None)

    def seconds(self, enqueue: Callable[[], object], least: float = 0.04) -> float:
        """Of what `enqueue` launches, replayed as one graph: the median of several times."""
        graph, ready = _pointer(), _pointer()
        self._call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_CAPTURE_RELAXED))
        enqueue()
        self._call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        self._call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, _u64(0))
        begin, end, milliseconds = _pointer(), _pointer(), ctypes.c_float()
        for event in (begin, end):
            self._call("cuEventCreate", ctypes.byref(event), _u32(0))
        times: list[float] = []
        while len(times) < 7 or (sum(times) < least and len(times) < 200):
            self._call("cuEventRecord", begin, self._stream)
            self._call("cuGraphLaunch", ready, self._stream)
            self._call("cuEventRecord", end, self._stream)
            self._call("cuEventSynchronize", end)
            self._call("cuEventElapsedTime", ctypes.byref(milliseconds), begin, end)
            times.append(milliseconds.value / 1e3)
        self._call("cuGraphExecDestroy", ready)
        self._call("cuGraphDestroy", graph)
        for event in (begin, end):
            self._call("cuEventDestroy_v2", event)
        return float(np.median(times[2:]))  # the first two find clocks that are still low

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(number), self._device)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            said = ctypes.c_char_p()
            self._library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(said))
            raise CudaError(f"{name}: {said.value.decode() if said.value else f'error {code}'}")
