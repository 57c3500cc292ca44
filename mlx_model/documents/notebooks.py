"""Notebooks of Jupyter: a cell is a page; its code in a fence, and what it printed."""

import re
from typing import Any

from metal.files import parse_json
from mlx_model.documents.document import Document, DocumentError, Page, headings_in
from mlx_model.text import fenced

_BEGINNING = re.compile(rb"\s*\{")
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def is_notebook(data: bytes) -> bool:
    """Whether it looks like one."""
    return b'"nbformat"' in data and b'"cells"' in data and _BEGINNING.match(data) is not None


def read_notebook(data: bytes) -> Document:
    """Raises DocumentError for what is none."""
    try:
        notebook = parse_json(data)
    except ValueError:
        raise DocumentError("can't be read: the notebook is no valid JSON") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise DocumentError("can't be read: the notebook has no cells")
    metadata = notebook.get("metadata")
    kernel = metadata.get("language_info") if isinstance(metadata, dict) else None
    language = kernel.get("name") if isinstance(kernel, dict) else None
    pictures = 0
    pages: list[Page] = []
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict):
            continue
        text, kind = _text(cell.get("source")), cell.get("cell_type")
        parts = [fenced(text, language if isinstance(language, str) else "")] if kind == "code" and text else [text]
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else ():
            shown, is_picture = _output(output)
            pictures += is_picture
            if shown.strip():
                parts.append("[output]\n" + fenced(shown.strip("\n")))
        if whole := "\n".join(filter(None, parts)):
            pages.append(Page(number, whole, f"cell {number}"))
    if not pages:
        raise DocumentError("is an empty notebook")
    notes = (f"{pictures:,} {'picture' if pictures == 1 else 'pictures'} not read",) if pictures else ()
    return Document(tuple(pages), "cell", len(cells), notes, headings_in(pages))


def _output(output: Any) -> tuple[str, bool]:
    """What a cell printed, and whether it is a picture that has no text."""
    if not isinstance(output, dict):
        return "", False
    if output.get("output_type") == "stream":
        return _text(output.get("text")), False
    if output.get("output_type") == "error":
        return f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}", False
    data = output.get("data")
    data = data if isinstance(data, dict) else {}
    is_picture = any(isinstance(kind, str) and kind.startswith("image/") for kind in data)
    return _text(data.get("text/markdown", data.get("text/plain"))), is_picture


def _text(value: Any) -> str:
    """A text that may be kept as a list of its lines."""
    parts = value if isinstance(value, list) else [value]
    return _ESCAPES.sub("", "".join(part for part in parts if isinstance(part, str)))
