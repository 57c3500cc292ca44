"""How often experts were asked for, kept in the cache folder: the next start has the popular ones in memory first."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metal.files import parse_json, read_small, replace_file
from mlx_model.folders import cache_folder

Counts = NDArray[np.float64]


def counts_file(files: Iterable[Path]) -> Path:
    """Of the checkpoint with these weight files: the same model in another folder has the same."""
    sizes = sorted((file.name, file.stat().st_size) for file in files)
    return cache_folder() / "experts" / f"{hashlib.sha256(repr(sizes).encode()).hexdigest()[:32]}.json"


def read_counts(file: Path, layers: int, experts: int) -> Counts:
    """[layers, experts], of layers that were not kept zeros; all zeros where nothing that fits is there."""
    found = np.zeros((layers, experts))
    with suppress(OSError, ValueError, TypeError, OverflowError):
        kept = np.array(parse_json(read_small(file)), np.float64)[:layers]
        if kept.ndim == 2 and kept.shape[1] == experts and (kept >= 0).all() and np.isfinite(kept).all():
            found[: len(kept)] = kept
    return found


def write_counts(file: Path, counts: Counts) -> None:
    """Keeps them, if they can be kept."""
    with suppress(OSError):
        replace_file(file, json.dumps(np.round(counts, 2).tolist()).encode())
