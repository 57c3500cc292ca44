"""Every command of the chat once: its slash name, its key, what it does. Help, key bindings and palette read this."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """`action` is the app's method `action_<action>`; `takes` names the argument that may follow the slash name."""

    help: str
    action: str
    slash: str = ""
    key: str = ""
    shown_key: str = ""
    label: str = ""
    takes: str = ""


COMMANDS = (
    Command("effort of the next answer: low, medium, high", "effort", "effort", "ctrl+e", "^E", "effort", "level"),
    Command("analysis: shown, collapsed, hidden", "thinking", "thinking", "ctrl+t", "^T", "thinking", "display"),
    Command("stop the answer", "stop", key="escape", shown_key="Esc", label="stop"),
    Command("answer again; the answer of before is kept", "again", "again", "ctrl+r", "^R", "again"),
    Command("continue an answer that was cut off", "go_on", "continue", "ctrl+g", "^G"),
    Command("edit the last message; again: the one before", "edit", "edit", "alt+up", "Alt+Up"),
    Command("show the next version, then those of the message before", "version", "version", "ctrl+o", "^O"),
    Command("start a new chat", "new_chat", "new", "ctrl+n", "^N", "new"),
    Command("show or hide the conversations", "sidebar", "chats", "ctrl+b", "^B"),
    Command("search all conversations", "find", "find", "ctrl+f", "^F", "find"),
    Command("rename this conversation", "rename", "rename", takes="title"),
    Command("delete this conversation", "delete", "delete"),
    Command("bring back what was deleted last", "undo", "undo"),
    Command("write the message in $VISUAL or $EDITOR", "editor", "editor", "f4", "F4"),
    Command("instructions for this conversation", "instructions", "instructions", takes="text"),
    Command("take the instructions of a preset", "preset", "preset", takes="name"),
    Command("theme: dark, light, ansi or one of Textual's", "theme", "theme", takes="name"),
    Command("settings: sampling, presets, how it looks", "settings", "settings", "f3", "F3"),
    Command("copy the last answer", "copy_answer", "copy"),
    Command("jump to the latest", "latest", key="ctrl+end", shown_key="^End"),
    Command("fetch a model, by default gpt-oss-20b; or pause, hide", "download", "download", takes="name"),
    Command("download: start, pause, go on, switch", "download_step", key="ctrl+l", shown_key="^L"),
    Command("switch to another model, or list them", "model", "model", takes="name"),
    Command("start the engine again after it stopped", "restart", "restart"),
    Command("all keys and commands", "help", "help", "f1", "F1", "help"),
    Command("quit", "quit", "quit", "ctrl+q", "^Q", "quit"),
)

EDITING = (
    ("Enter", "send"),
    ("Shift+Enter, Alt+Enter, ^J", "new line"),
    ("@ and part of a name", "attach a text, code or PDF file"),
    ("Tab, then Del or Enter", "remove an attached file, or unfold it"),
    ("Up in the first line", "earlier messages; Down leads back"),
    ("PageUp, PageDown", "scroll the conversation"),
    ("End in an empty input", "jump to the latest"),
    ("Tab, then Enter", "open one answer's analysis"),
    ("Tab, then Left, Right", "switch versions on < 1/2 >"),
    ("Tab, then Enter or Del", "take back or remove a queued message"),
    ("List: Enter, F2, Del, /", "open, rename, delete, search"),
)
"""Keys that belong to a widget, for the help."""


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
