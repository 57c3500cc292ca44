"""What came of the code blocks that the person has run: which block it belongs to, what is kept, how it is exported.

Blocks are counted from 1 on in the text that an answer says to the person: its final messages, or where there are none
its commentary.
"""

import re
from collections.abc import Iterable

from app.chat.code_blocks import code_blocks
from app.chat.conversation import BlockRun, CallFacts
from app.digests import digest_of
from app.lines import one_line, took
from mlx_model.text import clean, fenced
from mlx_model.tools.base import CHARACTERS_A_TOKEN, shortened

MOST_KEPT = 20_000
"""Characters that are kept of an output: its beginning and its end."""
LEFT_OUT = re.compile(r"^\[\.\.\. [\d,]+ characters left out \.\.\.\]$", re.MULTILINE)
"""The line that says so, there and in what a tool gives."""
_WORDS = 100
"""Room for what says that something is left out: what was shortened stays as it is."""
CUT_OFF = "cut off"
"""The state of one that the end of the program has cut off."""


def kept_output(text: str) -> str:
    """An output as it is kept: without control characters, and of one that is too long how much is left out."""
    text = clean(text).strip("\n")
    return text if len(text) <= MOST_KEPT + _WORDS else shortened(text, MOST_KEPT // CHARACTERS_A_TOKEN)


def state_of(facts: CallFacts | None, longest: int = 200) -> str:
    """How a run ended, in at most so many characters, and how long it took: one line of clean text."""
    if facts is None:
        return CUT_OFF
    said = one_line(facts.outcome[: 4 * longest]) or ("failed" if facts.error else "done")
    said = said if len(said) <= longest else f"{said[: longest - 1]}\u2026"
    return said + (f" \u00b7 {took(facts.seconds)}" if facts.seconds else "")


def with_outputs(text: str, runs: Iterable[BlockRun], before: int = 0) -> tuple[str, int]:
    """A Markdown text with the output of each code block that was run below it, and how many blocks it has; `before` it
    stand so many others. What has run is known by its code: a block that has changed since has no output."""
    blocks, lines = code_blocks(text), text.split("\n")
    by_block = {run.block: run for run in runs}
    for block in reversed(blocks):
        run = by_block.get(before + block.number)
        if run is not None and run.code == digest_of(block.code):
            below = ["", *_exported(run), *([""] if any(lines[block.end : block.end + 1]) else [])]
            margin = _margin(lines[block.first]) if block.is_fenced else ""
            lines[block.end : block.end] = [f"{margin}{line}".rstrip() for line in below]
    return "\n".join(lines), len(blocks)


def _exported(run: BlockRun) -> list[str]:
    if not run.output:
        return [f"Output: {state_of(run.facts)}"]
    return [f"Output ({state_of(run.facts)}):", "", *fenced(clean(run.output), "text").split("\n")]


def _margin(fence: str) -> str:
    """What stands before a fence in its line, as it stands before the lines that go on with the same item or quote."""
    return re.sub(r"[^>\s]", " ", re.split(r"`{3}|~{3}", fence, maxsplit=1)[0])
