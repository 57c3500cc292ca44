"""The end of a conversation that the plain chat goes on with, as it prints it."""

import sys
from collections.abc import Sequence

from app.chat.conversation import Conversation
from app.chat.sources import source_list
from app.documents.attachments import HEAD, split
from app.lines import one_line
from mlx_model.text import clean
from mlx_model.tools.citations import Source, cited, plain_number
from mlx_model.tools.shown_pages import pages_of

TO_BE_READ = (
    "The last message has a document that is to be read by parts: the full-screen chat and `ask --read` do that."
)


def print_end(conversation: Conversation) -> None:
    """Its title, the last prompt with the names of its files, the last answer, and whether that goes on."""
    print(f"Continuing: {one_line(conversation.title)}")
    pages = pages_of(conversation.messages)
    for node in conversation.path[-2:]:
        if node.is_prompt:
            text, files = split(node.text())
            print(clean("\n".join([f"> {text}", *(f"+ {one_line(file.name)}" for file in files)])), end="\n\n")
            continue
        text, sources = cited(clean(node.text("final")), pages, plain_number)
        print(text, flush=True)
        print_sources(sources)
        print()
    if conversation.unfinished is not None:
        print("The last answer is not finished; /continue goes on with it.", end="\n\n")


def print_sources(sources: Sequence[Source]) -> None:
    """What an answer cites, on standard error: the conversation alone is on standard output."""
    if sources:
        print(source_list(sources), file=sys.stderr, flush=True)


def waits_for_notes(prompt: str) -> bool:
    """Whether a document of a prompt is to be read by parts, and nothing has been noted on any yet."""
    if HEAD not in prompt:
        return False
    from app.chat.by_parts import has_notes, unread  # now: most prompts have no file

    return unread(prompt) and not has_notes(prompt)
