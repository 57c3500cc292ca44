"""A text area that completes what is typed at the cursor: a command line, or the name of a file after an `@`."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from textual.message import Message
from textual.widgets import TextArea

from app.chat.commands import Command
from app.documents.attachments import AttachmentError
from app.documents.mentions import candidates, mention, written
from app.tui.text.completions import Completion, completions, file_completions, marked_at_once, names_file
from app.tui.widgets.completion import MAX_ROWS, CompletionList
from mlx_model.text import clean

HINT = "Tab completes; * not during an answer"
PARTS_HINT = "then : for pages, # for a section, ? to search, * by parts"
MOST_PARTS = 200
"""Sections or pages that are listed; the list scrolls."""
PATIENCE_S = 1.0
"""How long a key waits for a folder to be read: that of another computer may never answer."""

_OF_THE_LIST = ("up", "down", "enter", "tab", "escape")


class CompletingArea(TextArea):
    """`completion` is the list of files that a mention may mean, or of commands. Its subclass gives it the keys.

    The list may lag behind fast typing. Keys that act on it wait for it: they do what they would do when typed slowly.
    """

    class Named(Message):
        """A file is being named whose list isn't there yet: `look_up` brings it."""

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
        self._ended_at: tuple[int, int] | None = None  # where the cursor was once a whole file had been chosen

    def rewrite(self, text: str) -> None:
        """Replace the text, with the cursor at its end; what is attached stays."""
        self.load_text(text)
        self.move_cursor(self.document.end)

    def on_text_area_selection_changed(self) -> None:
        """The cursor has moved: show what may be meant, if something is being named.

        What is listed already stays as it is: this comes after the keys that were typed right behind, which may have
        marked another row.
        """
        if not self._naming:
            self.completion.hide()
        elif not self._offer():
            if (name := self._file_named) is None:
                self.completion.hide()
            elif self.completion.typed != name:
                self.post_message(self.Named())

    @property
    def _file_named(self) -> str | None:
        """What names a file: a command line, or the mention at the cursor as far as it is typed."""
        line = self.line
        if line is not None and names_file(line):
            return line
        found = self._mention()
        return found[1] if found else None

    async def look_up(self) -> None:
        """Show the files that may be meant, unless something else is being named by then. A thread reads the folder."""
        if (name := self._file_named) is None:
            return
        if name == self.line:
            found = await asyncio.to_thread(file_completions, name, self.folder, MAX_ROWS)
        else:
            found = await asyncio.to_thread(self._files, name)
        if name == self._file_named != self.completion.typed:
            self._show(name, found)

    def _files(self, name: str) -> list[Completion]:
        """The files that are meant, with their sizes, or the parts of one."""
        from app.documents.parts import parts, size_of  # what reads files is loaded once one is named

        names = candidates(name, self.folder, MAX_ROWS)
        if names:
            return [Completion(each, each, size_of(each, self.folder)) for each in names]
        return [Completion(part.name, part.title, part.size) for part in parts(name, self.folder, MOST_PARTS)]

    async def _complete(self, key: str) -> bool:
        """What a key does while a command or a file is being named; false for what it does anyway."""
        if key in _OF_THE_LIST:
            await self._catch_up()
        line, completion = self.line, self.completion
        if line is not None and completion.display and completion.typed == line:
            return self._complete_line(key, line)
        found = self._mention()
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

    async def _catch_up(self) -> None:
        """Have the list show what is typed by now."""
        if not self._offer() and self.completion.typed != self._file_named:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.look_up(), PATIENCE_S)

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

    def _offer(self) -> bool:
        """Show what a command line may become, unless that is listed already; false if it is nothing, or files."""
        line = self.line
        if line is None:
            return False
        if self.completion.typed == line:
            return self.completion.display
        found = completions(line, self.values_of)
        if found:
            self._show(line, found)
        return bool(found)

    def _show(self, typed: str, found: Sequence[Completion]) -> None:
        """Show what is typed may become; after some command lines none of it is marked before a key does so."""
        marked = typed != self.line or (marked_at_once(typed) and not any(each.waits for each in found[:1]))
        hint = HINT if typed == self.line and found and found[0].help else ""
        if typed != self.line and any(each.help and each.line == each.usage for each in found):  # whole files
            hint = PARTS_HINT
        self.completion.show(found, typed, marked=marked, hint=hint)

    def _path(self, name: str) -> Path | None:
        """What is there by this name."""
        from app.documents.files import meant

        try:
            path, _ = meant(name, self.folder)
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
        from app.documents.selection import divide

        row, column = self.cursor_location
        is_folder = name.endswith("/")
        text = written(clean(name))
        text = text.removesuffix('"') if is_folder else f"{text} "
        self._naming = is_folder
        self.replace(text, (row, found[0]), (row, column), maintain_selection_offset=False)
        self._ended_at = None if is_folder or divide(name) else self.cursor_location
        if not is_folder:
            self.completion.hide()
            self.take_file(name)

    @abstractmethod
    def take_file(self, name: str) -> None:
        """A file was chosen, or a part of one."""

    def _reopen(self, sign: str) -> bool:
        """Go on with the name of the file that has just been chosen, to name a part of it: the space behind it goes.

        False where none has just been chosen, or what was typed begins no part.
        """
        row, column = self.cursor_location
        name = self.document.get_line(row)[:column].rstrip().removesuffix('"')
        if self._ended_at != (row, column) or not self.selection.is_empty:
            return False
        from app.documents.selection import PARTS

        if sign not in PARTS:
            return False
        self._ended_at, self._naming = None, True
        self.replace(sign, (row, len(name)), (row, column), maintain_selection_offset=False)
        self.post_message(self.Named())  # the cursor may stand where it stood
        return True

    @property
    def line(self) -> str | None:
        """The command line that is being typed, with the cursor at its end."""
        is_line = self.takes_commands and self.text.startswith("/") and self.document.line_count == 1
        return self.text if is_line and self.selection.is_empty and self.cursor_at_end_of_text else None

    def _mention(self) -> tuple[int, str] | None:
        row, column = self.cursor_location
        return mention(self.document.get_line(row)[:column]) if self.selection.is_empty else None
