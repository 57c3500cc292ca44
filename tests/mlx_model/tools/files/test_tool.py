"""The four functions as the model calls them: what it reads, what a person reads, how much room it takes."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from mlx_model.harmony.message import Message, Role
from mlx_model.tools.base import ToolResult
from mlx_model.tools.files import Files
from mlx_model.tools.files.folder import FilesError
from mlx_model.tools.files.patch import parse
from mlx_model.tools.files.tool import INSTRUCTIONS
from mlx_model.tools.toolbox import Toolbox

PATCH = "*** Begin Patch\n*** Update File: src/a.py\n@@\n-two\n+TWO\n*** Add File: new.txt\n+n\n*** End Patch"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A folder with a file of 1,000 lines and a shorter one."""
    top = tmp_path / "project"
    (top / "src").mkdir(parents=True)
    (top / "src" / "a.py").write_text("one\ntwo\nthree\n")
    (top / "long.txt").write_text("".join(f"line {i}\n" for i in range(1, 1_001)))
    return Files(top, tmp_path / "undo")


def call(files: Files, recipient: str, content: Any, room: int = 4_000) -> ToolResult:
    """What comes of a message of the model's."""
    toolbox = Toolbox(files.tools)
    text = content if isinstance(content, str) else json.dumps(content)
    read = toolbox.read(Message(Role.ASSISTANT, text, None, "commentary", recipient))
    assert read is not None
    if read.error:
        return ToolResult(read.error, error=True)
    tool = toolbox.tool(read)
    assert tool is not None
    return asyncio.run(tool.run(read, lambda text: None, room))


def test_declared(files: Files) -> None:
    text = "\n".join(function.text() for function in Toolbox(files.tools).functions)
    assert text == (
        "// Reads a text file.\ntype read_file = (_: {\n// relative to the opened folder\npath: string,\n"
        "// where to begin, counted from 1\nfirst_line?: number, // default: 1\n// how many at most\n"
        "lines?: number, // default: 500\n}) => any;\n\n"
        "// Lists what is in a folder, or with a glob the files at any depth that fit it.\ntype list_files = (_: {\n"
        '// relative to the opened folder\npath?: string, // default: "."\n'
        '// such as *.py or src/**/*.md; what git ignores is left out\nglob?: string, // default: ""\n}) => any;\n\n'
        "// Finds the lines that contain a text, as it is. Case counts only if the text has a capital letter.\n"
        "type find_in_files = (_: {\n// what to look for; no regular expression\ntext: string,\n"
        "// the files to look into, such as *.py or src/**/*.md; what git ignores is left out\n"
        'glob?: string, // default: ""\n}) => any;\n\n'
        "// Changes files by a patch.\ntype apply_patch = (_: {\n// from *** Begin Patch to *** End Patch\n"
        "input: string,\n}) => any;\n"
    )


def test_the_instructions_show_a_patch_that_can_be_read(files: Files) -> None:
    assert 'opened the folder "project" for you' in files.instructions
    example = INSTRUCTIONS[INSTRUCTIONS.index("*** Begin Patch") : INSTRUCTIONS.index("\n\n- A section")]
    update, add, delete = parse(example)
    assert (update.moved_to, len(update.hunks[0].headers), add.added) == ("src/main.py", 2, ("# Notes",))
    assert delete.path == "obsolete.txt"


def test_reading(files: Files) -> None:
    result = call(files, "functions.read_file", {"path": "src/a.py"})
    assert result.text == "[src/a.py, lines 1-3 of 3]\none\ntwo\nthree"
    assert (result.outcome, result.error) == ("lines 1-3 of 3", False)
    result = call(files, "functions.read_file", {"path": "long.txt", "first_line": "998", "lines": 2})
    assert result.text == (
        "[long.txt, lines 998-999 of 1000]\nline 998\nline 999\n[1 more line: read_file with first_line=1000]"
    )
    assert call(files, "functions.read_file", {"path": "long.txt", "first_line": -5, "lines": 0}).outcome == (
        "lines 1-1 of 1000"
    )


