"""A document beside the chat: one widget draws the rows that are seen, however long the document is."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input

from app.tui.text.key_help import KeyHelp
from app.tui.text.reader_rows import ReaderRows
from app.tui.text.reading_place import ReadingPlace
from app.tui.widgets.fitting_line import FittingLine
from app.tui.widgets.live_container import LiveContainer

MARGIN = 2
"""Columns for the bar beside what is marked, and the space behind it."""
BAR, POINTER = "\u258c", "\u203a"
KEYS = (
    "Enter asks about it  Shift+Down marks  / finds  g goes to a page  Esc closes",
    "Enter asks  Shift+Down marks  / finds  Esc closes",
    "Enter asks  / finds  Esc closes",
    "Esc closes",
)
MARKED_KEYS = (
    "Enter asks about the marked lines  Esc unmarks",
    "Enter asks about them  Esc unmarks",
    "Enter asks  Esc unmarks",
)
AWAY = "Tab leads here from the input"
"""In place of these while keys go elsewhere."""


class ReaderText(ScrollView, can_focus=True):
    """The rows. Posts Moved when another line is the present one, or the mark has changed."""

    ALLOW_SELECT = False  # the mouse marks lines here
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"reader--{kind}" for kind in ("label", "line", "marked", "hit", "heading")
    }
    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The reader",
        (
            ("Up, Down", "another line; PageUp, PageDown a screen"),
            ("Left, Right", "the previous, the next page of the document"),
            ("Shift+Up, Shift+Down", "mark lines; m begins a mark; so does the mouse"),
            ("Enter", "ask about what is marked, or the line"),
            ("a", "attach all of the document"),
            ("/", "find; n and N go to the next and the previous"),
            ("g", "go to a page"),
            ("Esc", "unmark; close"),
            ("Tab", "back to the input"),
        ),
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(keys, f"go({step!r})", show=False)
            for keys, step in (
                ("up,k", -1),
                ("down,j", 1),
                ("pageup", "-page"),
                ("pagedown,space", "page"),
                ("home", "first"),
                ("end", "last"),
            )
        ),
        Binding("shift+up", "go(-1, True)", show=False),
        Binding("shift+down", "go(1, True)", show=False),
        Binding("left,[,left_square_bracket", "turn(-1)", show=False),
        Binding("right,],right_square_bracket", "turn(1)", show=False),
        Binding("m", "mark", show=False),
        Binding("enter", "ask", show=False),
        Binding("a", "attach", show=False),
        Binding("slash", "find", show=False),
        Binding("g", "page", show=False),
        Binding("n", "next(1)", show=False),
        Binding("N,upper_n", "next(-1)", show=False),
        Binding("escape", "leave", show=False),
    ]

    class Moved(Message):
        """Another line is the present one, or something else is marked."""

    @dataclass
    class Wanted(Message):
        """A key wants what the reader around the text does: "find" or "page"."""

        what: str

    def __init__(self, place: ReadingPlace) -> None:
        super().__init__()
        self.place = place
        self._rows = ReaderRows((), 1)
        self._width = 0
        self._presses: int | None = None  # the line at which the mouse has begun to mark

    def takes(self, key: str) -> bool:
        """Whether a key that would write a letter elsewhere does something here."""
        return key in self._bindings.key_to_bindings

    def show(self, place: ReadingPlace) -> None:
        """Show another document."""
        self.place = place
        self._lay_out()

    def on_resize(self) -> None:
        """The rows have another width."""
        if self._room != self._width:
            self._lay_out()

    @property
    def _room(self) -> int:
        """The columns beside the scrollbar, which is there in any case."""
        return max(0, self.size.width - self.styles.scrollbar_size_vertical)

    def _lay_out(self) -> None:
        self._width = self._room
        if self._width:
            self._rows = ReaderRows(self.place.lines.lines, self._width - MARGIN)
            self.virtual_size = Size(self._width, len(self._rows))
            self.moved(top=True)

    def moved(self, *, top: bool = False) -> None:
        """The present line is another: bring it, and what is marked, into sight; to the `top` after a jump."""
        first, last = self.place.marked or (self.place.line, self.place.line)
        if self._width:
            begin = self._rows.first_of(self.place.line if not top else first)
            end = self._rows.last_of(self.place.line if not top else last)
            height = max(1, min(end - begin + 1, self.scrollable_content_region.height))
            if top and not (self.scroll_offset.y <= begin and end < self.scroll_offset.y + self.size.height):
                self.scroll_to(y=max(0, begin - 2), animate=False, immediate=True, force=True)
            else:
                self.scroll_to_region(Region(0, begin, 1, height), animate=False, immediate=True, x_axis=False)
        self.refresh()
        self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        """A row of the screen."""
        number = y + self.scroll_offset.y
        base = self.rich_style
        if number >= len(self._rows):
            return Strip.blank(self.size.width, base)
        row, place = self._rows.row(number), self.place
        marked = place.marked
        is_marked = marked is not None and marked[0] <= row.line <= marked[1]
        is_present = row.line == place.line
        kind = (
            "label"
            if place.lines.is_label(row.line)
            else "marked"
            if is_marked
            else "hit"
            if place.is_hit(row.line)
            else "heading"
            if place.is_heading(row.line)
            else "line"
        )
        style = base if kind == "line" else self._style(kind)
        sign = BAR if is_marked else POINTER if is_present and not row.start else " "
        segments = [
            Segment(f"{sign} ", self._style("line") if is_marked or is_present else style),
            Segment(place.lines.lines[row.line][row.start : row.end], style),
        ]
        return Strip(segments).adjust_cell_length(self.size.width, style if kind != "label" else base)

    def _style(self, kind: str) -> Style:
        return self.get_component_rich_style(f"reader--{kind}")

    # Keys

    def action_go(self, step: int | str, marking: bool = False) -> None:
        """Go on by so many lines, by a screen, or to an end."""
        place, height = self.place, max(1, self.size.height - 2)
        if step in ("page", "-page"):
            row = self._rows.first_of(place.line) + (height if step == "page" else -height)
            line = self._rows.row(max(0, min(row, len(self._rows) - 1))).line
        elif isinstance(step, int):
            line = place.line + step
        else:
            line = 0 if step == "first" else len(place.lines.lines) - 1
        place.go_to(line, marking=marking or (place.marked is not None and self._is_marking))
        self.moved()

    _is_marking = False
    """Whether `m` has begun a mark that moving extends."""

    def action_turn(self, step: int) -> None:
        """Go to the previous or the next page of the document."""
        self._is_marking = False
        self.place.turn(step)
        self.moved(top=True)

    def action_mark(self) -> None:
        """Begin a mark, or end it."""
        self.place.start_mark()
        self._is_marking = self.place.marked is not None
        self.moved()

    def action_next(self, step: int) -> None:
        """Go to the next hit of the search."""
        self._is_marking = False
        if self.place.next_hit(step):
            self.moved(top=True)

    def action_ask(self) -> None:
        """Ask about what is marked."""
        self._is_marking = False
        self.post_message(Reader.Asked(self.place))

    def action_attach(self) -> None:
        """Let the next prompt have all of the document."""
        self.post_message(Reader.Asked(self.place, whole=True))

    def action_find(self) -> None:
        """Type what to find."""
        self.post_message(self.Wanted("find"))

    def action_page(self) -> None:
        """Type which page to go to."""
        self.post_message(self.Wanted("page"))

    def action_leave(self) -> None:
        """Take the mark away; without one, close the reader."""
        self._is_marking = False
        if self.place.unmark():
            self.moved()
        else:
            self.post_message(Reader.Closed())

    # The mouse

    def _line_of(self, event: events.MouseEvent) -> int:
        row = max(0, min(event.y + self.scroll_offset.y, len(self._rows) - 1))
        return self._rows.row(row).line

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """The line that is pressed is the present one, and a mark may begin there."""
        if event.button == 1 and len(self._rows):
            self._is_marking = False
            self._presses = self._line_of(event)
            self.place.go_to(self._presses)
            self.capture_mouse()
            self.moved()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Mark what is drawn over."""
        if self._presses is not None and (line := self._line_of(event)) != self.place.line:
            self.place.mark(self._presses, line)
            self.moved()

    def on_mouse_up(self) -> None:
        """The mark is made."""
        if self._presses is not None:
            self._presses = None
            self.release_mouse()


