"""Prompts that wait for the end of the answer, in the order in which they will be sent."""

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from app.documents.attachments import split
from app.lines import one_line
from app.tui.text.key_help import KeyHelp
from app.tui.widgets.live_container import LiveContainer


class Queued(Static, can_focus=True):
    """One of them, as one line: Enter or a click takes it back into the input, Del removes it."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "A queued message", (("Enter", "take it back into the input"), ("Del", "remove it"))
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take_back", "Take back", show=False),
        Binding("delete,backspace", "drop", "Remove", show=False),
    ]

    def __init__(self, text: str) -> None:
        super().__init__(markup=False)
        self.text = text
        self.say("queued")

    def say(self, state: str) -> None:
        """Show the text after this."""
        self.update(Content(f"{state}  {one_line(split(self.text)[0] or self.text)}"))

    def on_click(self) -> None:
        """Take it back."""
        self.action_take_back()

    def action_take_back(self) -> None:
        """Into the input, to be changed."""
        self.post_message(Queue.Removed(self, edit=True))

    def action_drop(self) -> None:
        """Remove it."""
        self.post_message(Queue.Removed(self, edit=False))


class Queue(Vertical, LiveContainer):
    """Between conversation and input; not there when empty."""

    @dataclass
    class Removed(Message):
        """The person has taken one out of the queue, to `edit` it or for good."""

        queued: Queued
        edit: bool

    @property
    def texts(self) -> list[str]:
        """What waits, first come first."""
        return [queued.text for queued in self.query(Queued)]

    async def put(self, text: str) -> None:
        """Add one at the end."""
        await self.mount(Queued(text))

    def hold(self) -> None:
        """Say that what is queued waits for the person now."""
        for queued in self.query(Queued):
            queued.say("queued (Enter in an empty input sends)")

    def go_on(self) -> None:
        """Say that it waits for the answer under way."""
        for queued in self.query(Queued):
            queued.say("queued")

    async def pop(self) -> str | None:
        """Take the first one out."""
        first = next(iter(self.query(Queued)), None)
        if first is None:
            return None
        await first.remove()
        return first.text
