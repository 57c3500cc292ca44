"""Files and settings on the command line, and the editor and the files in a real terminal."""

from collections.abc import Sequence
from pathlib import Path

from tests.e2e.test_cli import COMMAND, SCRIPTED, run
from tests.fixtures.terminal import CHAT, Terminal, needs_tmux


def answer(*arguments: str, stdin: str = "", command: Sequence[str] = COMMAND) -> tuple[int, str, str]:
    done = run(*arguments, stdin=stdin, command=command)
    return done.returncode, done.stdout, done.stderr


def test_ask_takes_files_with_the_prompt_and_says_which_it_cannot_take(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print(1)\n")
    (tmp_path / "b.bin").write_bytes(b"\0")
    code, out, err = answer("ask", "--file", str(tmp_path / "a.py"), "Review", "it", command=SCRIPTED)
    assert (code, out) == (0, f'[file "{tmp_path}/a.py"]\n```\nprint(1)\n\n```\n\nReview it\n')
    code, out, err = answer("ask", "--file", str(tmp_path / "a.py"), "--file", str(tmp_path / "b.bin"), "x")
    assert (code, out) == (1, "") and "b.bin is a binary file; only documents, text and code can be attached" in err
    code, out, err = answer("ask", "--file", str(tmp_path / "none"), "x")
    assert (code, out) == (1, "") and "there is no file" in err


def test_the_command_line_wins_over_the_settings_and_a_broken_file_is_told(home: Path) -> None:
    home.mkdir()
    (home / "settings.toml").write_text('effort = "high"\n')
    for arguments, effort in ((), "high"), (("--effort", "low"), "low"):
        code, _, err = answer("ask", "--show-analysis", *arguments, "x", command=SCRIPTED)
        assert code == 0 and effort in err
    (home / "settings.toml").write_text("effort = \n")
    code, out, err = answer("ask", "x", command=SCRIPTED)
    assert (code, out) == (
        0,
        "x\n",
    ) and "line 1: Invalid value; the file is left as it is; the defaults are used" in err


@needs_tmux
def test_a_file_is_attached_and_the_editor_gets_the_terminal_and_gives_it_back(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho in the editor\nread line\nprintf " and more\\n" >> "$1"\n')
    editor.chmod(0o755)
    with Terminal(CHAT, environment={"EDITOR": str(editor)}) as terminal:
        terminal.wait_for("ready")
        terminal.type("see @LICEN")
        terminal.wait_for("LICENSE")
        terminal.keys("Enter")
        terminal.wait_for(" kB, ")  # about so many tokens, then exactly so many
        terminal.keys("F4")
        screen = terminal.wait_for("in the editor")
        assert "effort" not in screen
        terminal.keys("Enter")
        screen = terminal.wait_for("see @LICENSE  and more")
        assert "LICENSE" in screen and " kB, " in screen and "effort" in screen
        terminal.type("!")
        terminal.wait_for("and more!")
