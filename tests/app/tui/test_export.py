"""/export and /import: what is written where, what is never overwritten, what is said when it goes wrong."""

import asyncio
import json
import os
import resource
import signal
from pathlib import Path

import pytest

from app.chat.commands import EXPORT_FORMATS
from app.store.exchange.export import ExportError, file_name, to_json, to_markdown, write_new
from app.tui.parts.journal import Journal
from app.tui.parts.sharing import typed_path
from app.tui.text.palette_rows import matching
from app.tui.widgets.notice import Notice
from tests.app.store.test_trouble import execute
from tests.fixtures.exports import turns, written
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, idle, notified, opened, send, wait_until
from tests.fixtures.trees import branched, keep, same, stored, titled

WIDE = (120, 40)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, which is the home too."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def names_in(folder: Path) -> list[str]:
    """What stands in a folder."""
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Tax letter", "Tax letter"),
        ("../../etc/passwd", "etc-passwd"),
        ("-rf .hidden", "rf .hidden"),
        ('a/b\\c:d*e?f"g<h>i|j', "a-b-c-d-e-f-g-h-i-j"),
        ("\x1b]0;x\x07 \u202e", "\u241b]0;x\u2407"),
        ("Ends in dots\u2026", "Ends in dots"),
        ("...", "conversation"),
        ("", "conversation"),
        ("\U0001f353" * 200, "\U0001f353" * 60),
    ],
)
def test_a_title_becomes_a_safe_name(title: str, name: str) -> None:
    assert file_name(title) == name
    assert len(f"{name} 99.json".encode()) < 256


def test_nothing_is_overwritten(here: Path) -> None:
    (here / "T.md").write_text("first")
    (here / "T 2.md").symlink_to("nowhere")
    assert write_new("mine", "", "T", "md") == here / "T 3.md"
    with pytest.raises(ExportError, match=r"T\.md exists already and was not changed"):
        write_new("mine", "T.md", "T", "md")
    with pytest.raises(ExportError, match="exists already"):
        write_new("mine", "T 2.md", "T", "md")
    assert (here / "T.md").read_text() == "first" and not (here / "nowhere").exists()


def test_names_lead_where_the_person_means(here: Path) -> None:
    (here / "folder").mkdir()
    assert write_new("x", "~/of my own.md", "T", "md") == here / "of my own.md"
    assert write_new("x", "folder", "T", "json") == here / "folder" / "T.json"
    assert write_new("x", "folder/", "T", "json") == here / "folder" / "T 2.json"
    assert write_new("x", "folder/../up", "T", "md").resolve() == here / "up"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none/x.md", "none/x.md can't be written: the folder does not exist; nothing was written"),
        ("none/", "none/ can't be written: the folder does not exist"),
        ("file/x.md", "can't be written: Not a directory"),
        ("x" * 300, "can't be written: File name too long"),
        ("a\0b", "can't be written"),
        ("~nobody-of-this-name/x", "can't be written"),
    ],
)
def test_a_file_that_cannot_be_written_says_why(here: Path, name: str, message: str) -> None:
    (here / "file").touch()
    with pytest.raises(ExportError, match=message) as raised:
        write_new("x", name, "T", "md")
    assert "\n" not in str(raised.value) and names_in(here) == ["file"]


def test_a_read_only_folder_says_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)  # root may write everywhere
    with pytest.raises(ExportError, match="can't be written: Permission denied; nothing was written"):
        write_new("x", "", "T", "md")


def test_a_full_disk_leaves_no_half_a_file(here: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(ExportError, match="nothing was written"):
            write_new("x" * 100_000, "", "T", "md")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names_in(here) == []


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("notes.md", "notes.md"),
        ("my notes.md", "my notes.md"),
        ("my\\ notes\\ \\(2\\).md", "my notes (2).md"),
        ("'my notes.md'", "my notes.md"),
        ('"it\'s.md"', "it's.md"),
        ("it's.md", "it's.md"),
        ("~/x", "~/x"),
    ],
)
def test_a_name_that_a_terminal_has_quoted(typed: str, name: str) -> None:
    assert typed_path(typed) == name


async def test_export_writes_both_formats_and_says_where(here: Path) -> None:
    engine = FakeEngine()
    async with chat(engine, WIDE) as pilot:
        await idle(pilot)
        await send(pilot, "/export")
        await wait_until(pilot, lambda: notified(pilot, "There is no conversation to export yet."))
        await ask(pilot, engine, "[b]Tax/letter", "Dear sirs", analysis="hm")
        tree = app_of(pilot).conversation
        for command in ("/export", "/export", "/export json", "/export My Chat.JSON"):
            files = len(names_in(here))
            await send(pilot, command)
            await wait_until(pilot, lambda: len(names_in(here)) > files, command)  # noqa: B023
        assert (here / "[b]Tax-letter.md").read_text() == (here / "[b]Tax-letter 2.md").read_text() == to_markdown(tree)
        assert (here / "[b]Tax-letter.json").read_text() == (here / "My Chat.JSON").read_text() == to_json([tree])
        await wait_until(pilot, lambda: notified(pilot, f"Wrote {here / 'My Chat.JSON'}"))
        await send(pilot, "/export no/such.md")
        await wait_until(
            pilot,
            lambda: notified(pilot, "no/such.md can't be written: the folder does not exist; nothing was"),
        )
        (here / "folder").mkdir()
        for command, name in (
            ("notes", "notes.md"),
            ("folder/../~x", "~x.md"),
            ("folder", "folder/[b]Tax-letter.md"),
            ("v.1", "v.1"),
            ("letter.PDF", "letter.PDF.md"),
        ):
            await send(pilot, f"/export {command}")
            await wait_until(pilot, lambda: notified(pilot, f"Wrote {here / name}"), command)  # noqa: B023
            assert (here / name).read_text() == to_markdown(tree)
        names = [row.name for row in matching("export", lambda _: False, app_of(pilot).values_of)]
        assert names[:3] == ["export", *(f"export {format}" for format in EXPORT_FORMATS)]


