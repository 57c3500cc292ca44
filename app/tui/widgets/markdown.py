"""A model's Markdown in one widget, while it grows and ever after."""

import asyncio
import re

from textual.content import Content
from textual.geometry import Size
from textual.selection import Selection
from textual.widget import Widget

from app.tui.text.markdown_layout import GrowingLayout, code_blocks, headers


class MarkdownText(Widget):
    """Markdown as plain Content, which can be selected with the mouse.

    (Textual's Markdown holds a widget per paragraph, list item and table cell: sixty answers of it took 92% of a core
    while streaming, sixty of these 16%.) Growing text is laid out in a thread: a long table takes up to 0.3 s, in which
    keys would else go unanswered.
    """

    def __init__(self, source: str = "") -> None:
        super().__init__()
        self.source = source
        self._layout = GrowingLayout(0)
        self._laid_out = ""
        self._content = Content()

    async def grow(self, source: str) -> None:
        """Show `source`, which begins with what is shown."""
        await self._take(source, self._layout if self._fits(self.content_size.width) else self._new_layout())

    async def finish_layout(self) -> None:
        """Lay out the whole once more: a link may be defined behind the place that uses it."""
        await self._take(self.source, self._new_layout())

    def render(self) -> Content:
        """The text laid out for the present width."""
        return self._at(self.content_size.width)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The number of lines at this width."""
        return self._at(width).plain.count("\n") + 1 if width else 0

    def action_copy_code(self, number: int) -> None:
        """Copy a code block, counted from 0: the action in the line above it. Without such a block, do nothing."""
        blocks = code_blocks(self._laid_out)
        if 0 <= number < len(blocks):
            self.app.copy_to_clipboard(blocks[number])

    def get_selection(self, selection: Selection) -> tuple[str, str]:
        """What is selected of the model's own text, and what parts it from the next widget's."""
        content = self.render()
        text = content.plain
        for start, end in headers(content):
            text = text[:start] + "\0" * (end - start) + text[end:]  # no text on the screen has one
        return re.sub(r"^[ \t]*\0+\n?|\0+", "", selection.extract(text), flags=re.MULTILINE), "\n"

    async def _take(self, source: str, layout: GrowingLayout) -> None:
        if layout.width:  # else the widget has no place on the screen yet
            content = await asyncio.to_thread(layout.extend, source)
            self._layout, self._laid_out, self._content = layout, source, content
        self.source = source
        self.refresh(layout=True)

    def _at(self, width: int) -> Content:
        if not (self._fits(width) and self._laid_out == self.source):
            layout = GrowingLayout(width, dark=self._dark)
            self._layout, self._laid_out, self._content = layout, self.source, layout.extend(self.source)
        return self._content

    def _new_layout(self) -> GrowingLayout:
        return GrowingLayout(self.content_size.width, dark=self._dark)

    def _fits(self, width: int) -> bool:
        return (self._layout.width, self._layout.dark) == (width, self._dark)

    @property
    def _dark(self) -> bool:
        return self.app.current_theme.dark
