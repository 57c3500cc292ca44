"""The files of a checkpoint in the Hub's layout: their names, the JSON in them, and what a folder without them is."""

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from metal.files import parse_json, read_small
from mlx_model.errors import CheckpointError
from mlx_model.part import Part
from mlx_model.text import clean

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
WEIGHTS = "model.safetensors"
"""Of a checkpoint whose weights are one file."""
INDEX = "model.safetensors.index.json"
"""Names the file of each tensor, where there are several."""

TAKE = "take the published model instead: gptoss-chat download gpt-oss-20b (or gpt-oss-120b)"
"""What to do with a checkpoint that can't be used."""

_POINTER = b"version https://git-lfs"
_LONGEST_POINTER = 1024  # bytes, as git-lfs itself has it (docs/spec.md)
_LONGEST_NAME = 255  # bytes, of a file on every system
_MOST_ENTRIES = 1000  # of a folder that are looked at to say what it is
_ADAPTER = "adapter_config.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def read_object(path: Path, remedy: str = "download it again") -> dict[str, Any]:
    """The JSON object in a small file of a checkpoint, which anyone may have written.

    Raises CheckpointError, naming the file and the remedy: it is missing, or no regular file, too large, or no such
    JSON.
    """
    try:
        content = read_small(path)
        if content.startswith(_POINTER):
            raise CheckpointError(pointer_problem(path))
        fields = parse_json(content)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: this folder is not a complete checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path} can't be read ({error.strerror or error}); {remedy}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} can't be read ({error}); {remedy}") from None
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path} is not a JSON object; {remedy}")
    return fields


def is_pointer(path: Path) -> bool:
    """Whether in place of a large file there is git-lfs's pointer to it, as after a git clone without git-lfs."""
    try:
        return path.stat().st_size <= _LONGEST_POINTER and read_small(path, _LONGEST_POINTER).startswith(_POINTER)
    except OSError:
        return False


def pointer_problem(path: Path, remedy: str = "download the model with gptoss-chat download") -> str:
    """What to say of such a pointer."""
    return f"{path} is only git-lfs's pointer to the file: run `git lfs pull` in its folder, or {remedy}"


def weight_files(folder: Path, part: Part | None = None) -> list[str]:
    """The names of the safetensors files: those that the index names, or of the single one; of a part of the model,
    those that hold something of it.

    Whether they are there is not looked at. Raises CheckpointError if the index can't be read, or names what is no
    plain file name: nothing outside the folder is ever read.
    """
    path = folder / INDEX
    if not os.path.lexists(path):
        return [WEIGHTS]
    names = read_object(path).get("weight_map")
    if not isinstance(names, dict):
        raise CheckpointError(f'{path} can\'t be read (it has no "weight_map"); download it again')
    if not names:
        raise CheckpointError(f"{path} names no file; download it again")
    for name in names.values():
        if not _is_plain(name):
            raise CheckpointError(f"{path} names the file {str(name)[:80]!r}, which is not a plain file name")
    return sorted({file for tensor, file in names.items() if part is None or part.holds(tensor)})


def _is_plain(name: object) -> bool:
    if not isinstance(name, str) or name in ("", ".", "..") or "\0" in name or Path(name).name != name:
        return False
    return len(name.encode("utf-8", "surrogatepass")) <= _LONGEST_NAME


def other_kind(folder: Path, fields: Mapping[str, Any] | None = None) -> str | None:
    """What a folder is that isn't gpt-oss in the Hub's layout, and what to take instead; None if nothing tells.

    `fields` are those of its config.json, None without one. Reads names, and an adapter's configuration.
    """
    names = _entries(folder)
    if _ADAPTER in names or (fields is not None and "peft_type" in fields):
        return f"{folder} is a LoRA adapter{_base(folder)}, not a model: give it as the adapter of one, or {TAKE}"
    if any(name.lower().endswith(".gguf") for name in names):
        return f"{folder} holds GGUF, llama.cpp's format, which gptoss-chat doesn't read: {TAKE}"
    if "dtypes.json" in names or (fields is not None and "model_type" not in fields and "num_experts" in fields):
        above = folder.absolute().parent
        instead = f"take the folder above it, {above}" if (above / CONFIG).is_file() else TAKE
        return f"{folder} holds OpenAI's own layout (`original/` on the Hub), which gptoss-chat doesn't read: {instead}"
    if fields is not None:
        return None
    if "model.bin" in names and folder.absolute().name == "metal":
        return f"{folder} holds OpenAI's weights for its own Metal program, which gptoss-chat doesn't read: {TAKE}"
    if any(name.endswith(_PICKLES) for name in names):
        return f"{folder} holds weights of PyTorch, which could run any program when read; gptoss-chat doesn't: {TAKE}"
    inner = sorted(name for name in names if (folder / name / CONFIG).is_file())
    if inner:
        more = f", one of {len(inner)}" if len(inner) > 1 else ""
        return f"{folder} is not a model, but holds folders that may be: try {folder / inner[0]}{more}"
    return None if names else f"{folder} is empty: {TAKE}"


def _entries(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in islice(entries, _MOST_ENTRIES)}
    except OSError:
        return {CONFIG}  # not empty as far as can be seen


def _base(folder: Path) -> str:
    """Of which model an adapter is one, as its untrusted configuration says."""
    try:
        base = read_object(folder / _ADAPTER).get("base_model_name_or_path")
    except CheckpointError:
        return ""
    return f" for {' '.join(clean(base).split())[:80]}" if isinstance(base, str) and base.strip() else ""
