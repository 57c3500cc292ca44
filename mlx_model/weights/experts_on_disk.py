"""Experts read from their files into memory that is already there, by several threads at once.

Positional reads through the page cache: where memory is free it is a second chance, and where it is not the system
drops its pages without writing anything. Mapped files would be read a fault at a time, 3 to 40 times slower when cold,
and a read that fails would end the process instead of the answer.
"""

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlx_model.errors import CheckpointError
from mlx_model.memory.parts import Split
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.slots import Reads, Slots, Store, Streaming
from mlx_model.weights.checkpoint import Stored
from mlx_model.weights.expert_counts import counts_file, read_counts, write_counts

_READERS = 4
"""Threads: one or two saturate older SSDs, newer ones take four to eight of such reads at once."""

Bytes = NDArray[np.uint8]


class ExpertFile:
    """A file that experts are read from, as it was when the model was loaded.

    Raises CheckpointError, naming the file, in `check` and `read`: it can't be read, or is another one by now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._close: Callable[[], object] = lambda: None
        self._failed = False
        self._known: tuple[int, int] | None = None
        self.check()

    def check(self) -> None:
        """Whether the file is as it was; one that couldn't be read is opened again. Not while it is read."""
        try:
            if self._descriptor < 0 or self._failed:
                self._close()
                self._descriptor = -1
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                self._close = weakref.finalize(self, os.close, self._descriptor)
                self._failed = False
                if hasattr(os, "posix_fadvise"):  # Linux would read ahead, up to half as much again
                    os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            found = os.fstat(self._descriptor)
        except OSError as error:
            self._failed = True
            raise CheckpointError(
                f"{self.path} can't be read any more ({error.strerror}); is its disk still connected?"
            ) from None
        state = found.st_size, found.st_mtime_ns
        if self._known is None:
            self._known = state
        if state != self._known:
            self._failed = True  # the right one may be put back
            raise CheckpointError(f"{self.path} was changed while in use; download it again and restart")

    def read(self, into: memoryview, offset: int) -> None:
        """Fills the memory with the bytes from `offset` on. In any thread."""
        done = 0
        try:
            while done < len(into):
                count = os.preadv(self._descriptor, [into[done:]], offset + done)
                if count == 0:
                    self._failed = True
                    raise CheckpointError(f"{self.path} was cut off while in use; download it again and restart")
                done += count
        except OSError as error:
            self._failed = True
            raise CheckpointError(
                f"{self.path} can't be read at byte {offset + done:,} ({error.strerror}); is its disk still connected?"
            ) from None


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor [E, rows, ...] of every expert; of two, gate and up, whose rows take turns in memory."""

    tensors: tuple[Stored, ...]
    files: tuple[ExpertFile, ...]

    @property
    def nbytes(self) -> int:
        """Of one expert."""
        return sum(tensor.nbytes // tensor.shape[0] for tensor in self.tensors)

    def read(self, expert: int, into: Bytes) -> None:
        """One expert's bytes into uint8 [nbytes]. Raises CheckpointError."""
        if len(self.tensors) == 1:
            self._read_one(0, expert, into)
            return
        rows = self.tensors[0].shape[1]
        turns = into.reshape(rows, len(self.tensors), -1)
        for index in range(len(self.tensors)):
            apart = np.empty((rows, turns.shape[2]), np.uint8)
            self._read_one(index, expert, apart.reshape(-1))
            turns[:, index] = apart

    def _read_one(self, index: int, expert: int, into: Bytes) -> None:
        self.files[index].read(into.data, self.tensors[index].offset + expert * len(into))


class Disk:
    """The files of a checkpoint's experts, and the threads that read them."""

    def __init__(self) -> None:
        self._files: dict[Path, ExpertFile] = {}
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="experts")
        self._begun: list[Future[None]] = []

    def part(self, *tensors: Stored) -> Part:
        """See Part. Raises CheckpointError where a file can't be opened."""
        for tensor in tensors:
            if tensor.file not in self._files:
                self._files[tensor.file] = ExpertFile(tensor.file)
        return Part(tensors, tuple(self._files[tensor.file] for tensor in tensors))

    def read(self, jobs: Sequence[tuple[Part, int, Bytes]]) -> "Reading":
        """Begins to read experts of parts into memory, which nobody else may use until that is over.

        One at a time: first it waits for what was begun before, should whoever did so have been interrupted.
        """
        wait_for(self._begun)
        try:
            for file in {id(file): file for part, _, _ in jobs for file in part.files}.values():
                file.check()
        except CheckpointError as error:
            failed: Future[None] = Future()
            failed.set_exception(error)
            return Reading([failed], 0)
        self._begun = begun = []
        for part, expert, memory in jobs:
            begun.append(self._pool.submit(part.read, expert, memory))
        return Reading(begun, sum(len(memory) for _, _, memory in jobs))


@dataclass(frozen=True, slots=True)
class Reading:
    """See slots.Pending."""

    futures: Sequence[Future[None]]
    nbytes: int

    def wait(self) -> int:
        """See slots.Pending."""
        wait_for(self.futures)  # of all: none may write behind an error
        for future in self.futures:
            future.result()
        return self.nbytes


class ExpertsOnDisk:
    """What a model is loaded with whose experts stay in their files, but for some: `split` says which.

    `layers` are streamed, each with `size` slots. Raises CheckpointError where a file can't be opened.
    """

    def __init__(self, config: ModelConfig, tensors: Mapping[str, Stored], split: Split) -> None:
        self.layers, self.size = split.layers, split.slots
        self.disk = Disk()
        self._file = counts_file({tensor.file for tensor in tensors.values()})
        self._counts = read_counts(self._file, self.layers, config.num_local_experts)
        self._reads = Reads()
        self._slots: list[Slots] = []

    def fill(self, layer: int, store: Store) -> Slots:
        """The slots of a layer, in whose memory are now the experts that are asked for most. Raises CheckpointError."""
        slots = Slots(self._counts.shape[1], self.size, store, self._reads, self._counts[layer])
        slots.fill()
        self._slots.append(slots)
        return slots

    @property
    def streaming(self) -> Streaming:
        """All layers, once they are filled. What filling has read is no part of an answer."""
        self._reads.clear()
        return Streaming(self._slots, self._reads, partial(write_counts, self._file))
