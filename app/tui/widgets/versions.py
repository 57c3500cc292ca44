"""The switch between versions of one prompt or answer: < 1/2 >."""

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from app.tui.text.key_help import KeyHelp


class VersionSwitch(Static, can_focus=True):
    """Clicks on its left and right half, and the arrow keys, ask for the version before and after."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The versions < 1/2 >", (("Left, Right", "show the previous or the next version"),)
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Previous version", show=False),
        Binding("right", "step(1)", "Next version", show=False),
    ]

    @dataclass
    class Requested(Message):
        """The person wants another version of a node."""

        node: str
        step: int

    def __init__(self, node: str, number: int, count: int) -> None:
        """`number` of `count`, from 1."""
        super().__init__(Content(f"< {number}/{count} >"), markup=False)
        self.node = node

    def on_click(self, event: events.Click) -> None:
        """Left or right half."""
        self.action_step(-1 if event.x < self.size.width / 2 else 1)

    def action_step(self, step: int) -> None:
        """Ask for another version."""
        self.post_message(self.Requested(self.node, step))
