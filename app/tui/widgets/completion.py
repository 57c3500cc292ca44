"""What a name that is being typed may become, as a list above the input: files, commands, values of a command."""

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from app.lines import one_line
from app.tui.text.completions import Choice

MOST = 8
"""Rows shown at once; the list scrolls."""


class Completion(OptionList, can_focus=False):
    """Keys come from the input, which keeps the focus; a click posts OptionSelected."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.names: list[str] = []
        """What each row would make of what is typed."""
        self.typed = ""
        """What they were looked up for."""
        self.display = False

    def show(self, choices: Sequence[Choice], typed: str = "", *, marked: bool = True, hint: str = "") -> None:
        """Show these, the first one `marked`, with a hint below; none: nothing is shown."""
        self.names, self.typed = [choice.line for choice in choices], typed
        width = max((len(choice.usage) for choice in choices if choice.help), default=0)
        self.set_options([Option(_row(choice, width)) for choice in choices])
        self.border_subtitle = hint
        self.styles.offset = (1, -min(len(choices), MOST) - 2)  # over the conversation, which stays where it is
        self.highlighted = 0 if choices and marked else None
        self.display = bool(choices)

    def hide(self) -> None:
        """Show nothing."""
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


def _row(choice: Choice, width: int) -> Content:
    usage = Content(one_line(choice.usage))
    return Content.assemble(usage.pad_right(width + 2 - len(usage)), (choice.help, "dim")) if choice.help else usage
