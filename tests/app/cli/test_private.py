"""What is taken out of free text before a person publishes it."""

from pathlib import Path

import pytest

from app.cli.private import Private


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Private:
    """Of Zaphod, at the computer heart-of-gold, with a model in a folder of his."""
    monkeypatch.setattr(Path, "home", lambda: Path("/Users/zaphod b"))
    monkeypatch.setattr("socket.gethostname", lambda: "heart-of-gold.local")
    monkeypatch.setattr("getpass.getuser", lambda: "zaphod")
    monkeypatch.chdir(tmp_path)
    return Private([Path("/data/my model")])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("can't read /Users/zaphod b/my secrets/a.safetensors: no such file", "can't read [path]: no such file"),
        ("'/Users/zaphod b' is a folder", "'[path]' is a folder"),
        ("/data/my model/b c.json: damaged", "[path]: damaged"),
        ("/opt/homebrew/lib/python3.12/site-packages/mlx/core.so failed", "[path] failed"),
        ("in ~/models/x and ~zaphod/y", "in [path] and [path]"),
        ("from /Volumes/My Disk/hidden things: gone", "from [path]: gone"),
        ("Zaphod's try on heart-of-gold and HEART-OF-GOLD.LOCAL", "[name]'s try on [name] and [name]"),
        ("user_zaphod_7", "user_[name]_7"),
        ("zaphodic", "zaphodic"),
        ("program_source:12:3: error: expected ';'", "program_source:12:3: error: expected ';'"),
        ("12 GB/s of 3/4, tok/s, a / b", "12 GB/s of 3/4, tok/s, a / b"),
        ("/System/Library/Metal/metal_math:3: note", "/System/Library/Metal/metal_math:3: note"),
        ("\x1b[2Jtext", "\u241b[2Jtext"),
    ],
)
def test_what_is_left_of_a_text(private: Private, text: str, left: str) -> None:
    assert private.without(text) == left


def test_the_current_folder_is_private(private: Private, tmp_path: Path) -> None:
    assert private.without(f"{tmp_path}/x y/z") == "[path]"


def test_every_text_inside_is_meant(private: Private) -> None:
    found = private.without({"zaphod": [1, None, "~/a/b"], "t": ("zaphod", 2.5, True)})
    assert found == {"zaphod": [1, None, "[path]"], "t": ["[name]", 2.5, True]}
