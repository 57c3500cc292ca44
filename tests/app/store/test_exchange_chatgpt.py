"""ChatGPT's exports: branches, roles, thoughts, sources, and messages of any other form."""

from pathlib import Path
from typing import Any

import pytest

from app.store.exchange.importing import read
from app.store.exchange.result import ImportResult
from mlx_model.harmony.message import Role, user
from tests.fixtures.exports import chatgpt, entry, imported, text, turns, written


def test_chatgpt_branches_roles_thoughts_and_what_is_no_text(tmp_path: Path) -> None:
    image = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    data = chatgpt(
        entry("root", None),
        entry("sys", "root", "system", text("hidden")),
        entry("q", "sys", "user", {"content_type": "multimodal_text", "parts": [image, "What is it?"]}),
        entry("a1", "q", "assistant", text("A dog.")),
        entry("t", "q", "assistant", {"content_type": "thoughts", "thoughts": [{"summary": "s", "content": "hmm"}]}),
        entry("c", "t", "assistant", {"content_type": "code", "text": "look()"}, recipient="python"),
        entry("r", "c", "tool", {"content_type": "execution_output", "text": "cat"}),
        entry("a2", "r", "assistant", text("A cat."), metadata={"model_slug": "gpt-5"}),
        entry("q2", "a2", "user", text("Sure?")),
        entry("q2b", "a2", "user", text("", "Really?")),
        current="q2b",
    )
    (tree,), result = imported(tmp_path, [data])
    assert result.left_out == {"image_asset_pointer": 1} and not (result.unreadable or result.odd)
    prompt, answer, last = tree.path
    assert (prompt.messages, last.messages) == ((user("What is it?"),), (user("Really?"),))
    assert [(m.role, m.channel, m.recipient, m.text) for m in answer.messages] == [
        (Role.ASSISTANT, "analysis", None, "hmm"),
        (Role.ASSISTANT, "commentary", "python", "look()"),
        (Role.TOOL, "commentary", None, "cat"),
        (Role.ASSISTANT, "final", None, "A cat."),
    ]
    assert answer.facts is not None and answer.facts.model == "gpt-5" and answer.facts.effort is None
    assert [node.messages[0].text for node in tree.versions(answer)] == ["A dog.", "hmm"]
    assert [node.text() for node in tree.versions(last)] == ["Sure?", "Really?"]
    assert tree.title == "T" and tree.created == 1.7e9


def test_a_deep_conversation(tmp_path: Path) -> None:
    (tree,), _ = imported(tmp_path, [turns(*(f"turn {i}" for i in range(2000)))])
    assert len(tree.path) == 2000


@pytest.mark.parametrize("children", [None, [], "missing", 7, ["nowhere", None, ["m1"]], ["m3", "m3"]])
def test_the_parent_decides_whatever_the_children_say(tmp_path: Path, children: object) -> None:
    data = turns("one", "two", "three", "four")
    for value in data["mapping"].values():
        value["children"] = children
        if children == "missing":
            del value["children"]
    (tree,), result = imported(tmp_path, [data])
    assert [node.text(None if node.is_prompt else "final") for node in tree.path] == ["one", "two", "three", "four"]
    assert result.kept == 4 and not result.odd and not result.gaps


@pytest.mark.parametrize("parent", [None, "missing", [], 7])
def test_without_a_parent_the_children_decide(tmp_path: Path, parent: object) -> None:
    data = turns("one", "two", "three", "four")
    for value in data["mapping"].values():
        value["parent"] = parent
        if parent == "missing":
            del value["parent"]
    (tree,), _ = imported(tmp_path, [data])
    assert len(tree.path) == 4


def test_children_give_the_order_of_versions(tmp_path: Path) -> None:
    data = chatgpt(*(entry(id, None if id == "q" else "q", "user", text(id)) for id in "qab"), current="a")
    data["mapping"]["q"]["children"] = ["b", "a"]
    (tree,), _ = imported(tmp_path, [data])
    assert [node.text() for node in tree.versions(tree.path[-1])] == ["b", "a"]


def test_circles_and_missing_entries_lose_nothing(tmp_path: Path) -> None:
    circle = chatgpt(
        *(entry("x", "y", "user", text("x")), entry("y", "x", "assistant", text("y"))),
        *(entry("z", "y", "user", text("z")), entry("self", "self", "user", text("alone"))),
        current="z",
    )
    (tree,), result = imported(tmp_path, [circle])
    assert [node.text(None if node.is_prompt else "final") for node in tree.path] == ["x", "y", "z"]
    assert len(tree.nodes) == 4 and result.gaps == 2
    broken = turns("one", "two", "three", "four")
    del broken["mapping"]["m1"]
    (tree,), result = imported(tmp_path, [broken])
    assert len(tree.nodes) == 3 and result.gaps == 1
    assert "in 1 place the message before is missing" in result.summary()
    del (whole := turns("one", "two"))["mapping"]["root"]
    assert imported(tmp_path, [whole])[1].gaps == 0


