"""Every command and key of the chat once: bindings, palette, help and the list of slash commands read this."""

import re
from dataclasses import dataclass

from app.settings import ANALYSIS
from mlx_model.harmony.message import Effort

BUSY = "An answer is under way: Esc stops it."
"""What a command that waits for the end of the answer says until then."""

COPY_TARGETS = ("answer", "code", "prompt", "chat")
"""What can be copied; the first by default."""
EXPORT_FORMATS = ("md", "json")
"""How a conversation can be exported; the first by default."""


@dataclass(frozen=True, slots=True)
class Command:
    """`action` is the app's method `action_<action>`; `takes` names the argument that may follow the slash name.

    `values` are what the argument can be, where that is known beforehand; what `help` says before a colon fits each. A
    command with a `label` stands in the footer. One that `waits` does nothing while an answer is under way.
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
        Command("answer again; the answer of before is kept", "again", "again", "ctrl+r", "^R", "again", waits=True),
        Command("continue an answer that was cut off", "go_on", "continue", "ctrl+g", "^G", waits=True),
        Command("edit the last message; again: the one before", "edit", "edit", "alt+up", "Alt+Up", waits=True),
        Command("next version; then those of the message before", "version", "version", "ctrl+o", "^O", waits=True),
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
        Command("bring back what was deleted last", "undo", "undo"),
        Command("write this conversation to a file", "export", "export", takes="file", values=EXPORT_FORMATS),
        Command("add the conversations of a file", "import", "import", takes="file"),
    ),
    "Instructions and settings": (
        Command("instructions for this conversation", "instructions", "instructions", takes="text"),
        Command("take the instructions of a preset", "preset", "preset", takes="name"),
        Command("settings: sampling, presets, how it looks", "settings", "settings", "f3", "F3"),
        Command("theme: dark, light, ansi or one of Textual's", "theme", "theme", takes="name"),
        Command("write the message in $VISUAL or $EDITOR", "editor", "editor", "f4", "F4"),
    ),
    "Models": (
        Command("switch to another model, or list them", "model", "model", takes="name", waits=True),
        Command("fetch a model, else gpt-oss-20b; or pause, hide", "download", "download", takes="name"),
        Command("download: start, pause, go on, switch", "download_step", key="ctrl+l", shown_key="^L"),
        Command("start the engine again after it stopped", "restart", "restart"),
    ),
    "Program": (
        Command("all commands, to search and choose", "command_palette", "", "ctrl+p", "^P", "commands"),
        Command("what the keys do here, and everywhere", "help", "help", "f1", "F1", "help"),
        Command("quit", "quit", "quit", "ctrl+q", "^Q", "quit"),
    ),
}
"""In the order of the help; the footer has those with a label in this order."""

COMMANDS = tuple(command for commands in GROUPS.values() for command in commands)


@dataclass(frozen=True, slots=True)
class Keys:
    """What keys do in one kind of widget: `rows` of keys and their effect."""

    title: str
    rows: tuple[tuple[str, str], ...]


WIDGETS: dict[str, Keys] = {
    "Composer": Keys(
        "The message",
        (
            ("Enter", "send; while an answer is under way: queue"),
            ("^J, Alt+Enter", "new line; Shift+Enter too where it is known"),
            ("@ and part of a name", "attach a text, code or PDF file"),
            ("/ and part of a name", "a command; Up and Down choose, Tab completes"),
            ("Up in the first line", "earlier messages; Down leads back"),
            ("PageUp, PageDown", "scroll the conversation"),
            ("End, while empty", "jump to the latest"),
            ("Enter, while empty", "send what was queued and is held"),
            ("Shift+Tab, Tab", "go to what stands above, and come back"),
        ),
    ),
    "ConversationList": Keys(
        "The list of conversations",
        (
            ("Up, Down, Enter", "choose and open"),
            ("F2", "rename"),
            ("Del, then ^Z", "delete, and bring back"),
            ("/", "search"),
            ("Esc", "back to the message"),
        ),
    ),
    "#search": Keys(
        "The search",
        (
            ("a few words", "find them in all conversations"),
            ("Enter, Down", "on to what was found"),
            ("Esc", "end the search, then back to the message"),
        ),
    ),
    "FoldTitle": Keys("An analysis, or the call of a tool", (("Enter, Space", "open or close it"),)),
    "VersionSwitch": Keys("The versions < 1/2 >", (("Left, Right", "show the one before, the one after"),)),
    "Queued": Keys(
        "A queued message",
        (
            ("Enter", "take it back into the input"),
            ("Del", "remove it"),
        ),
    ),
    "Chip": Keys(
        "An attached file or text",
        (
            ("Enter", "write its text into the message"),
            ("Del", "remove it"),
        ),
    ),
    "DownloadPanel": Keys("The download", (("Enter", "do what the word says"),)),
    "SettingsScreen": Keys(
        "The settings",
        (
            ("Tab, Shift+Tab", "next and previous line"),
            ("Enter, Space, Up", "open a list of choices"),
            ("^S, or Enter in a line", "save"),
            ("Esc", "leave everything as it is"),
        ),
    ),
    "CommandPalette": Keys(
        "The commands",
        (
            ("part of a name", "find a command"),
            ("Up, Down, Enter", "choose and run"),
            ("Esc", "close"),
        ),
    ),
}
"""By the name of the widget's class, or its id after "#"; those around a widget hold for it too."""


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
