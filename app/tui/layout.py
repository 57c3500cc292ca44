"""Where the widgets are on the screen, which come first, and how they are styled."""

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from app.tui.parts.desk import Desk
from app.tui.screens.chat import ChatScreen
from app.tui.widgets.live_container import LiveContainer

_STYLES = Path(__file__).with_name("styles")
_LATER = ("transcript", "welcome", "above", "selection", "over", "reader")
"""The styles of what comes with `furnish`, and of the screens that lie over the chat."""


class Bottom(Vertical, LiveContainer):
    """What is below the conversation."""


class Layout(App[None]):
    """The part of the app that lays out the desk. A screen shows where to type sooner the less comes with it: so all
    else comes with `furnish`, and the styles are read but once.
    """

    CSS_PATH: ClassVar[list[str]] = [  # type: ignore[assignment]
        f"styles/{name}.tcss" for name in ("screen", "sidebar", "input", "ansi", "no_color")
    ]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (22, "-high")]  # noqa: RUF012  # as Textual declares it

    desk: Desk

    def __init__(self, *, ansi_color: bool | None) -> None:
        super().__init__(ansi_color=ansi_color)
        self._furnishing = asyncio.Lock()
        self._is_furnished = False
        self._styled_for = ""

    def take_styles(self) -> None:
        """Read the styles in the colours of the theme that was chosen, before the app runs."""
        self._styled_for = self.theme
        self.stylesheet.set_variables(self.get_css_variables())

    def refresh_css(self, animate: bool = True) -> None:
        """Called by Textual when the theme has changed; also at the start, where the first styles were its own already.

        To read all styles again would be a fifth of the time until the first screen.
        """
        if self.theme != self._styled_for:
            self._styled_for = self.theme
            super().refresh_css(animate)

    def get_default_screen(self) -> Screen[None]:
        """Called by Textual for the screen below all others.

        It begins in the class of the window's height: Textual would add that after the first styles, and work all of
        them out again.
        """
        low, high = self.VERTICAL_BREAKPOINTS
        return ChatScreen(id="_default", classes=(high if self.size.height >= high[0] else low)[1])

    def compose(self) -> ComposeResult:
        """Status above, conversation, input, keys below. What else there is comes with `furnish`."""
        desk = self.desk
        with Horizontal():
            yield desk.sidebar
            with Vertical():
                with Vertical(id="top"):
                    yield desk.status
                yield desk.transcript
                with Bottom(id="bottom"):
                    yield desk.input
                    yield desk.effort_switch
        yield desk.footer

    async def furnish(self) -> None:
        """Bring to the screen what is not needed to type, so that one can sooner; once."""
        desk = self.desk
        async with self._furnishing:
            # Keys come also before the chat is on the screen, and while it is taken off it.
            if self._is_furnished or not desk.sidebar.is_attached:
                return
            self._is_furnished = True
            for name in _LATER:
                self.stylesheet.read(_STYLES / f"{name}.tcss")
            with self.batch_update():
                await desk.input.furnish()
                await desk.sidebar.furnish()
                bottom = self.query_one(Bottom)
                await bottom.mount(desk.toast, desk.approval, desk.download_panel, desk.queue, before=desk.input)
                await bottom.mount(desk.message_keys)
                await self.greet()

    async def greet(self) -> None:
        """Fill the transcript for the first time."""
        raise NotImplementedError
