"""The input: several lines, grows with its text, Enter sends; Up recalls, long pastes fold, `@` and `/` complete."""

import contextlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from textual import actions, events
from textual.binding import Binding, BindingType
from textual.keys import Keys
from textual.message import Message

from app.chat.commands import parse
from app.documents.attachments import Attachment, join, merge, split
from app.documents.mentions import looks_like_path, names_in, written
from app.lines import one_line
from app.tui.text.key_help import KeyHelp
from app.tui.text.recall import Recall
from app.tui.widgets.attached import Attached, Chip
from app.tui.widgets.completing_area import CompletingArea
from mlx_model.text import clean

# Most terminals send Alt+Enter as ESC CR, which Textual 8.2 reads as plain Enter: the message would be sent. The table
# is private to Textual; if it is gone, only Alt+Enter is lost.
with contextlib.suppress(ImportError, TypeError):
    from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

    ANSI_SEQUENCES_KEYS["\x1b\r"] = (Keys.ControlJ,)  # type: ignore[index]

NEWLINE = ("shift+enter", "alt+enter", "ctrl+j")
FOLD_LINES, FOLD_LENGTH = 10, 2000
"""A paste of more lines or characters is folded into a line of its own; what is shorter fits into the input."""
WAITS = "The message is sent once {} is read."
PLACEHOLDERS = (
    "Ask anything. Shift+Enter or ^J for a new line, @ for files, / for commands",
    "Ask anything. ^J for a new line, @ for files, / for commands",
    "Ask anything. / for commands",
)
"""What an empty input says: the first that fits in a line."""


