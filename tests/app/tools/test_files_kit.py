"""The kit "files": which folders may be opened, what a call wants, what is put back."""

import json
from pathlib import Path

import pytest

from app.paths import conversations_file, kept_folder
from app.tools.files_kit import FilesKit, folder_to_open
from app.tools.permission import Decision, Wish, decide, rules_of
from mlx_model.errors import GptossError, RequestError
from mlx_model.harmony.calls import ToolCall

PATCH = "*** Begin Patch\n*** Update File: a.txt\n@@\n-one\n+two\n*** End Patch"


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a person with a project."""
    home = tmp_path / "homes" / "ann"
    (home / "project" / ".git").mkdir(parents=True)
    (home / "project" / "a.txt").write_text("one\n")
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def kit(person: Path) -> FilesKit:
    return FilesKit(folder_to_open("~/project"), kept_folder("c1"))


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(f"functions.{name}", json.dumps(arguments), arguments=arguments)


async def run(kit: FilesKit, of: ToolCall) -> str:
    tool = next(tool for tool in kit.tools if of.name.endswith(tool.name))
    return (await tool.run(of, lambda text: None)).text


def test_a_folder_is_opened_by_its_name_in_full(person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (person / "link").symlink_to("project")
    monkeypatch.chdir(person)
    for text in ("~/project", " ~/project/ ", "project", "./link", str(person / "project"), "~/project/../link"):
        assert folder_to_open(text) == person / "project"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/", "^/ is too much to open: name a folder in your home"),
        ("~", "ann is too much to open"),
        ("~/..", "homes is too much to open"),
        ("~/project/..", "ann is too much to open"),
        ("~/gone", "~/gone can't be opened: No such file"),
        ("~nobody-here/x", "can't be opened: this computer has no home for ~nobody-here"),
        ("~/project/a.txt", "a.txt is a file: name the folder it is in"),
        ("~/project/.git", "project/.git belongs to git"),
        ("a\0b", "can't be opened"),
        (" ", "name the folder to open"),
    ],
)
def test_folders_that_are_not_opened(text: str, message: str, person: Path) -> None:
    with pytest.raises(RequestError, match=message) as error:
        folder_to_open(text)
    assert "\n" not in str(error.value)


def test_the_program_s_own_files_are_not_opened(person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings say what the model may do."""
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(person / "data" / "chat"))
    data = conversations_file().parent
    (data.parent / "other").mkdir(parents=True)
    for folder in (data.parent, data, data / "kept"):
        folder.mkdir(exist_ok=True)
        with pytest.raises(RequestError, match="has files of this program"):
            folder_to_open(str(folder))
    assert folder_to_open(str(data.parent / "other"))


async def test_reading_needs_no_permission_and_changes_are_asked_for_with_their_diff(kit: FilesKit) -> None:
    assert (kit.tools, kit.instructions) == ((), "")
    await kit.prepare()
    assert kit.trouble == ""
    assert 'the folder "project"' in kit.instructions
    reading = await kit.wish(call("read_file", path="a.txt"))
    assert reading == Wish(
        (f"files.read {kit.folder}", "files.read", "files"), Decision.ALLOW, "a rule says so", '{"path": "a.txt"}'
    )
    writing = await kit.wish(call("apply_patch", input=PATCH))
    assert writing == Wish(
        (f"files.write {kit.folder}", "files.write", "files"), Decision.ASK, f"it changes files in {kit.folder}",
        "--- a/a.txt\n+++ b/a.txt\n@@ -1,1 +1,1 @@\n-one\n+two",
    )  # fmt: skip
    assert decide(rules_of({f"files.write {kit.folder}": "allow"}), writing)[0] is Decision.ALLOW
    assert decide(rules_of({"files.write": "deny"}), writing)[0] is Decision.DENY
    assert decide(rules_of({"files.write": "deny"}), reading)[0] is Decision.ALLOW
    assert (kit.folder / "a.txt").read_text() == "one\n", "nothing was done yet"


async def test_a_patch_that_can_not_be_applied_asks_nobody_and_does_nothing(kit: FilesKit) -> None:
    await kit.prepare()
    wrong = call("apply_patch", input=PATCH.replace("-one", "-three"))
    assert (await kit.wish(wrong)).default is Decision.ALLOW
    (kit.folder / "a.txt").write_text("three\n")  # now it could be, but nobody was asked
    assert "has no place for line 4" in await run(kit, wrong)
    assert (await kit.wish(call("apply_patch", patch=3))).default is Decision.ALLOW
    assert "There is no patch in it" in await run(kit, call("apply_patch", patch=3))
    assert (kit.folder / "a.txt").read_text() == "three\n"


async def test_a_patch_is_undone_also_after_a_restart(kit: FilesKit) -> None:
    await kit.prepare()
    change = call("apply_patch", command=["apply_patch", PATCH])
    assert (await kit.wish(change)).default is Decision.ASK
    assert await run(kit, change) == "Done, 1 file changed:\nM a.txt"
    await kit.close()
    again = FilesKit(kit.folder, kept_folder("c1"))
    assert again.undo() == f"The last patch is undone in {kit.folder}: a.txt."
    assert (kit.folder / "a.txt").read_text() == "one\n"
    with pytest.raises(GptossError, match="There is no patch to undo in this conversation"):
        again.undo()
    with pytest.raises(GptossError, match="There is no patch to undo"):
        FilesKit(kit.folder, kept_folder("c2")).undo()


async def test_a_folder_that_is_gone_is_said_and_may_come_back(kit: FilesKit, person: Path) -> None:
    (person / "project").rename(person / "away")
    await kit.prepare()
    assert kit.trouble == f"The folder {kit.folder} can't be opened: No such file or directory. {RESTART}"
    assert (kit.tools, kit.instructions) == ((), "")
    (person / "away").rename(person / "project")
    await kit.prepare()
    assert kit.trouble == ""
    tools = kit.tools
    (person / "project").rename(person / "away")
    await kit.prepare()
    assert kit.trouble == f"{kit.folder}: no such file or directory. {RESTART}"
    (person / "away").rename(person / "project")
    await kit.prepare()
    assert (kit.trouble, kit.tools) == ("", tools)


RESTART = "Open another with /tools files FOLDER."
