"""The input: several lines, grows with its text, Enter sends; Up recalls, long pastes fold, `@` and `/` complete."""

import contextlib
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import actions, events
from textual.binding import Binding, BindingType
from textual.keys import Keys
from textual.message import Message
from textual.widgets import TextArea

from app.chat.commands import Command, parse
from app.documents.attachments import Attachment, AttachmentError, find, join, split
from app.documents.mentions import looks_like_path, mention, names_in, written
from app.lines import one_line
from app.tui.text.completions import completions, marked_at_once
from app.tui.text.key_help import KeyHelp
from app.tui.text.recall import Recall
from app.tui.widgets.attached import Attached
from app.tui.widgets.completion import CompletionList
from mlx_model.text import clean

# Most terminals send Alt+Enter as ESC CR, which Textual 8.2 reads as plain Enter: the message would be sent. The table
# is private to Textual; if it is gone, only Alt+Enter is lost.
with contextlib.suppress(ImportError, TypeError):
    from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

    ANSI_SEQUENCES_KEYS["\x1b\r"] = (Keys.ControlJ,)  # type: ignore[index]

NEWLINE = ("shift+enter", "alt+enter", "ctrl+j")
FOLD_LINES, FOLD_LENGTH = 10, 2000
"""A paste of more lines or characters is folded into a line of its own; what is shorter fits into the input."""
HINT = "Tab completes; * not during an answer"
PLACEHOLDERS = (
    "Ask anything. Shift+Enter or ^J for a new line, @ for files, / for commands",
    "Ask anything. ^J for a new line, @ for files, / for commands",
    "Ask anything. / for commands",
)
"""What an empty input says: the first that fits in a line."""


