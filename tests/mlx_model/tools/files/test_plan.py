"""Patches applied to files: what is planned is what happens, all of it or nothing, and it can be undone."""

import difflib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.tools.files import folder as folder_module
from mlx_model.tools.files import plan as plan_module
from mlx_model.tools.files import undo as undo_module
from mlx_model.tools.files.folder import Content, FilesError, Folder
from mlx_model.tools.files.lines import Lines
from mlx_model.tools.files.plan import HalfDoneError, Plan, apply, plan
from mlx_model.tools.files.undo import MOST_KEPT, Undo

# Lines that could be taken for something else: signs, markers, ends of lines, what a tolerant search mixes up.
LINES = st.lists(
    st.sampled_from(["", " ", "a", " a", "a ", "\ta", "+a", "-a", "@@", "@@ a", "*** End Patch", "*** End of File",
                     "\\ No", "--- a", "\x0c", "\u2028", "\x85", "\u2013", "-", "\u201c\"", "é", "e\u0301"]),
    max_size=12,
)  # fmt: skip
ENDINGS = st.sampled_from(["\n", "\r\n"])


def tree(top: Path) -> dict[str, tuple[bytes, int] | None]:
    """All files with their modes, and folders."""
    return {
        str(path.relative_to(top)): None if path.is_dir() else (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in sorted(top.rglob("*"))
    }


def patch(*sections: str) -> str:
    return "\n".join(["*** Begin Patch", *sections, "*** End Patch"])


def hunks(old: Sequence[str], new: Sequence[str], context: int) -> list[str]:
    """The hunks from one text to another, each with lines around it."""
    found: list[str] = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(context):
        found.append("@@")
        for kind, a, b, c, d in group:
            found += [f" {line}" for line in old[a:b]] if kind == "equal" else []
            found += [f"-{line}" for line in old[a:b]] if kind != "equal" else []
            found += [f"+{line}" for line in new[c:d]] if kind != "equal" else []
    return found


def after(old: Sequence[str], diff: str) -> list[str]:
    """What a unified diff makes of lines: the reader's side of it, which trusts its numbers alone."""
    new: list[str] = []
    at = 0
    for line in diff.split("\n")[2:]:
        if numbers := re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", line):
            start = int(numbers[1]) - (int(numbers[2]) > 0)
            new += old[at:start]
            at = start
            assert len(new) == int(numbers[3]) - (int(numbers[4]) > 0)
        elif line.startswith("+"):
            new.append(line[1:])
        elif not line.startswith("\\ No newline"):
            assert old[at] == line[1:]
            new += [line[1:]] if line[0] == " " else []
            at += 1
    return [*new, *old[at:]]


@settings(max_examples=40)
@given(LINES, LINES, ENDINGS, st.booleans(), st.booleans(), st.booleans())
def test_any_edit_is_made_shown_and_undone(
    old: list[str], new: list[str], ending: str, is_ended: bool, has_mark: bool, is_unique: bool
) -> None:
    if is_unique:  # the lines around are enough then, else all of the file has to be the context
        old, new = ([f"{i} {line}" for i, line in enumerate(lines)] for lines in (old, new))
    text = ending.join(old) + (ending if is_ended and old else "")
    before = (b"\xef\xbb\xbf" if has_mark else b"") + text.encode()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name, "top")
        top.mkdir()
        (top / "file").write_bytes(before)
        (top / "file").chmod(0o640)
        shown = Lines.of(before, "file").texts
        # An empty line at the end of a file without a newline there is that newline.
        is_shorter = new and not new[-1] and shown and not text.endswith("\n")
        expected = new[:-1] if is_shorter else new
        folder, undo, was = Folder(top), Undo(Path(name, "undo")), tree(top)
        if shown == new:
            return
        changes = plan(folder, patch("*** Update File: file", *hunks(shown, new, 3 if is_unique else 99)))
        assert tree(top) == was, "planning writes nothing"
        assert after(shown, changes.diff()) == expected
        undo.apply(folder, changes)
        lines = Lines.of((top / "file").read_bytes(), "file")
        assert lines.texts == expected
        assert lines.has_mark == has_mark
        assert {line.ending for line in lines.lines[:-1]} <= {ending if "\n" in text else "\n"}
        if new and shown and not is_shorter:
            assert (lines.lines[-1].ending != "") == (Lines.of(before, "").lines[-1].ending != "")
        assert stat.S_IMODE((top / "file").stat().st_mode) == 0o640
        undo.put_back(folder)
        assert tree(top) == was


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder with some files."""
    top = tmp_path / "top"
    (top / "src").mkdir(parents=True)
    (top / "src" / "app.py").write_text("import os\n\ndef f():\n    return 1\n")
    (top / "src" / "app.py").chmod(0o755)
    (top / "old.txt").write_text("x\ny")
    (top / "logo.png").write_bytes(b"\x89PNG\0\xff")
    return top


SECTIONS = (
    "*** Add File: new/deep/er.txt\n+Hello",
    "*** Add File: empty",
    "*** Update File: src/app.py\n*** Move to: bin/main.py\n@@ def f():\n-    return 1\n+    return 2",
    "*** Update File: bin/main.py\n@@\n-import os\n+import sys",
    "*** Delete File: old.txt",
    "*** Update File: logo.png\n*** Move to: new/logo.png",
)

DIFF = """--- /dev/null
+++ b/new/deep/er.txt
@@ -0,0 +1,1 @@
+Hello
--- /dev/null
+++ b/empty
rename from src/app.py
rename to bin/main.py
--- a/src/app.py
+++ b/bin/main.py
@@ -1,4 +1,4 @@
-import os
+import sys
{a blank line}
 def f():
