"""A line of which there are several forms, of different lengths."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from mlx_model.text import clean


class FittingLine(Widget):
    """Shows the first form that fits, or the last, cut, if none does. Its space doesn't depend on what it says."""

    forms: reactive[tuple[str, ...]] = reactive(("",))
    """From the longest to the shortest."""

    def render(self) -> Content:
        """The form for the present width."""
        forms, width = [Content(clean(form)) for form in self.forms], self.content_size.width
        return next((form for form in forms if form.cell_length <= width), forms[-1].truncate(width, ellipsis=True))
