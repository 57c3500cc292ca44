"""What a person should know of the context before the model works with tools."""

ENOUGH = 32_768
"""Tokens that a long piece of work with tools takes: a browse of 27 calls, each with a view of a page."""


def context_note(context: int) -> str:
    """A sentence where old results will have to make room; "" where the context is long enough."""
    if context >= ENOUGH:
        return ""
    what = f"In a context of {context:,} tokens old results make room for new ones"
    return f"{what}; --memory or --dense-bits makes it longer."
