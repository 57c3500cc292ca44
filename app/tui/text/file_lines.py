"""The line of a file that a tool has written: its name, what it is, and what can be done with it by a click."""

from pathlib import Path

from textual.content import Content
from textual.style import Style

from app.lines import counted, one_line
from app.tools.written_files import FileFacts, is_only_shown
from app.tui.text.looks import SECONDARY
from mlx_model.extras import install_line
from mlx_model.memory.sizes import disk_size

INSTALL = f"to see figures here: {install_line('figures')}"
OPEN, SHOW, COPY = "open", "show in folder", "copy path"
GAP = "  "
LEAST_NAME = 12
"""Columns that a name has in a narrow window, too."""


def file_line(path: Path, facts: FileFacts | None, width: int) -> Content:
    """What is known of a file in one line of `width` columns: what does not fit is left out, and the name cut. `facts`
    are None while it is being looked at."""
    name, clicks = Content(one_line(path.name)), list[Content]()
    if facts is None or facts.size is not None:
        opens = OPEN if is_only_shown(path) else SHOW
        clicks = [_clicked(opens, "app.open_file", path), _clicked(COPY, "app.copy_text", path)]
    texts = [Content(text).stylize(SECONDARY) for text in _words(facts)] + clicks
    room = width - min(name.cell_length, max(LEAST_NAME, width // 3))
    shown = list[Content]()
    for text in texts:
        if len(GAP) + text.cell_length <= room:
            room -= len(GAP) + text.cell_length
            shown.append(text)
    taken = sum(len(GAP) + text.cell_length for text in shown)
    return Content(GAP).join([name.truncate(max(1, width - taken), ellipsis=True), *shown])


def _words(facts: FileFacts | None) -> list[str]:
    if facts is None:
        return []
    if facts.size is None:
        return [facts.trouble]
    if facts.trouble:
        return [file_size(facts.size), f"can't be shown: {facts.trouble}"]
    if facts.dimensions is None:
        return [file_size(facts.size)]
    return ["{}x{}".format(*facts.dimensions), *(["its first frame"] if facts.animated else [])]


def file_size(nbytes: int) -> str:
    """Of a file that may be small: "312 bytes", "12.3 kB", "4.1 MB"."""
    if nbytes < 1000:
        return counted(nbytes, "byte")
    return f"{nbytes / 1000:.1f} kB" if nbytes < 999_950 else disk_size(nbytes)


def _clicked(word: str, action: str, path: Path) -> Content:
    return Content(word).stylize(Style.from_meta({"@click": (action, (str(path),))}))
