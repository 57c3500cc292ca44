"""Tensors as numpy's views of their mapped files: what is read of them is the page cache's, and nothing is copied."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_model.errors import CheckpointError, RequestError
from mlx_model.weights.checkpoint import Stored
from mlx_model.weights.mapping import MappedFile, Region

_DTYPES = {"BF16": np.uint16, "F16": np.float16, "F32": np.float32, "U8": np.uint8, "U32": np.uint32}
"""What numpy calls a dtype of safetensors; it has no bfloat16."""


class Views:
    """Takes tensors out of their files, as views where `map` is "auto" or "on", else ("off") copied.

    A file that can't be mapped is copied from, and so is a tensor whose address is no multiple of its item's size.
    `refusal` says in one line why tensors are copied, None while they are views; `unaligned_bytes` counts those of the
    second kind. Raises RequestError for any other `map`.
    """

    def __init__(self, tensors: Collection[Stored], map: str) -> None:
        if map not in ("auto", "on", "off"):
            raise RequestError(f'map is "{map}"; it can be auto, on or off')
        self.refusal = "mapping is switched off" if map == "off" else None
        self.unaligned_bytes = 0
        self._files: dict[Path, MappedFile] = {}
        for path in sorted({tensor.file for tensor in tensors}):
            try:
                self._files[path] = MappedFile(path)
            except (OSError, ValueError) as error:
                self.refusal = self.refusal or f"{path.name} can't be mapped ({error})"

    def take(self, tensor: Stored) -> NDArray[Any]:
        """The tensor as stored, bfloat16 as uint16. Raises CheckpointError if the file can't be read."""
        dtype = np.dtype(_DTYPES[tensor.dtype])
        file = self._files.get(tensor.file)
        if file is None or self.refusal is not None:
            return self._copied(tensor).view(dtype).reshape(tensor.shape)
        data = file.pages(Region(tensor.offset, tensor.nbytes, 0))
        if tensor.offset % dtype.itemsize:
            self.unaligned_bytes += tensor.nbytes
            data = data.copy()
        return data.view(dtype).reshape(tensor.shape)

    def has(self, array: NDArray[Any], tensor: Stored) -> bool:
        """Whether an array is a view of the tensor's mapped file."""
        file = self._files.get(tensor.file)
        return file is not None and file.holds(array.ctypes.data)

    def check(self) -> None:
        """Raises CheckpointError if a mapped file was cut off: to touch a page that it has lost ends the process."""
        for path, file in self._files.items():
            if not file.is_whole:
                raise CheckpointError(f"{path} was cut off while in use; download it again and restart")

    def _copied(self, tensor: Stored) -> NDArray[np.uint8]:
        try:
            data = np.fromfile(tensor.file, np.uint8, tensor.nbytes, offset=tensor.offset)
        except OSError as error:
            raise CheckpointError(f"{tensor.file}: {tensor.name} can't be read ({error.strerror})") from None
        if data.nbytes != tensor.nbytes:
            raise CheckpointError(f"{tensor.file} was cut off while it was read; download it again and restart")
        return data
