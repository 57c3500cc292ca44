"""What a command line can be completed to."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from app.chat.commands import COMMANDS, Command
from app.tui.parts.sharing import typed_path
from app.tui.text.completions import completions, file_completions, marked_at_once, names_file


def values_of(command: Command) -> Sequence[str]:
    """Those of the command, and three names of models."""
    return ("GPT", "gpt-oss", "demo") if command.slash == "model" else command.values


def lines(line: str) -> list[str]:
    return [each.line for each in completions(line, values_of)]


def test_a_slash_lists_all_commands_in_the_order_of_the_help() -> None:
    found = completions("/", values_of)
    slashed = [command for command in COMMANDS if command.slash]
    assert [each.line.strip() for each in found] == [f"/{command.slash}" for command in slashed]
    for each, command in zip(found, slashed, strict=True):
        assert each.usage == command.usage and each.line.endswith(" ") == bool(command.takes)
        assert each.help == (f"{command.help} *" if command.waits else command.help)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/ef", ["/effort "]),
        ("/EF", ["/effort "]),
        ("/nothing", []),
        ("hello", []),
        ("", []),
        (" /ef", []),
        ("/ef\n", []),
        ("/model ", ["/model GPT", "/model gpt-oss", "/model demo"]),
        ("/model   d", ["/model demo"]),
        ("/model gpt", ["/model GPT", "/model gpt-oss"]),
        ("/model GPT-oss", ["/model gpt-oss"]),
        ("/MODEL d", ["/model demo"]),
        ("/model demo x", []),
        ("/new x", []),
        ("/nothing x", []),
    ],
)
def test_a_line(line: str, found: list[str]) -> None:
    assert lines(line) == found


def test_what_is_typed_to_its_end_comes_first() -> None:
    slashes = [command.slash for command in COMMANDS if command.slash]
    for slash in slashes:
        assert lines(f"/{slash}")[0].strip() == f"/{slash}"
    assert [each.line for each in completions("/model b", lambda _: ("bb", "bc", "b"))] == [
        "/model b",
        "/model bb",
        "/model bc",
    ]


def test_values_have_no_help() -> None:
    assert {(each.usage, each.help) for each in completions("/model d", values_of)} == {("demo", "")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files and folders."""
    for name in ("dir", "dir/.git", "My folder", "it's"):
        (tmp_path / name).mkdir()
    for name in ("a.json", "b.ZIP", "c.txt", ".hidden.json", "dir/two words.json", 'say "hi".json', "it's/x.json"):
        (tmp_path / name).touch()
    (tmp_path / "a\nb.json").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/import ", ["a.json", "b.ZIP", "dir/", "\"it's/", "My folder/", "'say \"hi\".json'"]),
        ("/load a", ["a.json", "'say \"hi\".json'"]),
        ("/import .h", [".hidden.json"]),
        ("/import c", []),
        ("/import dir/", ["dir/two words.json"]),
        ("/import dir/two w", ["dir/two words.json"]),
        ("/import dir/two\\ w", ["dir/two words.json"]),
        ("/import dir/.g", ["dir/.git/"]),
        ('/import "dir/t', ['"dir/two words.json"']),
        ("/import \"it's/", ['"it\'s/x.json"']),
        ("/import 'it", ["'it'\"'\"'s/'"]),
        ("/import my", ["My folder/"]),
        ("/import ~", ["~/"]),
        ("/export ", ["dir/", "\"it's/", "My folder/"]),
        ("/export dir/t", []),
        ("/rename d", []),
        ("/import", []),
        ("import d", []),
    ],
)
def test_the_files_that_a_command_names(folder: Path, line: str, found: list[str]) -> None:
    completed = file_completions(line, folder, 8)
    assert [each.line.partition(" ")[2] for each in completed] == found
    assert all(each.line.startswith(line.split()[0]) for each in completed)
    assert all(each.waits == line.startswith("/export") for each in completed)
    assert names_file(line) == line.startswith(("/import ", "/load ", "/export "))
    for each in completed:  # the command takes it for the same file
        if not each.line.endswith("/") and not each.usage.endswith("/"):
            assert (folder / typed_path(each.line.partition(" ")[2])).is_file()


@pytest.mark.parametrize(
    ("line", "marked"),
    [("/", False), ("/effort ", False), ("/e", True), ("/effort l", True), ("/import dir/", False)],
)
def test_enter_means_the_first_only_if_something_of_it_is_typed(line: str, marked: bool) -> None:
    assert marked_at_once(line) == marked
