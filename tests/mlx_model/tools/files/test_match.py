"""Where the hunks of a patch belong, in files that the model remembers not quite exactly."""

import pytest

from mlx_model.tools.files.folder import FilesError
from mlx_model.tools.files.lines import Lines
from mlx_model.tools.files.match import edits_of
from mlx_model.tools.files.patch import parse

CLASSES = """class Cat(Animal):
    def speak(self):
        return "meow"

class Dog(Animal):
    def speak(self):
        return "meow"

    def speaks(self):
        return True
"""


def edited(text: str, hunks: str) -> str:
    """A text with the hunks of a patch."""
    (section,) = parse(f"*** Begin Patch\n*** Update File: pets.py\n{hunks}\n*** End Patch")
    lines = Lines.of(text.encode(), "pets.py")
    return lines.edited(edits_of(lines.texts, section.hunks, "pets.py")).data().decode()


CASES: dict[str, tuple[str, str, str]] = {
    "the first place": ("a\nb\na\nb\n", "@@\n a\n-b\n+c", "a\nc\na\nb\n"),
    "behind the hunk before": ("a\nb\na\nb\n", "@@\n a\n-b\n+c\n@@\n a\n-b\n+d", "a\nc\na\nd\n"),
    "context alone moves on": ("a\nb\na\nb\n", "@@\n a\n b\n@@\n a\n-b\n+c", "a\nb\na\nc\n"),
    "headers, nested": (
        CLASSES, '@@ class Dog(Animal):\n@@     def speak(self):\n-        return "meow"\n+        return "woof"',
        CLASSES.replace("meow", "woof").replace("woof", "meow", 1),
    ),
    "headers by their beginnings": (
        CLASSES, '@@ class Dog\n@@ def speak\n-        return "meow"\n+        return "woof"',
        CLASSES.replace("meow", "woof").replace("woof", "meow", 1),
    ),
    "a whole name before its beginning": (
        "def f1():\n    pass\ndef f_():\n    pass\ndef f():\n    pass\n", "@@ def f\n-    pass\n+    return",
        "def f1():\n    pass\ndef f_():\n    pass\ndef f():\n    return\n",
    ),
    "a header above two hunks": (
        "def f():\n    a\n    b\n    c\n", "@@ def f():\n-    a\n+    x\n@@ def f():\n-    c\n+    y",
        "def f():\n    x\n    b\n    y\n",
    ),
    "a header that isn't there, one place": ("a\nb\nc\n", "@@ def g():\n-b\n+x", "a\nx\nc\n"),
    "lines only to add, below a header": ("import a\n\nx\n", "@@ import a\n+import b", "import a\nimport b\n\nx\n"),
    "lines only to add": ("a\nb\n", "@@\n+c", "a\nb\nc\n"),
    "lines only to add, at the end": ("a\nb\n", "@@ a\n+c\n*** End of File", "a\nb\nc\n"),
    "lines only to add, before other hunks": ("a\nb\n", "@@\n+c\n@@\n+d\n@@\n-a\n+A", "A\nb\nc\nd\n"),
    "lines only to add, twice below a header": ("a\nb\nc\n", "@@ a\n+x\n@@ a\n+y\n@@\n-b", "a\nx\ny\nc\n"),
    "to an empty file": ("", "@@\n+a\n+b", "a\nb\n"),
    "the end": ("a\nb\na\nb\n", "@@\n a\n-b\n+c\n*** End of File", "a\nb\na\nc\n"),
    "not quite the end": ("a\nb\nc\n", "@@\n a\n-b\n+x\n*** End of File", "a\nx\nc\n"),
    "exact before tolerant": ("  a\na\n", "@@\n-a\n+b", "  a\nb\n"),
    "white space behind": ("a  \nb\t\n", "@@\n a\n-b\n+c", "a  \nc\n"),
    "white space around": ("\ta\n\tb\n", "@@\n a\n-\tb\n+\tc", "\ta\n\tc\n"),
    "the file's indentation": ("if x:\n\tif y:\n\t\treturn\n", "@@\n-if y:\n-\treturn\n+if z:\n+\tpass\n+\n+\treturn",
                               "if x:\n\tif z:\n\t\tpass\n\n\t\treturn\n"),
    "less indentation": ("a\n  b\n", "@@\n-  a\n-    b\n+  c\n+    d", "c\n  d\n"),
    "no common indentation": ("  a\n b\n", "@@\n-a\n-  b\n+c", "c\n"),
    "dashes and quotes": ("say \u201chi\u201d \u2013 it\u2019s\u00a0me\nb\n", "@@\n say \"hi\" - it's me\n-b\n+c",
                          "say \u201chi\u201d \u2013 it\u2019s\u00a0me\nc\n"),
    "runs of changes": ("a\nb\nc\nd\n", "@@\n-a\n+A\n b\n+x\n c\n-d", "A\nb\nx\nc\n"),
    "no newline at the end": ("a\nb", "@@\n a\n-b\n+c\n+d", "a\nc\nd"),
    "the last line goes": ("a\nb", "@@\n a\n-b", "a"),
    "all lines go": ("a\nb\n", "@@\n-a\n-b", ""),
    "Windows": ("a\r\nb\r\nc\n", "@@\n a\n-b\n+x\n+y\n c", "a\r\nx\r\ny\r\nc\n"),
    "both kinds of ends": ("a\nb\r\nc\r\nd\r\n", "@@\n-b\n+x", "a\nx\r\nc\r\nd\r\n"),
    "a byte order mark": ("\ufeffa\nb\n", "@@\n-a\n+c", "\ufeffc\nb\n"),
    "signs that only look like ends of lines": ("a\x0bb\u2028c\x85d\re\n", "@@\n-a\x0bb\u2028c\x85d\re\n+f", "f\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hunks_find_their_place(case: str) -> None:
    text, hunks, expected = CASES[case]
    assert edited(text, hunks) == expected


@pytest.mark.parametrize(
    ("text", "hunks", "message"),
    [
        ("a\nb\n", "@@\n-x", "pets.py has no place for line 4 of the patch, `-x`. The file has no such line there."),
        ("a\nb\nc\na\nb\n", "@@\n a\n b\n-x", "line 6 .*`-x`. The lines .* but the file has `c` there .line 3."),
        ("c\na\n", "@@\n a\n-b", "line 5 .*`-b`. The lines of the hunk above it are found, but the file ends there"),
        ("a\nb\n", "@@\n-b\n@@\n-a", "line 6 .*`-a`. It is above the hunk before: give the hunks of a file"),
        ("a\nb\na\n", "@@ def f\n-a", "line 3 .*`@@ def f`. Several places fit. Put a @@"),
        ("x\n", "@@ def f\n+a", "line 3 .*`@@ def f`. No line of the file is like this header"),
        ("a\n", "@@\n-a\n@@\n-a", "line 6 .*It is above the hunk before"),
        ("a\n", "@@\n-a\n-\n-b", "line 5 .*`-`. The lines of the hunk above it are found, but the file ends"),
    ],
)  # fmt: skip
def test_the_line_that_the_file_does_not_have_is_quoted(text: str, hunks: str, message: str) -> None:
    with pytest.raises(FilesError, match=message):
        edited(text, hunks)


@pytest.mark.parametrize("data", [b"\x89PNG\0", b"a\0b", "ä".encode("latin-1"), "ab".encode("utf-16"), b"\xed\xa0\x80"])
def test_what_is_no_text_in_utf_8_is_refused(data: bytes) -> None:
    with pytest.raises(FilesError, match=r"^a.bin is (no text: it is a binary file|not in UTF-8 \(line 1\))"):
        Lines.of(data, "a.bin")
