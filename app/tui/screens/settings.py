"""The settings: a form whose values are checked as Options checks them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Select, Static, TextArea

from app.chat.sampling import DEFAULTS, number
from app.lines import one_line
from app.settings import ANALYSIS, NOTIFY, SAMPLING, TITLES
from app.tui.text.key_help import KeyHelp
from mlx_model.errors import RequestError
from mlx_model.harmony.message import Effort
from mlx_model.options import Options
from mlx_model.text import clean

LABELS = {
    "temperature": ("Temperature", "0: always the most likely token"),
    "top_p": ("Top-p", "the most likely tokens up to this probability"),
    "top_k": ("Top-k", "the K most likely tokens; 0: all"),
    "min_p": ("Min-p", "drop tokens below this share of the best token's probability"),
    "repetition_penalty": ("Repetition penalty", "above 1 discourages repetition"),
    "seed": ("Seed", "same seed, same answer; empty: random"),
    "max_tokens": ("Max tokens", "analysis included; empty: until the context is full"),
    "max_thinking": ("Max thinking", "tokens of analysis at most; empty: no limit"),
}

NOTIFY_HELP = {
    "auto": "auto: after 10 s of work, if you look elsewhere",
    "always": "always: after 10 s of work",
}


@dataclass(frozen=True, slots=True)
class Form:
    """What the screen shows, and what it ends with. `save_as` names a preset that the instructions become, or is ""."""

    options: Options
    theme: str
    analysis: str
    titles: str
    notify: str
    instructions: str
    save_as: str = ""


class SettingsScreen(ModalScreen[Form | None]):
    """Ends with the new settings, or with None."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The settings",
        (
            ("Tab, Shift+Tab", "next and previous line"),
            ("Enter, Space, Up", "open a list of choices"),
            ("^S, or Enter in a line", "save"),
            ("Esc", "close without saving"),
        ),
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", show=False),
        Binding("ctrl+s", "save", "Save", show=False, priority=True),
    ]

    def __init__(
        self, form: Form, presets: Mapping[str, str], themes: list[str], *, at_instructions: bool = False
    ) -> None:
        super().__init__()
        self._form = form
        self._presets = presets
        self._themes = themes
        self._at_instructions = at_instructions

    def compose(self) -> ComposeResult:
        """One line each."""
        form = self._form
        preset = next((name for name, text in self._presets.items() if text == form.instructions), Select.NULL)
        with VerticalScroll(id="settings", can_focus=False):
            yield from _row("Effort", _choice("effort", [effort.value for effort in Effort], form.options.effort.value))
            yield from _row("Analysis", _choice("analysis", ANALYSIS, form.analysis))
            yield from _row("Titles by", _choice("titles", TITLES, form.titles))
            yield from _row("Theme", _choice("theme", self._themes, form.theme))
            yield from _row("Notifications", _choice("notify", NOTIFY, form.notify, NOTIFY_HELP))
            for name in SAMPLING:
                label, hint = LABELS[name]
                value = getattr(form.options, name)
                text = "" if value is None else str(value)
                yield from _row(label, Input(text, placeholder=hint, id=name, compact=True))
            yield Label("Instructions of this conversation", classes="heading")
            names = [(Content(one_line(name)), name) for name in self._presets]
            yield from _row("Preset", Select(names, value=preset, prompt="none", id="preset", compact=True))
            yield TextArea(clean(form.instructions), id="instructions", compact=True, placeholder="how to answer")
            save_as = Input(placeholder="a name for these instructions", id="save_as", compact=True)
            yield from _row("Save as preset", save_as)
            yield Static(markup=False, id="wrong")
            with Horizontal(classes="row"):
                yield Button("Save", id="save", compact=True, variant="primary")
                yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        """Say how to leave."""
        settings = self.query_one("#settings")
        settings.border_title = "Settings"
        settings.border_subtitle = "^S saves, Esc cancels"
        for field in (*self.query(Input), instructions := self.query_one("#instructions", TextArea)):
            field.cursor_blink = False
        if self._at_instructions:
            instructions.focus()
            instructions.move_cursor(instructions.document.end)

    def on_select_changed(self, event: Select.Changed) -> None:
        """Another preset: its text becomes the instructions, which can be changed."""
        if event.select.id == "preset" and event.value in self._presets:
            self.query_one("#instructions", TextArea).text = clean(self._presets[str(event.value)])

    def on_input_submitted(self) -> None:
        """Enter in a line."""
        self.action_save()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """One of the two."""
        if event.button.id == "save":
            self.action_save()
        else:
            self.dismiss(None)

    def action_save(self) -> None:
        """End with what is in the form, or say what is wrong with it."""
        values: dict[str, Any] = {name: number(self._value(name), DEFAULTS[name]) for name in SAMPLING}
        try:
            options = replace(self._form.options, effort=Effort(self._chosen("effort")), **values)
        except RequestError as error:
            name = next(name for name in SAMPLING if str(error).startswith(f"{name} "))
            self._refuse(f"{LABELS[name][0]}{str(error).removeprefix(name)}.", name)
            return
        instructions, save_as = self.query_one("#instructions", TextArea).text.strip(), one_line(self._value("save_as"))
        if save_as and not instructions:
            self._refuse("There are no instructions to save as a preset.", "instructions")
            return
        theme, analysis, titles, notify = map(self._chosen, ("theme", "analysis", "titles", "notify"))
        self.dismiss(Form(options, theme, analysis, titles, notify, instructions, save_as))

    def _refuse(self, text: str, name: str) -> None:
        self.query_one("#wrong", Static).update(Content(clean(text)))
        self.query_one(f"#{name}").focus()

    def _value(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    def _chosen(self, name: str) -> str:
        return str(self.query_one(f"#{name}", Select).value)


def _row(label: str, field: Select[str] | Input) -> ComposeResult:
    with Horizontal(classes="row"):
        yield Label(label)
        yield field


def _choice(
    id: str, values: list[str] | tuple[str, ...], value: str, words: Mapping[str, str] = MappingProxyType({})
) -> Select[str]:
    options = [(Content(words.get(name, name)), name) for name in values]
    return Select(options, value=value, allow_blank=False, id=id, compact=True)
