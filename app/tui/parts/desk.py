"""What the parts of the chat may touch of the screen: its widgets, and the few verbs that parts have in common."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from textual.app import App
from textual.containers import Horizontal
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen
from textual.widget import Widget

from app.chat.commands import BUSY, QUESTION_WAITS
from app.tui.parts.attention import Attention
from app.tui.widgets.approval import ApprovalBar
from app.tui.widgets.composer import Composer
from app.tui.widgets.download_panel import DownloadPanel
from app.tui.widgets.footer import Footer
from app.tui.widgets.input_area import InputArea
from app.tui.widgets.notice import Notice
from app.tui.widgets.queue import Queue
from app.tui.widgets.selection import MessageKeys, SelectableTranscript
from app.tui.widgets.sidebar import Sidebar
from app.tui.widgets.status import EffortSwitch, StatusLine
from app.tui.widgets.toast import Toast
from mlx_model.text import clean

if TYPE_CHECKING:
    from app.tui.widgets.reader import ReaderText

T = TypeVar("T")

MAX_NOTIFICATION = 600
"""Characters of a short message: an error may quote what was typed or read, however long that is."""


class Desk:
    """The widgets, which the app lays out, and the verbs. A part that needs anything else takes it as an argument.

    `attention` reaches a person who has looked away. `hint` brings the line below the input up to date. `saved` shows
    what there is after something was saved, or could not be.
    """

    def __init__(
        self, app: App[None], attention: Attention, *, hint: Callable[[], None], saved: Callable[[], Awaitable[None]]
    ) -> None:
        self._app = app
        self.attention = attention
        self.status = StatusLine()
        self.transcript = SelectableTranscript()
        self.download_panel = DownloadPanel()
        self.approval = ApprovalBar()
        self.queue = Queue()
        self.input = InputArea()
        self.effort_switch = EffortSwitch()
        self.toast = Toast(self.effort_switch)
        self.message_keys = MessageKeys()
        self.footer = Footer()
        self.sidebar = Sidebar()
        self.reader: ReaderText | None = None
        """The document beside the chat, once one was read."""
        self.hint = hint
        self.saved = saved

    @property
    def composer(self) -> Composer:
        """The field in which the person types."""
        return self.input.composer

    @property
    def selected_text(self) -> str:
        """What is selected with the mouse."""
        return self._app.screen.get_selected_text() or ""

    # Saying something

    def notify(self, text: str, *, severity: SeverityLevel = "information", timeout: float | None = None) -> None:
        """Say something for `timeout` seconds, by default a few; what was said before goes. Cut to fit (see Toast)."""
        shown = clean(text[:MAX_NOTIFICATION]) + ("\u2026" if len(text) > MAX_NOTIFICATION else "")
        self.toast.say(shown, severity, timeout)

    def warn(self, text: str) -> None:
        """Say why something isn't possible."""
        self.notify(text, severity="warning")

    def warn_busy(self) -> None:
        """Say that something has to wait for the end of the answer, and what Esc does."""
        self.warn(QUESTION_WAITS if self.approval.display else BUSY)

    def unsay(self, *texts: str) -> None:
        """Take back what was said for a moment and is true no longer."""
        if self.toast.text in texts:
            self.toast.hide()

    async def notice(self, text: str, level: str = "info") -> None:
        """Say something at the end of the conversation; `level` is "info", "warning" or "error"."""
        await self.transcript.add(Notice(text, level))

    def clear_notifications(self) -> None:
        """Take away what `notify` has said."""
        self.toast.hide()

    # Doing something

    def run(self, work: Coroutine[Any, Any, None], group: str = "default", *, exclusive: bool = False) -> None:
        """Let work go on in the background; `exclusive` work cancels what is under way in its group."""
        self._app.run_worker(work, group=group, exclusive=exclusive)

    def later(self, work: Callable[[], None]) -> None:
        """Do something behind all that waits to be done now."""
        self._app.call_later(work)

    @property
    def more_waits(self) -> bool:
        """Whether more has arrived than what is being dealt with, keys among it."""
        return self._app.message_queue_size > 0

    def ask(self, screen: ModalScreen[T], answered: Callable[[T | None], None]) -> None:
        """Lay a screen over the chat, and pass on what it ends with."""
        self._app.push_screen(screen, answered)

    @property
    def width(self) -> int:
        """The columns of the terminal."""
        return self._app.size.width

    async def beside(self, widget: Widget) -> None:
        """Put a widget to the right of the chat."""
        columns = next(each for each in self.transcript.ancestors if isinstance(each, Horizontal))
        await columns.mount(widget)

    def focus(self, widget: Widget) -> None:
        """Give a widget the focus at once: Widget.focus() waits, and keys pressed meanwhile would go astray."""
        self._app.set_focus(widget)