-    return 1
+    return 2
--- a/old.txt
+++ /dev/null
@@ -1,2 +0,0 @@
-x
-y
\\ No newline at end of file
rename from logo.png
rename to new/logo.png""".replace("{a blank line}", " ")


def test_every_kind_of_section(top: Path, tmp_path: Path) -> None:
    (top / "new").mkdir()
    folder, undo, was = Folder(top), Undo(tmp_path / "undo"), tree(top)
    changes = plan(folder, patch(*SECTIONS))
    assert changes.made == ("bin", "new/deep")
    assert changes.diff() == DIFF
    assert changes.summary() == [
        "A new/deep/er.txt", "A empty", "R src/app.py -> bin/main.py", "D old.txt", "R logo.png -> new/logo.png"
    ]  # fmt: skip
    undo.apply(folder, changes)
    now = tree(top)
    new = os.umask(0)
    os.umask(new)
    assert now == {
        "bin": None, "bin/main.py": (b"import sys\n\ndef f():\n    return 2\n", 0o755), "empty": (b"", 0o666 & ~new),
        "new": None, "new/deep": None, "new/deep/er.txt": (b"Hello\n", 0o666 & ~new),
        "new/logo.png": (b"\x89PNG\0\xff", was["logo.png"][1]), "src": None,  # type: ignore[index]
    }  # fmt: skip
    assert sorted(undo.put_back(folder)) == sorted(change.path for change in changes.changes)
    assert tree(top) == was
    with pytest.raises(FilesError, match="no patch to undo"):
        undo.put_back(folder)


def test_a_file_is_replaced_by_another(top: Path) -> None:
    sections = ("*** Delete File: {0}", "*** Add File: {0}\n+new")
    changes = plan(Folder(top), patch(*(each.format(name) for name in ("src/app.py", "logo.png") for each in sections)))
    assert changes.summary() == ["M src/app.py", "M logo.png"]
    assert "-import os\n-\n-def f():\n-    return 1\n+new" in changes.diff()
    assert (
        "the binary file logo.png of 6 bytes is removed\n--- a/logo.png\n+++ b/logo.png\n@@ -0,0 +1,1 @@\n+new"
        in changes.diff()
    )
    apply(Folder(top), changes)
    assert (top / "src" / "app.py").read_text() == "new\n"
    assert os.access(top / "src" / "app.py", os.X_OK)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (["*** Add File: old.txt\n+a"], "old.txt is there already: change it with"),
        (["*** Delete File: gone"], "gone is not there: look with list_files"),
        (["*** Update File: old.txt\n*** Move to: logo.png"], "logo.png is there already, so old.txt can't be moved"),
        (["*** Update File: logo.png\n@@\n-a"], "logo.png is no text: it is a binary file of 6 bytes"),
        (["*** Update File: src\n@@\n-a"], "src is a folder"),
        (["*** Update File: old.txt\n@@\n-x\n+x"], "The patch changes nothing"),
        (["*** Delete File: old.txt", "*** Update File: old.txt\n@@\n-a"], "old.txt is not there"),
        (["*** Update File: old.txt\n@@\n-x", "*** Update File: link.txt\n@@\n-x"], "link.txt and old.txt are"),
        (["*** Delete File: read-only"], "read-only is read-only"),
        ([f"*** Add File: {i}" for i in range(101)], "100 files at most"),
        ([], "The patch changes nothing"),
    ],
)  # fmt: skip
def test_what_can_not_be_planned(top: Path, sections: list[str], message: str) -> None:
    (top / "link.txt").hardlink_to(top / "old.txt")
    (top / "read-only").touch(mode=0o444)
    was = tree(top)
    with pytest.raises(FilesError, match=message):
        plan(Folder(top), patch("*** Add File: first\n+a", *sections) if sections[1:] else patch(*sections))
    assert tree(top) == was


def touched(top: Path) -> None:
    (top / "old.txt").write_text("mine")


def made(top: Path) -> None:
    (top / "new" / "deep").mkdir(parents=True)
    (top / "new" / "deep" / "er.txt").write_text("mine")


def removed(top: Path) -> None:
    (top / "logo.png").unlink()


def linked(top: Path) -> None:
    (top / "new").symlink_to(top.parent)


def blocked(top: Path) -> None:
    (top / "bin").write_text("a file where a folder has to be")


@pytest.mark.parametrize("happens", [touched, made, removed, linked, blocked])
def test_nothing_is_written_if_a_file_has_changed_since_it_was_planned(
    happens: Callable[[Path], None], top: Path, tmp_path: Path
) -> None:
    folder, undo = Folder(top), Undo(tmp_path / "undo")
    changes = plan(folder, patch(*SECTIONS))
    happens(top)
    was = tree(top)
    with pytest.raises(FilesError, match="Nothing was changed"):
        undo.apply(folder, changes)
    assert tree(top) == was
    with pytest.raises(FilesError, match="no patch to undo"):
        undo.put_back(folder)


@pytest.mark.parametrize("function", ["stage", "put", "remove"])
@pytest.mark.parametrize("at", range(4))
def test_what_was_written_is_put_back_when_a_later_step_fails(
    function: str, at: int, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, was, real = Folder(top), tree(top), getattr(Folder, function)
    changes = plan(folder, patch(*SECTIONS))
    left = at

    def fails_once(self: Folder, *arguments: str | Content) -> object:
        nonlocal left
        left -= 1
        if left == -1:
            raise FilesError(f"{arguments[-1]}: no space left on device.")
        return real(self, *arguments)

    monkeypatch.setattr(folder_module.Folder, function, fails_once)
    if function == "remove" and at > 2:
        return  # three files go
    with pytest.raises(FilesError, match=r"no space left on device\. Nothing was changed"):
        apply(folder, changes)
    assert tree(top) == was


def test_what_can_not_be_put_back_is_named_and_can_be_undone_later(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, undo, was = Folder(top), Undo(tmp_path / "undo"), tree(top)
    changes = plan(folder, patch(*SECTIONS))

    def fails(self: Folder, path: str) -> None:
        raise FilesError(f"{path}: operation not permitted.")

    with monkeypatch.context() as broken:
        broken.setattr(folder_module.Folder, "remove", fails)
        with pytest.raises(HalfDoneError, match=r"bin/main.py, empty, new/deep/er.txt had been written and could not"):
            undo.apply(folder, changes)
    assert tree(top) != was
    undo.put_back(folder)
    assert tree(top) == was


def change(undo: Undo, folder: Folder, text: str) -> Plan:
    """Makes the last line of old.txt a text."""
    last = Lines.of((folder.path / "old.txt").read_bytes(), "").texts[-1]
    changes = plan(folder, patch(f"*** Update File: old.txt\n@@\n-{last}\n+{text}", f"*** Add File: {text}/new\n+a"))
    undo.apply(folder, changes)
    return changes


def test_patches_are_undone_one_by_one_also_by_another_start_of_the_program(top: Path, tmp_path: Path) -> None:
    folder, trees = Folder(top), [tree(top)]
    for i in range(3):
        change(Undo(tmp_path / "undo"), folder, str(i))
        trees.append(tree(top))
    for was in reversed(trees[:-1]):
        Undo(tmp_path / "undo").put_back(Folder(top))
        assert tree(top) == was


def test_the_last_patches_are_kept(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo_module, "MOST_KEPT", 2)
    assert MOST_KEPT > 2
    folder, undo = Folder(top), Undo(tmp_path / "undo")
    for i in range(5):
        change(undo, folder, str(i))
    assert sorted(path.name for path in (tmp_path / "undo").iterdir()) == ["0004", "0005"]
    assert stat.S_IMODE((tmp_path / "undo").stat().st_mode) == 0o700


def test_a_file_that_changed_since_keeps_everything_as_it_is(top: Path, tmp_path: Path) -> None:
    folder, undo = Folder(top), Undo(tmp_path / "undo")
    (tmp_path / "undo" / "0001" / "before" / "old.txt").mkdir(parents=True)  # given up halfway
    change(undo, folder, "z")
    (top / "old.txt").write_text("mine")
    was = tree(top)
    with pytest.raises(
        FilesError, match=r"Changed since the patch: old.txt\. Nothing was put back; .* in .*0001/before\.$"
    ):
        undo.put_back(folder)
    assert tree(top) == was
    assert (tmp_path / "undo" / "0001" / "before" / "old.txt").read_text() == "x\ny"
    (top / "old.txt").write_text("x\nz")
    undo.put_back(folder)
    assert (top / "old.txt").read_text() == "x\ny"


def test_a_patch_that_the_person_has_undone_by_hand(top: Path, tmp_path: Path) -> None:
    folder, undo = Folder(top), Undo(tmp_path / "undo")
    change(undo, folder, "z")
    (top / "old.txt").write_text("x\ny")
    (top / "z" / "new").unlink()
    assert undo.put_back(folder) == []
    assert not (top / "z").exists()


def test_what_is_kept_is_looked_at_before_it_is_used(top: Path, tmp_path: Path) -> None:
    folder, undo = Folder(top), Undo(tmp_path / "undo")
    change(undo, folder, "z")
    was, place = tree(top), tmp_path / "undo" / "0001"
    record = (place / "record.json").read_text()
    for damaged in ("{", "[]", record.replace("old.txt", "../old.txt"), record.replace('"made": [', '"made": [3')):
        (place / "record.json").write_text(damaged)
        with pytest.raises(FilesError, match=r"can't be undone|is outside of"):
            undo.put_back(folder)
    (place / "record.json").write_text(record)
    (place / "before" / "old.txt").write_text("other")
    with pytest.raises(FilesError, match=r"is damaged .old.txt is not what it was"):
        undo.put_back(folder)
    (tmp_path / "other").mkdir()
    with pytest.raises(FilesError, match=r"The last patch was in .*top: open that folder to undo it"):
        undo.put_back(Folder(tmp_path / "other"))
    assert tree(top) == was


def test_nothing_is_written_that_could_not_be_undone(top: Path, tmp_path: Path) -> None:
    (tmp_path / "undo").write_text("a file where the folder should be")
    was = tree(top)
    with pytest.raises(FilesError, match=r"can't be written .* so that nothing was changed"):
        change(Undo(tmp_path / "undo"), Folder(top), "z")
    assert tree(top) == was


def test_what_was_cut_off_by_a_crash_is_put_back(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, undo, was = Folder(top), Undo(tmp_path / "undo"), tree(top)

    class Killed(BaseException):
        pass

    def killed(folder: Folder, change: object) -> None:
        if (top / "empty").exists():
            raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(plan_module, "_check", killed)
        with pytest.raises(Killed):
            undo.apply(folder, plan(folder, patch(*SECTIONS)))
    assert (top / "new" / "deep" / "er.txt").exists()
    assert (top / "old.txt").exists()
    undo.put_back(folder)
    assert tree(top) == was
