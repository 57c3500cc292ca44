"""What the Tab key offers, asked as the shells' scripts ask it."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from argcomplete.finders import CompletionFinder

from app.cli import completion
from app.cli.main import _parser
from tests.fixtures.trees import keep, titled


def offered(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What may stand at the end of a line."""
    answer = tmp_path / "answer"
    for name, value in {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }.items():
        monkeypatch.setenv(name, value)
    # It would take descriptor 9 for its messages, whatever that is in this process.
    monkeypatch.setattr(CompletionFinder, "_init_debug_stream", lambda finder: None)
    monkeypatch.setattr("argcomplete.autocomplete", partial(CompletionFinder(), exit_method=sys.exit))
    with pytest.raises(SystemExit) as end:
        completion.complete(_parser())
    assert end.value.code == 0
    return answer.read_text().split("\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gptoss-chat do", ["doctor", "download"]),
        ("gptoss-chat --no", ["--no-mouse", "--no-prompt-lookup"]),
        ("gptoss-chat --model gpt-oss-", ["gpt-oss-120b", "gpt-oss-20b"]),
        ("gptoss-chat ask --effort ", ["high", "low", "medium"]),
        ("gptoss-chat completion z", ["zsh"]),
    ],
)
def test_commands_options_and_models(
    line: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(word.strip() for word in offered(line, tmp_path, monkeypatch)) == expected


def test_conversations_by_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert completion.conversation_ids() == {}
    conversation = titled("Lakes\x1b[2J of Finland")
    conversation.add_prompt("Which?", None)
    keep(conversation)
    assert completion.conversation_ids() == {conversation.id: "Lakes\u241b[2J of Finland"}
    assert conversation.id in "\n".join(offered("gptoss-chat export ", tmp_path, monkeypatch))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    from app.cli.main import main

    assert main(["completion", shell]) == 0
    assert "_ARGCOMPLETE" in capsys.readouterr().out


def test_bash_takes_the_script(tmp_path: Path) -> None:
    """Tab in a real shell, whose gptoss-chat is this program."""
    command = tmp_path / "gptoss-chat"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app "$@"\n')
    command.chmod(0o755)
    script = f"""
    PATH={tmp_path}:$PATH
    eval "$(gptoss-chat completion bash)"
    COMP_LINE="gptoss-chat sear" COMP_POINT=16 COMP_TYPE=9 COMP_WORDS=(gptoss-chat sear) COMP_CWORD=1
    _python_argcomplete gptoss-chat sear gptoss-chat
    printf '%s' "${{COMPREPLY[@]}}"
    """
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.stdout.strip() == "search", ended.stderr
