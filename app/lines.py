"""Untrusted text in one line: names, titles, what a list shows."""

from mlx_model.text import clean


def one_line(text: str) -> str:
    """`text` without control characters and line breaks."""
    return " ".join(clean(text).split())