@pytest.mark.parametrize("current", [None, "nowhere", [], 7, "root", "absent"])
def test_without_a_current_node_the_last_is_shown(tmp_path: Path, current: object) -> None:
    data = turns("one", "two", "three")
    data["current_node"] = current
    if current == "absent":
        del data["current_node"]
    (tree,), _ = imported(tmp_path, [data])
    assert len(tree.path) == 3


ODD_CONTENTS: tuple[Any, ...] = (
    *(None, [], "text", 7, {}),
    *({"content_type": "text"}, {"content_type": "text", "parts": None}, {"content_type": "text", "parts": 7}),
    *({"content_type": "thoughts", "thoughts": None}, {"content_type": "thoughts", "thoughts": [7]}),
)
ODD_MESSAGES: tuple[Any, ...] = (
    *(None, 7, "text", ["list"], True),
    *({}, {"author": None}, {"author": []}, {"author": {"role": None}}, {"author": {"role": ["user"]}}),
    *({"author": {"role": "boss"}, "content": text("x")}, {"author": {"role": "user"}}),
    *({"author": {"role": "assistant"}, "content": content} for content in ODD_CONTENTS),
)


@pytest.mark.parametrize("message", ODD_MESSAGES)
def test_an_odd_message_costs_that_message(tmp_path: Path, message: object) -> None:
    data = turns("one", "two", "three", "four")
    data["mapping"]["m1"]["message"] = message
    (tree,), result = imported(tmp_path, [data])
    assert [node.text(None if node.is_prompt else "final") for node in tree.path] == ["one", "three", "four"]
    assert (result.kept, result.odd) == (3, 1) and "; 1 message could not be read" in result.summary()


@pytest.mark.parametrize("value", [None, 7, "entry", []])
def test_an_odd_entry_costs_that_entry(tmp_path: Path, value: object) -> None:
    data = turns("one", "two", "three", "four")
    data["mapping"]["m3"] = value
    (tree,), result = imported(tmp_path, [data])
    assert len(tree.path) == 3 and (result.kept, result.odd) == (3, 1)


@pytest.mark.parametrize("field", ["metadata", "recipient", "create_time", "status", "id", "weight"])
@pytest.mark.parametrize("value", [None, 7, "x", [[]], {"model_slug": ["x"], "content_references": 7, "citations": {}}])
def test_an_odd_field_costs_nothing_else(tmp_path: Path, field: str, value: object) -> None:
    data = turns("one", "two")
    data["mapping"]["m1"]["message"][field] = value
    (tree,), result = imported(tmp_path, [data])
    assert tree.path[1].messages[0].text == "two" and not result.odd


@pytest.mark.parametrize("kind", [None, 7, ["x"], {"a": 1}, "\x1b]0;t\x07" + "k" * 1000])
def test_a_kind_of_content_that_is_none(tmp_path: Path, kind: object) -> None:
    data = turns("one", "two")
    data["mapping"]["m1"]["message"]["content"] = {"content_type": kind, "parts": ["hello", {"content_type": kind}, 7]}
    (tree,), result = imported(tmp_path, [data])
    assert tree.path[1].text("final") == "hello" and sum(result.left_out.values()) == 2
    assert result.summary().isprintable() and len(result.summary()) < 300


BROKEN: tuple[Any, ...] = (None, 7, {"title": "t"}, {"title": "t", "mapping": []}, {"title": "t", "mapping": "x"})


@pytest.mark.parametrize("broken", BROKEN)
def test_a_conversation_of_another_form_is_named(tmp_path: Path, broken: object) -> None:
    conversations, result = imported(tmp_path, [broken, turns("hi")])
    assert len(conversations) == 1 and result.unreadable == 1
    title = "t" if isinstance(broken, dict) else "(untitled)"
    assert result.failed() == [f'"{title}" could not be read: it has no messages']


def test_of_many_broken_conversations_the_first_are_named(tmp_path: Path) -> None:
    broken = [{"title": f"chat {number}" * 100, "mapping": number} for number in range(1000)]
    _, result = imported(tmp_path, [*broken, turns("hi"), *({"title": str(number)} for number in range(1000))])
    assert result.summary().endswith("; 2000 could not be read")
    first, *_, last = result.failed()
    assert first.startswith('"chat 0') and len(first) < 200 and last == "1997 more conversations could not be read"


def test_kinds_without_end_are_counted(tmp_path: Path) -> None:
    parts = [{"content_type": f"kind {number}"} for number in range(1000)]
    _, result = imported(tmp_path, [chatgpt(entry("q", None, "user", text("hi", *parts)), current="q")])
    assert result.summary().endswith("1 kind 0, 1 kind 1, 1 kind 2, 997 of other kinds")


