"""One conversation of a Claude export (its conversations.json) as one of ours.

A conversation has `uuid`, `name` and `chat_messages`, each with `uuid`, `sender` (human or assistant), `text` and newer
ones with `content`, a list of blocks: text, thinking, tool_use, tool_result. `attachments` have the files' text.
"""

import json
import time
from datetime import datetime
from typing import Any

from app.chat.conversation import Conversation, auto_title
from app.documents.attachments import Attachment, join
from app.lines import one_line
from app.store.exchange.branches import Entry, branches
from app.store.exchange.result import ImportResult
from app.store.values import OddValueError, hashed, moment, text_of
from mlx_model.harmony.message import Message, Role

PROGRAM = "Claude"
ROOT = "00000000-0000-4000-8000-000000000000"
"""The parent of a first message."""
_NO_TEXT_HERE = "This block is not supported on your current device yet."
"""In `text`, where a block of `content` has it."""


def convert(export: dict[str, Any], result: ImportResult) -> Conversation:
    """The conversation with its branches; messages are counted in `result`. Raises OddValueError without messages."""
    messages = export["chat_messages"]
    if not isinstance(messages, list):
        raise OddValueError("it has no messages")
    first = next((message for message in messages if isinstance(message, dict)), {})
    id = hashed(text_of(export.get("uuid")) or json.dumps([export.get("created_at"), first]))
    created = _moment(export.get("created_at")) or time.time()
    entries: dict[str, Entry] = {}
    before: str | None = None
    for number, message in enumerate(messages):
        entry = _entry(message, str(number), before, created, result)
        if entry.id not in entries:
            entries[entry.id] = entry
            before = entry.id
    tree = branches(id, entries.values(), PROGRAM)
    result.gaps += tree.gaps
    prompt = next((node.text() for node in tree.nodes if node.is_prompt), "")
    title = one_line(text_of(export.get("name"))) or auto_title(prompt) or PROGRAM
    conversation = Conversation(id, title=title, created=created, nodes=tree.nodes)
    conversation.updated = _moment(export.get("updated_at")) or created
    if leaf := tree.owner.get(text_of(export.get("current_leaf_message_uuid")) or before or ""):
        conversation.leaf = leaf
    return conversation


def _entry(message: Any, number: str, before: str | None, created: float, result: ImportResult) -> Entry:
    if not isinstance(message, dict) or message.get("sender") not in ("human", "assistant"):
        result.odd += 1
        return Entry(number, before)
    id = text_of(message.get("uuid")) or number
    parent = text_of(message.get("parent_message_uuid")) or before
    ours = _messages(message, result)
    result.kept += bool(ours)
    result.hidden += not ours
    moment = _moment(message.get("created_at")) or created
    return Entry(id, None if parent == ROOT else parent, tuple(ours), moment)


def _messages(message: dict[str, Any], result: ImportResult) -> list[Message]:
    blocks = message.get("content")
    ours = [] if not isinstance(blocks, list) else [each for block in blocks for each in _block(block, result)]
    is_prompt = message["sender"] == "human"
    if not any(each.channel == "final" for each in ours):
        text = text_of(message.get("text")).replace(_NO_TEXT_HERE, "")
        if text.strip().strip("`"):
            ours.append(Message(Role.ASSISTANT, text, channel="final"))
    if not is_prompt:
        return ours
    text = "\n\n".join(each.text for each in ours if each.channel == "final")
    prompt = join(text, _attachments(message, result))
    return [Message(Role.USER, prompt)] if prompt.strip() else []


def _block(block: Any, result: ImportResult) -> list[Message]:
    if not isinstance(block, dict):
        result.leave_out(None)
        return []
    kind = block.get("type")
    name = one_line(text_of(block.get("name"))) or "tool"
    match kind:
        case "text":
            message = Message(Role.ASSISTANT, text_of(block.get("text")), channel="final")
        case "thinking":
            message = Message(Role.ASSISTANT, text_of(block.get("thinking")), channel="analysis")
        case "tool_use":
            call = json.dumps(block.get("input"), ensure_ascii=False, indent=1)
            message = Message(Role.ASSISTANT, call, channel="commentary", recipient=name)
        case "tool_result":
            message = Message(Role.TOOL, _result(block.get("content"), result), name=name, channel="commentary")
        case "token_budget":
            return []
        case _:
            result.leave_out(kind)
            return []
    return [message] if message.text.strip() else []


def _result(content: Any, result: ImportResult) -> str:
    texts = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(text := part.get("text") if isinstance(part, dict) else part, str):
            texts.append(text)
        elif part is not None:
            result.leave_out(part.get("type") if isinstance(part, dict) else None)
    return "\n\n".join(texts)


def _attachments(message: dict[str, Any], result: ImportResult) -> list[Attachment]:
    """The files whose text is in the export; pictures and the like are counted."""
    found = []
    named = set()
    for file in _list(message.get("attachments")):
        fields = file if isinstance(file, dict) else {}
        name = one_line(text_of(fields.get("file_name"))) or "file"
        named.add(name)
        if text := text_of(fields.get("extracted_content")).strip("\n"):
            found.append(Attachment(name, text))
        else:
            result.leave_out("attached file")
    for file in _list(message.get("files")):
        if not isinstance(file, dict) or text_of(file.get("file_name")) not in named:
            result.leave_out("attached file")
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _moment(value: Any) -> float | None:
    try:
        return moment(datetime.fromisoformat(value).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        return None