@pytest.mark.parametrize("room", [1, 100, 500, 4_000])
def test_what_is_read_keeps_to_its_room_and_ends_with_a_whole_line(room: int, files: Files) -> None:
    text = call(files, "functions.read_file", {"path": "long.txt"}, room).text
    assert len(text) <= 4 * room or room == 1
    *_, last, more = text.split("\n")
    if room > 1:
        number = int(last.removeprefix("line "))
        assert more == f"[{1_000 - number} more lines: read_file with first_line={number + 1}]"
        assert number == 500 or len(text) > 4 * room - 350
    assert "left out" not in text or room == 1


def test_long_lines_and_empty_files(files: Files) -> None:
    (files.folder.path / "min.js").write_text("x" * 5_000 + "\ny\n")
    (files.folder.path / "empty").touch()
    text = call(files, "functions.read_file", {"path": "min.js"}).text
    assert text == f"[min.js, lines 1-2 of 2, long lines are cut]\n{'x' * 2_000}\ny"
    assert len(call(files, "functions.read_file", {"path": "min.js"}, 100).text) <= 400
    assert call(files, "functions.read_file", {"path": "empty"}).text == "[empty, empty]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "gone"}, "Error: gone is not there: look with list_files."),
        ({"path": "src"}, "Error: src is a folder."),
        ({"path": "src/a.py", "first_line": 4}, "Error: src/a.py has 3 lines, so that none is left from 4 on."),
        ({"path": "../undo"}, "Error: '../undo' is outside of the opened folder: give a path relative to it"),
        ({"path": "src/a.py", "offset": 4}, "Error: there is no argument offset, only: path, first_line, lines."),
        ({"path": "src/a.py", "room": 4}, "Error: there is no argument room, only: path, first_line, lines."),
    ],
)
def test_errors_are_worded_for_the_model(arguments: dict[str, Any], message: str, files: Files) -> None:
    result = call(files, "functions.read_file", arguments)
    assert result.error
    assert result.text.startswith(message)


def test_listing(files: Files) -> None:
    (files.folder.path / "link").symlink_to("src")
    result = call(files, "functions.list_files", {})
    assert result.text == "link (a link or device, which can't be opened)\nlong.txt 8,893 bytes\nsrc/"
    assert result.outcome == "3 entries"
    assert call(files, "functions.list_files", {"path": "src"}).text == "src/a.py 14 bytes"
    assert call(files, "functions.list_files", {"path": ".", "glob": "*.py"}).text == "src/a.py 14 bytes"
    assert call(files, "functions.list_files", {"glob": "*.rs"}).text == "There is none."
    many = files.folder.path / "many"
    many.mkdir()
    for i in range(501):
        (many / f"{i:03}").touch()
    result = call(files, "functions.list_files", {"path": "many"})
    assert result.text.endswith("many/499 0 bytes\n[There is more than these. Give a folder or a narrower glob.]")
    assert result.outcome == "the first 500 entries"


def test_finding(files: Files) -> None:
    result = call(files, "functions.find_in_files", {"text": "TWO"})
    assert result.text == "There is none."
    result = call(files, "functions.find_in_files", {"text": "two"})
    assert (result.text, result.outcome) == ("src/a.py:2: two", "1 line")
    result = call(files, "functions.find_in_files", {"text": "line", "glob": "*.txt"}, 200)
    assert result.text.startswith("long.txt:1: line 1\nlong.txt:2: line 2\n")
    assert result.text.endswith("\n[There is more than these. Look for a longer text, or with a narrower glob.]")
    (files.folder.path / "wide").write_text("a" * 900 + "needle" + "b" * 900)
    text = call(files, "functions.find_in_files", {"text": "needle"}).text
    assert len(text) < 250
    assert "aneedleb" in text
    (files.folder.path / "wide").write_text("Needle" + "b" * 900)
    assert call(files, "functions.find_in_files", {"text": "needle"}).text == f"wide:1: ...Needle{'b' * 194}..."
    assert call(files, "functions.find_in_files", {"text": " "}).text == "Error: There is no text to look for."


