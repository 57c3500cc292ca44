"""Asks whether a call of a tool may be run: a bar above the input that takes no key which typing can produce."""

from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from app.lines import one_line, visible
from app.tools.permission import Wish
from app.tools.switched_on import Keep
from app.tui.widgets.live_container import LiveContainer
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
    """All of what would be done."""


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

    async def ask(self, call: ToolCall, wish: Wish) -> None:
        """Ask about this call."""
        title = Content.assemble((visible(one_line(call.name)), "bold"), f" asks: {visible(one_line(wish.why))}")
        longer = [Choice("F8", "this chat", Keep.CONVERSATION), Choice("F9", "always", Keep.ALWAYS)]
        choices = [Choice("F7", "once", Keep.ONCE), *(longer if wish.always else [])]
        with self.app.batch_update():
            await self.remove_children()
            await self.mount(
                Static(title, markup=False, classes="title"),
                Shown(Static(Content(visible(wish.shown.strip("\n"))), markup=False)),
                Horizontal(*choices, Choice("Esc", "no", None), Choice("/no", "REASON", None)),
            )
            self.display = True

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
