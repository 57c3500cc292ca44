"""The files of an export: folders, archives, encodings, what is cut off, what is no export, what has no end."""

import errno
import gzip
import io
import json
import os
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import main
from app.store.exchange import json_items
from app.store.exchange.importing import read
from app.store.exchange.json_items import JsonError, JsonItems
from app.store.exchange.result import ImportResult
from tests.fixtures.exports import taken, turns, written


def chat(number: int = 0, **more: Any) -> dict[str, Any]:
    """A conversation of a ChatGPT export."""
    return turns(f"Question {number}", "Answer", id=str(number), **more)


def refused(path: Path) -> str:
    """The sentence about a file from which nothing is imported."""
    result = ImportResult()
    assert not list(read(path, result)) and len(result.failures) == 1
    assert result.failures[0].isprintable() and result.failures[0].endswith("; nothing was imported")
    return result.failures[0]


def archive(path: Path, members: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip archive."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


# One file


@pytest.mark.parametrize(
    "data",
    [
        chat(),
        [chat()],
        {"conversations": [chat()]},
        {"exported": 1, "conversations": [chat()], "version": 7},
        [chat(), {"title": "x"}],
    ],
)
def test_a_list_one_conversation_and_a_wrapped_list(tmp_path: Path, data: object) -> None:
    assert len(taken([written(tmp_path, data)]).imported) == 1


def test_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    file.write_text("\n".join(json.dumps(chat(number)) for number in range(3)) + "\n")
    assert len(taken([file]).imported) == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_encodings_that_json_may_have(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "chats.json"
    file.write_text(json.dumps([chat(title="Größe")], ensure_ascii=False), encoding=encoding)
    (tree,) = read(file, ImportResult())
    assert tree.title == "Größe"


def test_what_was_read_before_the_damage_is_kept(tmp_path: Path) -> None:
    file = written(tmp_path, [chat(number) for number in range(3)])
    whole = file.read_text()
    at = whole.index("Question 2") + len("Question 2")
    for damaged, said in (
        (whole[:at], "it ends in the middle"),
        (whole[: at + 1] + "}" + whole[at + 1 :], "at character"),
        (whole[:at] + "\xff" + whole[at:], "it has bytes that are not UTF-8"),
        (whole + "]", "at character"),
    ):
        file.write_text(damaged, encoding="latin-1")
        result = ImportResult()
        read_before = len(list(read(file, result)))
        assert read_before == (3 if damaged == whole + "]" else 2)
        assert "can't be read to its end" in result.failures[0] and said in result.failures[0]
        assert f"; {read_before} conversations were read before" in result.failures[0]


def test_a_conversation_that_is_nested_too_deeply_costs_that_conversation(tmp_path: Path) -> None:
    file = written(tmp_path, [chat(0), "deep", chat(1)])
    whole = file.read_text()
    for padding in (0, 20_000):  # where in the text a piece that is read ends
        text = "[" * padding + '\\"'
        deep = f'{{"a": "{text}", "b": {"[" * 20_000}{{"c": "{text}"}}{"]" * 20_000}}}'
        file.write_text(whole.replace('"deep"', deep))
        result = ImportResult()
        assert len(list(read(file, result))) == 2 and result.unreadable == 1 and not result.failures


OTHER_FILES: list[tuple[bytes, str]] = [
    (b"", "not JSON (it is empty)"),
    (b" \n", "not JSON (it is empty)"),
    (b"\xff\xfe", "not JSON (it is empty)"),
    (b"[" * 100_000, "not JSON"),
    (b"%PDF-1.7\n%\xe2", "it is a PDF document"),
    (b"\n%PDF-1.7\n%\xe2", "it is a PDF document"),
    (gzip.compress(b"[]"), "packed with gzip"),
    (b"SQLite format 3\0", "it is a database"),
    (b"<!doctype html><title>chat</title>", "in conversations.json"),
    (bytes(10_000), "not JSON"),
    (random.Random(1).randbytes(100_000), "not JSON"),
    (b"\xe9t\xe9", "not JSON"),
    (b"# A diary\n\nToday", "not JSON"),
    (b'{"a": 1}', "neither an export"),
    (b"[1]", "neither an export"),
    (b"3", "neither an export"),
    (b'{"format": "gptoss-chat", "version": 99, "conversations": [{}]}', "an export of version '99'"),
    (b'{"format": "gptoss-chat", "version": 99}', "an export of version '99'"),
    (b'{"name": "x", "messages": [], "tokenCount": 1}', "LM Studio"),
    (b'[{"id": "x", "user_id": "y", "title": "t", "chat": {"history": {}}}]', "Open WebUI"),
    (b'[{"role": "user", "content": "hi"}]', "a list of messages (role, content)"),
    (b'{"messages": [{"role": "user", "content": "hi"}]}', "another program"),
    (b'[{"header": "Gemini Apps", "title": "t", "products": []}]', "Takeout"),
    (b'{"id": "user-x", "email": "a@b.c", "phone_number": null}', "take its conversations.json"),
]


@pytest.mark.parametrize(("data", "said"), OTHER_FILES, ids=[said for _, said in OTHER_FILES])
def test_other_files_are_named(tmp_path: Path, data: bytes, said: str) -> None:
    (file := tmp_path / "x.json").write_bytes(data)
    assert said in refused(file)


def test_an_empty_list_is_no_failure(tmp_path: Path) -> None:
    assert taken([written(tmp_path, [])]) == ImportResult()


def test_conversations_without_text_are_counted(tmp_path: Path) -> None:
    assert taken([written(tmp_path, [turns(), chat()])]).summary().endswith("; 1 had no text")


# What is no ordinary file


def test_a_disk_that_fails_at_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("app.store.exchange.sources.os.fdopen", lambda *_: Failing())
    (tmp_path / "x.json").write_text("[]")
    assert refused(tmp_path / "x.json").endswith("x.json can't be read: Input/output error; nothing was imported")


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, said in (
        ("pipe", "not an ordinary file (gptoss-chat import - reads standard input)"),
        ("zero", "not an ordinary file"),
        ("a", "symbolic links"),
        ("none", "No such file"),
        ("x\0y", "null byte"),
        ("\udcff\x1b", "No such file"),
    ):
        assert said in refused(tmp_path / name)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**12)
    assert "not JSON" in refused(tmp_path / "sparse")


def test_what_comes_without_end_through_a_pipe_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        def readinto(self, buffer: Any) -> int:
            buffer[:] = b" " * len(buffer)
            return len(buffer)

        def readable(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    monkeypatch.setattr(json_items, "MOST_SPACE", 100_000)
    assert main(["import", "-"]) == 1
    monkeypatch.setattr("sys.stdin", None)
    assert main(["import", "-"]) == 1


def test_limits_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = written(tmp_path, [chat(), turns("x" * 500_000)], "large.json")
    endless = written(tmp_path, {"title": "x" * 100_000, "a": "x" * 100_000, "conversations": [chat()]}, "head.json")
    monkeypatch.setattr(json_items, "MOST_ITEM", 150_000)
    result = ImportResult()
    assert len(list(read(large, result))) == 1 and "one item has more than" in result.failures[0]
    assert "one item has more than" in refused(endless)
    monkeypatch.setattr(json_items, "MOST_BYTES", 1000)
    assert "GB" in refused(large)


def test_memory_is_that_of_a_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_items, "CHUNK", 1 << 14)
    conversation = json.dumps(turns(*["word " * 800] * 10))
    file = tmp_path / "conversations.json"
    with file.open("w") as out:
        out.write("[" + ",".join([conversation] * 100) + "]")
    tracemalloc.start()
    for number, _ in enumerate(read(file, ImportResult())):
        if not number:
            tracemalloc.reset_peak()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 99 and peak < 15 * len(conversation) < file.stat().st_size / 5


# Folders and archives


def test_shards_in_a_folder_below_others(tmp_path: Path) -> None:
    for number in range(12):
        written(tmp_path / "a" / "b", [chat(number)], f"conversations-{number:03}.json")
    written(tmp_path, [{"id": "user-x", "email": "a@b.c", "phone_number": None}], "user.json")
    written(tmp_path, {"files": []}, "export_manifest.json")
    (tmp_path / "chat.html").write_text("<html>")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    result = taken([tmp_path])
    assert len(result.imported) == 12 and not result.failures


def test_a_folder_of_exports_with_other_names(tmp_path: Path) -> None:
    written(tmp_path, [chat(1)], "old.json")
    written(tmp_path, chat(2), "new.JSON")
    (tmp_path / "notes.txt").write_text("x")
    assert len(taken([tmp_path]).imported) == 2


def test_one_broken_file_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(8):
        written(tmp_path, [chat(number)], f"conversations-{number}.json")
    os.mkfifo(tmp_path / "conversations-8.json")
    (tmp_path / "conversations-9.json").symlink_to("/dev/zero")
    for number in range(3):
        (tmp_path / f"conversations-{number}.json").write_text("[")
    assert main(["import", str(tmp_path), str(tmp_path / "none")]) == 1
    captured = capsys.readouterr()
    assert captured.out == "imported 5 conversations with 10 prompts and answers\n"
    assert len(lines := captured.err.splitlines()) == 4 and lines[-1] == "gptoss-chat: 3 more files can't be read"


def test_a_folder_without_conversations(tmp_path: Path) -> None:
    assert refused(tmp_path).endswith("holds no conversations.json; nothing was imported")
    (tmp_path / "export.zip").write_bytes(b"")
    assert "give the names of its archives" in refused(tmp_path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive(tmp_path: Path, compression: int) -> None:
    members: dict[str, str | bytes] = {
        "My export/conversations-000.json": json.dumps([chat(0)]),
        "My export/conversations-001.json": json.dumps([chat(1)]),
        "../../conversations.json": json.dumps([chat(2)]),
        "__MACOSX/My export/._conversations-000.json": b"\0\x05\x16\x07",
        "My export/user.json": "{}",
    }
    result = taken([archive(tmp_path / "export", members, compression)])
    assert len(result.imported) == 3 and not result.failures
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["export"]


def with_password(data: bytearray) -> None:
    """Say of the first member that it is encrypted."""
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(signature) + at] |= 1


def with_unknown_packing(data: bytearray) -> None:
    """Say of the first member that it is packed in a way of the future."""
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.find(signature) + at] = 99


