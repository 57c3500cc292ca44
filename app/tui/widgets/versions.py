"""The switch between versions of one prompt or answer: < 1/2 >."""

from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static


class VersionSwitch(Static):
    """Clicks on its left and right half ask for the version before and after."""

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
        event.stop()  # else it would select the message as well
        self.post_message(self.Requested(self.node, -1 if event.x < self.size.width / 2 else 1))