@pytest.mark.parametrize("title", [None, "", 7, [], " \n"])
def test_without_a_title_the_first_question_is_one(tmp_path: Path, title: object) -> None:
    (tree,), _ = imported(tmp_path, [turns("Why is the sky blue?", title=title)])
    assert tree.title == "Why is the sky blue?"


@pytest.mark.parametrize("wrong", [1e30, float("nan"), float("inf"), -1, "yesterday", None, [], True])
def test_a_wrong_time_loses_no_conversation(tmp_path: Path, wrong: object) -> None:
    prompt = entry("q", None, "user", text("hi"), create_time=wrong)
    (tree,), _ = imported(tmp_path, [chatgpt(prompt, current="q", create_time=1.5e9, update_time=wrong)])
    assert tree.path[0].created == tree.created == tree.updated == 1.5e9
    (tree,), _ = imported(tmp_path, [chatgpt(prompt, current="q", create_time=wrong)])
    assert tree.path[0].created > 1.7e9 and tree.created > 1.7e9


def test_a_time_of_5000_digits(tmp_path: Path) -> None:
    file = written(tmp_path, [turns("hi", create_time="long")])
    file.write_text(file.read_text().replace('"long"', "9" * 5000))
    (tree,) = read(file, ImportResult())
    assert tree.created > 1.7e9 and tree.path[0].created == 1.7e9


def test_what_is_neither_text_nor_of_a_known_kind_is_not_called_text(tmp_path: Path) -> None:
    prompt = entry("q", None, "user", text("hi", None, {"content_type": "text"}))
    assert imported(tmp_path, [chatgpt(prompt, current="q")])[1].left_out == {"unknown": 2}


def test_thoughts_are_their_content_their_chunks_or_their_summary(tmp_path: Path) -> None:
    thoughts = [
        {"summary": "s", "content": "whole", "chunks": ["no"]},
        {"summary": "s", "content": "", "chunks": ["part a", "part b", None]},
        {"summary": "short", "content": None, "chunks": []},
        {"chunks": ["only"]},
        None,
        "plain",
    ]
    answer = entry("t", "q", "assistant", {"content_type": "thoughts", "thoughts": thoughts})
    (tree,), _ = imported(tmp_path, [chatgpt(entry("q", None, "user", text("hi")), answer, current="t")])
    assert tree.path[1].text("analysis") == "whole\n\npart a\n\npart b\n\nshort\n\nonly\n\nplain"


@pytest.mark.parametrize(
    ("slug", "default", "model"),
    [
        ("gpt-5", "gpt-4", "gpt-5"),
        (None, "gpt-4\x1b[1m", "gpt-4\u241b[1m"),
        ("", "gpt-4", "gpt-4"),
        ([], 7, "ChatGPT"),
        (None, None, "ChatGPT"),
    ],
)
def test_the_name_of_the_model(tmp_path: Path, slug: object, default: object, model: str) -> None:
    data = turns("one", "two", default_model_slug=default)
    data["mapping"]["m1"]["message"]["metadata"] = {"model_slug": slug}
    (tree,), _ = imported(tmp_path, [data])
    assert (facts := tree.path[1].facts) is not None and facts.model == model


def test_files_without_text_are_counted(tmp_path: Path) -> None:
    data = turns("one", "two")
    data["mapping"]["m0"]["message"]["metadata"] = {"attachments": [{"name": "budget.xlsx"}, {"name": "b.bin"}]}
    assert imported(tmp_path, [data])[1].left_out == {"attached file": 2}


def test_versions_of_an_answer_share_its_beginning(tmp_path: Path) -> None:
    data = chatgpt(
        entry("q", None, "user", text("hi")),
        entry("t", "q", "assistant", {"content_type": "thoughts", "thoughts": [{"content": "hm"}]}),
        *(entry(id, "t", "assistant", text(id)) for id in ("a", "b")),
        entry("q2", "b", "user", text("more")),
        current="a",
    )
    (tree,), _ = imported(tmp_path, [data])
    first, second = tree.versions(tree.path[1])
    assert [[m.text for m in node.messages] for node in (first, second)] == [["hm", "a"], ["hm", "b"]]
    assert tree.leaf == first.id and [n.text() for n in tree.nodes.values() if n.parent == second.id] == ["more"]


def test_a_hostile_tree_is_not_copied_without_end(tmp_path: Path) -> None:
    size = 1000
    chain = [entry(f"c{i}", f"c{i - 1}" if i else None, "assistant", text("c")) for i in range(size)]
    leaves = [entry(f"l{i}", f"c{i}", "assistant", text("l")) for i in range(size)]
    (tree,), result = imported(tmp_path, [chatgpt(*chain, *leaves, current="l5")])
    assert sum(len(node.messages) for node in tree.nodes.values()) < 7 * size and result.kept == 2 * size
