"""Rows of the embedding: of a matrix in memory where the memory plan has room for it, else from the checkpoint's file.

gpt-oss looks up one row of 2,880 numbers a token in a matrix of 1.16 GB (20b), which every other reader keeps resident.
`HeldRows` gathers them where everything else is computed.

From the file there are two ways to the same bytes. `FileRows` reads them on the host, which needs the ids: on a CPU
they are known. On a GPU the next step is submitted before this one's token is known (runner.py), and asking for it
would stop the device once a token. `MappedRows` therefore gathers lazily: the file is mapped, MLX adopts the mapping
without a copy, and the gather runs on MLX's CPU stream, which waits for the token and hands on the row by itself. The
GPU never binds the mapping, so that only touched pages are ever in memory, and those belong to the file.
"""

import os
import weakref

import mlx.core as mx
import numpy as np

from metal.adopt import PAGE, adopt
from mlx_model.errors import CheckpointError, RequestError
from mlx_model.transformer.embedding import Rows
from mlx_model.weights.checkpoint import Stored
from mlx_model.weights.mapping import MappedFile, region
from mlx_model.weights.reader import DTYPES

_CHECKED_ROWS = 8


class HeldRows:
    """Rows of a matrix [rows, columns] in memory."""

    mapped_bytes = 0

    def __init__(self, table: mx.array) -> None:
        self._table = table

    def __call__(self, ids: mx.array) -> mx.array:
        """See Rows."""
        return mx.take(self._table, ids, axis=0)


class FileRows:
    """Rows read when they are asked for; ids that are still to be computed are waited for.

    Raises CheckpointError if the file can't be opened, or has become shorter since its header was checked, RequestError
    for an id that no row belongs to.
    """

    mapped_bytes = 0

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._dtype = DTYPES[stored.dtype]
        self._row_bytes = stored.nbytes // stored.shape[0]
        try:
            self._descriptor = os.open(stored.file, os.O_RDONLY)
        except OSError as error:
            raise CheckpointError(f"{stored.file} can't be read ({error.strerror})") from None
        weakref.finalize(self, os.close, self._descriptor)

    def __call__(self, ids: mx.array) -> mx.array:
        """See Rows."""
        size, start = self._row_bytes, self._stored.offset
        flat = np.asarray(ids).reshape(-1).tolist()
        if not all(0 <= row < self._stored.shape[0] for row in flat):
            raise RequestError(f"there are ids outside the vocabulary of {self._stored.shape[0]:,} tokens")
        data = b"".join(os.pread(self._descriptor, size, start + row * size) for row in flat)
        if len(data) != size * len(flat):
            raise CheckpointError(f"{self._stored.file} was cut off while in use; download it again and restart")
        rows = mx.array(np.frombuffer(data, np.uint8).reshape(*ids.shape, size))
        return rows.view(self._dtype)


class MappedRows:
    """The same as a lazy gather from the mapped file, for a GPU that must not wait for Python.

    Raises ValueError where MLX doesn't adopt the mapping, OSError where the file can't be mapped.
    """

    def __init__(self, stored: Stored) -> None:
        where = region(stored.offset, stored.nbytes, PAGE)
        pages = adopt(MappedFile(stored.file).pages(where))
        if pages is None:
            raise ValueError(f"MLX does not adopt the mapped pages of {stored.file.name}")
        with mx.stream(mx.cpu):
            tensor = pages[where.skip : where.skip + stored.nbytes]
            self._table = tensor.view(DTYPES[stored.dtype]).reshape(stored.shape)
            mx.eval(self._table)
        self.mapped_bytes = where.length

    def __call__(self, ids: mx.array) -> mx.array:
        """See Rows."""
        return mx.take(self._table, ids, axis=0, stream=mx.cpu)


def open_rows(stored: Stored, *, lazily: bool) -> Rows:
    """The rows of a matrix; `lazily` where MLX adopts mappings, so that ids need not be known.

    What the mapping gives is compared with what reading gives before it is used; else rows are read.
    """
    from_file = FileRows(stored)
    if not lazily:
        return from_file
    try:
        mapped = MappedRows(stored)
        ids = mx.array(np.linspace(0, stored.shape[0] - 1, _CHECKED_ROWS).astype(np.int32))
        ours, theirs = (rows(ids).view(mx.uint8) for rows in (mapped, from_file))
        return mapped if mx.array_equal(ours, theirs).item() else from_file
    except (ValueError, OSError, RuntimeError):
        return from_file