def with_other_bytes(data: bytearray) -> None:
    """Damage the first member."""
    data[80:90] = b"\xff" * 10


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (with_password, "password"),
        (with_unknown_packing, "compression"),
        (with_other_bytes, "can't be read"),
    ],
)
def test_a_member_that_cannot_be_read(tmp_path: Path, damage: Callable[[bytearray], None], said: str) -> None:
    members: dict[str, str | bytes] = {f"conversations-{n}.json": json.dumps([chat(n)]) for n in range(2)}
    data = bytearray(archive(path := tmp_path / "export.zip", members).read_bytes())
    damage(data)
    path.write_bytes(data)
    result = taken([path])
    assert len(result.imported) == 1 and said in result.failures[0] and len(result.failures) == 1


def test_archives_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "export.zip", {"conversations.json": json.dumps([chat()] * 20)})
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert "a damaged zip archive" in refused(path)
    assert "holds no conversations.json" in refused(archive(path, {"a.pdf": "x"}))
    assert "holds no conversations.json" in refused(archive(path, {}))
    monkeypatch.setattr("app.store.exchange.sources.SMALL", 1000)
    assert "would expand from" in refused(archive(path, {"conversations.json": b" " * 1_000_000}))
    monkeypatch.setattr("app.store.exchange.sources.MOST_FILES", 3)
    assert "more than 3 JSON files" in refused(archive(path, {f"{n}.json": "[]" for n in range(4)}))
    monkeypatch.setattr("app.store.exchange.sources.MOST_LOOKED_AT", 3)
    assert "more than 3 files" in refused(archive(path, {f"{n}.txt": "[]" for n in range(4)}))
    for number in range(4):
        (tmp_path / str(number)).write_text("")
    assert "more than 3 files" in refused(tmp_path)


