"""One conversation of a ChatGPT export (conversations.json) as one of ours.

The format is undocumented; as of 2026 a conversation has `title`, `create_time`, `current_node` and `mapping`, a tree
of nodes `{id, parent, children, message}`, whose messages have `author.role`, `recipient` and `content`: parts for
`text` and `multimodal_text`, `text` for code and its output, `thoughts` for reasoning. Every field may be missing or of
another type: that costs what the field says, at most its message.
"""

import json
import time
from typing import Any

from app.chat.conversation import Conversation, auto_title
from app.lines import one_line
from app.store.exchange.branches import Entry, branches
from app.store.exchange.marks import without_marks
from app.store.exchange.result import ImportResult
from app.store.values import OddValueError, hashed, moment, text_of
from mlx_model.harmony.message import Message, Role

PROGRAM = "ChatGPT"
LABEL_LENGTH = 200
"""Characters of a name: of a tool, a model."""

_SETTINGS = ("user_editable_context", "model_editable_context", "reasoning_recap")
"""Kinds that say nothing: settings, and "thought for 8 seconds"."""
_TEXTS = ("text", "result", "output_str")
"""Where content without parts has its text."""


class OddMessageError(ValueError):
    """A message that is none."""


def convert(export: dict[str, Any], result: ImportResult) -> Conversation:
    """The conversation with all its branches, of which `parent` decides; messages are counted in `result`.

    Raises OddValueError where there is no mapping.
    """
    mapping = export["mapping"]
    if not isinstance(mapping, dict):
        raise OddValueError("it has no messages")
    id = _id(export, mapping)
    created = _moment(export.get("create_time")) or time.time()
    place = _places(mapping)
    default_model = _label(export.get("default_model_slug"))
    entries = [_entry(name, value, place, created, default_model, result) for name, value in mapping.items()]
    entries.sort(key=lambda entry: place[entry.id][1] if entry.id in place else len(mapping))
    tree = branches(id, entries, PROGRAM)
    result.gaps += tree.gaps
    first = next((node.text() for node in tree.nodes if node.is_prompt), "")
    title = one_line(without_marks(text_of(export.get("title")), {})) or auto_title(first) or PROGRAM
    conversation = Conversation(id, title=title, created=created, nodes=tree.nodes)
    conversation.updated = _moment(export.get("update_time")) or conversation.created
    if leaf := tree.owner.get(text_of(export.get("current_node"))):
        conversation.leaf = leaf
    return conversation


def _id(export: dict[str, Any], mapping: dict[str, Any]) -> str:
    """A name that a later export gives again; it never is that of a conversation that began here."""
    for key in ("conversation_id", "id"):
        if (id := export.get(key)) and isinstance(id, str | int):
            return hashed(str(id))
    first = next((value for value in mapping.values() if isinstance(value, dict) and value.get("message")), None)
    return hashed(json.dumps([export.get("create_time"), next(iter(mapping), None), first and first["message"]]))


def _places(mapping: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """The entry that names another as its child, and as the how manieth."""
    places: dict[str, tuple[str, int]] = {}
    for name, value in mapping.items():
        children = value.get("children") if isinstance(value, dict) else None
        for number, child in enumerate(children if isinstance(children, list) else ()):
            if isinstance(child, str):
                places.setdefault(child, (name, number))
    return places


def _entry(
    name: str, value: Any, place: dict[str, tuple[str, int]], created: float, model: str, result: ImportResult
) -> Entry:
    parent = value.get("parent") if isinstance(value, dict) else None
    if not isinstance(parent, str):
        parent = place[name][0] if name in place else None
    try:
        if not isinstance(value, dict):
            raise OddMessageError
        message = value.get("message")
        if message is None and parent is not None:  # the root alone has none
            raise OddMessageError
        messages = _messages(message, result)
    except OddMessageError:
        result.odd += 1
        return Entry(name, parent)
    if message is None:
        return Entry(name, parent)
    result.kept += bool(messages)
    result.hidden += not messages
    slug = _label(_fields(message.get("metadata")).get("model_slug"))
    return Entry(name, parent, tuple(messages), _moment(message.get("create_time")) or created, slug or model)


def _messages(message: Any, result: ImportResult) -> list[Message]:
    """The text of an entry as ours; empty for system messages, hidden ones and those without text.

    Raises OddMessageError.
    """
    if message is None:
        return []
    if not isinstance(message, dict) or not isinstance(author := message.get("author"), dict):
        raise OddMessageError
    role, content, metadata = author.get("role"), message.get("content"), _fields(message.get("metadata"))
    if role in ("system", "developer") or metadata.get("is_visually_hidden_from_conversation"):
        return []
    if role not in ("user", "assistant", "tool") or not isinstance(content, dict):
        raise OddMessageError
    kind = content.get("content_type")
    if kind in _SETTINGS:
        return []
    if kind == "thoughts":
        thoughts = without_marks(_thoughts(content), metadata)
        return [Message(Role.ASSISTANT, thoughts, channel="analysis")] if thoughts else []
    text = without_marks(_text(content, kind, result), metadata)
    _count_files(content, metadata, result)
    if not text.strip():
        return []
    if role == "user":
        return [Message(Role.USER, text)]
    if role == "tool":
        return [Message(Role.TOOL, text, name=_label(author.get("name")) or "tool", channel="commentary")]
    if (recipient := _label(message.get("recipient")) or "all") != "all":
        return [Message(Role.ASSISTANT, text, channel="commentary", recipient=recipient)]
    return [Message(Role.ASSISTANT, text, channel="final")]


def _thoughts(content: dict[str, Any]) -> str:
    thoughts = content.get("thoughts")
    if not isinstance(thoughts, list):
        raise OddMessageError
    texts = []
    for thought in thoughts:
        fields = _fields(thought)
        chunks = fields.get("chunks")
        joined = "\n\n".join(filter(None, map(text_of, chunks))) if isinstance(chunks, list) else ""
        ways = (text_of(fields.get("content")), joined, text_of(fields.get("summary")), text_of(thought))
        texts.append(next((way for way in ways if way.strip()), ""))
    if thoughts and not any(texts):
        raise OddMessageError
    return "\n\n".join(filter(None, texts))


def _text(content: dict[str, Any], kind: Any, result: ImportResult) -> str:
    parts = content.get("parts")
    parts = [parts] if isinstance(parts, str) else parts
    if not isinstance(parts, list):
        texts = [value for key in _TEXTS if isinstance(value := content.get(key), str)]
        if not texts and kind in (None, "text", "code", "execution_output"):
            raise OddMessageError
        if not texts:
            result.leave_out(kind)
        return next(filter(str.strip, texts), "")
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):  # a transcript of speech
            texts.append(part["text"])
        else:
            part_kind = part.get("content_type", kind) if isinstance(part, dict) else None
            result.leave_out(None if part_kind == "text" else part_kind)  # what is left out is no text
    return "\n\n".join(filter(str.strip, texts))


def _count_files(content: dict[str, Any], metadata: dict[str, Any], result: ImportResult) -> None:
    """Files that the person attached are not in the export's text; pictures are counted among the parts."""
    if content.get("content_type") == "multimodal_text":
        return
    attachments = metadata.get("attachments")
    for _ in attachments if isinstance(attachments, list) else ():
        result.leave_out("attached file")


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _label(value: Any) -> str:
    return one_line(text_of(value)[:LABEL_LENGTH])


def _moment(value: Any) -> float | None:
    """The time if it is one: a wrong time alone is no reason to lose what was said."""
    try:
        return moment(value)
    except (TypeError, ValueError):
        return None
