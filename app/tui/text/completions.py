"""Completes a command line: the commands, the values of one, or the files that it names."""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.chat.commands import COMMANDS, Command, find
from app.documents.mentions import candidates
from mlx_model.text import clean

_LINE = re.compile(r"/(?P<name>[?\w]*)(?:(?P<space> +)(?P<argument>.*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Completion:
    """A line to complete it to; `usage` and `help` describe that, where there is little room `brief` if it has one. One
    that `waits` is taken by Tab, or by Enter only once it is chosen: what is typed may be meant as it stands."""

    line: str
    usage: str
    help: str = ""
    waits: bool = False
    brief: str = ""


def completions(line: str, values_of: Callable[[Command], Sequence[str]]) -> list[Completion]:
    """Everything `line` can be completed to, as whole lines; nothing for a prompt.

    `values_of` says what the argument of a command can be, as far as that is known. What is typed to its end comes
    first, other names of commands last, and only where their own doesn't fit; the rest is in the order of the help.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        return []
    typed = match["name"].lower()
    if match["space"] is None:
        named = [(command.slash, command) for command in COMMANDS if command.slash]
        others = [
            (alias, command)
            for slash, command in named
            for alias in command.aliases
            if alias == typed or (typed and not slash.startswith(typed))
        ]
        fitting = [(name, command) for name, command in (*named, *others) if name.startswith(typed)]
        return [_completed(*each) for each in sorted(fitting, key=lambda each: each[0] != typed)]
    command, argument = find(typed), match["argument"].casefold()
    values = values_of(command) if command is not None and command.takes and typed not in command.values else ()
    more = " " if command is not None and " " in command.takes else ""
    matches = [value for value in values if value.casefold().startswith(argument)]
    matches.sort(key=lambda value: value.casefold() != argument)
    return [Completion(f"/{typed} {value}{more}", value) for value in matches]


def names_file(line: str) -> bool:
    """Whether the argument of this command line is the name of a file."""
    return _path(line) is not None


def file_completions(line: str, folder: Path, most: int) -> list[Completion]:
    """Up to `most` files and folders that the name at the end of `line` may become, quoted where the command needs it.

    Reads the folder. A command that writes a new file is offered folders alone, and none takes the place of a name.
    """
    path = _path(line)
    if path is None:
        return []
    command, beginning, name, quote = path
    assert command.files is not None
    found = (each for each in candidates(name, folder, most, command.files) if clean(each) == each and "\n" not in each)
    return [Completion(f"{beginning} {_quoted(each, quote)}", each, waits=not command.files) for each in found]


def _path(line: str) -> tuple[Command, str, str, str] | None:
    """The command of a line whose argument names a file, the line up to that, the name without the quote before it, and
    the quote."""
    match = _LINE.fullmatch(line)
    command = find(match["name"].lower()) if match is not None and match["space"] else None
    if match is None or command is None or command.files is None:
        return None
    argument = match["argument"]
    quote = argument[0] if argument[:1] in ("'", '"') else ""
    return command, f"/{match['name']}", argument[1:] if quote else argument.replace("\\ ", " "), quote


def _quoted(name: str, quote: str) -> str:
    """A name as the commands take it, see parts.sharing.typed_path; that of a folder to go on with."""
    if not quote and not set(name) & set("'\"\\"):
        return name
    quote = quote or ("'" if set(name) & set('"\\') else '"')
    if quote in name or (quote == '"' and "\\" in name):
        return shlex.quote(name)
    return f"{quote}{name}" if name.endswith("/") else f"{quote}{name}{quote}"


def marked_at_once(line: str) -> bool:
    """Whether enough is typed to mark the first one: after "/", "/effort " or a folder, Enter means just that."""
    return not line.endswith(("/", " "))


def _completed(name: str, command: Command) -> Completion:
    help = f"{command.help} *" if command.waits else command.help
    return Completion(f"/{name} " if command.takes else f"/{name}", command.usage_as(name), help, brief=f"/{name}")