def test_an_archive_through_a_pipe_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"PK\x03\x04" + bytes(100))))
    assert main(["import", "-"]) == 1
    assert "a zip archive; give its name" in capsys.readouterr().err


def test_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", ""]) == 1
    assert "the name of a file is empty" in capsys.readouterr().err


# Items


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize(
    "text",
    [
        '[1, 23, -4.5e6, true, null, "a\\u00e9\\n\\"]", {"b": [1, {}]}, NaN, []]',
        ' {"x": 1, "conversations": [1, "\u00e9\U0001f600", {}], "y": {"z": 2}} ',
        '{"a": {"b": "\\ud83d\\ude00"}}\n{"c": 1}\n[2]\n3',
        "[]",
        "{}",
    ],
)
def test_items_are_the_same_however_the_file_comes(text: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_items, "CHUNK", chunk)
    items = JsonItems(io.BytesIO(text.encode()))
    found = list(items)
    if text.startswith("["):
        assert repr(found) == repr(json.loads(text))
    elif "conversations" in text:
        assert found == [1, "\u00e9\U0001f600", {}] and items.fields == {"x": 1, "y": {"z": 2}}
    elif text == "{}":
        assert found == [{}]
    else:
        assert found == [{"a": {"b": "\U0001f600"}}, {"c": 1}, 2, 3]


@pytest.mark.parametrize("chunk", [1, 5, 64])
@pytest.mark.parametrize(
    "text", ["[1", "[1,", "[1 2]", "[,]", "[1,]", '{"a"', '{"a": 1', "{a: 1}", "{1: 2}", '["', "x", "[1]]"]
)
def test_what_is_not_json(text: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_items, "CHUNK", chunk)
    with pytest.raises(JsonError):
        list(JsonItems(io.BytesIO(text.encode())))
