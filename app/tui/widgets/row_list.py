"""A list of rows with styles of their own, of which the highlighted one may be reversed."""

from rich.style import Style
from textual.strip import Strip
from textual.widgets import OptionList

_HIGHLIGHTED = "option-list--option-highlighted"


class RowList(OptionList):
    """Reverses the highlighted row where the style sheet says so, which Textual 8.2 forgets."""

    def render_line(self, y: int) -> Strip:
        """A line on the screen."""
        strip = super().render_line(y)
        row = next((segment.style.meta.get("option") for segment in strip if segment.style), None)
        if row is not None and row == self.highlighted and self.get_component_styles(_HIGHLIGHTED).text_style.reverse:
            return strip.apply_style(Style(reverse=True))
        return strip
