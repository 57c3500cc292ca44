"""Text in one line: untrusted names and titles, sentences of the program."""

from mlx_model.text import clean


def one_line(text: str) -> str:
    """`text` without control characters and line breaks."""
    return " ".join(clean(text).split())


def sentence(text: str) -> str:
    """`text`, as errors word it, as a sentence: with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")
