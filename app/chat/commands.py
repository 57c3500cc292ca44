"""Every command and key of the chat as data: bindings, palette, help and slash commands read this."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.lines import similar
from app.settings import ANALYSIS, SAMPLING
from app.tools.names import TOOLS
from mlx_model.harmony.message import Effort

BUSY = "An answer is under way: Esc stops it."
"""The warning of a command that can't be used during an answer."""
QUESTION_WAITS = "A question waits for you: F7 says yes, Esc says no."
"""The same while the person is asked something, where Esc doesn't stop the answer."""

COPY_TARGETS = ("answer", "code", "prompt", "chat")
"""What can be copied; the first by default."""
EXPORT_FORMATS = ("md", "json")
"""How a conversation can be exported; the first by default."""

EFFORTS = "The effort can be low, medium or high."
"""The answer to `/effort` with anything else."""

_ALMOST = 0.75
"""How much a name has in common with that of a command where it is mistyped, rather than the beginning of a prompt."""


@dataclass(frozen=True, slots=True)
class Command:
    """`action` is the app's method `action_<action>`; `takes` names the argument that may follow the slash name.

    `values` are the possible arguments, where they are known beforehand; the text of `help` before a colon fits each.
    `label` is its name in the footer. One that `waits` can't be used while an answer is under way, unless it only
    `opens` a list when nothing follows it, or what follows is the value `at_once`.

    `aliases` are other names, as people know them from other programs; one that is also a value stands for that value:
    `/seed 7` is `/set seed 7`. `files` are the suffixes of the files that its argument can name, besides folders; None:
    it names none. `words` mean the command without a slash, as the whole message.
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
    at_once: str = ""
    aliases: tuple[str, ...] = ()
    files: tuple[str, ...] | None = None
    words: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """The slash name and what may follow it, "" without one."""
        return self.usage_as(self.slash) if self.slash else ""

    def usage_as(self, name: str) -> str:
        """As `usage`, by another name."""
        takes = self.takes.split()[-1] if name in self.values else self.takes
        return f"/{name} [{takes}]" if takes else f"/{name}"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What a person has typed: the name in lower case, and the command, None where none has such a name."""

    name: str
    argument: str
    command: Command | None


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
        Command("stop the answer, or the running code", "stop", "stop", "escape", "Esc", "stop"),
        Command("end the thought and answer now", "answer_now", "answer", "ctrl+s", "^S", "answer now"),
        Command(
            "regenerate; the previous answer is kept",
            *("again", "again", "ctrl+r", "^R", "again"),
            waits=True,
            aliases=("regenerate", "retry"),
        ),
        Command(
            "several answers at once, of which one is made",
            *("pro", "pro", "f10", "F10"),
            takes="N question",
            values=("4", "8", "16", "vote:", "select:", "synthesise:", "all:"),
            waits=True,
        ),
        Command("continue an answer that was cut off", "go_on", "continue", "ctrl+g", "^G", waits=True),
        Command("edit the last message; again for earlier ones", "edit", "edit", "alt+up", "Alt+Up", waits=True),
        Command("show the next version of an answer or message", "version", "version", "ctrl+o", "^O", waits=True),
        Command(
            "copy: the answer, its code, the prompt, the chat",
            *("copy", "copy", "f5", "F5"),
            takes="part",
            values=COPY_TARGETS,
        ),
        Command(
            "read a document beside the chat, ask about lines",
            *("read", "read"),
            takes="file",
            aliases=("open",),
            files=("",),
        ),
        Command("jump to the latest", "latest", key="ctrl+end", shown_key="^End"),
    ),
    "Tools": (
        Command(
            "tools: python, browser, files FOLDER, off",
            *("tools", "tools"),
            takes="names",
            values=(*TOOLS, "off"),
            waits=True,
            at_once="off",
        ),
        Command("allow the call that waits, once", "allow_once", key="f7", shown_key="F7"),
        Command("allow it in this conversation", "allow_here", key="f8", shown_key="F8"),
        Command("allow it always", "allow_always", key="f9", shown_key="F9"),
        Command("refuse the call that waits, and say why", "refuse", "no", takes="reason"),
    ),
    "Conversations": (
        Command("start a new chat", "new_chat", "new", "ctrl+n", "^N", "new", aliases=("clear", "reset")),
        Command("search all conversations", "find", "find", "ctrl+f", "^F", "find", aliases=("search",)),
        Command("show or hide the conversations", "sidebar", "chats", "ctrl+b", "^B", aliases=("history", "resume")),
        Command("rename this conversation", "rename", "rename", takes="title", aliases=("title",)),
        Command("delete this conversation", "delete", "delete"),
        Command("undo the last patch here, or the last deletion", "undo", "undo"),
        Command(
            "export this conversation to a file",
            *("export", "export"),
            takes="file",
            values=EXPORT_FORMATS,
            aliases=("save",),
            files=(),  # it writes a new one
        ),
        Command(
            "import the conversations of a file",
            *("import", "import"),
            takes="file",
            aliases=("load",),
            files=(".json", ".zip"),
        ),
    ),
    "Instructions and settings": (
        Command(
            "instructions for this conversation", "instructions", "instructions", takes="text", aliases=("system",)
        ),
        Command("use the instructions of a preset", "preset", "preset", takes="name"),
        Command("settings: sampling, presets, appearance", "settings", "settings", "f3", "F3", aliases=("config",)),
        Command(
            "sampling option: temperature, seed and others",
            *("set", "set"),
            takes="name value",
            values=SAMPLING,
            aliases=SAMPLING,
        ),
        Command("theme: dark, light, ansi or one of Textual's", "theme", "theme", takes="name"),
        Command("write the message in $VISUAL or $EDITOR", "editor", "editor", "f4", "F4"),
    ),
    "Models": (
        Command(
            "choose a model from those there are",
            *("model", "model"),
            takes="name",
            waits=True,
            opens=True,
            aliases=("models",),
        ),
        Command(
            "answer with a LoRA adapter; off: with none", "adapter", "adapter", takes="name", waits=True, opens=True
        ),
        Command(
            "download a model (gpt-oss-20b); or pause, hide", "download", "download", takes="name", aliases=("pull",)
        ),
        Command("download: start, pause, resume, switch", "download_step", key="f6", shown_key="F6"),
        Command("restart the engine after it stopped", "restart", "restart"),
    ),
    "Program": (
        Command("redraw the screen", "redraw", key="ctrl+l", shown_key="^L"),
        Command("search all commands", "command_palette", "", "ctrl+p", "^P", "commands"),
        Command("show keys and commands", "help", "help", "f1", "F1", "help", aliases=("?", "commands")),
        Command(
            "quit",
            *("quit", "quit", "ctrl+q", "^Q", "quit"),
            aliases=("exit", "q", "bye"),
            words=("exit", "quit", ":q"),
        ),
    ),
}
"""In the order of the help."""

