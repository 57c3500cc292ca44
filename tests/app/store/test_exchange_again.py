"""Importing again: what is there stays as the person left it, what is new is added, and twice is the same as once."""

import itertools
import json
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.chat.conversation import BlockRun, CallFacts, Conversation, new_id
from app.paths import conversations_file
from app.store.exchange.export import to_json
from app.store.exchange.importing import read
from app.store.exchange.result import ImportResult
from app.store.store import Store
from mlx_model.harmony.message import assistant
from tests.fixtures.exports import chatgpt, entry, taken, text, turns, written
from tests.fixtures.trees import TURN, branched, keep, present, same, stored

PLAN = ("Trip plan?", "Day one: museum.", "And day two?", "Day two: the lake.")


@pytest.fixture
def january(tmp_path: Path) -> Path:
    """An export of a conversation."""
    return written(tmp_path, [turns(*PLAN[:2], update_time=1.75e9)], "january.json")


@pytest.fixture
def march(tmp_path: Path) -> Path:
    """A later export, when the conversation had gone on, under another title."""
    return written(tmp_path, [turns(*PLAN, title="Lakes", update_time=1.8e9)], "march.json")


def said(tree: Conversation) -> list[str]:
    """What is on the screen."""
    return [node.text(None if node.is_prompt else "final") for node in tree.path]


def state() -> list[object]:
    """All that the store has."""
    return [tree.everything() for tree in stored()]


def change(*trees: Conversation) -> None:
    """Save what the person did."""
    store = Store(conversations_file())
    for tree in trees:
        store.save(present(tree.take_changes()))
    store.close()


def test_a_conversation_that_went_on_gets_its_new_turns(january: Path, march: Path) -> None:
    assert taken([january]).summary() == "imported 1 conversation with 2 prompts and answers"
    again = taken([march])
    assert again.summary() == "added 2 prompts and answers to 1 conversation that was here already"
    (tree,) = stored()
    assert (said(tree), tree.title, tree.updated) == (list(PLAN), "T", 1.8e9)
    store = Store(conversations_file())
    assert len(store.search("lake")) == 1
    store.close()


@pytest.mark.parametrize("order", [*itertools.permutations("jmwj"), "jmj", "mjm"])
def test_in_any_order_and_however_often(tmp_path: Path, january: Path, march: Path, order: Iterable[str]) -> None:
    whole = written(tmp_path, [turns("Another?", id="other"), turns(*PLAN, title="Lakes", update_time=1.8e9)], "w.json")
    files = {"j": january, "m": march, "w": whole}
    for name in order:
        taken([files[name]])
        before = state()
        assert taken([files[name]]).more == 0 and state() == before
    tree = next(tree for tree in stored() if len(tree.nodes) > 1)
    assert said(tree) == list(PLAN) and len(tree.nodes) == 4


def test_shards_and_the_whole(tmp_path: Path) -> None:
    conversations = [turns(f"Question {n}", "Answer", id=str(n)) for n in range(4)]
    shards = [written(tmp_path, conversations[i : i + 2], f"s/conversations-{i:03}.json") for i in (0, 2)]
    assert taken([*shards, written(tmp_path, conversations)]).summary().startswith("imported 4 conversations with 8 ")
    assert taken([tmp_path / "s"]).summary().endswith("; 4 were here already")


def test_a_conversation_that_was_continued_here_keeps_that(january: Path, march: Path) -> None:
    taken([january])
    (tree,) = stored()
    tree.add_answer(tree.add_prompt("My own question", tree.leaf).id, TURN, [assistant("My own answer")])
    tree.rename("My title")
    change(tree)
    assert taken([march]).more == 2 and not taken([january, march]).more
    (after,) = stored()
    assert said(after) == [*PLAN[:2], "My own question", "My own answer"] and after.title == "My title"
    after.select(next(node.id for node in after.nodes.values() if node.text() == PLAN[2]))
    assert said(after) == list(PLAN)


def test_a_version_that_was_made_here_stays_on_the_screen(january: Path, march: Path) -> None:
    taken([january])
    (tree,) = stored()
    tree.add_answer(tree.path[0].id, TURN, [assistant("Mine.")])
    change(tree)
    taken([march])
    (after,) = stored()
    assert said(after) == [PLAN[0], "Mine."] and len(after.nodes) == 5