async def test_what_was_exported_is_imported_and_stands_in_the_list(here: Path) -> None:
    tree = branched()
    (here / "old chats.json").write_text(to_json([tree, titled("Pears")]))
    keep(titled("Apples"))
    async with chat(FakeEngine(), WIDE) as pilot:
        await idle(pilot)
        await send(pilot, "/import old\\ chats.json")
        await wait_until(pilot, lambda: notified(pilot, "Imported 2 conversations with 8 prompts and answers."))
        assert not notified(pilot, "^B shows them.")
        await opened(pilot, "Pears")
        await send(pilot, "/import ~/old chats.json")
        await wait_until(
            pilot, lambda: notified(pilot, "Imported 0 conversations with 0 prompts and answers; 2 were here")
        )
        await pilot.press("ctrl+b")
        await send(pilot, "/import old\\ chats.json")
        await wait_until(pilot, lambda: notified(pilot, "2 were here already. ^B shows them."))
    assert len(stored()) == 3 and any(same(each, tree) or each.id == tree.id for each in stored())


async def test_several_files_and_what_is_wrong_with_them(here: Path) -> None:
    odd = [turns("Odd?", id="odd")]
    odd[0]["mapping"]["m0"]["message"]["content"]["parts"] += [{"content_type": None}]
    written(here, odd, "an odd one.json")
    written(here, [*({"title": "[b]x\x1b" * 9, "mapping": n} for n in range(5000)), turns("Pears?")], "export/a.json")
    async with chat(FakeEngine(), WIDE) as pilot:
        await idle(pilot)
        await send(pilot, "/import 'an odd one.json' export pipe")
        await wait_until(pilot, lambda: notified(pilot, "No such file"))
        os.mkfifo(here / "pipe")
        await send(pilot, "/import 'an odd one.json' export pipe")

        def said() -> str:
            return "\n".join(str(each.content) for each in pilot.app.query(Notice))

        await wait_until(pilot, lambda: "5000 could not be read; left out content that is not text: 1 un" in said())
        assert "Imported 2 conversations with 2 prompts and answers; " in said()
        assert "4997 more conversations could not be read." in said()
        assert "pipe is not an ordinary file" in said()
        assert len(said()) < 2000
    assert len(stored()) == 2


async def test_the_conversation_on_the_screen_shows_what_a_later_export_adds(here: Path) -> None:
    written(here, [turns("Trip?", "Museum.")], "old.json")
    written(here, [turns("Trip?", "Museum.", "And then?", "The lake.")], "new.json")
    async with chat(FakeEngine(), WIDE) as pilot:
        await idle(pilot)
        await send(pilot, "/import old.json")
        await opened(pilot, "T")
        await send(pilot, "/import new.json")
        await wait_until(pilot, lambda: notified(pilot, "Added 2 prompts and answers to 1 conversation that was here"))
        await wait_until(pilot, lambda: len(app_of(pilot).conversations.conversation.path) == 4)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/import", "/import FILE takes"),
        ("/import none.json", "No such file"),
        ("/import empty", "empty holds no conversations.json"),
        ("/import ~nobody-here/x", "can't be read"),
        ("/import pipe", "pipe is not an ordinary file"),
        ("/import broken.json", "is not JSON"),
        ("/import other.json", "neither an export"),
    ],
)
async def test_a_file_that_cannot_be_imported_says_why(here: Path, command: str, message: str) -> None:
    os.mkfifo(here / "pipe")
    (here / "empty").mkdir()
    (here / "broken.json").write_text("{")
    (here / "other.json").write_text(json.dumps({"format": "another"}))
    async with chat(FakeEngine(), WIDE) as pilot:
        await idle(pilot)
        await send(pilot, command)
        await wait_until(pilot, lambda: notified(pilot, message))
        assert pilot.app.is_running


async def test_a_disk_that_fills_up_says_how_much_was_imported(here: Path) -> None:
    (here / "chats.json").write_text(to_json([titled("small"), titled("large", 200, "word " * 500)]))
    async with chat(FakeEngine(), WIDE) as pilot:
        await idle(pilot)
        pages = "PRAGMA max_page_count = 100"
        await execute(app_of(pilot), pages)
        await send(pilot, "/import chats.json")
        await wait_until(pilot, lambda: notified(pilot, "the disk is full"))
        said = "; until then imported 1 conversation with 2 prompts and answers; import again to add the others."
        assert notified(pilot, said)
    assert [tree.title for tree in stored()] == ["small"]


async def test_quitting_in_the_middle_of_an_import_keeps_what_is_there(here: Path) -> None:
    (here / "chats.json").write_text(to_json(titled(f"chat {number}") for number in range(200)))
    journal = Journal(lambda text, level: None)
    await journal.open()
    importing = asyncio.create_task(journal.import_files([here / "chats.json"]))
    while not await journal.summaries():
        await asyncio.sleep(0)
    await journal.close()
    assert (await importing).summary().startswith("imported ")
    assert 0 < len(stored()) < 200 and all(len(tree.nodes) == 2 for tree in stored())
