"""Where a key belongs that has just arrived: to the input, the message that is selected, or the focused widget."""

from textual import events
from textual.widgets import Input, TextArea

from app.tui.parts.desk import Desk
from app.tui.parts.library import Library
from app.tui.parts.selection import Selection
from app.tui.widgets.composer import Composer

BURST = 64
"""Characters that wait at once from which on nobody has typed them: a terminal without bracketed paste sends a paste as
keys, each of which would cost a layout of the line that it is in."""


class Keys:
    """Looks at keys and pasted text before Textual does.

    Textual gives a key to the widget that has the focus when the key arrives. So what moves the focus is done here, at
    once: when a key has bubbled up to the app, those that came behind it are with the wrong widget already.
    """

    def __init__(self, desk: Desk, library: Library, selection: Selection) -> None:
        self._desk = desk
        self._library = library
        self._selection = selection
        self._held: list[events.Key] = []

    async def arrive(self, event: events.Key | events.Paste) -> bool:
        """Whether the key is dealt with. Text that is typed or pasted is not, but then the input has the focus: typing
        reaches it whatever had the focus, except a line such as the search."""
        screen = self._desk.transcript.screen
        if self._hold(event):
            return True
        self._let_go()
        if not screen.is_active:  # another lies over it
            return False
        if isinstance(event, events.Key) and await self._lead(event):
            return True
        is_text = isinstance(event, events.Paste) or (event.is_printable and event.character)
        reader = self._desk.reader
        if reader is not None and reader.has_focus and isinstance(event, events.Key) and reader.takes(event.key):
            return False
        if is_text and not isinstance(screen.focused, TextArea | Input):
            self._library.leave()
        return False

    def _hold(self, event: events.Key | events.Paste) -> bool:
        """Keep a letter that goes to the input until those that wait behind it are here too."""
        desk, screen = self._desk, self._desk.transcript.screen
        if not isinstance(event, events.Key) or not event.is_printable or event.character is None:
            return False
        if not (screen.is_active and isinstance(screen.focused, Composer)):
            return False
        if not self._held:
            if not desk.more_waits:
                return False
            desk.later(self._let_go)
        self._held.append(event)
        return True

    def _let_go(self) -> None:
        held, self._held = self._held, []
        if len(held) < BURST:
            for event in held:
                self._desk.composer.post_message(event)
        else:
            self._desk.composer.call_later(self._desk.composer.take, "".join(event.character or "" for event in held))

    async def _lead(self, event: events.Key) -> bool:
        """Do what a key means that leads elsewhere, or to the message that is selected; false if it means nothing."""
        desk, transcript = self._desk, self._desk.transcript
        screen = transcript.screen
        selects = screen.focused is transcript
        if event.key == "shift+tab":
            screen.focus_previous()
        elif event.key == "tab" and selects:
            screen.focus_next()
            transcript.select(None)
        elif selects and (action := transcript.action_of(event.key)) is not None:
            await self._selection.act(action)
        elif event.key == "enter" and screen.focused in (desk.sidebar.input, desk.sidebar.list):
            self._library.choose()
        elif event.character == "/" and screen.focused is desk.sidebar.list:
            desk.sidebar.search()
        else:
            return False
        if screen.focused is transcript:
            transcript.enter()
            self._selection.show()  # the keys that it has for what is in it: the next may be one
        return True
