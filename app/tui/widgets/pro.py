"""Several answers while they come, a line each. Changes without a layout."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from app.tui.text.pro_lines import ProFigures, height, pro_lines


class ProView(Widget):
    """As high as `count` answers take, whatever there is to say of them."""

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
