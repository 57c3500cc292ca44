"""Every command and key of the chat as data: bindings, palette, help and slash commands read this."""

import re
from dataclasses import dataclass

from app.settings import ANALYSIS
from mlx_model.harmony.message import Effort

BUSY = "An answer is under way: Esc stops it."
"""The warning of a command that can't be used during an answer."""

COPY_TARGETS = ("answer", "code", "prompt", "chat")
"""What can be copied; the first by default."""
EXPORT_FORMATS = ("md", "json")
"""How a conversation can be exported; the first by default."""

EFFORTS = "The effort can be low, medium or high."
"""The answer to `/effort` with anything else."""


@dataclass(frozen=True, slots=True)
class Command:
    """`action` is the app's method `action_<action>`; `takes` names the argument that may follow the slash name.

    `values` are the possible arguments, where they are known beforehand; the text of `help` before a colon fits each. A
    command with a `label` is in the footer. One that `waits` can't be used while an answer is under way, unless it only
    `opens` a list when nothing follows it.
    """

    help: str
    action: str
    slash: str = ""
    key: str = ""
    shown_key: str = ""
    label: str = ""
    takes: str = ""
    values: tuple[str, ...] = ()
    waits: bool = False
    opens: bool = False

    @property
    def usage(self) -> str:
        """The slash name and what may follow it, "" without one."""
        return f"/{self.slash}" + (f" [{self.takes}]" if self.takes else "") if self.slash else ""


GROUPS: dict[str, tuple[Command, ...]] = {
    "Answers": (
        Command(
            "effort of the next answer: low, medium, high",
            *("effort", "effort", "ctrl+e", "^E", "effort", "level"),
            values=tuple(Effort),
        ),
        Command(
            "analysis: shown, collapsed, hidden",
            *("thinking", "thinking", "ctrl+t", "^T", "thinking", "display"),
            values=ANALYSIS,
        ),
        Command("stop the answer", "stop", key="escape", shown_key="Esc", label="stop"),
        Command("end the thought and answer now", "answer_now", "answer", "ctrl+s", "^S"),
        Command("regenerate; the previous answer is kept", "again", "again", "ctrl+r", "^R", "again", waits=True),
        Command("continue an answer that was cut off", "go_on", "continue", "ctrl+g", "^G", waits=True),
        Command("edit the last message; repeat for earlier ones", "edit", "edit", "alt+up", "Alt+Up", waits=True),
        Command("show the next version of an answer or message", "version", "version", "ctrl+o", "^O", waits=True),
        Command(
            "copy: the answer, its code, the prompt, the chat",
            *("copy", "copy", "f5", "F5"),
            takes="part",
            values=COPY_TARGETS,
        ),
        Command("jump to the latest", "latest", key="ctrl+end", shown_key="^End"),
    ),
    "Conversations": (
        Command("start a new chat", "new_chat", "new", "ctrl+n", "^N", "new"),
        Command("search all conversations", "find", "find", "ctrl+f", "^F", "find"),
        Command("show or hide the conversations", "sidebar", "chats", "ctrl+b", "^B"),
        Command("rename this conversation", "rename", "rename", takes="title"),
        Command("delete this conversation", "delete", "delete"),
        Command("restore the conversation deleted last", "undo", "undo"),
        Command("export this conversation to a file", "export", "export", takes="file", values=EXPORT_FORMATS),
        Command("import the conversations of a file", "import", "import", takes="file"),
    ),
    "Instructions and settings": (
        Command("instructions for this conversation", "instructions", "instructions", takes="text"),
        Command("use the instructions of a preset", "preset", "preset", takes="name"),
        Command("settings: sampling, presets, appearance", "settings", "settings", "f3", "F3"),
        Command("theme: dark, light, ansi or one of Textual's", "theme", "theme", takes="name"),
        Command("write the message in $VISUAL or $EDITOR", "editor", "editor", "f4", "F4"),
    ),
    "Models": (
        Command("choose a model from those there are", "model", "model", takes="name", waits=True, opens=True),
        Command("download a model (gpt-oss-20b); or pause, hide", "download", "download", takes="name"),
        Command("download: start, pause, resume, switch", "download_step", key="f6", shown_key="F6"),
        Command("restart the engine after it stopped", "restart", "restart"),
    ),
    "Program": (
        Command("redraw the screen", "redraw", key="ctrl+l", shown_key="^L"),
        Command("search all commands", "command_palette", "", "ctrl+p", "^P", "commands"),
        Command("show keys and commands", "help", "help", "f1", "F1", "help"),
        Command("quit", "quit", "quit", "ctrl+q", "^Q", "quit"),
    ),
}
"""In the order of the help; the footer has those with a label in this order."""

COMMANDS = tuple(command for commands in GROUPS.values() for command in commands)


def parse(text: str) -> tuple[str, str] | None:
    """A slash name and its argument, if `text` is a command line; None for a prompt.

    One line that begins with a slash and a word of letters is a command, known or not, and so is a slash alone, which
    asks for help; "/usr/bin" is a prompt, and so is a command line with a space before it.
    """
    match = re.fullmatch(r"/([A-Za-z]*)(?: +(\S.*?))? *", text)
    return (match[1].lower() or "help", match[2] or "") if match else None


def find(slash: str) -> Command | None:
    """The command of a slash name."""
    return next((command for command in COMMANDS if command.slash == slash), None)


def no_argument(slash: str) -> str:
    """What to say where something follows a command that takes nothing."""
    return f"/{slash} takes no argument."


def next_effort(current: Effort, level: str) -> Effort | None:
    """The effort that `/effort LEVEL` sets, or the one after the current where `level` is ""; None for no effort."""
    order = list(Effort)
    if not level:
        return order[(order.index(current) + 1) % len(order)]
    return Effort(level.lower()) if level.lower() in order else None
