"""Claude's exports: blocks, attachments, branches, and messages of any other form."""

from pathlib import Path
from typing import Any

import pytest

from app.documents.attachments import split
from mlx_model.harmony.message import Role
from tests.fixtures.exports import imported, taken, written

ROOT = "00000000-0000-4000-8000-000000000000"


def claude(*messages: object, **more: object) -> dict[str, Any]:
    """A conversation of a Claude export."""
    times = {"created_at": "2025-01-01T00:00:00Z", "updated_at": "2025-01-02T00:00:00.5+00:00"}
    return {"uuid": "u", "name": "Tides", **times, "chat_messages": list(messages), **more}


def message(id: str, sender: str, *blocks: object, **more: object) -> dict[str, Any]:
    """A message whose blocks are texts, or as an export has them."""
    content = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
    return {"uuid": id, "sender": sender, "text": "", "content": content, **more}


def test_blocks_attachments_and_times(tmp_path: Path) -> None:
    attachments = [{"file_name": "a.txt", "extracted_content": "high at nine"}, {"file_name": "b.png"}]
    data = claude(
        message("q", "human", "When is high water?", attachments=attachments, files=[{"file_name": "c.png"}]),
        message(
            *("a", "assistant"),
            {"type": "thinking", "thinking": "hm"},
            {"type": "tool_use", "name": "search", "input": {"q": "tides"}},
            {"type": "tool_result", "name": "search", "content": [{"type": "text", "text": "nine"}, {"type": "image"}]},
            "At nine.",
            {"type": "voice_note"},
        ),
    )
    (tree,), result = imported(tmp_path, [data])
    prompt, answer = tree.path
    assert split(prompt.text())[0] == "When is high water?" and split(prompt.text())[1][0].text == "high at nine"
    assert [(m.role, m.channel, m.recipient, m.text) for m in answer.messages] == [
        (Role.ASSISTANT, "analysis", None, "hm"),
        (Role.ASSISTANT, "commentary", "search", '{\n "q": "tides"\n}'),
        (Role.TOOL, "commentary", None, "nine"),
        (Role.ASSISTANT, "final", None, "At nine."),
    ]
    assert (tree.title, tree.created, tree.updated) == ("Tides", 1735689600.0, 1735776000.5)
    assert answer.facts is not None and answer.facts.model == "Claude"
    assert result.left_out == {"attached file": 2, "image": 1, "voice_note": 1} and result.kept == 2


def test_older_messages_have_a_text_only(tmp_path: Path) -> None:
    data = claude({"sender": "human", "text": "hi"}, {"sender": "assistant", "text": "hello", "content": None})
    (tree,), _ = imported(tmp_path, data)
    assert [node.messages[0].text for node in tree.path] == ["hi", "hello"]


def test_branches(tmp_path: Path) -> None:
    data = claude(
        message("q", "human", "hi", parent_message_uuid=ROOT),
        message("a", "assistant", "one", parent_message_uuid="q"),
        message("b", "assistant", "two", parent_message_uuid="q"),
        message("q2", "human", "another beginning", parent_message_uuid=ROOT),
        current_leaf_message_uuid="a",
    )
    (tree,), result = imported(tmp_path, [data])
    assert [node.text("final") for node in tree.versions(tree.path[1])] == ["one", "two"]
    assert tree.path[-1].text("final") == "one" and not result.gaps


@pytest.mark.parametrize("odd", [None, 7, "x", [], {}, {"sender": None}, {"sender": ["human"]}, {"sender": "boss"}])
def test_an_odd_message_costs_that_message(tmp_path: Path, odd: object) -> None:
    data = claude(message("q", "human", "hi"), odd, message("a", "assistant", "hello"))
    (tree,), result = imported(tmp_path, [data])
    assert len(tree.path) == 2 and (result.kept, result.odd) == (2, 1)


@pytest.mark.parametrize(
    "field", ["uuid", "text", "content", "attachments", "files", "created_at", "parent_message_uuid"]
)
@pytest.mark.parametrize("value", [None, 7, [None, 7, ["x"]], {"type": []}, [{"type": ["x"]}, {"type": "text"}]])
def test_odd_fields(tmp_path: Path, field: str, value: object) -> None:
    odd = message("a", "assistant", "hello", **{field: value}) | ({"text": "hello"} if field == "content" else {})
    (tree,), result = imported(tmp_path, [claude(message("q", "human", "hi"), odd)])
    assert tree.path[-1].text("final") == "hello" and result.kept == 2


def test_a_conversation_that_went_on_gets_what_is_new(tmp_path: Path) -> None:
    first, second = message("q", "human", "hi"), message("a", "assistant", "hello")
    old = written(tmp_path, [claude(first, second)], "old.json")
    new = written(tmp_path, [claude(first, second, message("q2", "human", "more"))], "new.json")
    assert len(taken([old]).imported) == 1
    assert taken([new]).summary() == "added 1 prompt or answer to 1 conversation that was here already"
    assert taken([old, new]).more == 0
