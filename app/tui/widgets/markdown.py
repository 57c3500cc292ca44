"""A model's Markdown in one widget, while it grows and ever after."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from app.chat.code_blocks import code_blocks
from app.documents.citations import FileCitations
from app.tui.text.code_keys import with_key
from app.tui.text.code_places import block_ends, pieces
from app.tui.text.code_words import OPEN, RUN, SAVE, Word, WordsOf, copy_alone, help_of
from app.tui.text.marks import first_mark, marked
from app.tui.text.pages import Pages, page_line
from app.tui.widgets.line_view import LineView
from mlx_model.text import clean
from mlx_model.tools.citations import Citations

if TYPE_CHECKING:  # it loads markdown-it and Pygments: a tenth of the time until the first screen, which has no answer
    from app.tui.text.markdown_layout import GrowingLayout


class _Shown(NamedTuple):
    """What a layout depends on, apart from its text."""

    page: int
    width: int


class MarkdownText(LineView):
    """Markdown as lines of plain Content; what is long is shown page by page.

    (Textual's Markdown holds a widget per paragraph, list item and table cell: sixty answers of it took 92% of a core
    while streaming, sixty of these 16%.) Growing text is laid out in a thread: a long table takes up to 0.3 s, in which
    keys would else go unanswered. While a text grows its last page is shown, unless the person has turned to another.
    """

    @dataclass
    class CopyWanted(Message):
        """A click wants this text copied, which a person knows as `what`."""

        text: str
        what: str

    @dataclass
    class BlockWanted(Message):
        """A click wants something done with a code block, counted from 1 on in the text of the `view`."""

        view: "MarkdownText"
        word: Word
        number: int

    def __init__(
        self,
        source: str = "",
        *,
        grows: bool = False,
        citations: Citations | None = None,
        files: FileCitations | None = None,
        words: WordsOf | None = copy_alone,
    ) -> None:
        """`citations` have read the text before it is shown; `files` know the files that it may cite. `words` tells
        what can be clicked above a code block; None: there is no line above them."""
        super().__init__()
        self._words_of = words
        self._citations = citations
        self._files = files
        self._pages = Pages(source)
        self._page = len(self._pages) - 1 if grows else 0
        self._shown = _Shown(0, 0)
        self._layout: GrowingLayout | None = None
        self._laid_out: Pages | None = None
        self._lines: Sequence[Content] = ()
        self._words: Sequence[str] = ()
        self._code_keys: Sequence[str] = ()
        self._below: dict[int, tuple[Widget, TextBelow]] = {}

    @property
    def source(self) -> str:
        """The whole text, as the model wrote it."""
        return self._pages.source

    @property
    def pages(self) -> int:
        """How many pages the text has."""
        return len(self._pages)

    async def grow(self, source: str) -> None:
        """Show `source`, which begins with what is shown."""
        pages = Pages(source, self._pages)
        now = self._now(len(pages) - 1 if self._page == len(self._pages) - 1 else self._page)
        layout = self._layout if now == self._shown else None
        await self._take(pages, now, layout or self._new_layout(now))

    async def replace(self, source: str) -> None:
        """Show another text, from its beginning."""
        now = self._now(0)
        await self._take(Pages(source), now, self._new_layout(now))

    async def finish_layout(self) -> None:
        """Lay out the whole once more: a link may be defined behind the place that uses it."""
        now = self._now(self._page)
        await self._take(self._pages, now, self._new_layout(now))

    def mark(self, words: Sequence[str]) -> None:
        """Mark these words, which are folded, and turn to the page with the first of them; () marks none."""
        self._words = words
        if (at := first_mark(self.source, words)) is not None:
            self._page = self._pages.number_at(at)
        self._redraw()

    def show_code_keys(self, keys: Sequence[str]) -> None:
        """Show which key copies which of the text's code blocks; () shows none."""
        if keys != self._code_keys:
            self._code_keys = keys
            self._redraw(layout=False)

    def line_of_mark(self) -> int | None:
        """The line of the first word that is marked, counted from 0; None if there is none on the page."""
        top = self.content_region.y
        for widget, piece in zip((self, *self._rest), self._pieces(self.content_size.width), strict=False):
            for number, line in enumerate(piece):
                if first_mark(line.plain, self._words) is not None:
                    return number + widget.content_region.y - top
        return None

    # What stands between its lines

    def put_below(self, block: int, widget: Widget) -> None:
        """A widget stands below a code block, counted from 1 on in the whole text, and another behind it shows the
        rest: both are to be mounted, see `below`."""
        self._below = dict(sorted((self._below | {block: (widget, TextBelow(self))}).items()))
        self.add_class("-parted")
        self._redraw()

    def take_away(self, widget: Widget) -> Sequence[Widget]:
        """The text is whole again where this one stood: returns what has to go, () if it stood nowhere here."""
        block = next((block for block, (there, _) in self._below.items() if there is widget), None)
        if block is None:
            return ()
        gone = self._below.pop(block)
        self.set_class(bool(self._below), "-parted")
        self._redraw()
        return gone

    @property
    def below(self) -> list[Widget]:
        """What follows this widget, in its order: what stands between the lines, each before the rest of them."""
        return [widget for pair in self._below.values() for widget in pair]

    @property
    def _rest(self) -> list["TextBelow"]:
        return [rest for _, rest in self._below.values()]

    def lines(self, width: int) -> Sequence[Content]:
        """The text up to the first widget that stands between its lines."""
        return self._pieces(width)[0]

    def _pieces(self, width: int) -> list[Sequence[Content]]:
        """What this widget shows, and each that shows the rest below a code block; of those on another page nothing."""
        lines = self._at(width)
        first = self._blocks_before if self._code_keys or self._below else 0
        if self._words:
            lines = [marked(line, self._words, colours=not self.app.no_color) for line in lines]
        if self._code_keys:
            lines = [with_key(line, self._code_keys, first) for line in lines]
        if not self._below:
            return [lines]
        ends = self._ends(lines, first)
        on_page = [block for block in self._below if block in ends]
        shown = iter(pieces(lines, [ends[block] for block in on_page]))
        return [next(shown), *(next(shown) if block in ends else () for block in self._below)]

    def _ends(self, lines: Sequence[Content], first: int) -> dict[int, int]:
        """How many lines there are up to the end of each code block that ends on the page, by the numbers of these in
        the whole text."""
        ends = dict(enumerate(block_ends(lines), first + 1))
        if ends and self._page + 1 < len(self._pages) and self._pages.begins_in_code(self._page + 1):
            ends.popitem()
        return ends

    def piece(self, rest: "TextBelow", width: int) -> Sequence[Content]:
        """What one of those shows."""
        return self._pieces(width)[1 + self._rest.index(rest)] if rest in self._rest else ()

    def _redraw(self, *, layout: bool = True) -> None:
        for widget in (self, *self._rest):
            widget.refresh(layout=layout)
        self._place()

    def _place(self) -> None:
        """Hide what stands below a code block that doesn't end on the page."""
        if self._below and self.content_size.width:
            ends = self._ends(self._at(self.content_size.width), self._blocks_before)
            for block, (widget, _) in self._below.items():
                widget.display = block in ends

    def on_resize(self) -> None:
        """Its page is laid out, which tells what stands between its lines."""
        self._place()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Say what a click here does."""
        self.tooltip = help_of(event.style.meta.get("@click", "")) or None

    def action_copy_code(self, number: int) -> None:
        """Copy a code block of the page, counted from 0: the action in the line above it. Without one, do nothing.

        One that goes on on another page is copied as a whole.
        """
        if at := self._number_of(number):
            blocks = code_blocks(clean(self.source))
            self.post_message(
                self.CopyWanted(blocks[at - 1].code, "the code" if len(blocks) == 1 else f"code block {at}")
            )

    def action_run_code(self, number: int) -> None:
        """Have a code block of the page run."""
        self._want(RUN, number)

    def action_open_code(self, number: int) -> None:
        """Have it opened in the browser."""
        self._want(OPEN, number)

    def action_save_code(self, number: int) -> None:
        """Have it saved as a file."""
        self._want(SAVE, number)

    def _want(self, word: Word, number: int) -> None:
        if at := self._number_of(number):
            self.post_message(self.BlockWanted(self, word, at))

    def _number_of(self, number: int) -> int:
        """The number of a code block of the page in the whole text, from 1 on; 0 if it is not there."""
        at = self._blocks_before + number
        is_there = 0 <= number < len(code_blocks(self._pages.text(self._page))) and at < len(code_blocks(self.source))
        return at + 1 if is_there else 0

    @property
    def _blocks_before(self) -> int:
        """How many code blocks begin and end before the page."""
        if not self._page:
            return 0
        return len(code_blocks(self.source[: self._pages.start(self._page)])) - self._pages.begins_in_code(self._page)

    def action_turn_to(self, page: int) -> None:
        """Show another page, counted from 0, from its beginning: the action in the lines around a page."""
        if 0 <= page < len(self._pages):
            self._page = page
            self._redraw()
            self.call_after_refresh(self.scroll_visible, animate=False, top=True)

    def turn(self, step: int) -> None:
        """Show the next page (1) or the one before (-1), if there is one."""
        self.action_turn_to(self._page + step)

    async def _take(self, pages: Pages, now: _Shown, layout: "GrowingLayout") -> None:
        page = self._page
        before: Sequence[Content] = ()
        if now.width:  # else the widget has no place on the screen yet
            lines = await asyncio.to_thread(layout.extend, clean(pages.text(now.page)))
            before = self._lines
            self._keep(pages, now, layout, lines)
        self._pages = pages
        if self._page == page:  # else the person has turned to another meanwhile
            self._page = now.page
        if not now.width or self._below:
            self._redraw()
        else:
            self.refresh_lines(before, self._lines)

    def _at(self, width: int) -> Sequence[Content]:
        now, pages = self._now(self._page, width), self._pages
        if not (now == self._shown and pages is self._laid_out):
            layout = self._new_layout(now)
            self._keep(pages, now, layout, layout.extend(clean(pages.text(now.page))))
        return self._lines

    def _keep(self, pages: Pages, now: _Shown, layout: "GrowingLayout", lines: Sequence[Content]) -> None:
        if len(pages) > 1:
            line = page_line(now.page, len(pages), now.width)
            lines = [line, Content(), *lines, Content(), line]
        self._shown, self._layout, self._laid_out, self._lines = now, layout, pages, lines or [Content()]

    def _now(self, page: int, width: int | None = None) -> _Shown:
        """What to show of a page, by default at the present width."""
        return _Shown(page, self.content_size.width if width is None else width)

    def _new_layout(self, now: _Shown) -> "GrowingLayout":
        from app.tui.text.markdown_layout import GrowingLayout

        return GrowingLayout(now.width, self._citations, self._files, self._words_of)


class TextBelow(LineView):
    """The rest of a text below what stands between its lines."""

    def __init__(self, text: MarkdownText) -> None:
        super().__init__()
        self._text = text

    def __getattr__(self, name: str) -> Any:
        """What a click does: Textual looks for it here, the text itself does it."""
        if name.startswith("action_"):
            return getattr(self._text, name)
        raise AttributeError(name)

    def lines(self, width: int) -> Sequence[Content]:
        """Its piece."""
        return self._text.piece(self, width)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Say what a click here does."""
        self.tooltip = help_of(event.style.meta.get("@click", "")) or None
