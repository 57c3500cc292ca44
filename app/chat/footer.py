"""The line under an answer: with which effort, how fast, in how many tokens, and how it ended if not as it should."""

from mlx_model.events import Stats
from mlx_model.harmony.message import Effort

ENDINGS = {
    "cancelled": "stopped",
    "length": "cut off: token limit",
    "stop_string": "ended at a stop string",
    "tool_call": "asked for a tool, which this chat does not have",
    "no_answer": "ended without an answer",
    "died": "cut off: the engine stopped",
    "": "not finished: the program ended",
}
"""The words for an answer's end; "" stands for an answer that was still under way when it was last saved."""


def footer(effort: Effort | None, reason: str, stats: Stats | None) -> str:
    """The line, without what isn't known: `stats` are None if the engine died, `effort` in another program's answer.

    With `stats` of no token, nothing has come at all.
    """
    parts = [effort.value] if effort else []
    if stats is not None:
        if stats.decode_tok_s:
            parts.append(f"{stats.decode_tok_s:.1f} tok/s")
        if stats.ttft_s:
            parts.append(f"first token {stats.ttft_s:.1f} s")
        if stats.decode_tokens:
            parts.append(f"{stats.decode_tokens:,} tokens")
        if stats.reused_tokens:
            parts.append(f"{stats.reused_tokens:,} reused")
    if reason == "cancelled" and stats is not None and not stats.decode_tokens:
        parts.append("stopped before it began")
    elif reason in ENDINGS:
        parts.append(ENDINGS[reason])
    return "   ".join(parts)
