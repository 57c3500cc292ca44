"""Several answers while they come, a line each. Changes without a layout."""

from typing import ClassVar

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from app.tui.text.key_help import KeyHelp
from app.tui.text.pro_lines import ProFigures, height, pro_lines


class ProView(Widget):
    """As high as `count` answers take, whatever there is to say of them."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "Several answers",
        (
            ("F10", "to what is typed, or to the last message"),
            ("/pro 4 QUESTION", "4 answers to a new one; /pro 4: to the last"),
            ("/pro select: QUESTION", "the model chooses; synthesise, all, vote"),
            ("Esc", "end early with what there is"),
            ("^O, < 2/9 >", "read each of them, with its thought"),
            ("votes", "for numbers, choices, short facts: they help"),
            ("4:0, 6:1", "the vote stops: 95% sure to stay ahead"),
            ("all else", "is written from them; unproven, read the others"),
            ("^E", "a higher effort often does more"),
            ("tools", "are off meanwhile"),
        ),
    )

    figures: reactive[ProFigures] = reactive(ProFigures(()))
    waits_for: reactive[str] = reactive("")
    """What they wait for, "" once they come."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.styles.height = height(count)

    def wait(self, text: str) -> None:
        """Say what they wait for."""
        self.waits_for = text

    def render(self) -> Content:
        """As wide as there is space."""
        if self.waits_for:
            return Content(self.waits_for).stylize("$foreground 65%")
        return Content("\n").join(pro_lines(self.figures, self.content_size.width))
