"""What an MCP server offers, as functions that are declared to the model. Everything in it is untrusted text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_model.errors import RequestError
from mlx_model.harmony.tools import FunctionTool
from mlx_model.text import clean

if TYPE_CHECKING:
    import mcp_types

MANY_TOOLS, MANY_TOKENS = 20, 4_000
"""More than these are declared, with a note: a model chooses worse among many tools, and they take room."""
MOST_TOOLS, MOST_TOKENS = 100, 20_000
"""What is above these is left out."""
MOST_DESCRIPTION = 1_024

_LONGEST_NAME = 64
_CHARACTERS_OF_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Declaration:
    """A tool as it is declared. `original` is the server's name for it; `fingerprint` changes when its description or
    its schema does; `reads_only` is what the server says of it, and no more than that."""

    function: FunctionTool
    original: str
    fingerprint: str
    reads_only: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Declarations:
    """What is declared of a server's tools, and `notes` for the person on what is not, or is much."""

    tools: tuple[Declaration, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """How many tokens the declarations take, about."""
        return sum(tool.tokens for tool in self.tools)


def declare(server: str, offered: Sequence[mcp_types.Tool], only: Collection[str] = ()) -> Declarations:
    """Declares a server's tools, or those named in `only`, in the server's order. Never raises."""
    names = {tool.name for tool in offered}
    notes = [f"it has no tool {clean(name)[:80]!r}" for name in only if name not in names]
    tools, taken, left_out, tokens = list[Declaration](), set[str](), 0, 0
    for tool in offered:
        if only and tool.name not in only:
            continue
        if len(tools) == MOST_TOOLS:
            left_out += 1
            continue
        name = _distinct(_name(f"{server}_{tool.name}"), taken)
        try:
            declaration = _declaration(name, tool)
        except RequestError as error:
            notes.append(f"{clean(tool.name)[:80]!r} is left out: {error}")
            continue
        if tokens + declaration.tokens > MOST_TOKENS:
            left_out += 1
            continue
        tools.append(declaration)
        taken.add(name)
        tokens += declaration.tokens
    if left_out:
        notes.append(
            f"{left_out:,} of its tools are left out: at most {MOST_TOOLS} of {MOST_TOKENS:,} tokens are declared"
        )
    if len(tools) > MANY_TOOLS or tokens > MANY_TOKENS:
        notes.append(
            f"{len(tools)} tools of about {tokens:,} tokens are many for the model: "
            'pick some with "tools": [names] in its configuration'
        )
    return Declarations(tuple(tools), tuple(notes))


def described(text: str | None) -> str:
    """A description as one paragraph, cut to MOST_DESCRIPTION characters."""
    paragraph = " ".join(clean(text or "").split())
    return paragraph if len(paragraph) <= MOST_DESCRIPTION else f"{paragraph[: MOST_DESCRIPTION - 1]}…"


def _declaration(name: str, tool: mcp_types.Tool) -> Declaration:
    function = FunctionTool(name, described(tool.description), tool.input_schema)
    tokens = len(function.text()) // _CHARACTERS_OF_A_TOKEN
    reads_only = bool(tool.annotations and tool.annotations.read_only_hint)
    shown = json.dumps([tool.name, tool.description, tool.input_schema, reads_only], sort_keys=True)
    fingerprint = hashlib.sha256(shown.encode()).hexdigest()[:16]
    return Declaration(function, tool.name, fingerprint, reads_only, tokens)


def _name(text: str) -> str:
    """As the model was trained on them: ASCII letters, digits and underscores."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", text)[:_LONGEST_NAME]


def _distinct(name: str, taken: Collection[str]) -> str:
    distinct, number = name, 1
    while distinct in taken:
        number += 1
        distinct = f"{name[: _LONGEST_NAME - 4]}_{number}"
    return distinct
