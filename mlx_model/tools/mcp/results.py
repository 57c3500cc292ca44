"""What an MCP server answers, as text for the model; pictures and other binary content become files."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_model.text import clean

if TYPE_CHECKING:
    import mcp_types

MOST_FILES = 20
MOST_CHARACTERS = 28_000_000
"""Of one file in base64: 20 MB and some."""

NOTHING = "[The tool returned nothing.]"

# A file that is opened must not be a program, so no other type is written as what it calls itself.
_ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "application/pdf": "pdf",
}


@dataclass(slots=True)
class ReadResult:
    """The text for the model, and the files that were written."""

    text: str = ""
    files: list[Path] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """A few words on how much it is."""
        lines, files = len(self.text.splitlines()) if self.text != NOTHING else 0, len(self.files)
        counts = ((lines, "line"), (files, "file"))
        return ", ".join(f"{count:,} {word}{'s' * (count != 1)}" for count, word in counts if count)


def read_result(result: mcp_types.CallToolResult, folder: Path | None, stem: str) -> ReadResult:
    """Reads a result. Files go into `folder` as STEM-1.png and so on, beside what is there; without one into none.

    Never raises for what the server sent, or for a folder that can't be written: the text then says so.
    """
    read = ReadResult()
    read.text = "\n".join(clean(_text(block, read, folder, stem)) for block in result.content)
    if not read.text and result.structured_content is not None:
        read.text = clean(json.dumps(result.structured_content, ensure_ascii=False))
    read.text = read.text or NOTHING
    return read


def _text(block: mcp_types.ContentBlock, read: ReadResult, folder: Path | None, stem: str) -> str:
    match block.type:
        case "text":
            return block.text
        case "image" | "audio":
            return _saved(block.type, block.mime_type, block.data, read, folder, stem)
        case "resource_link":
            return f"[resource {block.name}: {block.uri}]"
        case "resource":
            inner = block.resource
            text = getattr(inner, "text", None)
            if isinstance(text, str):
                return f"[resource {inner.uri}]\n{text}"
            return _saved("file", inner.mime_type or "", getattr(inner, "blob", ""), read, folder, stem)


def _saved(kind: str, mime: str, data: str, read: ReadResult, folder: Path | None, stem: str) -> str:
    """The line that stands for binary content, which is written to a file."""
    what = f"{kind}: {mime[:80]}" if mime else kind
    if len(data) > MOST_CHARACTERS or len(read.files) == MOST_FILES:
        return f"[{what}, too much to be kept]"
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return f"[{what}, which can't be read]"
    what = f"{what}, {len(content):,} bytes"
    if folder is None:
        return f"[{what}, not kept]"
    try:
        path = _write(folder, re.sub(r"\W", "_", stem), _ENDINGS.get(mime.partition(";")[0], "bin"), content)
    except OSError as error:
        return f"[{what}, not kept: {error.strerror}]"
    read.files.append(path)
    return f"[{what}, saved for the user as {path.name}]"


def _write(folder: Path, stem: str, ending: str, content: bytes) -> Path:
    """Writes a new file, and follows no link that code of the model's may have put in its place. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    number = 1
    while True:
        path = folder / f"{stem}-{number}.{ending}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            number += 1
            continue
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
            file.write(content)
        return path
