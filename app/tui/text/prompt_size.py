"""What is said of a long prompt's size: its tokens, its share of the context, or that it doesn't fit."""

from dataclasses import dataclass

LEAST = 500
"""Tokens from which on a prompt's size is said."""
HEAD = 100
"""Tokens that a prompt needs beside its text: the system message, the marks around it, the beginning of an answer."""


@dataclass(frozen=True, slots=True)
class PromptSize:
    """All in tokens: the prompt, `exact` or estimated; what the conversation before it `used`; the context, 0 if that
    is not known yet."""

    tokens: int
    exact: bool
    used: int
    limit: int

    @property
    def fits(self) -> bool:
        """Whether the prompt has room behind the conversation."""
        return not self.limit or self.tokens <= self.room

    @property
    def room(self) -> int:
        """How many tokens the prompt may have."""
        return max(0, self.limit - self.used - HEAD)

    def __str__(self) -> str:
        """Nothing for a short prompt that fits."""
        amount = f"{self.tokens:,} tokens" if self.exact else f"about {self.tokens:,} tokens"
        if not self.fits:
            if not self.used or self.tokens > self.limit - HEAD:  # a new chat has no room for it either
                return f"{amount} do not fit: the context has {self.limit:,}"
            return f"{amount} do not fit: {self.room:,} are left, ^N starts a new chat"
        if self.tokens < LEAST:
            return ""
        share = (
            f", {max(1, round(100 * self.tokens / self.limit))}% of the context" if self.exact and self.limit else ""
        )
        return f"{amount}{share}"
