"""What goes wrong with a page, in the words that the model knows from its training."""

from __future__ import annotations

from mlx_model.errors import GptossError

_MOST = 1024


class BrowserError(GptossError):
    """The text is the tool's answer to the model."""


def fetching(url: str, why: object) -> BrowserError:
    """A page can't be had."""
    return BrowserError(f"Error fetching URL `{truncated(url)}`: {truncated(str(why))}")


def searching(query: str, why: object) -> BrowserError:
    """A search has failed."""
    return BrowserError(f"Error during search for `{truncated(query)}`: {truncated(str(why))}")


def truncated(text: str, most: int = _MOST) -> str:
    """A text of at most `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
