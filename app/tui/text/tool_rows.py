"""The list of tools: what each is, whether it can be used, which rule holds for it, and what it costs of a prompt."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content

from app.lines import one_line
from mlx_model.errors import RequestError
from mlx_model.harmony.builtin import BUILTIN_TOOLS
from mlx_model.harmony.tools import FunctionTool

MANY_TOKENS = 4_000
"""Of declarations: with more of them models choose worse."""
ANEW = "A change makes the next answer read the whole prompt anew."
ON, OFF = "[x]", "[ ]"
GAP = 2
"""Columns behind the names."""
MOST_LINES = 3
"""Of an error, or of a state: they may quote what a server says."""
_LESS = "$foreground 80%"  # legible where a row is highlighted, too
_LONGEST_NAME = 24
_LONGEST = 2_000


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A tool that can be switched on, by its `name`. All of it may be untrusted text.

    `help` says what it does, `state` in words how it is ("confined by bubblewrap", "connected, 12 tools"), or if it is
    not `usable` why, and what to do about it. `rule` says what decides on its calls, `error` what went wrong last.
    `tokens` are those of its declarations in a prompt, estimated unless `counted`.
    """

    name: str
    help: str
    on: bool
    state: str
    rule: str = ""
    tokens: int = 0
    error: str = ""
    usable: bool = True
    counted: bool = True

    @property
    def cost(self) -> str:
        """The tokens in words."""
        return f"{'' if self.counted else 'about '}{self.tokens:,} tokens" if self.tokens else ""


def tool_lines(rows: Sequence[ToolRow], on: Collection[str], width: int) -> list[Content]:
    """Each tool in two lines or more of at most `width` columns, the names and what they do in columns."""
    names = [Content(one_line(row.name)).truncate(_LONGEST_NAME, ellipsis=True) for row in rows]
    column = max((name.cell_length for name in names), default=0)
    return [
        _lines(row, name.pad_right(column - name.cell_length), row.name in on, width)
        for row, name in zip(rows, names, strict=True)
    ]


def summary(rows: Sequence[ToolRow], on: Collection[str]) -> tuple[str, bool]:
    """What those that are on cost of every prompt, and whether that is much."""
    chosen = [row for row in rows if row.name in on and row.usable]
    tokens = sum(row.tokens for row in chosen)
    if not chosen:
        return "No tool is on.", False
    if not tokens:
        return "What it takes of every prompt is counted once it is in use.", False
    about = "at least " if not all(row.tokens for row in chosen) else ""
    about = about or ("" if all(row.counted for row in chosen) else "about ")
    cost = f"What is on takes {about}{tokens:,} tokens of every prompt"
    if tokens > MANY_TOKENS:
        return f"{cost}. That is a lot: with many tools a model chooses worse.", True
    return f"{cost}.", False


def declared(tools: Iterable[str | FunctionTool], instructions: str = "") -> str:
    """What a prompt says of tools, and the instructions that go with them: a text whose tokens can be counted."""
    return "\n\n".join([*map(_declared, tools), *filter(None, [instructions])])


def _declared(tool: str | FunctionTool) -> str:
    if isinstance(tool, str):
        return BUILTIN_TOOLS[tool]
    try:
        return tool.text()
    except RequestError:  # it can't be offered, which is said where it is tried
        return ""


def _lines(row: ToolRow, name: Content, on: bool, width: int) -> Content:
    head = Content(" ").join([Content(ON if on else OFF), name]).stylize("bold $primary" if on else "")
    indent = head.cell_length + GAP
    beside = width - indent >= width // 2  # in a narrow window what it does stands below its name
    if not beside:
        indent = len(ON) + 1
    room = max(1, width - indent)
    facts = [row.state, row.rule, row.cost] if row.usable else [row.state]
    style = _LESS if row.usable else "$warning"
    below = [
        *_wrapped(row.help, "", room),
        *(line for text in _joined(facts, room) for line in _wrapped(text, style, room)),
        *_wrapped(f"last error: {row.error}" if row.error else "", "$error", room),
    ]
    lines = [Content(" " * indent) + line for line in below]
    lines = [head.pad_right(GAP) + below[0], *lines[1:]] if beside and below else [head.rstrip(), *lines]
    return Content("\n").join(lines)


def _joined(facts: Iterable[str], width: int) -> list[str]:
    """The facts, as many in a line as there is room for."""
    lines = list[str]()
    for fact in filter(None, (one_line(fact[:_LONGEST]) for fact in facts)):
        if lines and cell_len(longer := f"{lines[-1]} \u00b7 {fact}") <= width:
            lines[-1] = longer
        else:
            lines.append(fact)
    return lines


def _wrapped(text: str, style: str, width: int) -> list[Content]:
    """A text as lines of so many columns, cut where it has too many of them."""
    text = one_line(text[:_LONGEST])
    lines = Content(text).wrap(max(1, width)) if text else []
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], (lines[MOST_LINES - 1] + "\u2026").truncate(max(1, width), ellipsis=True)]
    return [line.rstrip().stylize(style) if style else line.rstrip() for line in lines]