class Composer(TextArea):
    """Posts Submitted on Enter and keeps its text, until `take` clears what was submitted.

    Who receives Submitted ends with `finish_submission`: a person may press Enter again before that, and means by it
    what was typed since the last one.

    `attached` is what goes with the text, `completion` the list of files that a mention may mean, or of commands,
    `recall` the earlier prompts. `prompt` is all that is sent: the text and what is attached.
    """

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The message",
        (
            ("Enter", "send, or queue while an answer is under way"),
            ("^J, Alt+Enter", "new line; also Shift+Enter in many terminals"),
            ("@ and part of a name", "attach a text, code or PDF file"),
            ("/ and part of a name", "a command; Up and Down choose, Tab completes"),
            ("Up in the first line", "earlier messages; Down goes back"),
            ("PageUp, PageDown", "scroll the conversation"),
            ("End, in empty input", "jump to the latest"),
            ("Enter, in empty input", "send the queued messages"),
            ("Shift+Tab", "select a message: copy, edit, branch, quote"),
        ),
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "app.scroll_transcript(-1)", "Scroll up", show=False),
        Binding("pagedown", "app.scroll_transcript(1)", "Scroll down", show=False),
    ]

    @dataclass
    class Submitted(Message):
        """The person pressed Enter. `prompt` is the whole of it, `typed` without what is attached."""

        prompt: str
        typed: str
        attachments: list[Attachment]

    @dataclass
    class LatestRequested(Message):
        """The person pressed End in an empty input."""

    @dataclass
    class Named(Message):
        """A mention is being typed, as far as `name`; None: it isn't any more."""

        name: str | None

    @dataclass
    class Mentioned(Message):
        """A file was chosen."""

        name: str

    def __init__(self) -> None:
        super().__init__(highlight_cursor_line=False, placeholder=PLACEHOLDERS[0])
        self.cursor_blink = False  # a blinking cursor is a timer, and this program has none when idle
        self.attached = Attached()
        self.completion = CompletionList()
        self.recall = Recall()
        self.folder = Path.cwd()
        """Where relative names of files begin."""
        self.takes_commands = True
        """Whether a line that begins with a slash is a command."""
        self.values_of: Callable[[Command], Sequence[str]] = lambda command: command.values
        """What can follow a command."""
        self._submissions: deque[Composer.Submitted] = deque()  # those that nobody has dealt with yet
        self._before = ""  # what stands before the text of these
        self._taken = False  # whether the first of them was
        self._only_text: set[str] = set()  # names after an @ that are to be sent as they stand, without a file
        self._naming = False

    # What stands in it

    @property
    def prompt(self) -> str:
        """The text and what is attached."""
        return join(self.text, self.attached.attachments)

    def take(self, submitted: str) -> None:
        """Remove what was submitted; what stands before it, and what was typed in the moment since, stays."""
        submission = self._submissions[0]
        if submitted == submission.prompt:
            self.attached.take(submission.attachments)
            self.recall.add(submission.prompt)
        self._only_text.clear()
        self.rewrite(self._before + self._after_before().removeprefix(submission.typed))
        self._taken = True

    def finish_submission(self) -> None:
        """The first Submitted has been dealt with; what of it was not taken is ordinary text again."""
        submission = self._submissions.popleft()
        if not self._taken:
            self._before += submission.typed
        self._taken = False
        if not self._submissions:
            self._before = ""

    def _after_before(self) -> str:
        return self.text.removeprefix(self._before)

    def put_back(self, prompt: str) -> None:
        """Put a prompt that was not answered before what was typed since."""
        text, attachments = split(prompt)
        text, typed = clean(text), self.text
        self.rewrite(f"{text}\n\n{typed}" if text and typed.strip() else text or typed)
        if self._submissions and text:
            self._before = f"{text}\n\n{self._before}"
        for attachment in attachments:
            self.attached.add(attachment)
        self.leave_as_text(names_in(text))  # it was sent so before, or would have been

    def clear_prompt(self) -> None:
        """Empty it, attachments included."""
        self._only_text.clear()
        self._before = ""
        self.load_text("")
        self.attached.clear()

    def write(self, text: str) -> None:
        """Put text in place of the selection."""
        self.replace(text, *self.selection, maintain_selection_offset=False)
        self.scroll_cursor_visible()

    def leave_as_text(self, names: Iterable[str]) -> None:
        """The person means no files by these names."""
        self._only_text.update(map(one_line, names))

    def unfold(self, attachment: Attachment) -> None:
        """Write an attachment into the text: where its stand-in is, else at the cursor."""
        before, stand_in, after = self.text.partition(_stand_in(attachment.name))
        text = clean(attachment.text)
        if stand_in:
            self.rewrite(f"{before}{text}{after}")
        else:
            self.write(text)

    def rewrite(self, text: str) -> None:
        """Replace the text, with the cursor at its end; what is attached stays."""
        self.load_text(text)
        self.move_cursor(self.document.end)

    def rewrite_part(self, before: str, text: str) -> None:
        """Replace the text there was `before`; a prompt that came back meanwhile stays before it."""
        others = self.text.removesuffix(before).rstrip("\n")
        self.rewrite(f"{others}\n\n{text}" if others else text)

    # Keys

    async def on_key(self, event: events.Key) -> None:
        """Enter sends, with a modifier it breaks the line; the list above, while it is there, comes first.

        What else edits the text is done here too, not by bindings: those act only once the key has bubbled up to the
        app, and by then the letters typed right after it are already in the text.
        """
        naming, self._naming = self._naming, event.is_printable or event.key == "backspace"
        if naming and self._complete(event.key):
            pass
        elif event.key == "enter":
            self._submit()
        elif event.key in NEWLINE:
            self.write("\n")
        elif (event.key == "up" and self._recall(-1)) or (event.key == "down" and self._recall(1)):
            pass
        elif not await self._edited(event.key):
            return
        event.stop()
        event.prevent_default()

    async def _edited(self, key: str) -> bool:
        """Do what a key is bound to in a text area; false if it is bound to nothing here, or doesn't apply."""
        for binding in self._bindings.key_to_bindings.get(key, ()):
            owner, name, arguments = actions.parse(binding.action)
            method = None if owner else getattr(self, f"action_{name}", None)
            if method is not None:
                try:
                    done = method(*arguments)
                    if inspect.isawaitable(done):
                        await done
                except actions.SkipAction:
                    return False
                return True
        return False

    def action_cursor_line_end(self, select: bool = False) -> None:
        """End: the end of the line; an empty input has none, there it means the end of the conversation."""
        if self.text:
            super().action_cursor_line_end(select)
        else:
            self.post_message(self.LatestRequested())

    def on_resize(self) -> None:
        """Say as much as fits while there is no text."""
        width = self.content_size.width
        self.placeholder = next((text for text in PLACEHOLDERS if len(text) <= width), PLACEHOLDERS[-1])

    def on_paste(self, event: events.Paste) -> None:
        """Paste text without control characters in place of the selection; long text is folded."""
        event.prevent_default()
        event.stop()
        self._naming = False
        text = clean(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        if text.count("\n") < FOLD_LINES and len(text) <= FOLD_LENGTH:
            self.write(text)
            self.leave_as_text(names_in(text))  # what others wrote: code has words like @pytest.fixture
            return
        others = {attachment.name for attachment in self.attached.attachments}
        names = (f"pasted text {number}" for number in range(1, len(others) + 2))
        name = next(name for name in names if name not in others)
        self.write(_stand_in(name))
        self.attached.add(Attachment(name, text))

    def on_text_area_selection_changed(self) -> None:
        """The cursor has moved: show the commands, or say which file is being named, if one is being typed."""
        if (line := self._line()) is None or not self._naming or not self._offer(line):
            self.post_message(self.Named(self.named))

    @property
    def named(self) -> str | None:
        """The file that is being named, as far as it is typed."""
        typed = self._mention() if self._naming else None
        return typed[1] if typed else None

    def _submit(self) -> None:
        if (name := self.attached.reading) is not None:
            self.notify(f"{name} is still being read.", severity="warning", markup=False)
            return
        if names := self._unattached():
            self.leave_as_text(names)
            listed = ", ".join(one_line(written(name)) for name in names)
            is_there = any(self._path(name) for name in names)
            what = "not attached" if is_there else "not a file" if len(names) == 1 else "not files"
            warning = f"{listed} {'is' if len(names) == 1 else 'are'} {what}; Enter again sends the message as text."
            self.notify(warning, severity="warning", markup=False)
            return
        typed, attachments = self._after_before(), self.attached.attachments
        for earlier in self._submissions:
            typed = typed.removeprefix(earlier.typed)
            attachments = [each for each in attachments if each not in earlier.attachments]
        submission = self.Submitted(join(typed, attachments), typed, attachments)
        self._submissions.append(submission)
        self.post_message(submission)

    def _complete(self, key: str) -> bool:
        """What a key does while a command or a file is being named; false for what it does anyway."""
        line = self._line()
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
        found = completions(line, self.values_of)
        if found:
            self.completion.show(found, line, marked=marked_at_once(line), hint=HINT if found[0].help else "")
        return bool(found)

    def _unattached(self) -> list[str]:
        """The mentions that look like files, have none attached, and have not been warned about yet."""
        if self.takes_commands and parse(self.text) is not None:
            return []
        without_warning = self._only_text | {attachment.name for attachment in self.attached.attachments}
        names = (name for name in names_in(self.text) if one_line(name) not in without_warning)
        return [name for name in names if looks_like_path(name) or self._path(name)]

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
        if self._line() is not None and name.startswith("/"):
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

    def _line(self) -> str | None:
        """The command line that is being typed, with the cursor at its end."""
        is_line = self.takes_commands and self.text.startswith("/") and self.document.line_count == 1
        return self.text if is_line and self.selection.is_empty and self.cursor_at_end_of_text else None

    def _mention(self) -> tuple[int, str] | None:
        row, column = self.cursor_location
        return mention(self.document.get_line(row)[:column]) if self.selection.is_empty else None

    def _recall(self, step: int) -> bool:
        """Show an older or newer prompt, if the cursor stands in the first or last line on the screen."""
        lines = self.wrapped_document
        at, last = (lines.location_to_offset(place).y for place in (self.cursor_location, self.document.end))
        if not self.selection.is_empty or at != (0 if step < 0 else last):
            return False
        current = self.prompt
        prompt = self.recall.older(current) if step < 0 else self.recall.newer(current)
        if prompt is None:
            return False
        self.clear_prompt()
        self.put_back(prompt)
        if step < 0:  # from where Up goes on to the one before
            self.move_cursor((0, 0))
        return True


def _stand_in(name: str) -> str:
    """What the text has in place of a paste that is folded."""
    return f"[{name}]"
