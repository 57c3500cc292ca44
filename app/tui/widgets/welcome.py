"""The first screen: the name, this computer, one thing to do, something to ask. A message takes its place."""

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from app.tui.text.first_run import FirstScreen
from app.tui.text.key_help import KeyHelp
from app.tui.widgets.fitting_line import FittingLine
from app.tui.widgets.transcript import GREETING
from mlx_model.text import clean

KEY = "F6"
"""That of the action, as app.chat.commands has it."""
HOW = "Click one, or Shift+Tab and Enter"

_NAME = (
    ("\u250f\u2501\u2578\u250f\u2501\u2513\u257a\u2533\u2578\u250f\u2501\u2513\u250f\u2501\u2513\u250f\u2501\u2513"),
    ("\u2503\u257a\u2513\u2523\u2501\u251b \u2503 \u2503 \u2503\u2517\u2501\u2513\u2517\u2501\u2513"),
    ("\u2517\u2501\u251b\u2579   \u2579 \u2517\u2501\u251b\u2517\u2501\u251b\u2517\u2501\u251b"),
)
_OF_IT = (
    ("\u250f\u2501\u2578\u257b \u257b\u250f\u2501\u2513\u257a\u2533\u2578"),
    ("\u2503  \u2523\u2501\u252b\u2523\u2501\u252b \u2503 "),
    ("\u2517\u2501\u2578\u2579 \u2579\u2579 \u2579 \u2579 "),
)
_WIDTH = len(_NAME[0]) + 1 + len(_OF_IT[0])
_LOW = 22
"""Rows of a window below which the name takes one row, and nothing stands above it; the app's class -low."""


def version() -> str:
    """That of the program as it is installed."""
    from importlib.metadata import version as version_of

    return version_of("gptoss-chat")


class Wordmark(Widget):
    """The name: three rows where there is space, else one; above it what brings the first screen near the middle."""

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Called by Textual."""
        return 1 if self._is_small(viewport, width) else len(_NAME) + self._above(viewport)

    def render(self) -> Content:
        """The rows of this size."""
        if self._is_small(self.app.size, self.size.width):
            return Content.assemble(("gptoss", "$primary bold"), ("-chat", "$foreground 65%"))
        rows = [
            Content.assemble((name, "$primary bold"), " ", (of_it, "$foreground 65%"))
            for name, of_it in zip(_NAME, _OF_IT, strict=True)
        ]
        return Content("\n").join([*([Content("")] * self._above(self.app.size)), *rows])

    @staticmethod
    def _is_small(window: Size, width: int) -> bool:
        return window.height < _LOW or width < _WIDTH

    @staticmethod
    def _above(window: Size) -> int:
        return max(0, window.height - 24) // 3


class Choice(Static):
    """Something to click, or to choose with Enter once it has the focus; without a text it can't get that."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Choose", show=False),
        Binding("up", "step(-1)", "Up", show=False),
        Binding("down", "step(1)", "Down", show=False),
    ]

    def __init__(self, before: str, id: str | None = None) -> None:
        super().__init__(markup=False, id=id)
        self._before = before
        self.text = ""

    def say(self, text: str) -> None:
        """Offer this."""
        if text != self.text:
            self.text = text
            self.can_focus = bool(text)
            self.update(Content.assemble((f"{self._before} ", "$accent"), clean(text)) if text else Content(""))

    @property
    def is_suggestion(self) -> bool:
        """Whether it is something to ask, and not the next step to gpt-oss-20b."""
        return self.id != "action"

    def on_click(self) -> None:
        """Choose it."""
        self.action_choose()

    def action_choose(self) -> None:
        """Post it as a message."""
        if self.text:
            self.post_message(Welcome.Chosen(self.text if self.is_suggestion else None))

    def action_step(self, by: int) -> None:
        """Go to the one above or below; the input follows the last."""
        if by < 0:
            self.screen.focus_previous("Choice, Composer")
        else:
            self.screen.focus_next("Choice, Composer")


class Welcome(Vertical):
    """Stands in an empty conversation. What isn't known yet has its space already, so that nothing moves."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The first screen", (("Enter", "send the suggestion, or do what is offered"), ("Up, Down", "another one"))
    )

    @dataclass
    class Chosen(Message):
        """The person wants this asked, or, None, the next step to gpt-oss-20b done."""

        prompt: str | None

    def __init__(self, screen: FirstScreen) -> None:
        super().__init__(classes=GREETING)
        self._shown = screen
        self._promise = Static(Content(clean(screen.promise)), markup=False, id="promise")
        self._computer = FittingLine(id="computer")
        self._note = Static(markup=False, id="note")
        self._action = Choice(KEY, id="action")
        self._how = Static(markup=False, id="how")
        self._suggestions = [Choice("\u203a") for _ in screen.suggestions]

    def compose(self) -> ComposeResult:
        """From above."""
        yield Wordmark()
        yield self._promise
        yield self._computer
        yield self._note
        yield self._action
        yield self._how
        yield from self._suggestions

    def on_mount(self) -> None:
        """Fill in what is known, and the version, which takes a while to find, once the screen is there."""
        self.show(self._shown)
        promise = clean(self._shown.promise)
        self.call_after_refresh(lambda: self._promise.update(Content(f"{promise}  {version()}"), layout=False))

    def show(self, screen: FirstScreen) -> None:
        """Bring it up to date."""
        self._shown = screen
        if not self._action.is_attached:
            return
        self._computer.display = screen.computer is not None
        self._computer.forms = screen.computer or ("",)
        self._note.display = screen.note is not None
        self._note.update(Content(screen.note or ""))
        self._action.display = screen.action is not None
        self._action.say(screen.action or "")
        self._how.update(Content(HOW if any(screen.suggestions) else ""))
        for row, text in zip(self._suggestions, screen.suggestions, strict=True):
            row.say(text)
