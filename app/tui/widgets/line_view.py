"""A widget of lines laid out for its width, of which it draws those in sight, and none twice."""

from abc import abstractmethod
from collections.abc import Sequence

from textual.content import Content
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.visual import Visual

from app.tui.text.looks import barred, written
from app.tui.widgets.grows import Grows


class LineView(Grows):
    """Shows `lines`, which fit their width. What they show can be selected.

    (Textual draws a whole Content each time any of it has changed: for 400 lines of code 50 ms.)
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn: dict[int, tuple[Content, Strip]] = {}
        self._drawn_in: object = None
        self._to_draw: Sequence[Content] = ()

    @abstractmethod
    def lines(self, width: int) -> Sequence[Content]:
        """The lines at this width."""

    def render(self) -> Content:
        """All lines at the present width."""
        return Content("\n").join(self.lines(self.content_size.width))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The number of lines at this width."""
        return len(self.lines(width)) if width else 0

    def get_selection(self, selection: Selection) -> tuple[str, str]:
        """What is selected of the model's own text, and what parts it from the next widget's."""
        return written(self.render(), selection), "\n"

    def refresh_lines(self, before: Sequence[Content], now: Sequence[Content]) -> None:
        """Some of the lines are others now: draw those, and lay out the screen only if there are more, or fewer."""
        if len(before) != len(now):
            self.refresh(layout=True)
            return
        changed = [
            y for y, (old, new) in enumerate(zip(before, now, strict=True)) if not (old is new or old.is_same(new))
        ]
        if changed:
            self.refresh(*(Region(0, y, self.content_size.width, 1) for y in changed))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Those lines, of which each is drawn once in the same colours."""
        colours = self.app.theme, self.visual_style, self.link_style
        if colours != self._drawn_in:
            self._drawn, self._drawn_in = {}, colours
        self._to_draw = self.lines(self.content_size.width)
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One of them."""
        if y >= len(self._to_draw):
            return Strip.blank(self.size.width, self.visual_style.rich_style)
        line, selection = self._to_draw[y], self.text_selection
        if selection is not None and (span := selection.get_span(y)) is not None:
            start, end = span
            style = Style.from_styles(self.screen.get_component_styles("screen--selection"))
            return self._draw(line.stylize(style, start, None if end < 0 else end), y)
        was = self._drawn.get(y)
        if was is None or not (was[0] is line or was[0].is_same(line)):
            was = self._drawn[y] = line, self._draw(line, y)
        return was[1]

    def _draw(self, line: Content, y: int) -> Strip:
        if self.app.native_ansi_color or self.app.no_color:
            line = barred(line)
        (strip,) = Visual.to_strips(self, line, self.size.width, 1, self.visual_style, apply_selection=False)
        return strip.apply_offsets(0, y)
