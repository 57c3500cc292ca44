"""Conversations as JSON, which holds all of them and can be imported again, and as Markdown, which people read."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from app.conversation import Conversation, Node, Turn, one_line
from mlx_model.harmony.message import Role
from mlx_model.text import clean

FORMAT = "gptoss-chat"
VERSION = 1


def to_json(conversations: Iterable[Conversation]) -> str:
    """One JSON object with every node of the conversations, in ASCII; `importing` reads it. Times in s since 1970."""
    fields = {"format": FORMAT, "version": VERSION, "conversations": [_conversation(c) for c in conversations]}
    return json.dumps(fields, indent=1) + "\n"


def to_markdown(conversation: Conversation) -> str:
    """The path on the screen, without analysis; inert text. Ends with a word on the versions that are not shown."""
    path = conversation.path
    parts = [f"# {one_line(conversation.title)}", time.strftime("%Y-%m-%d %H:%M", time.localtime(conversation.created))]
    for node in path:
        if node.is_prompt:
            parts += ["## You", clean(node.text())]
        else:
            said = _said(node) or ["*(stopped before the answer)*"]
            parts += [f"## {_author(node.turn)}", *map(clean, said)]
    if others := len(conversation.nodes) - len(path):
        parts.append(f"*Not in this text: {counted(others)} of other versions. The JSON export has the whole.*")
    return "\n\n".join(parts) + "\n"


def counted(nodes: int) -> str:
    """How a person says that many nodes."""
    return "1 prompt or answer" if nodes == 1 else f"{nodes} prompts and answers"


def _said(node: Node) -> list[str]:
    """What the model said to the person; as code what it asked of its tools, and what they gave."""
    texts = []
    for message in node.messages:
        if message.role is Role.TOOL or message.recipient is not None:
            way = f"From {message.name or 'a tool'}" if message.role is Role.TOOL else f"To {message.recipient}"
            fence = "`" * max(3, _longest_run(message.text) + 1)
            texts.append(f"{one_line(way)}:\n\n{fence}\n{message.text}\n{fence}")
        elif message.channel != "analysis" and message.text:
            texts.append(message.text)
    return texts


def _longest_run(text: str) -> int:
    """The length of the longest run of backticks."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


def _author(turn: Turn | None) -> str:
    if turn is None:
        return "Answer"
    details = [turn.effort.value] if turn.effort else []
    if turn.stats.decode_tok_s:
        details.append(f"{turn.stats.decode_tok_s:.1f} tok/s")
    return one_line(turn.model) + (f" ({', '.join(details)})" if details else "")


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
    if node.turn is not None:
        fields["turn"] = asdict(node.turn)
    return fields