@pytest.mark.parametrize(
    ("recipient", "content"),
    [
        ("functions.apply_patch", {"input": PATCH}),
        ("apply_patch", PATCH),
        ("functions.apply_patch", f"```\n{PATCH}\n```"),
        ("functions.apply_patch", {"command": ["apply_patch", PATCH]}),
        ("functions.apply_patch", ["apply_patch", PATCH]),
        ("functions.apply_patch", {"input": re.sub(r"^(\*\*\*.*)$", r"\1 ***", PATCH, flags=re.MULTILINE)}),
        ("container.exec", {"cmd": ["bash", "-lc", f"apply_patch <<'EOF'\n{PATCH}\nEOF"]}),
        ("functions.shell", {"command": ["apply_patch", PATCH]}),
    ],
)  # fmt: skip
def test_patches_as_models_send_them(recipient: str, content: Any, files: Files) -> None:
    result = call(files, recipient, content)
    assert result.text == "Done, 2 files changed:\nM src/a.py\nA new.txt"
    assert result.outcome == "2 files changed"
    assert result.files == (files.folder.path / "src" / "a.py", files.folder.path / "new.txt")
    assert (files.folder.path / "src" / "a.py").read_text() == "one\nTWO\nthree\n"
    assert files.undo() == f"The last patch is undone in {files.folder.path}: src/a.py, new.txt."
    assert (files.folder.path / "src" / "a.py").read_text() == "one\ntwo\nthree\n"
    assert not (files.folder.path / "new.txt").exists()


def test_a_patch_that_fails_says_why_and_changes_nothing(files: Files) -> None:
    result = call(files, "functions.apply_patch", {"input": PATCH.replace("-two", "-deux")})
    assert result.error
    assert result.text == (
        "Error: src/a.py has no place for line 4 of the patch, `-deux`. The file has no such line there. "
        "Read the file and send the patch again. Nothing was changed."
    )
    assert not (files.folder.path / "new.txt").exists()
    assert call(files, "functions.apply_patch", {"input": "s/two/TWO/"}).text.startswith(
        "Error: There is no patch in it."
    )
    with pytest.raises(FilesError, match="no patch to undo"):
        files.undo()


def test_what_was_planned_is_done_and_nothing_else(files: Files) -> None:
    """The person has seen the plan: what the file became meanwhile must not let another edit through."""
    path = files.folder.path / "src" / "a.py"
    assert "-two\n+TWO" in files.plan({"input": PATCH}).diff()
    path.write_text("zero\ntwo\n")
    assert "src/a.py has changed meanwhile" in call(files, "functions.apply_patch", {"input": PATCH}).text
    assert path.read_text() == "zero\ntwo\n"
    path.write_text("one\n")
    with pytest.raises(FilesError, match="has no place"):
        files.plan({"input": PATCH})
    path.write_text("two\n")
    assert "has no place" in call(files, "functions.apply_patch", {"input": PATCH}).text, "nobody saw what it would do"
    assert path.read_text() == "two\n"
    other = PATCH.replace("new.txt", "other.txt")
    files.plan({"input": PATCH})
    assert not call(files, "functions.apply_patch", {"input": other}).error
    assert not (files.folder.path / "new.txt").exists()


def test_the_model_is_told_once_that_its_patch_was_undone(files: Files) -> None:
    call(files, "functions.apply_patch", {"input": PATCH})
    files.undo()
    text = call(files, "functions.read_file", {"path": "src/a.py"}).text
    assert text.startswith(
        "[The user has undone your last patch: src/a.py, new.txt are as before it.]\n[src/a.py, lines"
    )
    assert call(files, "functions.read_file", {"path": "src/a.py"}).text.startswith("[src/a.py, lines")


def test_without_a_place_to_keep_them_patches_can_not_be_undone(files: Files) -> None:
    plain = Files(files.folder.path)
    assert not call(plain, "functions.apply_patch", {"input": PATCH}).error
    with pytest.raises(FilesError, match="not kept here"):
        plain.undo()
