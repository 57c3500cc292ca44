"""Conversations as JSON, which holds all of them and can be imported again, and as Markdown, which people read."""

import itertools
import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.chat.block_runs import with_outputs
from app.chat.conversation import AnswerFacts, Conversation, Node
from app.chat.footer import ending
from app.chat.sources import with_sources
from app.lines import one_line, speed
from mlx_model.errors import GptossError
from mlx_model.harmony.message import Role
from mlx_model.text import clean, fenced
from mlx_model.tools.shown_pages import Page, pages_of

FORMAT = "gptoss-chat"
VERSION = 1
TITLE_SHOWN = 100
"""Characters of a title in a list."""
NAME_LENGTH = 60
"""Characters of a file's name that come from a title: at most 240 bytes of the 255 that file systems take."""


class ExportError(GptossError):
    """The file can't be written."""


def to_json(conversations: Iterable[Conversation]) -> str:
    """One JSON object with every node of the conversations, in ASCII; `importing` reads it. Times in s since 1970."""
    fields = {"format": FORMAT, "version": VERSION, "conversations": [_conversation(c) for c in conversations]}
    return json.dumps(fields, indent=1) + "\n"


def to_markdown(conversation: Conversation) -> str:
    """The path on the screen, without analysis, each answer with its sources and what came of its code; inert text.
    Ends with a word on the versions that are not shown."""
    path = conversation.path
    parts = [f"# {one_line(conversation.title)}", time.strftime("%Y-%m-%d %H:%M", time.localtime(conversation.created))]
    pages: dict[int, Page] = {}
    for node in path:
        pages_of(node.messages, pages)
        if node.is_prompt:
            parts += ["## You", clean(node.text())]
        else:
            texts = _texts(node) or ["*(stopped before the answer)*"]
            parts += [f"## {_author(node.facts)}", with_sources("\n\n".join(texts), pages)]
            if _texts(node) and (end := _ending(node.facts)):
                parts.append(f"*({end})*")
    if others := len(conversation.nodes) - len(path):
        parts.append(
            f"*This text leaves out {nodes_in_words(others)} of other versions. The JSON export has everything.*"
        )
    return "\n\n".join(parts) + "\n"


def write_new(text: str, name: str, title: str, suffix: str) -> Path:
    """Write a file that wasn't there before; returns its whole path. Raises ExportError; then nothing is left of it.

    `name` is the person's: from the current folder on, `~` is home. With the name of a folder, or "", the file is named
    by the title, with the suffix, and with a number where others have that name.
    """
    label = one_line(name) or f"{file_name(title)}.{suffix}"
    try:
        path = Path(name).expanduser()
        if name and not name.endswith("/") and not path.is_dir():
            return _created(path, text)
        path /= f"{file_name(title)}.{suffix}"
        free = (path.with_stem(f"{path.stem} {number}") if number > 1 else path for number in itertools.count(1))
        return _created(next(path for path in free if not os.path.lexists(path)), text)
    except FileExistsError:
        raise ExportError(f"{label} exists already and was not changed; give another name") from None
    except FileNotFoundError:
        raise ExportError(f"{label} can't be written: the folder does not exist; nothing was written") from None
    except (OSError, ValueError, RuntimeError) as error:  # the last two: a NUL, and ~somebody
        reason = getattr(error, "strerror", None) or error
        raise ExportError(f"{label} can't be written: {reason}; nothing was written") from None


def _created(path: Path, text: str) -> Path:
    file = path.open("x", encoding="utf-8", newline="\n")
    try:
        with file:
            file.write(text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path.absolute()


def file_name(title: str) -> str:
    """A title as the name of a file: of one part, not hidden, and not taken for an option."""
    name = re.sub(r'[/\\:*?"<>|]+', "-", one_line(title)).strip(" -.\u2026")[:NAME_LENGTH].strip(" -.")
    return name or "conversation"


def short(title: str) -> str:
    """A title in one line of bounded length: another program's may be any length."""
    line = one_line(title)
    return line if len(line) <= TITLE_SHOWN else f"{line[: TITLE_SHOWN - 1]}\u2026"


def nodes_in_words(nodes: int) -> str:
    """A number of nodes, as a person calls them."""
    return "1 prompt or answer" if nodes == 1 else f"{nodes} prompts and answers"


def _texts(node: Node) -> list[str]:
    """What the model said to the person, with what came of its code; as code what it asked of its tools, and what they
    gave. Inert."""
    texts, blocks = [], 0
    has_final = bool(node.text("final"))
    for message in node.messages:
        if message.role is Role.TOOL or message.recipient is not None:
            way = f"From {message.name or 'a tool'}" if message.role is Role.TOOL else f"To {message.recipient}"
            texts.append(f"{one_line(way)}:\n\n{clean(fenced(message.text))}")
        elif message.channel != "analysis" and message.text:
            text = clean(message.text)
            if node.runs and (message.channel == "final" or not has_final):
                text, count = with_outputs(text, node.runs, blocks)
                blocks += count
            texts.append(text)
    return texts


def _author(facts: AnswerFacts | None) -> str:
    if facts is None:
        return "Answer"
    details = [*([facts.effort.value] if facts.effort else []), *([one_line(facts.origin)] if facts.origin else [])]
    if facts.stats.decode_tok_s:
        details.append(speed(facts.stats.decode_tok_s))
    return one_line(facts.model) + (f" ({', '.join(details)})" if details else "")


def _ending(facts: AnswerFacts | None) -> str:
    """How an answer ended, "" where it ended as it should."""
    return "" if facts is None else ending(facts.reason or "", facts.stats)


def _conversation(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "title": conversation.title,
        "created": conversation.created,
        "updated": conversation.updated,
        "leaf": conversation.leaf,
        "nodes": [_node(node) for node in conversation.nodes.values()],
    }


def _node(node: Node) -> dict[str, Any]:
    messages = [message.to_json() for message in node.messages]
    fields: dict[str, Any] = {"id": node.id, "parent": node.parent, "created": node.created, "messages": messages}
    if node.facts is not None:
        fields["turn"] = asdict(node.facts)
    if node.runs:
        fields["runs"] = [asdict(run) for run in node.runs]
    return fields