class Composer(CompletingArea):
    """Posts Submitted on Enter and is empty at once, ready for the next; Up brings back what was sent.

    Who receives Submitted says so by `received`: until then it is `unsent`, as is what is being typed.

    `attached` is what goes with the text, `recall` the earlier prompts. `prompt` is all that is sent: the text and what
    is attached.
    """

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The message",
        (
            ("Enter", "send, or queue while an answer is under way"),
            ("^J, Alt+Enter", "new line; also Shift+Enter in many terminals"),
            ("@ and part of a name", "attach a file; :3-7, #title, ?words, * by parts"),
            ("/ and part of a name", "a command; Up and Down choose, Tab completes"),
            ("Up in the first line", "earlier messages; Down goes back"),
            ("^W, ^U, ^K", "delete a word, to the line's start, to its end"),
            ("Alt+Left, Alt+Right", "move by a word"),
            ("^C", "copy a selection, stop, or empty the input"),
            ("PageUp, PageDown", "scroll the conversation"),
            ("End, in empty input", "jump to the latest"),
            ("Enter, in empty input", "send the queued messages"),
            ("Shift+Tab", "select a message: copy, edit, branch, quote"),
        ),
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "app.scroll_transcript(-1)", "Scroll up", show=False),
        Binding("pagedown", "app.scroll_transcript(1)", "Scroll down", show=False),
        # What Option and Command send on a Mac, and a shell's Alt+D; Textual has the same by other keys.
        Binding("alt+left", "cursor_word_left", show=False),
        Binding("alt+right", "cursor_word_right", show=False),
        Binding("alt+shift+left", "cursor_word_left(True)", show=False),
        Binding("alt+shift+right", "cursor_word_right(True)", show=False),
        Binding("alt+d", "delete_word_right", show=False),
        Binding("super+left", "cursor_line_start", show=False),
        Binding("super+right", "cursor_line_end", show=False),
    ]

    @dataclass
    class Submitted(Message):
        """The person pressed Enter: a command, or the whole of a prompt, for one answer or for `several`."""

        prompt: str
        several: bool = False

    @dataclass
    class Mentioned(Message):
        """A file was chosen, or a part of one, which is to be read."""

        name: str
        chip: Chip

    @dataclass
    class LatestRequested(Message):
        """The person pressed End in an empty input."""

    def __init__(self) -> None:
        super().__init__(PLACEHOLDERS[0])
        self.cursor_blink = False  # a blinking cursor is a timer, and this program has none when idle
        self.attached = Attached()
        self.recall = Recall()
        self._on_the_way: list[Composer.Submitted] = []  # sent, and not yet received
        self._waiting: tuple[str, bool] | None = None  # what Enter is to send, to several, once its files are read
        self._only_text: set[str] = set()  # names after an @ that are to be sent as they stand, without a file

    # What stands in it

    @property
    def prompt(self) -> str:
        """The text and what is attached."""
        return join(self.text, self.attached.attachments)

    @property
    def unsent(self) -> str:
        """All that the chat does not have yet: what is on the way to it, and what is being typed."""
        return merge([*(each.prompt for each in self._on_the_way), self.prompt])

    def received(self, submission: Submitted) -> bool:
        """The chat has it now; false if it was withdrawn on the way."""
        if submission not in self._on_the_way:
            return False
        self._on_the_way.remove(submission)
        return True

    def withdraw(self) -> None:
        """Empty it, and take back what is on the way to the chat."""
        self._on_the_way.clear()
        self.clear_prompt()

    def put_back(self, prompt: str) -> None:
        """Put a prompt before what was typed since. It may become another: what was noted for it goes."""
        text, attachments = split(prompt)
        text, typed = clean(text), self.text
        self.rewrite(f"{text}\n\n{typed}" if text and typed.strip() else text or typed)
        if attachments:
            from app.documents.notes import anew  # it comes with all that reads files

            for attachment in attachments:
                self.attached.add(anew(attachment))
        self.leave_as_text(names_in(text))  # it was sent so before, or would have been

    def clear_prompt(self) -> None:
        """Empty it, attachments included."""
        self.hold()
        self._only_text.clear()
        self.load_text("")
        self.attached.clear()

    def write(self, text: str) -> None:
        """Put text in place of the selection."""
        self.replace(text, *self.selection, maintain_selection_offset=False)
        self.scroll_cursor_visible()

    def take(self, text: str) -> None:
        """Insert what was not typed. None of its words names a file to attach: code has some like @pytest.fixture."""
        self._naming = False
        self.write(text)
        self.leave_as_text(names_in(text))

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

    def rewrite_part(self, before: str, text: str) -> None:
        """Replace the text there was `before`; a prompt that came back meanwhile stays before it."""
        others = self.text.removesuffix(before).rstrip("\n")
        self.rewrite(f"{others}\n\n{text}" if others else text)

    def say_size(self, text: str, *, fits: bool) -> None:
        """Say on the border how long the prompt is."""
        self.border_subtitle = text
        self.set_class(not fits, "-too-long")

    # Keys

    async def on_key(self, event: events.Key) -> None:
        """Enter sends, with a modifier it breaks the line; the list above, while it is there, comes first.

        What else edits the text is done here too, not by bindings: those act only once the key has bubbled up to the
        app, and by then the letters typed right after it are already in the text.
        """
        naming, self._naming = self._naming, event.is_printable or event.key == "backspace"
        if (naming and await self._complete(event.key)) or self._reopen(event.character or ""):
            pass
        elif event.key == "enter":
            self.submit()
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
        text = clean(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        if text.count("\n") < FOLD_LINES and len(text) <= FOLD_LENGTH:
            self.take(text)
            return
        others = {attachment.name for attachment in self.attached.attachments}
        names = (f"pasted text {number}" for number in range(1, len(others) + 2))
        name = next(name for name in names if name not in others)
        self._naming = False
        self.write(_stand_in(name))
        self.attached.add(Attachment(name, text))

    def submit(self, *, several: bool = False) -> None:
        """Send what stands in it, unless there is something to be said first; as Submitted has it."""
        if (name := self.attached.reading) is not None:
            self._waiting = self.text, several
            self.notify(WAITS.format(name), severity="warning", markup=False)
            return
        if names := self._unattached():
            self.leave_as_text(names)
            listed = ", ".join(one_line(written(name)) for name in names)
            is_there = any(self._path(name) for name in names)
            what = "not attached" if is_there else "not a file" if len(names) == 1 else "not files"
            warning = f"{listed} {'is' if len(names) == 1 else 'are'} {what}; Enter again sends the message as text."
            self.notify(warning, severity="warning", markup=False)
            return
        if self._is_command:  # what is attached waits for the prompt
            submission = self.Submitted(self.text)
            self.load_text("")
        else:
            submission = self.Submitted(self.prompt, several)
            self.clear_prompt()
        self.recall.add(submission.prompt)
        self._on_the_way.append(submission)
        self.post_message(submission)

    def take_file(self, name: str) -> None:
        """See CompletingArea. A part takes the place of the whole, unless that is named elsewhere, too.

        Its line is there at once: an Enter that was typed right behind the name waits for it.
        """
        from app.documents.selection import divide  # what reads files is loaded once one is named

        parted = divide(name)
        if parted is not None and parted[0] not in names_in(self.text):
            self.attached.withdraw(parted[0])
        self.post_message(self.Mentioned(name, self.attached.expect(name)))

    def files_read(self) -> None:
        """A file has been read: do what Enter asked for before, if it was the last and the text is the same."""
        if self._waiting is not None and self.attached.reading is None:
            (text, several), self._waiting = self._waiting, None
            if text == self.text:
                self.submit(several=several)

    def hold(self) -> None:
        """Send nothing by itself: the person presses Enter again."""
        self._waiting = None

    @property
    def _is_command(self) -> bool:
        return self.takes_commands and parse(self.text) is not None

    def _unattached(self) -> list[str]:
        """The mentions that look like files, have none attached, and have not been warned about yet."""
        if self._is_command:
            return []
        without_warning = self._only_text | {attachment.name for attachment in self.attached.attachments}
        names = (name for name in names_in(self.text) if one_line(name) not in without_warning)
        return [name for name in names if looks_like_path(name) or self._path(name)]

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
        self.recall.shown_as(self.prompt)
        if step < 0:  # from where Up goes on to the one before
            self.move_cursor((0, 0))
        return True


def _stand_in(name: str) -> str:
    """What the text has in place of a paste that is folded."""
    return f"[{name}]"
