"""Copying: what is claimed was read back, by way of pbcopy, tmux, or the terminal."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.tui.terminal import clipboard
from app.tui.terminal.clipboard import ClipboardError
from tests.fixtures.terminal import needs_tmux

TEXT = "naïve 数\n"
FOR_EVER = f"exec {shutil.which('sleep')} 600"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing to copy with, in no tmux and not over ssh; returns the folder to put programs into."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cat", "sh"):
        (folder / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(folder))
    for name in ("SSH_CONNECTION", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    return folder


def program(folder: Path, name: str, script: str) -> None:
    """Put a program on the path."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def mac(programs: Path, tmp_path: Path) -> Path:
    """pbcopy and pbpaste over a file; returns the file."""
    board = tmp_path / "board"
    program(programs, "pbcopy", f'cat > "{board}"')
    program(programs, "pbpaste", f'cat "{board}"')
    return board


@pytest.fixture
def tmux(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tmux over a file, which takes exactly the words that tmux 3.2 and later take; returns the file."""
    buffer = tmp_path / "buffer"
    monkeypatch.setenv("TMUX", "/tmp/tmux-501/default,1,0")
    ways = f'"load-buffer -w -") cat > "{buffer}" ;;\n"save-buffer -") cat "{buffer}" ;;\n*) exit 1 ;;'
    program(programs, "tmux", f'case "$*" in\n{ways}\nesac')
    return buffer


async def copy(text: str = TEXT) -> tuple[str, list[str]]:
    """What is said after copying, and what the terminal was asked to take."""
    asked: list[str] = []
    return await clipboard.copy(text, "the answer", asked.append), asked


async def test_copying_on_a_mac_is_verified(mac: Path, tmux: Path) -> None:
    assert await copy() == ("Copied the answer", [])
    assert mac.read_text(encoding="utf-8") == TEXT and not tmux.exists()


async def test_text_is_utf8_to_pbcopy_whatever_the_terminal_speaks(
    mac: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    program(programs, "pbcopy", f'test "${{LC_ALL:-$LC_CTYPE}}" = UTF-8 && cat > "{mac}"')
    assert await copy() == ("Copied the answer", [])


@pytest.mark.parametrize("script", ["exit 0", "cat > /dev/null\nexit 1"])
async def test_a_copy_that_did_not_arrive_is_not_claimed(mac: Path, programs: Path, script: str) -> None:
    mac.write_text("what was there before")
    program(programs, "pbcopy", script)
    with pytest.raises(ClipboardError, match="nothing was copied"):
        await copy("secret")


async def test_a_program_that_hangs_is_ended(mac: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "PATIENCE_S", 0.5)
    program(programs, "pbcopy", f'echo $$ > "{mac}"\n{FOR_EVER}')
    with pytest.raises(ClipboardError, match="pbcopy did not respond and was ended"):
        await copy()
    with pytest.raises(ProcessLookupError):
        os.kill(int(mac.read_text()), 0)


async def test_a_tmux_that_hangs_leaves_it_to_the_terminal(
    tmux: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clipboard, "PATIENCE_S", 0.5)
    program(programs, "tmux", FOR_EVER)
    assert (await copy())[1] == [TEXT]


async def test_over_ssh_the_terminal_is_asked_and_nothing_is_claimed(
    mac: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    message, asked = await copy()
    assert asked == [TEXT] and message.startswith("Sent the answer to the terminal's") and not mac.exists()


@pytest.mark.parametrize("ssh", [False, True])
async def test_tmux_takes_the_text_where_there_is_no_pbcopy_for_it(
    tmux: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, ssh: bool
) -> None:
    if ssh:
        mac = request.getfixturevalue("mac")
        monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    message, asked = await copy()
    assert message == "Copied the answer to tmux's buffer" and asked == []
    assert tmux.read_text(encoding="utf-8") == TEXT and not (ssh and mac.exists())


async def test_a_tmux_that_loses_the_text_is_not_believed(tmux: Path, programs: Path) -> None:
    tmux.write_text("what was there before")
    program(programs, "tmux", f'test "$1" = save-buffer && cat "{tmux}" || cat > /dev/null')
    with pytest.raises(ClipboardError, match="nothing was copied"):
        await copy("secret")


async def test_a_tmux_that_is_too_old_or_gone_leaves_it_to_the_terminal(tmux: Path, programs: Path) -> None:
    program(programs, "tmux", "exit 1")
    message, asked = await copy()
    assert asked == [TEXT] and "Copied" not in message


async def test_nothing_is_not_copied(mac: Path) -> None:
    with pytest.raises(ClipboardError, match="nothing to copy"):
        await copy("")
    assert not mac.exists()


@pytest.fixture
def real_tmux(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server of its own, as seen from a program in it; yields the command that talks to it."""
    folder = tmp_path_factory.mktemp("t")
    command = ["tmux", "-S", str(folder / "s"), "-f", "/dev/null"]
    subprocess.run([*command, "new-session", "-d"], check=True)
    monkeypatch.setenv("TMUX", f"{folder / 's'},1,0")
    monkeypatch.setenv("SSH_CONNECTION", "so that a Mac's own clipboard is left alone")
    yield command
    subprocess.run([*command, "kill-server"], check=True)


@needs_tmux
@pytest.mark.parametrize("text", [TEXT, "\t`$(x)` %1 \x1b\n" * 50_000], ids=["short", "long"])
async def test_a_real_tmux(real_tmux: list[str], text: str) -> None:
    message, asked = await copy(text)
    assert "tmux's buffer" in message and asked == []
    assert subprocess.run([*real_tmux, "save-buffer", "-"], capture_output=True).stdout == text.encode()
