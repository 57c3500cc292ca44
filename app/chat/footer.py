"""What is said of an answer: with which effort, how fast, in how many tokens, and how it ended if not as it should."""

from app.lines import counted, speed, took
from mlx_model.events import Stats
from mlx_model.harmony.message import Effort

ENDINGS = {
    "cancelled": "stopped",
    "length": "cut off: token limit",
    "stop_string": "ended at a stop string",
    "tool_call": "asked for a tool that was not run",
    "tool_limit": "stopped: too many tool calls",
    "no_answer": "ended without an answer",
    "died": "cut off: the engine stopped",
    "": "not finished: the program ended",
}
"""The words for an answer's end; "" stands for an answer that was still under way when it was last saved."""


def figures(effort: Effort | None, stats: Stats | None) -> list[str]:
    """What is known of an answer, what matters most first: `stats` are None if the engine died, `effort` in another
    program's answer."""
    parts = [effort.value] if effort else []
    if stats is not None:
        if stats.decode_tok_s:
            parts.append(speed(stats.decode_tok_s))
        if stats.decode_tokens:
            parts.append(counted(stats.decode_tokens, "token"))
        if stats.experts_asked:
            parts.append(f"{stats.experts_in_memory:.0%} of experts in memory")
        if stats.ttft_s:
            parts.append(f"first token {took(stats.ttft_s)}")
        if stats.reused_tokens:
            parts.append(f"{stats.reused_tokens:,} reused")
    return parts


def explained(effort: Effort | None, stats: Stats | None) -> str:
    """The figures in words, for who asks what they mean."""
    parts = [f"Reasoning effort {effort.value}."] if effort else []
    if stats is not None:
        if stats.decode_tok_s:
            parts.append(f"{stats.decode_tok_s:.1f} tokens a second while it wrote.")
        if stats.there_s or stats.wire_s:
            parts.append(_stages(stats))
        if stats.decode_tokens:
            parts.append(f"{counted(stats.decode_tokens, 'token')} written, its thought included.")
        if stats.ttft_s:
            parts.append(f"The first token came {took(stats.ttft_s)} after you sent the message.")
        if stats.reused_tokens:
            parts.append(
                f"Of the prompt {counted(stats.reused_tokens, 'token')} had been computed in the turns before."
            )
        if stats.experts_asked:
            parts.append(
                f"{stats.experts_in_memory:.0%} of the experts that it asked for were in memory; the others, "
                f"{stats.experts_bytes / 1e9:.1f} GB, were read from the disk. It waited {stats.experts_wait_s:.1f} s "
                "for them."
            )
    return "\n".join(parts)


def _stages(stats: Stats) -> str:
    """Where the time of a token went, with layers on other computers."""
    here_s, tokens = max(0.0, stats.decode_s - stats.there_s - stats.wire_s), max(1, stats.decode_tokens - 1)
    here, there, way = (f"{1000 * seconds / tokens:.1f} ms" for seconds in (here_s, stats.there_s, stats.wire_s))
    return f"A token took {here} here, {there} on the other computers and {way} on the way."


def ending(reason: str, stats: Stats | None) -> str:
    """How an answer ended, "" where it ended as it should. With `stats` of no token, nothing has come at all."""
    if reason == "cancelled" and stats is not None and not stats.decode_tokens:
        return "stopped before it began"
    return ENDINGS.get(reason, "")


def footer(effort: Effort | None, reason: str, stats: Stats | None) -> str:
    """All of it in one line."""
    return "   ".join([*figures(effort, stats), *filter(None, [ending(reason, stats)])])
