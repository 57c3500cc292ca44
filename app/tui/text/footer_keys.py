"""The last row of the screen: which keys do something now, those that matter most where not all fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from textual.content import Content
from textual.style import Style

from app.chat.commands import COMMANDS, Command

GAP = "  "
ACTION = "action"
"""Marks in the row what a click does."""
SHOWN = (
    *("stop", "answer_now", "again", "new_chat", "find", "effort", "thinking"),
    *("command_palette", "help", "quit"),
)
"""The actions in their order on the screen."""
LEAVE_FIRST = ("thinking", "effort", "find", "again", "new_chat", "command_palette", "quit", "help", "answer_now")
"""Those that are left out where there is no room, the first first."""

_COMMANDS = {command.action: command for command in COMMANDS}


@dataclass(frozen=True, slots=True)
class ChatFacts:
    """What decides which keys do something: whether an answer is under way or still thinks, whether there are messages,
    whether something waits for a yes (a call of the answer, or code that the person runs), whether such code runs."""

    answering: bool = False
    thinking: bool = False
    has_messages: bool = False
    is_asking: bool = False
    is_running_code: bool = False


def offered(facts: ChatFacts) -> list[Command]:
    """The commands whose keys do something."""
    needs = {
        "stop": facts.answering or facts.is_asking or facts.is_running_code,
        "answer_now": facts.answering and facts.thinking,
        "again": facts.has_messages and not facts.answering,
        "new_chat": facts.has_messages,
    }
    commands = [_COMMANDS[action] for action in SHOWN if needs.get(action, True)]
    if facts.is_asking:  # what waits is refused, and an answer goes on
        commands[0] = replace(commands[0], label="no")
    return commands


def footer_line(commands: Sequence[Command], width: int) -> Content:
    """As many of them as `width` columns have room for, each with its action to be clicked."""
    shown = list(commands)
    for action in LEAVE_FIRST:
        if len(line := _line(shown)) <= width:
            return line
        shown = [command for command in shown if command.action != action]
    return _line(shown)


def _line(commands: Sequence[Command]) -> Content:
    return Content(GAP).join(
        Content.assemble((command.shown_key, "bold $accent"), f" {command.label}").stylize(
            Style.from_meta({ACTION: command.action})
        )
        for command in commands
    )
