"""Completes a command line: the commands, or the values of one."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.chat.commands import COMMANDS, Command, find

_LINE = re.compile(r"/(?P<name>[?\w]*)(?:(?P<space> +)(?P<argument>.*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Completion:
    """A line to complete it to; `usage` and `help` describe that."""

    line: str
    usage: str
    help: str = ""


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


def marked_at_once(line: str) -> bool:
    """Whether enough is typed to mark the first one: after "/" or "/effort " alone, Enter means just that."""
    return line != "/" and not line.endswith(" ")


def _completed(name: str, command: Command) -> Completion:
    help = f"{command.help} *" if command.waits else command.help
    return Completion(f"/{name} " if command.takes else f"/{name}", command.usage_as(name), help)
