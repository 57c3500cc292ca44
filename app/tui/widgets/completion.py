"""The list above the input that completes what is typed: files, commands, values of a command."""

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget
from textual.widgets.option_list import Option

from app.lines import one_line
from app.tui.text.completions import Completion
from app.tui.widgets.row_list import RowList

MAX_ROWS = 8
"""Rows shown at once; the list scrolls."""
NARROW = 75
"""Columns below which commands are shown without what may follow them, so that their help fits."""
HELP_STYLE = "$foreground 80%"
"""Dim enough beside the name, and to be read where the row is marked."""
BESIDE = 4
"""Columns of the border and the space within it."""


class CompletionList(RowList, can_focus=False):
    """Keys come from the input, which keeps the focus; a click posts OptionSelected."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.names: list[str] = []
        """What each row would replace the typed text with."""
        self.typed: str | None = None
        """The typed text that they complete; there may be none for it."""
        self.display = False

    def show(
        self, completions: Sequence[Completion], typed: str | None = None, *, marked: bool = True, hint: str = ""
    ) -> None:
        """Show these, the first one `marked`, with a hint below; none: nothing is shown."""
        self.names, self.typed = [each.line for each in completions], typed
        is_narrow = isinstance(self.parent, Widget) and self.parent.size.width < NARROW
        usages = [(is_narrow and each.brief) or each.usage for each in completions]
        width = max((len(usage) for usage, each in zip(usages, completions, strict=True) if each.help), default=0)
        rows = [_row(usage, each.help, width) for usage, each in zip(usages, completions, strict=True)]
        self.set_options([Option(row) for row in rows])
        # Textual's `auto` leaves no room for the scrollbar.
        longest = max((row.cell_length for row in rows), default=0)
        longest = max(longest, len(hint)) if rows else 0
        self.styles.width = longest + BESIDE + (len(rows) > MAX_ROWS)
        self.border_subtitle = hint
        self.styles.offset = (0, -min(len(completions), MAX_ROWS) - 2)  # over the conversation, which stays where it is
        self.highlighted = 0 if completions and marked else None
        self.display = bool(completions)

    def hide(self) -> None:
        """Show nothing."""
        self.typed = None
        if self.display:
            self.show(())

    @property
    def choice(self) -> str | None:
        """The marked name, None if nothing is shown or marked."""
        return self.names[self.highlighted] if self.display and self.highlighted is not None else None

    def step(self, by: int) -> None:
        """Mark another one; after the last comes the first."""
        at = self.highlighted if self.highlighted is not None else min(0, -by)
        self.highlighted = (at + by) % len(self.names)


def _row(usage: str, help: str, width: int) -> Content:
    name = Content(one_line(usage))
    return Content.assemble(name.pad_right(width + 2 - len(name)), (help, HELP_STYLE)) if help else name
