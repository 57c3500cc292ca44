"""Completes a command line: the commands, or the values of one."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.chat.commands import COMMANDS, Command, find

_LINE = re.compile(r"/(?P<name>[A-Za-z]*)(?:(?P<space> +)(?P<argument>.*))?")


@dataclass(frozen=True, slots=True)
class Completion:
    """A line to complete it to; `usage` and `help` describe that."""

    line: str
    usage: str
    help: str = ""


def completions(line: str, values_of: Callable[[Command], Sequence[str]]) -> list[Completion]:
    """Everything `line` can be completed to, as whole lines; nothing for a prompt.

    `values_of` says what the argument of a command can be, as far as that is known. What is typed to its end comes
    first; the rest is in the order of the help.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        return []
    typed = match["name"].lower()
    if match["space"] is None:
        commands = [command for command in COMMANDS if command.slash and command.slash.startswith(typed)]
        return [_completed(command) for command in sorted(commands, key=lambda command: command.slash != typed)]
    command, argument = find(typed), match["argument"].casefold()
    values = values_of(command) if command is not None and command.takes else ()
    matches = [value for value in values if value.casefold().startswith(argument)]
    matches.sort(key=lambda value: value.casefold() != argument)
    return [Completion(f"/{typed} {value}", value) for value in matches]


def marked_at_once(line: str) -> bool:
    """Whether enough is typed to mark the first one: after "/" or "/effort " alone, Enter means just that."""
    return line != "/" and not line.endswith(" ")


def _completed(command: Command) -> Completion:
    help = f"{command.help} *" if command.waits else command.help
    return Completion(f"/{command.slash} " if command.takes else f"/{command.slash}", command.usage, help)
