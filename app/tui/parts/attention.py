"""Tells a person who has looked away: the window's title says what goes on, a notification that long work has ended."""

import os
from collections.abc import Callable

from textual.app import App

from app.tui.terminal.notification import notification
from app.tui.terminal.output import write
from app.tui.terminal.window_title import WindowTitle
from app.tui.widgets.status import DEAD, READY

LONG_S = 10.0
"""Seconds after which a person may have turned to something else."""


class Attention:
    """Writes to the terminal of `app`, unless that is `lent` to an editor.

    `notify` is "auto": only while the window has not the focus, as far as the terminal reports that; "always"; "off".
    """

    def __init__(self, app: App[None], lent: Callable[[], bool]) -> None:
        self.notify = "auto"
        self._app = app
        self._lent = lent
        self._title = WindowTitle(self._write)

    def ended(self, text: str, seconds: float) -> None:
        """Work that took so long has ended; `text` says how."""
        if seconds >= LONG_S:
            self.wanted(text)

    def wanted(self, text: str) -> None:
        """The person is needed; `text` says for what."""
        if self.notify == "always" or (self.notify == "auto" and not self._app.app_focus):
            self._write(notification(os.environ, self._app.TITLE or "", text))

    def show(self, state: str, conversation: str) -> None:
        """Bring the window's title up to date: the engine's state, or the title of the conversation."""
        self._title.show(window_title(self._app.TITLE or "", state, conversation))

    def restore(self) -> None:
        """The chat ends."""
        self._title.restore()

    def _write(self, sequence: str) -> bool:
        return not self._lent() and write(self._app, os.environ, sequence)


def window_title(program: str, state: str, conversation: str) -> str:
    """What goes on, else what the conversation is about."""
    if state == READY:
        return conversation or program
    return f"{program}: {state}" if state in DEAD else f"{program}: {state.removesuffix(':')}\u2026"
