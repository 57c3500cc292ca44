"""A text area that completes what is typed at the cursor: a command line, or the name of a file after an `@`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message
from textual.widgets import TextArea

from app.chat.commands import Command
from app.documents.attachments import AttachmentError, find
from app.documents.mentions import mention, written
from app.tui.text.completions import Completion, completions, marked_at_once, names_file
from app.tui.widgets.completion import CompletionList
from mlx_model.text import clean

HINT = "Tab completes; * not during an answer"


class CompletingArea(TextArea):
    """`completion` is the list of files that a mention may mean, or of commands; whoever receives Named fills it with
    files. Its subclass gives it the keys."""

    @dataclass
    class Named(Message):
        """A mention is being typed, as far as `name`; None: it isn't any more."""

        name: str | None

    @dataclass
    class FileNamed(Message):
        """A command line is being typed that names a file."""

        line: str

    @dataclass
    class Mentioned(Message):
        """A file was chosen."""

        name: str

    def __init__(self, placeholder: str) -> None:
        super().__init__(highlight_cursor_line=False, placeholder=placeholder)
        self.completion = CompletionList()
        self.folder = Path.cwd()
        """Where relative names of files begin."""
        self.takes_commands = True
        """Whether a line that begins with a slash is a command."""
        self.values_of: Callable[[Command], Sequence[str]] = lambda command: command.values
        """What can follow a command."""
        self._naming = False  # whether the last key typed a part of a name

    def rewrite(self, text: str) -> None:
        """Replace the text, with the cursor at its end; what is attached stays."""
        self.load_text(text)
        self.move_cursor(self.document.end)

    def on_text_area_selection_changed(self) -> None:
        """The cursor has moved: show the commands, or say which file is being named, if one is being typed."""
        line = self.line if self._naming else None
        offered = line is not None and self._offer(line)
        if line is not None and names_file(line):
            self.post_message(self.FileNamed(line))
        elif not offered:
            self.post_message(self.Named(self.named))

    @property
    def named(self) -> str | None:
        """The file that is being named, as far as it is typed."""
        typed = self._mention() if self._naming else None
        return typed[1] if typed else None

    def _complete(self, key: str) -> bool:
        """What a key does while a command or a file is being named; false for what it does anyway."""
        line = self.line
        # The list may lag behind fast typing: then it is made now, so that keys act on what is typed.
        if line is not None and (self.completion.typed == line or self._offer(line)):
            return self._complete_line(key, line)
        found, completion = self._mention(), self.completion
        if found is None:
            return False
        choice = completion.choice if completion.typed == found[1] else None
        if key in ("up", "down") and choice is not None:
            completion.step(1 if key == "down" else -1)
            self._naming = True
        elif key in ("enter", "tab") and choice is not None:
            self.choose(choice)
        elif key in ("enter", "tab", "space") and self._is_file(found[1]):
            self.choose(found[1])
        elif key == "escape" and choice is not None:
            completion.hide()
        else:
            return False
        return True

    def _complete_line(self, key: str, line: str) -> bool:
        completion = self.completion
        marked = completion.choice
        if key in ("up", "down"):
            completion.step(1 if key == "down" else -1)
            self._naming = True
        elif key == "tab" or (key == "enter" and marked and marked.strip().casefold() != line.strip().casefold()):
            self.choose(marked or completion.names[0])
        elif key == "escape":
            completion.hide()
        else:
            return False
        return True

    def _offer(self, line: str) -> bool:
        """Show what a command line may become; false if that is nothing."""
        return self._show(line, completions(line, self.values_of))

    def offer_files(self, line: str, files: Sequence[Completion]) -> None:
        """Show the files that a command line may name, unless it has changed since."""
        if line == self.line and not self._show(line, [*completions(line, self.values_of), *files]):
            self.completion.hide()

    def _show(self, line: str, found: Sequence[Completion]) -> bool:
        """Show these; false if there are none."""
        if found:
            marked = marked_at_once(line) and not found[0].waits
            self.completion.show(found, line, marked=marked, hint=HINT if found[0].help else "")
        return bool(found)

    def _path(self, name: str) -> Path | None:
        """What is there by this name."""
        try:
            path = find(name, self.folder)
            return path if path.exists() else None
        except (AttachmentError, OSError, ValueError):
            return None

    def _is_file(self, name: str) -> bool:
        path = self._path(name)
        return path is not None and path.is_file()

    def choose(self, name: str) -> None:
        """Write what was chosen in place of what is typed: a command line, or a name into the mention at the cursor.

        The name of a folder is to go on with, and so is a command; that of a file ends it.
        """
        if self.line is not None and name.startswith("/"):
            self._naming = True
            self.rewrite(name)
            return
        found = self._mention()
        if found is None:
            return
        row, column = self.cursor_location
        is_folder = name.endswith("/")
        text = written(clean(name))
        text = text.removesuffix('"') if is_folder else f"{text} "
        self._naming = is_folder
        self.replace(text, (row, found[0]), (row, column), maintain_selection_offset=False)
        if not is_folder:
            self.completion.hide()
            self.post_message(self.Mentioned(name))

    @property
    def line(self) -> str | None:
        """The command line that is being typed, with the cursor at its end."""
        is_line = self.takes_commands and self.text.startswith("/") and self.document.line_count == 1
        return self.text if is_line and self.selection.is_empty and self.cursor_at_end_of_text else None

    def _mention(self) -> tuple[int, str] | None:
        row, column = self.cursor_location
        return mention(self.document.get_line(row)[:column]) if self.selection.is_empty else None
