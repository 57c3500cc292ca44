"""Export, import and the commands for them: our own JSON, ChatGPT's, Markdown, and files that are neither."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from app.chat.conversation import Conversation
from app.cli.main import main
from app.paths import conversations_file
from app.store.exchange.export import to_json, to_markdown
from app.store.exchange.importing import ImportFileError, ImportResult, read
from app.store.store import Store
from mlx_model.harmony.message import Message, Role, user
from tests.fixtures.trees import TURN, branched, present


def shape(tree: Conversation) -> list[object]:
    """All of a conversation but the names of its nodes."""
    number = {id: i for i, id in enumerate(tree.nodes)}
    nodes = [(n.parent and number[n.parent], n.created, n.messages, n.facts) for n in tree.nodes.values()]
    return [tree.id, tree.title, tree.created, tree.updated, tree.leaf and number[tree.leaf], nodes]


def fill(count: int = 1) -> list[Conversation]:
    """Conversations in the store of this test."""
    store, trees = Store(conversations_file()), [branched() for _ in range(count)]
    for tree in trees:
        store.insert(tree)
    store.close()
    return trees


def entry(id: str, parent: str | None, role: str = "", content: object = None, **more: object) -> dict[str, Any]:
    """An entry of a ChatGPT mapping, as an export has it; without a role, one that has no message."""
    message = {"id": id, "author": {"role": role}, "content": content, "create_time": 1.7e9, **more} if role else None
    return {"id": id, "parent": parent, "children": [], "message": message}


def text(*parts: object) -> dict[str, object]:
    """The content of a text message."""
    return {"content_type": "text", "parts": list(parts)}


def chatgpt(*entries: dict[str, Any], current: str, **more: object) -> dict[str, object]:
    """A conversation of a ChatGPT export."""
    mapping = {str(e["id"]): e for e in entries}
    for e in entries:
        if e["parent"] in mapping:
            mapping[str(e["parent"])]["children"].append(e["id"])
    return {"title": "T", "create_time": 1.7e9, "mapping": mapping, "current_node": current, "id": "67-ab", **more}


def imported(tmp_path: Path, data: object) -> ImportResult:
    """What `read` makes of this JSON."""
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps(data))
    return read(file)


# Our own


def test_json_holds_everything_and_comes_back(tmp_path: Path) -> None:
    trees = [branched(), Conversation(title="\ud800 empty"), branched()]
    file = tmp_path / "export.json"
    file.write_text(to_json(trees), encoding="ascii")
    back = read(file)
    assert [shape(tree) for tree in back.conversations] == [shape(trees[0]), shape(trees[2])]
    assert not back.unreadable and not back.left_out
    assert not trees[0].nodes.keys() & back.conversations[0].nodes.keys()


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("id",), 7),
        (("title",), None),
        (("created",), -1),
        (("created",), 1e300),
        (("leaf",), "nowhere"),
        (("nodes",), None),
        (("nodes", 1, "parent"), "nowhere"),
        (("nodes", 0, "messages"), []),
        (("nodes", 1, "messages", 0, "role"), "boss"),
        (("nodes", 1, "messages", 0, "text"), ["list"]),
        (("nodes", 1, "messages", 0, "extra"), 1),
        (("nodes", 1, "turn", "effort"), "extreme"),
        (("nodes", 1, "turn", "stats", "decode_s"), "fast"),
        (("nodes", 1, "turn", "stats", "decode_s"), float("nan")),
        (("nodes", 1, "turn", "stats", "decode_tokens"), 2**63),
        (("nodes", 1, "turn", "stats", "seed"), 2**64),
        (("nodes", 1, "turn", "analysis_tokens"), 10**400),
        (("nodes", 1, "turn"), []),
    ],
)
def test_one_broken_conversation_is_counted_and_the_others_come(
    tmp_path: Path, where: tuple[str | int, ...], value: object
) -> None:
    data = json.loads(to_json([branched(), branched()]))
    broken = data["conversations"][0]
    for key in where[:-1]:
        broken = broken[key]
    broken[where[-1]] = value
    back = imported(tmp_path, data)
    assert len(back.conversations) == 1 and len(back.unreadable) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": 1}', "neither"),
        (b"[1]", "neither"),
        (b"3", "neither"),
        (b'{"format": "gptoss-chat", "version": 99}', "version 99"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(data)
    with pytest.raises(ImportFileError, match=said):
        read(file)
    with pytest.raises(ImportFileError, match="can't be read"):
        read(tmp_path)


def test_markdown_has_the_versions_shown_and_is_inert() -> None:
    tree = branched()
    shown = to_markdown(tree)
    assert "There are **three**." in shown and "two" not in shown and "once more" not in shown
    assert "To python:\n\n```\n'strawberry'.count('r')\n```" in shown
    assert "## gpt-oss-20b (low, 42.0 tok/s)" in shown and "3 prompts and answers of other versions" in shown
    tree.select(tree.versions(tree.path[-1])[0].id)
    assert "\x1b" not in to_markdown(tree) and "\u202e" not in to_markdown(tree)


def test_code_that_has_a_fence_of_its_own_stays_inside() -> None:
    tree = Conversation()
    call = Message(Role.ASSISTANT, "```\n# not a heading\n````", channel="commentary", recipient="python")
    tree.add_answer(tree.add_prompt("go", None).id, TURN, [call])
    assert "`````\n```\n# not a heading\n````\n`````" in to_markdown(tree)


def test_what_a_tool_gave_and_an_answer_that_never_began_are_named_as_such() -> None:
    tree = branched()
    assert "From python:\n\n```\n3\n```" in to_markdown(tree)
    tree = Conversation()
    tree.add_answer(tree.add_prompt("go", None).id, TURN, [Message(Role.ASSISTANT, "hm", channel="analysis")])
    tree.add_prompt("another", None)
    tree.select(next(iter(tree.nodes)))
    shown = to_markdown(tree)
    assert "## gpt-oss-20b (low, 42.0 tok/s)\n\n*(stopped before the answer)*" in shown and "hm" not in shown
    assert "This text leaves out 1 prompt or answer of other versions." in shown


# ChatGPT's


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
    back = imported(tmp_path, [data])
    (tree,) = back.conversations
    assert back.left_out == {"image_asset_pointer": 1} and not back.unreadable
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


def test_a_deep_chatgpt_conversation_and_one_that_runs_in_circles(tmp_path: Path) -> None:
    deep = [entry("0", None)]
    for i in range(1, 3000):
        deep.append(entry(str(i), str(i - 1), ("user", "assistant")[i % 2], text(f"turn {i}")))
    circle = [entry("x", "y", "user", text("x")), entry("y", "x", "assistant", text("y"))]
    back = imported(tmp_path, [chatgpt(*deep, current="2999"), chatgpt(*circle, current="x", id="other")])
    assert len(back.conversations) == 1 and len(back.conversations[0].path) == 2999
    assert back.unreadable == ["T"]


BROKEN_MAPPINGS: tuple[Any, ...] = (
    None,
    [],
    {"a": None},
    {"a": {"message": {"author": None}}},
    {"a": {"parent": []}},
)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        7,
        {"title": "t"},
        *({"title": "t", "mapping": mapping} for mapping in BROKEN_MAPPINGS),
    ],
)
def test_a_chatgpt_conversation_of_another_form_is_named(tmp_path: Path, broken: object) -> None:
    good = chatgpt(entry("q", None, "user", text("hi")), current="q")
    back = imported(tmp_path, [broken, good])
    assert len(back.conversations) == 1 and back.unreadable == ["t" if isinstance(broken, dict) else ""]


@pytest.mark.parametrize("wrong", [1e30, float("nan"), -1, "yesterday", None])
def test_a_wrong_time_loses_no_conversation(tmp_path: Path, wrong: object) -> None:
    prompt = entry("q", None, "user", text("hi"), create_time=wrong)
    (tree,) = imported(tmp_path, [chatgpt(prompt, current="q", create_time=1.5e9, update_time=wrong)]).conversations
    assert tree.path[0].created == tree.created == tree.updated == 1.5e9
    (tree,) = imported(tmp_path, [chatgpt(prompt, current="q", create_time=wrong)]).conversations
    assert tree.path[0].created > 1.7e9 and tree.created > 1.7e9


def test_what_is_neither_text_nor_of_a_known_kind_is_not_called_text(tmp_path: Path) -> None:
    prompt = entry("q", None, "user", text("hi", None, {"content_type": "text"}))
    assert imported(tmp_path, [chatgpt(prompt, current="q")]).left_out == {"unknown": 2}


# The commands


def test_list_search_and_export(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = fill(2)
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [new.id, old.id]
    assert "How many r's are in strawberry?" in lines[0]
    assert main(["list", "--json"]) == 0
    assert [found["id"] for found in json.loads(capsys.readouterr().out)] == [new.id, old.id]
    assert main(["search", "DROP", "TABLE"]) == 0
    assert "DROP TABLE" in (found := capsys.readouterr().out) and "\x1b" not in found and "\u202e" not in found
    assert main(["search", "--json", "There are"]) == 0
    assert {hit["node"] for hit in json.loads(capsys.readouterr().out)} <= old.nodes.keys() | new.nodes.keys()
    assert main(["export"]) == 0
    assert capsys.readouterr().out == to_markdown(new)
    assert main(["export", old.id[:10]]) == 0
    assert capsys.readouterr().out == to_markdown(old)
    assert main(["export", "--all", "--format", "json"]) == 0
    assert capsys.readouterr().out == to_json([new, old])


def test_what_is_exported_is_imported_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = fill(2)
    main(["export", "--all", "--format", "json"])
    (file := tmp_path / "all.json").write_text(capsys.readouterr().out)
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(tmp_path / "elsewhere"))
    assert main(["import", str(file)]) == 0
    assert capsys.readouterr().out == "imported 2 conversations with 12 prompts and answers\n"
    assert main(["import", str(file)]) == 0
    assert "2 were here already" in capsys.readouterr().out
    store = Store(conversations_file())
    assert sorted(map(repr, map(shape, [present(store.load(tree.id)) for tree in trees]))) == sorted(
        map(repr, map(shape, trees))
    )
    store.close()


def test_import_reads_standard_input_and_names_what_it_could_not_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = chatgpt(entry("q", None, "user", text("hi")), current="q")
    data = json.dumps([good, {"title": "Half\x1b one"}, None]).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["import", "-"]) == 0
    said = 'imported 1 conversation with 1 prompt or answer; 2 could not be read: "Half\u241b one"\n'
    assert capsys.readouterr().out == said
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"no")))
    assert main(["import", "-"]) == 1
    assert "standard input is not JSON" in capsys.readouterr().err


def test_a_title_without_end_is_cut_in_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    tree = branched()
    tree.rename("long " * 4000)
    store = Store(conversations_file())
    store.insert(tree)
    store.close()
    for arguments in (["list"], ["search", "long"]):
        assert main(arguments) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(tree.id) and line.endswith("\u2026") and len(line) < 160


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["list"], 0, "no conversations yet"),
        (["search", "nothing"], 0, "nothing was found"),
        (["export"], 1, "no conversations yet"),
        (["import", "/nowhere.json"], 1, "can't be read"),
    ],
)
def test_an_empty_store_says_so(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str) -> None:
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == "" and said in captured.err


def test_ids_that_fit_nothing_or_too_much(capsys: pytest.CaptureFixture[str]) -> None:
    trees = fill(3)
    for arguments, said in (
        (["export", "zz"], "no conversation has the id"),
        (["export", ""], "3 ids begin with"),
        (["export", trees[0].id, "--all"], "not both"),
    ):
        assert main(arguments) == 1
        assert said in capsys.readouterr().err


def test_a_home_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(tmp_path / "file"))
    for arguments in (["list"], ["import", str(tmp_path / "file")]):
        assert main(arguments) == 1
        assert "is a file, not a folder" in capsys.readouterr().err


def test_an_empty_home_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    home.mkdir(exist_ok=True)
    monkeypatch.setattr("app.store.database.os.open", refuse)
    assert main(["list"]) == 0
    assert "there are no conversations yet" in capsys.readouterr().err
    assert main(["import", "-"]) == 1
    assert "can't be written: Permission denied" in capsys.readouterr().err