class Reader(Vertical, LiveContainer):
    """The document, its name and where in it one is above, what keys do below."""

    @dataclass
    class Asked(Message):
        """The next prompt is about what is marked there, or about the `whole`."""

        place: ReadingPlace
        whole: bool = False

    class Closed(Message):
        """The person is done with reading."""

    def __init__(self, place: ReadingPlace) -> None:
        super().__init__()
        self.text = ReaderText(place)
        self._title = FittingLine(classes="title")
        self._keys = FittingLine(classes="keys")
        self._input = Input(select_on_focus=False)
        self._input.cursor_blink = False
        self._input.display = False
        self._asks = ""

    @property
    def place(self) -> ReadingPlace:
        """What is read."""
        return self.text.place

    def compose(self) -> ComposeResult:
        """Title, text, what is searched for while it is typed, keys."""
        yield self._title
        yield self.text
        yield self._input
        yield self._keys

    def show(self, place: ReadingPlace) -> None:
        """Show another document, or another place of it."""
        self.text.show(place)

    def on_reader_text_moved(self, event: ReaderText.Moved) -> None:
        """Say where one is."""
        event.stop()
        place = self.place
        where = [place.where, *([f"found {place.hit_number}"] if place.hit_number else [])]
        room = max(8, self.size.width - 6 - sum(len(each) + 2 for each in where))
        name = place.name if len(place.name) <= room else f"\u2026{place.name[-room:]}"
        self._title.forms = ("  ".join([name, *where]), "  ".join(where))
        self._say_keys()

    def on_descendant_focus(self) -> None:
        """Keys go here."""
        self._say_keys()

    def on_descendant_blur(self) -> None:
        """Keys go elsewhere, or from the text to what is typed below it."""
        self._say_keys()

    def _say_keys(self) -> None:
        forms = MARKED_KEYS if self.place.marked else KEYS
        self._keys.forms = forms if self.has_focus_within else (AWAY,)

    def on_reader_text_wanted(self, event: ReaderText.Wanted) -> None:
        """Let something be typed."""
        event.stop()
        self._asks = event.what
        self._input.placeholder = "find" if event.what == "find" else f"which {self.place.document.unit}"
        self._input.value = self.place.query if event.what == "find" else ""
        self._input.display = True
        self._input.focus()
        self._input.action_end()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: go there. A thread searches: what is nowhere is looked for on all pages."""
        event.stop()
        place, text = self.place, event.value.strip()
        if self._asks == "find" and text and not await asyncio.to_thread(place.search, text):
            self.app.notify(f"{text} is not in it.", severity="warning", markup=False)
        if self._asks == "page" and text and not (text.isdecimal() and place.go_to_page(int(text))):
            self.app.notify(f"It has no {place.document.unit} {text}.", severity="warning", markup=False)
        self._end_typing()
        self.text.moved(top=True)

    def on_key(self, event: events.Key) -> None:
        """Esc while something is typed."""
        if event.key == "escape" and self._input.has_focus:
            event.stop()
            self._end_typing()

    def _end_typing(self) -> None:
        self._input.display = False
        self.text.focus()
