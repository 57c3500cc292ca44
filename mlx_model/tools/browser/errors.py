"""What goes wrong with a page, in the words that the model knows from its training."""

from __future__ import annotations

from mlx_model.errors import GptossError

_MOST = 1024


class BrowserError(GptossError):
    """The text is the tool's answer to the model; `reason` is its end alone, for people."""

    reason = ""


def fetching(url: str, why: object) -> BrowserError:
    """A page can't be had."""
    return _failed("Error fetching URL", url, why)


def searching(query: str, why: object) -> BrowserError:
    """A search has failed."""
    return _failed("Error during search for", query, why)


def _failed(doing: str, what: str, why: object) -> BrowserError:
    reason = truncated(str(why))
    error = BrowserError(f"{doing} `{truncated(what)}`: {reason}")
    error.reason = reason
    return error


def truncated(text: str, most: int = _MOST) -> str:
    """A text of at most `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
