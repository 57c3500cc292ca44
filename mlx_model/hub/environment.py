"""Where the Hub and its cache are, as huggingface_hub's variables say: HF_HOME, HF_ENDPOINT and others."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from metal import files
from mlx_model.errors import CheckpointError

_DISKS = ("/Volumes", "/media", "/media/*", "/run/media/*")
"""Folders in which a disk has a folder of its own while it is connected."""


def endpoint() -> str:
    """The Hub's address, of which nothing is known but that it is a text. Raises CheckpointError, as cache_folder()."""
    return str(_constants().ENDPOINT)


def cache_folder() -> Path:
    """The Hub's cache, whether it is there or not. Raises CheckpointError if HF_HOME names no place."""
    return expanded(_constants().HF_HUB_CACHE).absolute()


def expanded(path: str | Path) -> Path:
    """With ~ as the person's home. Raises CheckpointError for another's who doesn't exist."""
    try:
        return files.expanded(path)
    except OSError as error:
        raise CheckpointError(f"{path} is nowhere: {error.strerror}; write the path in full") from None


def free_space(folder: Path) -> int:
    """Bytes free on the disk where a folder is, or will be."""
    for place in (folder, *folder.parents):
        with suppress(OSError):  # not made yet
            return shutil.disk_usage(place).free
    return 0


def missing_disk() -> str | None:
    """That the Hub's cache is on a disk that isn't connected, if so: nothing must be put in that disk's place."""
    cache = Path(os.path.realpath(cache_folder()))
    for folder in (cache, *cache.parents):
        if any(folder.parent.match(disk) for disk in _DISKS) and not folder.exists():
            return (
                f"the Hub's cache, {cache}, is on a disk that is not connected: connect {folder}, "
                "or set HF_HOME to another folder"
            )
    return None


def _constants() -> Any:
    """What huggingface_hub made of the variables. Raises CheckpointError where it can't read one of them."""
    try:
        from huggingface_hub import constants  # late: it takes a third of a second
    except ValueError as error:
        raise CheckpointError(
            f"a variable of huggingface_hub can't be read ({error}): check HF_ENDPOINT and others that begin with HF_"
        ) from None
    return constants