def test_what_was_deleted_here_comes_back_and_is_said(january: Path, march: Path) -> None:
    taken([january])
    (tree,) = stored()
    tree.add_prompt("My own question", tree.leaf)
    change(tree)
    store = Store(conversations_file())
    store.delete(tree.id)
    store.close()
    result = taken([march])
    assert result.summary().startswith("imported 1 conversation with 4 prompts and answers; 1 was deleted here and is")
    (after,) = stored()
    assert len(after.nodes) == 5 and said(after)[-1] == "My own question"


def test_an_answer_that_is_another_in_a_later_export_is_a_version(tmp_path: Path) -> None:
    old = written(tmp_path, [turns("Q", "A")], "old.json")
    new = written(tmp_path, [turns("Q", "B", "more")], "new.json")
    for _ in range(2):
        taken([old, new])
        (tree,) = stored()
        assert sorted(node.text("final") for node in tree.nodes.values() if not node.is_prompt) == ["A", "B"]
        assert len(tree.nodes) == 4


def test_an_answer_that_grew_is_a_version_and_the_shorter_one_no_news(tmp_path: Path) -> None:
    short, long = (written(tmp_path, [turns("Q", words)], f"{words}.json") for words in ("A", "A longer"))
    taken([long])
    assert taken([short]).more == 0
    assert taken([long]).more == 0
    went_on = turns("Q", "A longer")
    went_on["mapping"] |= {"m2": entry("m2", "m1", "assistant", text("and on"))}
    assert taken([written(tmp_path, [went_on])]).more == 1
    assert taken([long, short, written(tmp_path, [went_on])]).more == 0
    (tree,) = stored()
    assert [node.text("final") for node in tree.nodes.values()][1:] == ["A longer", "A longer\n\nand on"]


def test_a_regenerated_answer_after_the_same_thoughts_is_a_version(tmp_path: Path) -> None:
    thoughts = {"content_type": "thoughts", "thoughts": [{"content": "hm"}]}
    entries = [entry("q", None, "user", text("hi")), entry("t", "q", "assistant", thoughts)]
    entries += [entry(id, "t", "assistant", text(id)) for id in "ab"]
    old = written(tmp_path, [chatgpt(*json.loads(json.dumps(entries[:3])), current="a")], "old.json")
    new = written(tmp_path, [chatgpt(*entries, current="b")], "new.json")
    taken([old])
    assert taken([new]).more == 1 and taken([old, new]).more == 0
    (tree,) = stored()
    assert [[m.text for m in n.messages] for n in tree.nodes.values()][1:] == [["hm", "a"], ["hm", "b"]]


def test_conversations_without_an_id_are_told_apart(tmp_path: Path) -> None:
    conversations = [turns(f"Question {n}", "Answer") for n in range(3)]
    for each in conversations:
        del each["id"]
    result = taken([written(tmp_path, conversations)])
    assert len(result.imported) == 3 and taken([written(tmp_path, conversations)]).found == 3 == len(stored())
    longer = turns("Question 1", "Answer", "More")
    del longer["id"]
    assert taken([written(tmp_path, [longer])]).more == 1


def test_a_question_that_was_asked_in_the_middle_of_an_answer_hangs_there(tmp_path: Path) -> None:
    entries = [entry("q", None, "user", text("q")), *(entry(id, b, "assistant", text(id)) for id, b in ("eq", "xe"))]
    old = written(tmp_path, [chatgpt(*json.loads(json.dumps(entries)), current="x")], "old.json")
    new = written(tmp_path, [chatgpt(*entries, entry("u", "e", "user", text("u")), current="u")], "new.json")
    taken([old])
    assert taken([new]).more == 2 and taken([old, new]).more == 0
    (tree,) = stored()
    prompt = next(node for node in tree.nodes.values() if node.text() == "u")
    assert [[m.text for m in node.messages] for node in tree.path_to(prompt.id)] == [["q"], ["e"], ["u"]]


@pytest.mark.parametrize("texts", [("nul \0 in", "lone \ud83d"), ("\x1b[1m", "\u202e"), ("x", "\ue200cite\ue201.")])
def test_what_the_store_writes_otherwise_is_no_news(tmp_path: Path, texts: tuple[str, str]) -> None:
    file = written(tmp_path, [turns(*texts)])
    taken([file])
    assert taken([file]).more == 0 and len(stored()[0].nodes) == 2


def test_a_conversation_that_began_here_is_not_that_of_another_program(tmp_path: Path) -> None:
    tree = branched()
    taken([written(tmp_path, json.loads(to_json([tree])))])
    taken([written(tmp_path, [turns("hi", id=tree.id)])])
    assert len(stored()) == 2 and any(same(each, tree) for each in stored())


