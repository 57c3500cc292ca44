"""Reads conversations from files: this program's JSON export, and the conversations.json of a ChatGPT export."""

import json
import sys
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from app.chat.conversation import AnswerFacts, Conversation, Node, new_id
from app.lines import one_line
from app.store.exchange import chatgpt
from app.store.exchange.export import FORMAT, VERSION, nodes_in_words, short
from app.store.values import moment, name_of, number, text, text_or_none
from mlx_model.errors import GptossError
from mlx_model.events import Stats
from mlx_model.harmony.message import Effort, Message


class ImportFileError(GptossError):
    """The file can't be read, or has a format that this program doesn't know."""


@dataclass
class ImportResult:
    """What a file gave. `left_out` counts, by their kind, what is not text; `unreadable` names broken conversations."""

    conversations: list[Conversation] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def summary(self, added: list[Conversation]) -> str:
        """What was done, in one line for the person; those of `added` were not there before."""
        number = "1 conversation" if len(added) == 1 else f"{len(added)} conversations"
        parts = [f"imported {number} with {nodes_in_words(sum(len(conversation.nodes) for conversation in added))}"]
        if there := len(self.conversations) - len(added):
            parts.append(f"{there} {'was' if there == 1 else 'were'} here already")
        if self.unreadable:
            named = ", ".join(f'"{short(title)}"' for title in self.unreadable if title)
            parts.append(f"{len(self.unreadable)} could not be read{f': {named}' if named else ''}")
        if self.left_out:
            kinds = ", ".join(f"{count} {one_line(kind)}" for kind, count in sorted(self.left_out.items()))
            parts.append(f"left out content that is not text: {kinds}")
        return "; ".join(parts)


def read(path: Path | None) -> ImportResult:
    """The conversations of a file, or of standard input (None).

    Raises ImportFileError; one broken conversation does not spoil the others.
    """
    name = "standard input" if path is None else path
    try:
        data = json.loads(sys.stdin.buffer.read() if path is None else path.read_bytes())
    except OSError as error:
        raise ImportFileError(f"{name} can't be read: {error.strerror or error}; nothing was imported") from None
    except (ValueError, RecursionError) as error:
        is_archive = path is not None and path.suffix == ".zip"
        hint = "; unpack the archive first, and import its conversations.json" if is_archive else ""
        raise ImportFileError(f"{name} is not JSON ({error}); nothing was imported{hint}") from None
    result = ImportResult()
    if isinstance(data, dict) and data.get("format") == FORMAT:
        if data.get("version") != VERSION:
            raise ImportFileError(
                f"{name} is an export of version {data.get('version')!r}, but this program reads version {VERSION}; "
                "nothing was imported"
            )
        items, convert = data.get("conversations"), _own
    elif isinstance(data, list) and (not data or any(isinstance(item, dict) and "mapping" in item for item in data)):
        items, convert = data, lambda item: chatgpt.convert(item, result.left_out)
    else:
        raise ImportFileError(
            f"{name} is neither an export of gptoss-chat nor ChatGPT's conversations.json; nothing was imported"
        )
    for item in items if isinstance(items, list) else ():
        try:
            conversation = convert(item)
        except (KeyError, TypeError, ValueError, AttributeError, GptossError):
            title = item.get("title") if isinstance(item, dict) else None
            result.unreadable.append(one_line(title) if isinstance(title, str) else "")
        else:
            if conversation.nodes:
                result.conversations.append(conversation)
    return result


def _own(item: dict[str, Any]) -> Conversation:
    """A conversation of our export, its nodes under new names: those of the file may be in the store already."""
    names: dict[str | None, str | None] = {None: None}
    nodes = []
    for entry in item["nodes"]:
        messages = tuple(_message(message) for message in entry["messages"])
        facts = _facts(entry["turn"]) if "turn" in entry else None
        if not messages and facts is None:  # an answer that was stopped at once has none
            raise ValueError("a prompt without text")
        node = Node(new_id(), names[entry["parent"]], moment(entry["created"]), messages, facts)
        names[text(entry["id"])] = node.id
        nodes.append(node)
    conversation = Conversation(
        name_of(text(item["id"])), title=text(item["title"]), created=moment(item["created"]), nodes=nodes
    )
    conversation.updated = moment(item["updated"])
    conversation.leaf = names[item["leaf"]]
    return conversation


def _message(fields: dict[str, Any]) -> Message:
    message = Message.from_json(fields)
    text(message.text)
    for value in (message.name, message.channel, message.recipient, message.content_type):
        text_or_none(value)
    return replace(message, recovered=bool(message.recovered))


def _facts(fields: dict[str, Any]) -> AnswerFacts:
    stats = Stats()
    for stat in dataclass_fields(Stats):
        value = number(fields["stats"].get(stat.name, 0), bits=64 if stat.name == "seed" else 63)
        stats = replace(stats, **{stat.name: type(getattr(stats, stat.name))(value)})
    effort = fields["effort"]
    return AnswerFacts(
        model=text(fields["model"]),
        effort=None if effort is None else Effort(effort),
        reason=text_or_none(fields["reason"]),
        stats=stats,
        analysis_s=float(number(fields["analysis_s"])),
        analysis_tokens=int(number(fields["analysis_tokens"])),
    )
