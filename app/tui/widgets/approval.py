"""Asks whether a call of a tool may be run: a bar above the input that takes no key which typing can produce."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Static

from app.lines import counted, one_line, visible
from app.tools.verdict import Keep
from app.tui.widgets.live_container import LiveContainer

if TYPE_CHECKING:
    from app.tools.permission import Wish
    from mlx_model.harmony.calls import ToolCall


class Choice(Static):
    """A key and what it says, to be clicked as well; `keep` None is a no."""

    def __init__(self, key: str, text: str, keep: Keep | None) -> None:
        super().__init__(Content.assemble((key, "$accent"), f" {text}"), markup=False)
        self._keep = keep

    def on_click(self) -> None:
        """Say it."""
        self.post_message(ApprovalBar.Chosen(self._keep))


class Shown(VerticalScroll, can_focus=False):
    """All of what would be done, in at most two fifths of the screen."""

    @dataclass
    class Moved(Message):
        """Something else of it is in sight: `left` lines are below of that."""

        shown: "Shown"
        left: int

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """See Widget. Not by max-height, of which Textual takes no notice inside of what is as high as its content."""
        return min(super().get_content_height(container, viewport, width), 2 * viewport.height // 5)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """See Widget."""
        super().watch_scroll_y(old_value, new_value)
        self._tell()

    def on_resize(self) -> None:
        """It has been laid out."""
        self._tell()

    def _tell(self) -> None:
        self.post_message(self.Moved(self, max(0, self.max_scroll_y - round(self.scroll_y))))


class ApprovalBar(LiveContainer):
    """Shows what a call wants, all of it, and how to answer. Never has the focus, so that what is typed meanwhile goes
    on into the input and answers nothing."""

    class Chosen(Message):
        """A click on an answer; `keep` None is a no."""

        def __init__(self, keep: Keep | None) -> None:
            super().__init__()
            self.keep = keep

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self._rest = Static()

    async def ask(self, call: "ToolCall", wish: "Wish") -> None:
        """Ask about this call."""
        title = Content.assemble((visible(one_line(call.name)), "bold"), f" asks: {visible(one_line(wish.why))}")
        longer = [Choice("F8", "this chat", Keep.CONVERSATION), Choice("F9", "always", Keep.ALWAYS)]
        choices = [Choice("F7", "once", Keep.ONCE), *(longer if wish.always else [])]
        shown, rest = Shown(Static(Content(visible(wish.shown.strip("\n"))), markup=False)), Static(markup=False)
        rest.display = False
        self._rest = rest
        with self.app.batch_update():
            await self.remove_children()
            await self.mount(
                Static(title, markup=False, classes="title"),
                shown,
                rest,
                Horizontal(*choices, Choice("Esc", "no", None), Choice("/no", "REASON", None)),
            )
            self.display = True

    @on(Shown.Moved)
    def _say_rest(self, event: Shown.Moved) -> None:
        """Say how much is below what is in sight: a long call may begin harmlessly."""
        lines = f" {counted(event.left, 'more line')}"
        key, text = ("PgDn", lines) if event.left else ("PgUp", " to its beginning")
        self._rest.update(Content.assemble((key, "$accent"), text))
        self._rest.display = bool(event.shown.max_scroll_y)

    async def hide(self) -> None:
        """The call is decided on."""
        self.display = False
        await self.remove_children()

    def scroll(self, direction: int) -> bool:
        """Scroll what is shown by a page: -1 up, 1 down; false if there is nothing to scroll."""
        shown = next(iter(self.query(Shown)), None)
        if shown is None or not shown.max_scroll_y:
            return False
        shown.scroll_relative(y=direction * max(1, shown.size.height - 1), animate=False)
        return True
