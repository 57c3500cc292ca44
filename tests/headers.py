"""Reads and rewrites the headers of safetensors files, leaving the data as they are."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_header(file: Path) -> dict[str, Any]:
    """What the header says: tensor name to dtype, shape and data_offsets."""
    with file.open("rb") as raw:
        (length,) = struct.unpack("<Q", raw.read(8))
        header: dict[str, Any] = json.loads(raw.read(length))
    return header


def replace_header(file: Path, text: bytes) -> None:
    """Puts `text` in place of the header."""
    raw = file.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    file.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def rewrite_header(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Applies `change` to the header."""
    header = read_header(file)
    change(header)
    replace_header(file, json.dumps(header).encode())


def shift_data(file: Path, remainder: int) -> None:
    """Pads the header with blanks until the data begin `remainder` bytes behind a multiple of 16."""
    text = json.dumps(read_header(file)).encode()
    replace_header(file, text + b" " * ((remainder - 8 - len(text)) % 16))
