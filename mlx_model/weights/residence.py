"""Where the weights of a model are, counted while they are loaded; what loading checks whatever computes the model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.errors import CheckpointError
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.checkpoint import Stored, stored_tensors
from mlx_model.weights.layouts import Layout, layout_of

_NO_NUMBER = 255
"""E8M0's NaN (OCP Microscaling Formats 1.0, 5.4.1), which would be multiplied with as infinity."""

Progress = Callable[[int, int], None]
"""Called with the bytes of the files' tensors that are loaded, and with those of all of them."""


@dataclass(frozen=True, slots=True)
class Residence:
    """Where the weights are, in bytes.

    `resident_bytes` is all of them. `mapped_bytes` of these are pages of the files, of which there is no second copy,
    and which the system may drop and read again where they aren't wired (device.enforce); the rest is memory of the
    process. `unaligned_bytes` were to be mapped, but begin at an address that can't be computed with. `refusal` says in
    one line why weights are copied, None where they are mapped.
    """

    resident_bytes: int
    mapped_bytes: int
    unaligned_bytes: int
    refusal: str | None


@dataclass(slots=True)
class Loading:
    """A checkpoint that is sound, how far it is loaded, and what is kept of it so far."""

    tensors: Mapping[str, Stored]
    layout: Layout
    progress: Progress
    resident_bytes: int = 0
    mapped_bytes: int = 0
    done: int = 0
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = sum(tensor.nbytes for tensor in self.tensors.values())

    @staticmethod
    def of(folder: Path, config: ModelConfig, progress: Progress) -> "Loading":
        """Raises CheckpointError as stored_tensors and layout_of do."""
        tensors = stored_tensors(folder, config.part)
        return Loading(tensors, layout_of(folder, config, tensors), progress)

    def report(self, nbytes: int) -> None:
        """So many more bytes of the files are loaded."""
        self.done += nbytes
        self.progress(self.done, self.total)

    def count(self, nbytes: int, *, mapped: bool) -> None:
        """Adds to what the model keeps."""
        self.resident_bytes += nbytes
        self.mapped_bytes += nbytes if mapped else 0

    def residence(self, unaligned_bytes: int, refusal: str | None) -> Residence:
        """Of what was counted so far."""
        return Residence(self.resident_bytes, self.mapped_bytes, unaligned_bytes, refusal)

    def check_scales(self, name: str, scales: Any, most: int = _NO_NUMBER) -> None:
        """Raises CheckpointError if an MXFP4 scale is no number: it would spread over every logit. Or if one is above
        `most`.

        That reads a seventeenth of the matrix, which the first token would read anyway.
        """
        if (largest := int(np.asarray(scales).max())) == _NO_NUMBER:
            raise CheckpointError(
                f"{self.tensors[name].file} is damaged: {name} holds scales that are not numbers; "
                "delete it and download the checkpoint again"
            )
        if largest > most:
            raise CheckpointError(
                f"{self.tensors[name].file}: {name} holds a scale of 2^{largest - 127}, and experts with one can't be "
                "read from the disk while they are needed; take more --memory"
            )
