"""One conversation of a ChatGPT export (conversations.json) as one of ours.

The format is undocumented; as of 2026 a conversation has `title`, `create_time`, `current_node` and `mapping`, a tree
of nodes `{id, parent, children, message}`, whose messages have `author.role`, `recipient` and `content`: parts for
`text` and `multimodal_text`, `text` for code and its output, `thoughts` for reasoning.
"""

import time
from collections import Counter
from dataclasses import replace
from typing import Any

from app.chat.conversation import AnswerFacts, Conversation, Node, auto_title, new_id
from app.lines import one_line
from app.store.values import moment, name_of
from mlx_model.harmony.message import Message, Role

UNTITLED = "ChatGPT"


def convert(export: dict[str, Any], left_out: dict[str, int]) -> Conversation:
    """The conversation with all its branches. What is not text is added to `left_out`, by kind.

    Messages of the model and of its tools that follow each other without a branch are one answer, as here. Raises
    KeyError, TypeError, ValueError or AttributeError where the format is another.
    """
    mapping: dict[str, dict[str, Any]] = export["mapping"]
    messages_of: dict[str, list[Message]] = {}
    other_kinds: Counter[str] = Counter()
    for id, entry in mapping.items():
        messages_of[id] = _messages(entry.get("message"), other_kinds)
    nodes: list[Node] = []
    owner: dict[str, str | None] = {}  # which of our nodes each entry ended up in, or hangs below
    by_id: dict[str, int] = {}
    for id in _from_the_root(mapping):
        parent = mapping[id].get("parent")
        above = owner.get(parent) if parent in owner else None
        messages = messages_of[id]
        siblings = mapping[parent].get("children", []) if parent in mapping else []
        if not messages:
            owner[id] = above
        elif above is not None and _joins(nodes[by_id[above]], messages) and len(siblings) == 1:
            at = by_id[above]
            old = nodes[at]
            facts = _facts(mapping[id], messages)
            if facts is None or facts.model == UNTITLED:
                facts = old.facts
            nodes[at] = replace(old, messages=(*old.messages, *messages), facts=facts)
            owner[id] = above
        else:
            node = Node(new_id(), above, _time(mapping[id], export), tuple(messages), _facts(mapping[id], messages))
            by_id[node.id] = len(nodes)
            nodes.append(node)
            owner[id] = node.id
    first = next((node.text() for node in nodes if node.is_prompt), "")
    conversation = Conversation(
        name_of(str(export.get("conversation_id") or export.get("id") or sorted(mapping))),
        title=one_line(str(export.get("title") or "")) or auto_title(first) or UNTITLED,
        created=_moment(export.get("create_time")) or time.time(),
        nodes=nodes,
    )
    conversation.updated = _moment(export.get("update_time")) or conversation.created
    if (leaf := owner.get(export.get("current_node"))) is not None:  # type: ignore[arg-type]
        conversation.leaf = leaf
    for kind, count in other_kinds.items():
        left_out[kind] = left_out.get(kind, 0) + count
    return conversation


def _from_the_root(mapping: dict[str, dict[str, Any]]) -> list[str]:
    """The ids, each after its parent; entries that no root leads to are left out, and so are cycles.

    Raises ValueError if that leaves nothing.
    """
    waiting = [id for id, entry in reversed(mapping.items()) if entry.get("parent") not in mapping]
    ordered: dict[str, None] = {}
    while waiting:
        id = waiting.pop()
        if id in mapping and id not in ordered:
            ordered[id] = None
            waiting.extend(reversed(mapping[id].get("children", [])))
    if mapping and not ordered:
        raise ValueError("no first message")
    return list(ordered)


def _messages(message: dict[str, Any] | None, other_kinds: Counter[str]) -> list[Message]:
    """The text of an entry as ours; empty for system messages, hidden ones and those without text."""
    if message is None or message["author"]["role"] == "system":
        return []
    if (message.get("metadata") or {}).get("is_visually_hidden_from_conversation"):
        return []
    role, content = message["author"]["role"], message["content"]
    kind = content.get("content_type", "unknown")
    if kind in ("user_editable_context", "model_editable_context", "reasoning_recap"):
        return []  # settings, and "thought for 8 seconds"
    if kind == "thoughts":
        thoughts = [thought.get("content") or thought.get("summary") or "" for thought in content["thoughts"]]
        text = "\n\n".join(filter(None, thoughts))
        return [Message(Role.ASSISTANT, text, channel="analysis")] if text else []
    text = _text(content, kind, other_kinds)
    if not text:
        return []
    if role == "user":
        return [Message(Role.USER, text)]
    if role == "tool":
        return [Message(Role.TOOL, text, name=message["author"].get("name") or "tool", channel="commentary")]
    if (recipient := message.get("recipient") or "all") != "all":
        return [Message(Role.ASSISTANT, text, channel="commentary", recipient=recipient)]
    return [Message(Role.ASSISTANT, text, channel="final")]


def _text(content: dict[str, Any], kind: str, other_kinds: Counter[str]) -> str:
    texts = []
    for part in content.get("parts") or [content.get("text") or content.get("result") or ""]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):  # a transcript of speech
            texts.append(part["text"])
        else:
            part_kind = part.get("content_type", kind) if isinstance(part, dict) else kind
            other_kinds["unknown" if part_kind == "text" else part_kind] += 1  # what is left out is no text
    return "\n\n".join(filter(str.strip, texts))


def _joins(node: Node, messages: list[Message]) -> bool:
    return not node.is_prompt and messages[0].role is not Role.USER


def _time(entry: dict[str, Any], export: dict[str, Any]) -> float:
    message: dict[str, Any] = entry.get("message") or {}
    return _moment(message.get("create_time")) or _moment(export.get("create_time")) or time.time()


def _moment(value: Any) -> float | None:
    """The time if it is one: a wrong time alone is no reason to lose what was said."""
    try:
        return moment(value)
    except (TypeError, ValueError):
        return None


def _facts(entry: dict[str, Any], messages: list[Message]) -> AnswerFacts | None:
    """What an answer's footer shows: no more than the model's name is known."""
    if messages[0].role is Role.USER:
        return None
    metadata = entry["message"].get("metadata") or {}
    return AnswerFacts(str(metadata.get("model_slug") or UNTITLED), None, "stop")
