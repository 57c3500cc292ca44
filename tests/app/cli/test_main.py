"""The command line: which words are a command and which a prompt, and what the chat opens with."""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from app.cli import ask, chat
from app.cli.main import SUBCOMMANDS, _parser, main
from app.store.saver import Saver
from tests.fixtures.trees import stored, titled


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each chat is opened with, in a terminal where nothing is shown."""
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(chat, "sys", SimpleNamespace(stdin=terminal, stdout=terminal, stderr=terminal))
    monkeypatch.setenv("TERM", "xterm-256color")
    calls: list[dict[str, Any]] = []

    def full_screen(setup: Any, settings: Any, prompt: str, **rest: bool) -> int:
        calls.append({"prompt": prompt, "effort": setup.options.effort.value, **rest})
        return 0

    monkeypatch.setattr(chat, "_full_screen", full_screen)
    return calls


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([], {}),
        (["-c"], {"resume": True}),
        (["--continue", "and then?"], {"resume": True, "prompt": "and then?"}),
        (["Why is the sky blue?"], {"prompt": "Why is the sky blue?"}),
        (["why", "is", "it", "blue"], {"prompt": "why is it blue"}),
        (["--effort", "high", "--no-mouse", "Why?"], {"prompt": "Why?", "effort": "high", "mouse": False}),
        (["Why?", "--effort", "high", "-c"], {"prompt": "Why?", "effort": "high", "resume": True}),
        (["--effort", "low", "Why?", "--effort", "high"], {"prompt": "Why?", "effort": "high"}),
        (["chat", "models"], {"prompt": "models"}),
        (["chat"], {}),
        (["--", "-1 + 2?"], {"prompt": "-1 + 2?"}),
    ],
    ids=" ".join,
)
def test_what_the_chat_opens_with(opened: list[dict[str, Any]], line: list[str], expected: dict[str, Any]) -> None:
    assert main(line) == 0
    assert opened == [{"prompt": "", "effort": "medium", "resume": False, "mouse": True} | expected]


@pytest.mark.parametrize(("typed", "meant"), [("mode", "models"), ("searching", "search"), ("Doctor", "doctor")])
def test_a_mistyped_command_is_no_prompt(
    opened: list[dict[str, Any]], typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([typed])
    assert end.value.code == 2
    assert f'there is no command "{typed}" (did you mean {meant}?); see' in capsys.readouterr().err
    assert not opened


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ask --samples 1 hi", "ask: samples is 1; it must be a whole number from 2 to 16"),
        ("ask --combine vote hi", "ask: --combine is for several answers"),
        ("ask --samples 3 --tools python hi", "ask: several answers can't use tools"),
        ("ask --samples 3 --open-html hi", "ask: --open-html opens the page of one answer"),
        ("ask --temperature -1 hi", "ask: temperature is -1.0"),
        ("ask --token-file x hi", "ask: --token-file is for a server"),
        ("ask --memory 3GB --connect http://127.0.0.1:1 hi", "ask: --memory is for a model on this computer"),
        ("ask --with mini --connect http://127.0.0.1:1 hi", "ask: --with is for a model on this computer"),
        ("serve --port 65536", "serve: argument --port: 65536 is no port"),
        ("serve --port -1", "serve: argument --port: -1 is no port"),
        ("serve --parallel 0", "serve: --parallel is 0"),
        ("--server --port 99999999999", "--port: 99999999999 is no port"),
        ("--port 9", "gptoss-chat: --port is for a server: add --server"),
        ("export --all 12", "export: give an ID or --all"),
        ("finetune --data x --out y --rank 0", "finetune: rank is 0"),
        ("download demo --with x --update", "download: --with downloads into"),
    ],
)
def test_wrong_arguments_end_with_their_own_code(line: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(line.split())
    printed = capsys.readouterr().err
    assert end.value.code == 2 and says in printed and printed.count("\n") == 1
    assert re.search(r"; see gptoss-chat( \w+)? --help$", printed)


def test_every_command_is_loaded_by_its_name_and_all_of_them_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    names = [name for each in SUBCOMMANDS.values() for name in each]
    for words in (["--help"], ["--he"], ["-ch"]):
        assert list(commands_of(_parser(words))) == names
    for name in names:
        assert name in commands_of(_parser(["--model", "demo", name]))
    assert commands_of(_parser(["--model", "demo", "hello"])) == ["chat"]


def commands_of(parser: argparse.ArgumentParser) -> list[str]:
    """The names of its subcommands."""
    return [name for action in parser._actions for name in action.choices or () if action.dest == "command"]


def test_the_first_screen_loads_only_what_it_shows() -> None:
    """What takes a noticeable time to load, and what an answer, a file or another screen needs first."""
    code = (
        "import sys; from app.cli.main import _parser; _parser(['--model', 'demo']); import app.tui.app; "
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    late = re.compile(
        r"(mlx|numpy|markdown_it|pygments|pypdf|huggingface_hub|tomlkit)\b"
        r"|app\.(store\.(?!errors|folding|unsaved)|cli\.(ask|doctor)|chat\.(answer|loop|pro|sources|web_pages)$)"
        r"|app\.documents\.(?!attachments|mentions)|app\.tools\.(?!code$|names|verdict)"
        r"|app\.tui\.(screens\.(?!chat)|widgets\.(messages|analysis|calls|markdown|sources))"
        r"|app\.tui\.parts\.(answering|code_runs|pro_stream|reading|sharing|tool_list|written_files)"
        r"|mlx_model\.(documents|generation|pro|tools)\.|mlx_model\.hub\.(download|inventory|names)|importlib\.metadata"
    )
    assert [name for name in loaded if late.match(name)] == []


def test_without_a_terminal_the_prompt_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[str]] = []

    def answer(arguments: argparse.Namespace, words: Sequence[str]) -> int:
        asked.append(words)
        return 0

    monkeypatch.setattr(ask, "answer_input", answer)
    assert main(["Why is the sky blue?"]) == 0
    assert asked == [["Why is the sky blue?"]]


def test_continuing_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c"]) == 1
    assert "--continue opens the chat, which needs a terminal" in capsys.readouterr().err


def test_the_last_conversation_is_the_one_last_added_to() -> None:
    lines: list[str] = []
    saver = Saver(lines.append)
    assert saver.last() is None
    first, second = titled("first"), titled("second")
    for conversation in (first, second, first):
        conversation.add_prompt("more", conversation.leaf)
        saver.save(conversation)
    last = saver.last()
    saver.close()
    assert last is not None and last.id == stored()[0].id == first.id
    assert not lines
