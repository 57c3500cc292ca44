"""Patches as models write them: found in what was sent, read as sections, refused with the line that is wrong."""

import json
from textwrap import indent
from typing import Any

import pytest

from mlx_model.tools.files.folder import FilesError
from mlx_model.tools.files.patch import MOST_CHARACTERS, Section, parse, patch_in

PATCH = """*** Begin Patch
*** Add File: docs/hello.txt
+Hello
+
+*** Begin Patch
*** Update File: src/app.py
*** Move to: src/main.py
@@ class Greeter:
@@     def greet():
     name = ask()
-    print("Hi")
+    print("Hello, world!")

@@
-    pass
*** End of File
*** Delete File: obsolete.txt
*** End Patch"""


def shape(sections: tuple[Section, ...]) -> list[Any]:
    """Sections without the numbers of lines."""
    return [
        (
            each.kind,
            each.path,
            each.moved_to,
            each.added,
            [
                (
                    [header.text for header in hunk.headers],
                    [line.sign + line.text for line in hunk.lines],
                    hunk.is_at_end,
                )
                for hunk in each.hunks
            ],
        )
        for each in sections
    ]


READ = [
    ("add", "docs/hello.txt", "", ("Hello", "", "*** Begin Patch"), []),
    ("update", "src/app.py", "src/main.py", (), [
        (["class Greeter:", "    def greet():"],
         ["     name = ask()", '-    print("Hi")', '+    print("Hello, world!")'], False),
        ([], ["-    pass"], True),
    ]),
    ("delete", "obsolete.txt", "", (), []),
]  # fmt: skip

STARRED = "\n".join(f"{line} ***" if line.startswith("***") else line for line in PATCH.split("\n"))
HEREDOC = f"apply_patch <<'EOF'\n{PATCH}\nEOF\n"
WRAPPED = {
    "plain": {"input": PATCH},
    "markers that end in stars": {"input": STARRED},
    "a command": {"command": ["apply_patch", PATCH]},
    "a command of stars": {"command": ["apply_patch", STARRED]},
    "a shell": {"cmd": ["bash", "-lc", HEREDOC]},
    "JSON in JSON": {"input": json.dumps({"command": ["apply_patch", PATCH]})},
    "a list": {"input": json.dumps(["apply_patch", PATCH])},
    "a JSON text": {"input": json.dumps(PATCH)},
    "another name": {"patch": PATCH, "workdir": "."},
    "a heredoc": {"input": HEREDOC},
    "a fence": {"input": f"Here it is:\n```diff\n{PATCH}\n```\nDone."},
    "in a list": {"input": "- do this:\n" + indent(PATCH, "  ") + "\nDone."},
    "Windows": {"input": PATCH.replace("\n", "\r\n")},
    "twice escaped": {"input": PATCH.replace("\n", "\\n")},
    "twice escaped quotes": {"input": json.dumps(PATCH)[1:-1]},
    "other case": {"input": PATCH.replace("*** End of File", "*** End Of File").replace("*** Delete", "*** DELETE")},
    "without its first line": {"input": PATCH.removeprefix("*** Begin Patch\n")},
    "two in one": {"input": PATCH.replace("*** Delete", "*** End Patch\n\n*** Begin Patch\n\n*** Delete")},
}  # fmt: skip


@pytest.mark.parametrize("how", WRAPPED)
def test_a_patch_is_found_and_read(how: str) -> None:
    found = patch_in(WRAPPED[how])
    assert patch_in(found) == found, "what was found is found again"
    assert shape(parse(found)) == READ


def one(body: str, opening: str = "*** Update File: a") -> str:
    return f"*** Begin Patch\n{opening}\n{body}\n*** End Patch"


@pytest.mark.parametrize(
    ("body", "headers", "lines"),
    [
        ("@@ -1,3 +1,4 @@\n-a\n+b", [], ["-a", "+b"]),
        ("@@ -1 +1 @@ def f():\n-a\n+b", ["def f():"], ["-a", "+b"]),
        ("@@ def f(): @@\n-a", ["def f():"], ["-a"]),
        ("-a\n+b", [], ["-a", "+b"]),
        ("--- a/a\n+++ b/a\n@@\n-a\n+b\n\\ No newline at end of file", [], ["-a", "+b"]),
        ("@@\n\n a\n\n-b\n\n", [], [" a", " ", "-b"]),
        ("@@\n *** End Patch\n-***", [], [" *** End Patch", "-***"]),
        ("@@\n-\x0ba\u2028b\x85", [], ["-\x0ba\u2028b\x85"]),
    ],
)
def test_hunks_of_other_kinds(body: str, headers: list[str], lines: list[str]) -> None:
    ((_, _, _, _, hunks),) = shape(parse(one(body)))
    assert hunks == [(headers, lines, False)]


def test_a_file_may_be_moved_only_and_a_new_one_be_empty() -> None:
    assert shape(parse(one("*** Move to: b c"))) == [("update", "a", "b c", (), [])]
    assert shape(parse(one("", "*** Add File: a"))) == [("add", "a", "", (), [])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one("@@\n a\nb"), r"at its line 5, `b`. In a hunk each line has a sign in front: a space if it stays"),
        (one("@@\n a\n***b"), r"at its line 5, `\*\*\*b`. In a hunk"),
        (one("@@\n a\n*** b"), r"at its line 5, `\*\*\* b`. In a hunk"),
        (one("@@"), "line 2, `\\*\\*\\* Update File: a`. Its section is empty"),
        (one("@@ f"), "line 3, `@@ f`. Below it are no lines"),
        (one(""), "line 2, .* Its section is empty"),
        (one("b", "*** Add File: a"), "line 3, `b`. Below \\*\\*\\* Add File each line of the new file has a \\+"),
        (one("b", "*** Delete File: a"), "line 3, `b`. A section of a patch begins with"),
        (one("+b", "*** Add File:"), "line 2, `\\*\\*\\* Add File:`. Its path is missing"),
        (one("*** Move to:\n@@\n-a"), "line 3, `\\*\\*\\* Move to:`. Its path is missing"),
        ("*** Begin Patch\n*** Update File: a\n-a\n\n", "line 3, `-a`. A patch ends with"),
        ("cd src && apply_patch <<E\n" + PATCH + "\nE", "line 1, .* Leave out the cd"),
        ('bash -lc "true; cd src; apply_patch"\n' + PATCH, "line 1, .* Leave out the cd"),
        (one("@@\n-a\n\x1b[2Jb"), "`␛\\[2Jb`"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_is_quoted(text: str, message: str) -> None:
    with pytest.raises(FilesError, match=message):
        parse(text)


@pytest.mark.parametrize("arguments", [{}, {"input": "--- a/x\n+++ b/x\n@@\n-a"}, {"input": 3}, None, {"a": [[[]]]}])
def test_without_a_patch_the_model_is_shown_one(arguments: Any) -> None:
    with pytest.raises(FilesError, match=r"There is no patch in it\. Send it as") as error:
        patch_in(arguments)
    assert parse(patch_in(str(error.value)))


def test_what_no_file_can_hold_or_is_too_much() -> None:
    with pytest.raises(FilesError, match="surrogate"):
        patch_in({"input": one("@@\n-a\n+\ud800")})
    with pytest.raises(FilesError, match="more than"):
        patch_in({"input": one("+" * MOST_CHARACTERS)})
    deep: Any = one("@@\n-a")
    for _ in range(50):
        deep = [deep]
    with pytest.raises(FilesError, match="no patch"):
        patch_in(deep)
    with pytest.raises(FilesError, match="no patch"):
        patch_in({"input": "[" * 100_000 + "x"})
