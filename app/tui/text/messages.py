"""What a message says and has written, and a text as a quote."""

from pathlib import Path

from app.chat.conversation import Node
from app.documents.attachments import split
from mlx_model.text import clean


def text_of(node: Node) -> str:
    """What a message says, as Markdown: a prompt without the files that went with it; an answer without its analysis,
    unless it has come to nothing else."""
    if node.is_prompt:
        text = node.text()
        return clean(split(text)[0] or text)
    return clean(next(filter(None, map(node.text, ("final", "commentary", "analysis"))), ""))


def written_files(node: Node) -> list[Path]:
    """What the calls of an answer have written, each file once."""
    calls = node.facts.calls if node.facts else ()
    return [Path(path) for path in dict.fromkeys(path for call in calls for path in call.files)]


def quoted(text: str) -> str:
    """A text as a Markdown quote, with a blank line behind it for what is said about it."""
    return "".join(f"> {line}".rstrip() + "\n" for line in text.strip("\n").split("\n")) + "\n"