def test_what_an_earlier_version_of_this_program_imported_is_known(tmp_path: Path) -> None:
    file = written(tmp_path, [turns(*PLAN)])
    (tree,) = read(file, ImportResult())
    names: dict[str | None, str | None] = {None: None}  # which then were made up
    nodes = []
    for node in tree.nodes.values():
        nodes.append(replace(node, id=new_id(), parent=names[node.parent]))
        names[node.id] = nodes[-1].id
    keep(Conversation(tree.id, title="T", created=1.7e9, nodes=nodes[:3]))
    assert taken([file]).more == 1 and taken([file]).more == 0


# Our own


def test_our_own_export_again_after_the_conversation_went_on(tmp_path: Path) -> None:
    tree = branched()
    (old := tmp_path / "old.json").write_text(to_json([tree]))
    taken([old])
    tree.add_prompt("and then?", tree.leaf)
    (new := tmp_path / "new.json").write_text(to_json([tree]))
    assert taken([new]).more == 1 and not taken([old, new]).more
    assert same(stored()[0], tree)


def test_what_came_of_code_comes_with_a_later_export_where_it_was_not_run_here(tmp_path: Path) -> None:
    tree = Conversation(title="Code")
    code = assistant("```python\n1\n```\n\n```python\n2\n```")
    answer = tree.add_answer(tree.add_prompt("Code?", None).id, TURN, [code])
    (first := tmp_path / "first.json").write_text(to_json([tree]))
    taken([first])
    (here,) = stored()
    here.keep_run(answer.id, BlockRun(2, "b", "run here", CallFacts(1.0)))
    change(here)
    tree.keep_run(answer.id, BlockRun(1, "a", "run there", CallFacts(0.5)))
    tree.keep_run(answer.id, BlockRun(2, "b", "run there, too"))
    (later := tmp_path / "later.json").write_text(to_json([tree]))
    said = "added the output of code in 1 answer to 1 conversation that was here already"
    assert taken([later]).summary() == said
    runs = stored()[0].nodes[answer.id].runs
    assert [run.output for run in runs] == ["run there", "run here"]
    before = state()
    assert not taken([later, first]).outputs and state() == before
    store = Store(conversations_file())
    assert [hit.node for hit in store.search("run there")] == [answer.id]
    store.close()


def test_an_old_backup_changes_nothing(tmp_path: Path) -> None:
    tree = Conversation()
    answer = tree.add_answer(tree.add_prompt("Count", None).id, TURN, [assistant("One, t")])
    (backup := tmp_path / "old.json").write_text(to_json([tree]))
    tree.update_answer(answer.id, TURN, [assistant("One, two"), assistant("three")])
    (new := tmp_path / "new.json").write_text(to_json([tree]))
    taken([new])
    before = state()
    assert taken([backup]).more == 0 and state() == before


def test_a_file_cannot_change_another_conversation(tmp_path: Path) -> None:
    tree = branched()
    fields: dict[str, Any] = json.loads(to_json([tree]))
    taken([written(tmp_path, fields)])
    before = state()
    fields["conversations"][0] |= {"id": "0" * 12, "title": "another"}
    fields["conversations"][0]["nodes"][0]["messages"][0]["text"] = "forged"
    assert len(taken([written(tmp_path, fields)]).imported) == 1
    assert before[0] in state() and len(stored()) == 2
    before = state()
    assert taken([written(tmp_path, fields)]).more == 0 and state() == before


@pytest.mark.parametrize("seed", range(5))
def test_any_two_exports_of_a_growing_tree(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    entries = [entry("0", None, "user", text("0"))]
    for number in range(1, 30):
        role = chance.choice(["user", "assistant", "assistant", "tool", ""])
        entries.append(entry(str(number), chance.choice(entries)["id"], role, text(str(number % 9))))
    files = []
    for size in (30, 9, 18):
        grown = json.loads(json.dumps(entries[:size]))
        files.append(written(tmp_path, [chatgpt(*grown, current=str(size - 1))], f"{size}.json"))
    whole, *parts = files
    for file in (*parts, whole, *parts):
        taken([file])
    before = state()
    assert taken(files).more == 0 and state() == before
    (tree,) = stored()
    (fresh,) = read(whole, ImportResult())
    paths = [[m.text for n in t.path_to(leaf) for m in n.messages] for t in (tree,) for leaf in t.leaves()]
    for leaf in fresh.leaves():
        path = [message.text for node in fresh.path_to(leaf) for message in node.messages]
        assert any(path == each[: len(path)] for each in paths)
