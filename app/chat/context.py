"""What a person should know of the context before the model works with tools."""

ENOUGH = 32_768
"""Tokens that a long piece of work with tools takes: a browse of 27 calls, each with a view of a page."""


def context_note(context: int) -> str:
    """A sentence where old results will have to make room; "" where the context is long enough."""
    if context >= ENOUGH:
        return ""
    remedy = "More memory (--memory) or fewer bits (--dense-bits) make it longer."
    return f"The context holds {context:,} tokens: in long work the oldest results are left out. {remedy}"
