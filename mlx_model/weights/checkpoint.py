"""The safetensors files of a checkpoint: which tensors they hold and where, known to be sound before one is read."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from metal.files import parse_json
from mlx_model.checkpoint_files import INDEX, WEIGHTS, is_pointer, pointer_problem, weight_files
from mlx_model.errors import CheckpointError
from mlx_model.part import Part

_MOST_HEADER = 16 << 20  # bytes: a hundred times gpt-oss-120b's; a sparse file may claim any length and have it


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies: `nbytes` bytes from `offset` in `file`. `dtype` as safetensors names it ("BF16", "U8")."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


def stored_tensors(folder: Path, part: Part | None = None) -> dict[str, Stored]:
    """Every tensor of the checkpoint in `folder`, by name, from the files' headers alone; of a part of the model those
    that it holds, by the names that they have in it. Then files without any of them need not be there.

    Raises CheckpointError, naming the file, if the index or a file is missing, damaged, cut off, led out of the folder
    by its name, or if two files hold the same tensor.
    """
    tensors: dict[str, Stored] = {}
    for file in _files(folder, part):
        for tensor in tensors_of(file):
            if part is not None and not part.holds(tensor.name):
                continue
            name = tensor.name if part is None else part.inner(tensor.name)
            if name in tensors:
                raise CheckpointError(
                    f"{file} and {tensors[name].file.name} both hold the tensor {tensor.name}; "
                    "delete the folder and download the checkpoint again"
                )
            tensors[name] = tensor
    return tensors


def _files(folder: Path, part: Part | None) -> list[Path]:
    """The safetensors files of the checkpoint, or of a part: those its index names, or the single one."""
    if os.path.lexists(folder / INDEX):
        _present(folder / INDEX)
    elif not os.path.lexists(folder / WEIGHTS):
        raise CheckpointError(f"{folder} holds neither {WEIGHTS} nor {INDEX}: it is not a complete checkpoint")
    return [_present(folder / name) for name in weight_files(folder, part)]


def _present(file: Path) -> Path:
    """The file, which may be a link, as in the Hub's cache. Raises CheckpointError if it leads to no file."""
    if file.is_file():
        return file
    if file.is_symlink() and not file.exists():
        raise CheckpointError(f"{file} is a link that leads to no file; delete it and download the checkpoint again")
    if file.exists():
        raise CheckpointError(f"{file} is not a file; delete it and download the checkpoint again")
    raise CheckpointError(f"{file} is missing; download the checkpoint again, it resumes")


def metadata_of(file: Path, remedy: str | None = None) -> dict[str, str]:
    """What the program that wrote a file says of it: texts by name. Raises CheckpointError, as `tensors_of`."""
    tensors_of(file, remedy)
    with safe_open(file, framework="numpy") as opened:
        return dict(opened.metadata() or {})


def tensors_of(file: Path, remedy: str | None = None) -> list[Stored]:
    """Every tensor of one file. The safetensors library vouches for the header: it is whole, no two tensors overlap,
    none reaches beyond the file, and each is as long as its shape and dtype say.

    Raises CheckpointError, which says what to do: the `remedy`, None where the file is a checkpoint's.
    """
    try:
        file.open("rb").close()  # the library calls every reason against it "No such file"
        with safe_open(file, framework="numpy"):
            start, header = _header(file)
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing; {remedy or 'download the checkpoint again, it resumes'}") from None
    except OSError as error:
        raise CheckpointError(
            f"{file} can't be read ({error.strerror or error}); check its permissions and the disk that it is on"
        ) from None
    except (SafetensorError, ValueError) as error:
        if is_pointer(file):
            raise CheckpointError(pointer_problem(file, *([remedy] if remedy else []))) from None
        where = _first_beyond_end(file)
        remedy = remedy or "delete it and download the checkpoint again"
        raise CheckpointError(f"{file} is damaged: {where or error}; {remedy}") from None
    tensors = []
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors.append(Stored(name, file, entry["dtype"], tuple(entry["shape"]), start + begin, end - begin))
    return tensors


def _header(file: Path) -> tuple[int, dict[str, Any]]:
    """Where the data begin, and each tensor's entry."""
    with file.open("rb") as raw:
        (length,) = struct.unpack("<Q", raw.read(8))
        if length > min(file.stat().st_size, _MOST_HEADER):
            raise ValueError(f"its header claims {length} bytes")
        header = parse_json(raw.read(length))
    header.pop("__metadata__", None)
    return 8 + length, header


def _first_beyond_end(file: Path) -> str | None:
    """Which tensor a truncated file lost first, if its header can still be read."""
    try:
        size = file.stat().st_size
        start, header = _header(file)
        ends = sorted((start + entry["data_offsets"][1], name) for name, entry in header.items())
        lost = [name for end, name in ends if end > size]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, struct.error):
        return None
    return f"it ends after {size} bytes, within or before the tensor {lost[0]}" if lost else None