COMMANDS = tuple(command for commands in GROUPS.values() for command in commands)


def parse(text: str, commands: Sequence[Command] = COMMANDS) -> CommandLine | None:
    """The command line that `text` is, of these commands; None for a prompt.

    One line that begins with a slash and the name of a command is one, and so are a slash alone, which asks for help,
    an unknown name alone, and one with more behind it that is nearly a command's ("/efort low", but not "/tmp is
    full"). "/usr/bin" is a prompt, and so is a command line with a space before it.
    """
    if (meant := next((command for command in commands if text in command.words), None)) is not None:
        return CommandLine(text, "", meant)
    match = re.fullmatch(r"/(\?|[A-Za-z]\w*|)(?: +(\S.*?))? *", text, re.ASCII)
    if match is None:
        return None
    name, argument = match[1].lower() or "help", match[2] or ""
    command = find(name, commands)
    if argument and (not match[1] or (command is None and similar(name, _names(commands), _ALMOST) is None)):
        return None
    if command is not None and name in command.values:
        argument = f"{name} {argument}".rstrip()
    return CommandLine(name, argument, command)


def find(name: str, commands: Iterable[Command] = COMMANDS) -> Command | None:
    """The command of a slash name or an alias."""
    return next((command for command in commands if name == command.slash or name in command.aliases), None)


def unknown(name: str, commands: Iterable[Command] = COMMANDS) -> str:
    """What to say of a name that none of `commands` has."""
    meant = similar(name, _names(commands))
    return f"There is no command /{name}" + (f"; did you mean /{meant}?" if meant else "; /help lists all.")


def _names(commands: Iterable[Command]) -> list[str]:
    return [name for command in commands for name in (command.slash, *command.aliases) if name]


def no_argument(slash: str) -> str:
    """What to say where something follows a command that takes nothing."""
    return f"/{slash} takes no argument."


def next_effort(current: Effort, level: str) -> Effort | None:
    """The effort that `/effort LEVEL` sets, or the one after the current where `level` is ""; None for no effort."""
    order = list(Effort)
    if not level:
        return order[(order.index(current) + 1) % len(order)]
    return Effort(level.lower()) if level.lower() in order else None
