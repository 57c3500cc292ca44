"""Tensors from their files into MLX: copied, or, where Metal takes them, as the pages of the mapped file."""

from collections.abc import Collection
from pathlib import Path

import mlx.core as mx
import numpy as np

from metal.adopt import PAGE, adopt
from mlx_model.errors import CheckpointError, RequestError
from mlx_model.weights.checkpoint import Stored, stored_tensors
from mlx_model.weights.mapping import MappedFile, region, why_copied

DTYPES = {"BF16": mx.bfloat16, "F16": mx.float16, "F32": mx.float32, "U8": mx.uint8, "U32": mx.uint32}
"""What safetensors calls a dtype, for those that gpt-oss checkpoints have."""


class Reader:
    """Takes tensors out of their files, each one once; keeps no reference to what it handed out.

    `map` "auto" maps the files where MLX `adopts_memory`, "on" tries it anywhere, "off" copies. Whatever prevents
    mapping ends in copying, of all files or of the one tensor concerned. `refusal` says in one line why tensors are
    copied, None while they are mapped. `mapped` names those that are; `unaligned_bytes` counts those that were copied
    for their address in the file alone.
    Raises RequestError for any other `map`.
    """

    def __init__(self, tensors: Collection[Stored], map: str = "auto", *, adopts_memory: bool = False) -> None:
        if map not in ("auto", "on", "off"):
            raise RequestError(f'map is "{map}"; it can be auto, on or off')
        self.mapped: set[str] = set()
        self.unaligned_bytes = 0
        self._lazy: dict[Path, dict[str, mx.array]] = {}
        self._files: dict[Path, MappedFile] = {}
        self.refusal: str | None = None
        if map == "off":
            self.refusal = "mapping is switched off"
        elif map == "auto" and not adopts_memory:
            self.refusal = "MLX computes on the CPU here, and adopts memory on a GPU alone"
        else:
            self._map({tensor.file for tensor in tensors})

    def take(self, tensor: Stored, alignment: int = 1) -> mx.array:
        """The tensor as stored, computed. Its address is to be a multiple of `alignment` bytes, and of its dtype's.

        A mapped tensor must not be written. MLX computes in place what it holds the last reference to: keep the
        result in a variable until what is made of it is computed. Raises CheckpointError if the file can't be read.
        """
        array = self._adopted(tensor, max(alignment, DTYPES[tensor.dtype].size))
        return self._copied(tensor) if array is None else array

    def _adopted(self, tensor: Stored, alignment: int) -> mx.array | None:
        file = self._files.get(tensor.file)
        if file is None:
            return None
        reason = why_copied(tensor, alignment)
        if reason is not None:
            self.unaligned_bytes += tensor.nbytes if reason == "unaligned" else 0
            return None
        where = region(tensor.offset, tensor.nbytes, PAGE)
        pages = adopt(file.pages(where))
        if pages is None:
            self.refusal = self.refusal or f"Metal did not take {tensor.name} ({tensor.nbytes:,} bytes); it was copied"
            return None
        self.mapped.add(tensor.name)
        array = pages[where.skip : where.skip + tensor.nbytes].view(DTYPES[tensor.dtype]).reshape(tensor.shape)
        mx.eval(array)
        return array

    def _copied(self, tensor: Stored) -> mx.array:
        try:
            if tensor.file not in self._lazy:
                self._lazy[tensor.file] = mx.load(str(tensor.file), format="safetensors")  # type: ignore[assignment]
            array = self._lazy[tensor.file].pop(tensor.name)
            mx.eval(array)
        except (RuntimeError, OSError, KeyError) as error:
            raise CheckpointError(
                f"{tensor.file}: {tensor.name} can't be read ({error}); was the file changed meanwhile? Try again"
            ) from None
        return array

    def _map(self, files: Collection[Path]) -> None:
        """Maps every file, or none of them where one can't be, or where the device sees other bytes in its pages."""
        for path in sorted(files):
            try:
                file = MappedFile(path)
            except (OSError, ValueError) as error:
                self.refusal = f"{path.name} can't be mapped ({error})"
                break
            self.refusal = _objection(path, file)
            if self.refusal is not None:
                break
            self._files[path] = file
        else:
            return
        self._files.clear()


def why_not_mapped(folder: Path, *, adopts_memory: bool) -> str | None:
    """Why the weights in `folder` would be copied where MLX `adopts_memory` or not; None if they would be mapped.

    Reads headers and three pages a file. Raises CheckpointError for files that can't be loaded at all.
    """
    return Reader(stored_tensors(folder).values(), adopts_memory=adopts_memory).refusal


def _objection(path: Path, file: MappedFile) -> str | None:
    """What prevents the mapping, None if nothing does.

    Pages at the file's start, middle and end are adopted and compared, on the device, with what reading the file gives.
    They are small regions, since a GPU makes all of what it looks into resident.
    """
    size = path.stat().st_size
    count = min(PAGE, size)
    with path.open("rb") as raw:
        for offset in (0, (size - count) // 2, size - count):
            raw.seek(offset)
            expected = np.frombuffer(raw.read(count), np.uint8)
            where = region(offset, count, PAGE)
            pages = adopt(file.pages(where))
            if pages is None:
                return f"MLX adopts no memory here (pages of {path.name})"
            try:
                same = mx.array_equal(pages[where.skip : where.skip + count], mx.array(expected)).item()
            except (RuntimeError, ValueError) as error:
                return f"the device can't read the mapped pages of {path.name} ({error})"
            if not same:
                return f"the device reads other bytes in the mapped pages of {path.name} than the file holds"
    return None
