"""The commands `list`, `search`, `export` and `import`, without a terminal."""

import io
import json
from pathlib import Path

import pytest

from app.chat.conversation import Conversation
from app.cli.main import main
from app.paths import conversations_file
from app.store.exchange.export import to_json, to_markdown
from app.store.store import Store
from tests.fixtures.exports import turns
from tests.fixtures.trees import branched, same, stored


def fill(count: int = 1) -> list[Conversation]:
    """Conversations in the store of this test."""
    store, trees = Store(conversations_file()), [branched() for _ in range(count)]
    for tree in trees:
        store.insert(tree)
    store.close()
    return trees


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
    assert all(any(same(each, tree) for each in stored()) for tree in trees)


def test_import_reads_standard_input_and_names_what_it_could_not_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = turns("hi")
    data = json.dumps([good, {"title": "Half\x1b one"}, None, {"title": "x", "nodes": []}]).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["import", "-"]) == 0
    out, err = capsys.readouterr()
    assert out == "imported 1 conversation with 1 prompt or answer; 3 could not be read\n"
    assert [line.removeprefix("gptoss-chat: ") for line in err.splitlines()] == [
        '"x" could not be read: "id" is missing',
        '"Half\u241b one" could not be read: it has no messages',
        '"(untitled)" could not be read: it has no messages',
    ]
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


def test_search_says_whose_words_were_found_and_a_title_only_where_nothing_else_was(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree,) = fill(1)
    found = f"{tree.title}: "

    def lines(*words: str) -> list[str]:
        assert main(["search", *words]) == 0
        return [line.split("  ", 2)[2].strip() for line in capsys.readouterr().out.splitlines()]

    assert lines("count") == [f"tool     {found}\u2026rawberry'.count('r')", f"thought  {found}let me count"]
    assert lines("How", "many") == [f"you      {found}{tree.title}"]  # and not the title again
    assert lines("three") == [f"answer   {found}\u2026ere are **three**."]
    tree.rename("Zucchini")
    store = Store(conversations_file())
    store.rename(tree.id, tree.title)
    store.close()
    assert lines("zucc") == ["title    Zucchini"]
    assert main(["search", "--json", "many"]) == 0
    assert [hit["role"] for hit in json.loads(capsys.readouterr().out)] == ["you"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert lines("zucc") == ["title    \x1b[1mZucc\x1b[0mhini"]
    monkeypatch.setenv("COLUMNS", "47")
    assert lines("hini") == ["title    Zucc\x1b[1mhi\x1b[0m"]  # cut where the terminal ends, the codes left out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in lines("zucc")[0]


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


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["search", "x"], ["export"]], ids=" ".join)
def test_a_damaged_database_is_not_taken_for_an_empty_one(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fill(1)
    conversations_file().write_bytes(b"no database" * 1000)
    assert main(command) == 1
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and "the file is damaged. It was kept as" in errors


def test_ids_that_fit_nothing_or_too_much(capsys: pytest.CaptureFixture[str]) -> None:
    trees = fill(3)
    for arguments, said in (
        (["export", "zz"], "no conversation has the id"),
        (["export", ""], "3 ids begin with"),
    ):
        assert main(arguments) == 1
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["export", trees[0].id, "--all"])
    assert ended.value.code == 2
    assert "not both" in capsys.readouterr().err


def test_a_home_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(tmp_path / "file"))
    for arguments in (["list"], ["import", str(tmp_path / "file")]):
        assert main(arguments) == 1
        assert "is a file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("is_there", [True, False])
def test_an_empty_home_that_cannot_be_written(
    is_there: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    if is_there:
        home.mkdir(exist_ok=True)
        monkeypatch.setattr("app.store.database.os.open", refuse)
    else:
        monkeypatch.setenv("GPTOSS_CHAT_HOME", str(home / "inner"))
        monkeypatch.setattr("app.store.database.Path.mkdir", refuse)
    assert main(["list"]) == 0
    assert "there are no conversations yet" in capsys.readouterr().err
    assert main(["import", "-"]) == 1
    assert "can't be written: Permission denied" in capsys.readouterr().err
