"""What goes with the prompt in the input, one line each: files, and pasted text that is folded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from app.documents.attachments import NOTE, Attachment
from app.lines import one_line
from app.tui.text.key_help import KeyHelp
from app.tui.widgets.live_container import LiveContainer
from mlx_model.tokens import about_tokens

CROSS = "\u00d7"


class Chip(Static, can_focus=True):
    """One of them: Del or a click on the cross removes it, Enter writes its text into the input."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "An attached file or text", (("Enter", "write its text into the message"), ("Del", "remove it"))
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("delete,backspace", "remove", "Remove", show=False),
        Binding("enter", "unfold", "Into the text", show=False),
    ]

    def __init__(self, name: str) -> None:
        super().__init__(Content(f"{CROSS} {name}  reading\u2026"), markup=False)
        self.title = name
        self.attachment: Attachment | None = None
        """None while it is being read."""
        self._tokens = self._advice = ""

    def fill(self, attachment: Attachment) -> None:
        """It has been read."""
        self.attachment = attachment
        self._show(f"about {about_tokens(attachment.text):,}")
        self.post_message(Attached.Changed())

    def count(self, tokens: int) -> None:
        """It has been counted."""
        self._show(f"{tokens:,}")

    def advise(self, text: str) -> None:
        """Say what of it would fit; "" if it fits."""
        if text != self._advice:
            self._advice = text
            self._show(self._tokens)

    def _show(self, tokens: str) -> None:
        self._tokens = tokens
        if self.attachment is not None:
            advice = f"; {self._advice}" if self._advice else ""
            self.update(Content(f"{CROSS} {describe(self.attachment, f', {tokens} tokens{advice}')}"))

    def on_click(self, event: events.Click) -> None:
        """On the cross."""
        if event.x < 2:
            self.action_remove()

    def action_remove(self) -> None:
        """Take it away from the prompt."""
        self.post_message(Attached.Removed(self, unfold=False))

    def action_unfold(self) -> None:
        """Make it part of the text; not one of which there are only notes, or none yet."""
        if self.attachment is None:
            return
        from app.documents.notes import notes_of  # now: they come with all that reads files

        if notes_of(self.attachment) is None:
            self.post_message(Attached.Removed(self, unfold=True))
        else:
            self.notify(f"{self.title} is read part by part: its text is too long for the message.", markup=False)


class Attached(VerticalScroll, LiveContainer, can_focus=False):
    """Between conversation and input; not there when empty."""

    @dataclass
    class Removed(Message):
        """One is to be removed; `unfold`: its text belongs into the input."""

        chip: Chip
        unfold: bool

    class Changed(Message):
        """There are others than before."""

    def __init__(self) -> None:
        super().__init__()
        self._chips: list[Chip] = []
        self.display = False

    @property
    def attachments(self) -> list[Attachment]:
        """Those that have been read."""
        return [chip.attachment for chip in self._chips if chip.attachment is not None]

    def count(self, tokens: Mapping[Attachment, int]) -> None:
        """These have been counted."""
        for chip in self._chips:
            if chip.attachment is not None and chip.attachment in tokens:
                chip.count(tokens[chip.attachment])

    def advise(self, advice: Mapping[Attachment, str]) -> None:
        """What of these would fit; the others fit as they are."""
        for chip in self._chips:
            if chip.attachment is not None:
                chip.advise(one_line(advice.get(chip.attachment, "")))

    @property
    def reading(self) -> str | None:
        """The name of one that is still being read."""
        return next((chip.title for chip in self._chips if chip.attachment is None), None)

    def expect(self, name: str) -> Chip:
        """Begin to read one; its line is there at once, in place of one of the same name."""
        name = one_line(name)
        self.withdraw(name)
        chip = Chip(name)
        self._chips.append(chip)
        self.display = True
        self.mount(chip)
        return chip

    def add(self, attachment: Attachment) -> None:
        """Add one that has been read."""
        self.expect(attachment.name).fill(attachment)

    def withdraw(self, name: str) -> None:
        """Take away the one of this name, if there is one."""
        for chip in [chip for chip in self._chips if chip.title == one_line(name)]:
            self.drop(chip)

    def drop(self, chip: Chip) -> None:
        """Take one away; nothing happens if it is gone already."""
        if chip in self._chips:
            self._chips.remove(chip)
            self.display = bool(self._chips)
            chip.remove()
            self.post_message(self.Changed())

    def clear(self) -> None:
        """Take all away."""
        for chip in list(self._chips):
            self.drop(chip)


def describe(attachment: Attachment, tokens: str = "") -> str:
    """Name, size and `tokens` in one line, and what the file has that was not read; of notes how far they are."""
    from app.documents.notes import notes_of  # now: they come with all that reads files
    from app.documents.parts import in_words
    from app.tui.widgets.notes import summary

    if (notes := notes_of(attachment)) is not None:
        return one_line(NOTE.join(filter(None, (summary(notes), notes.before, notes.after))))
    note = f"{NOTE}{one_line(attachment.note)}" if attachment.note else ""
    return f"{one_line(attachment.name)}  {in_words(attachment.size)}{tokens}{note}"
