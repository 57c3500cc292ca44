"""Command lines as people type them: names, other names, mistyped ones, and what only looks like one."""

import pytest

from app.chat.commands import COMMANDS, CommandLine, find, parse, unknown


@pytest.mark.parametrize(
    ("text", "slash", "argument"),
    [
        ("/new", "new", ""),
        ("/Effort  high ", "effort", "high"),
        ("/", "help", ""),
        ("/?", "help", ""),
        ("/exit", "quit", ""),
        ("/q", "quit", ""),
        ("/quit now", "quit", "now"),
        ("exit", "quit", ""),
        ("quit", "quit", ""),
        ("/clear", "new", ""),
        ("/system Be brief.", "instructions", "Be brief."),
        ("/retry", "again", ""),
        ("/stop", "stop", ""),
        ("/save a b.md", "export", "a b.md"),
        ("/set seed 7", "set", "seed 7"),
        ("/seed 7", "set", "seed 7"),
        ("/Top_P", "set", "top_p"),
    ],
)
def test_what_is_a_command(text: str, slash: str, argument: str) -> None:
    line = parse(text)
    assert line is not None and line.command is find(slash) and line.argument == argument


@pytest.mark.parametrize(
    "text",
    [
        *("/usr/bin/env is what?", " /new", "/new\nand more", "a / b", "//", "/ x", ""),
        *("/tmp is full", "/etc means what?", "/home is where?", "/dev and /proc", "/root has no space"),
        *("exit the loop", "Exit.", " exit", "quit it", "/5 of them"),
    ],
)
def test_what_is_a_prompt(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("/efort", "effort"),
        ("/efort high", "effort"),
        ("/quti", "quit"),
        ("/regenrate", "regenerate"),
        ("/temprature 0.5", "temperature"),
        ("/nonsense", None),
        ("/zzz", None),
    ],
)
def test_a_mistyped_name_says_what_may_be_meant(text: str, meant: str | None) -> None:
    line = parse(text)
    assert line is not None and line.command is None
    advice = f"; did you mean /{meant}?" if meant else "; /help lists all."
    assert unknown(line.name) == f"There is no command /{line.name}{advice}"


def test_every_name_means_one_command() -> None:
    names = [name for command in COMMANDS for name in (command.slash, *command.aliases) if name]
    assert len(set(names)) == len(names) and all(parse(f"/{name}") for name in names)
    for name in names:
        command = find(name)
        assert command is not None and parse(f"/{name}") in (
            CommandLine(name, "", command),
            CommandLine(name, name, command),  # a value that is a name too
        )


def test_the_usage_by_another_name() -> None:
    command = find("seed")
    assert command is not None and command.usage == "/set [name value]" and command.usage_as("seed") == "/seed [value]"
    assert find("quit") is find("exit") and [c.usage_as("exit") for c in COMMANDS if c.slash == "quit"] == ["/exit"]
