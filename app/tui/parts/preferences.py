"""What a person has chosen: theme, analysis, sampling, presets, a conversation's instructions; applied, remembered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.theme import Theme

from app.settings import ANALYSIS, SAMPLING, Changes, Settings, SettingsError, update
from app.tui import theme
from app.tui.screens.settings import DEFAULTS, Form, SettingsScreen
from app.tui.widgets.messages import AnswerView
from mlx_model.options import Options

if TYPE_CHECKING:
    from app.tui.app import ChatApp


class Preferences:
    """Changes what holds from now on, and writes it into the settings file in a thread.

    `options` are those of the next answer but for the effort; `instructions` those of the command line, which hold in
    every conversation that has none of its own. A file that can't be written costs a warning: what was chosen holds.
    """

    def __init__(self, app: ChatApp, settings: Settings, options: Options, instructions: str | None) -> None:
        self._app = app
        self._settings = settings
        self.options = options
        self.presets = dict(settings.presets)
        self.analysis = settings.analysis
        self._theme = settings.theme
        self._given = instructions
        self._of: dict[str, str] = {}  # instructions by the id of a conversation
        self._writing = asyncio.Lock()

    def apply(self) -> None:
        """Take the look that was chosen; before the app runs, or all styles are computed twice."""
        app = self._app
        for ours in theme.THEMES.values():
            app.register_theme(ours)
        app.theme = theme.long_name(self._theme if self._has_theme(self._theme) else "dark")

    def follow(self) -> None:
        """Remember every theme that is chosen from now on."""
        self._app.theme_changed_signal.subscribe(self._app, self._theme_changed)

    def tell(self) -> None:
        """Say what is wrong with the settings file."""
        told = list(self._settings.warnings)
        if not self._has_theme(self._theme):
            told.append(f'there is no theme "{self._theme}"; /theme shows them')
        for text in told:
            self._app.report(f"{text[0].upper()}{text[1:]}.", "warning")

    def _has_theme(self, name: str) -> bool:
        return theme.long_name(name) in self._app.available_themes

    @property
    def themes(self) -> list[str]:
        """The names of all themes, ours first."""
        return [*theme.THEMES, *(name for name in self._app.available_themes if name == theme.short_name(name))]

    def _theme_changed(self, changed: Theme) -> None:
        name = theme.short_name(changed.name)
        if name != self._theme:
            self._theme = name
            self._remember({("theme",): name})

    def set_theme(self, name: str) -> None:
        """Take a theme by its name; "" offers all."""
        if not name:
            self._app.search_themes()
        elif self._has_theme(name):
            self._app.theme = theme.long_name(name)
        else:
            self._app.warn(f"There is no theme {name}: it is {', '.join(theme.THEMES)}, or one that /theme shows.")

    def set_analysis(self, name: str) -> None:
        """Show every analysis as `name` says, and those to come."""
        if name not in ANALYSIS:
            self._app.warn(f"The analysis is {', '.join(ANALYSIS[:-1])} or {ANALYSIS[-1]}.")
            return
        for view in self._app.transcript.query(AnswerView):
            view.treat_analysis(name)
        if name != self.analysis:
            self.analysis = name
            self._remember({("analysis",): name})

    # Instructions

    @property
    def instructions(self) -> str | None:
        """Those of the conversation on the screen."""
        return self._of.get(self._app.conversation.id, self._given) or None

    def set_instructions(self, text: str) -> None:
        """Give the conversation on the screen others; "" for none."""
        conversation = self._app.conversation.id
        self._of[conversation] = text
        self._app.hint()
        self._app.run_worker(self._app.journal.set_instructions(conversation, text))

    async def enter(self, conversation: str) -> None:
        """Take the instructions that a conversation had when it was last open."""
        if (text := await self._app.journal.instructions(conversation)) is not None:
            self._of[conversation] = text

    def use_preset(self, name: str) -> None:
        """Take the instructions of a preset; "" tells which there are."""
        if name in self.presets:
            self.set_instructions(self.presets[name])
            self._app.notify(f'The next answers follow the preset "{name}".', markup=False)
        elif self.presets:
            self._app.warn(f"{f'There is no preset {name}. ' if name else ''}Presets: {', '.join(self.presets)}.")
        else:
            self._app.warn("There are no presets yet; /settings saves instructions as one.")

    @property
    def hint(self) -> str:
        """Which instructions hold, in a word or two; "" for none."""
        text = self.instructions
        name = next((name for name, preset in self.presets.items() if preset == text), None)
        return "" if text is None else "with instructions" if name is None else f"preset {name}"

    # The screen

    def open(self, *, at_instructions: bool = False) -> None:
        """Show the settings."""
        app = self._app
        before = Form(self.options, self._theme, self.analysis, self.instructions or "")
        screen = SettingsScreen(before, self.presets, self.themes, at_instructions=at_instructions)
        app.push_screen(screen, lambda after: self._take(before, after) if after is not None else None)

    def _take(self, before: Form, after: Form) -> None:
        changes: dict[tuple[str, ...], object] = {}
        for name in ("effort", *SAMPLING):
            value = getattr(after.options, name)
            if value != getattr(before.options, name):
                place = (name,) if name == "effort" else ("sampling", name)
                changes[place] = None if value == DEFAULTS[name] else str(value) if name == "effort" else value
        if after.options.effort is not before.options.effort:
            self._app.effort_switch.effort = after.options.effort
        self.options = after.options
        if after.save_as:
            self.presets[after.save_as] = after.instructions
            changes["presets", after.save_as] = after.instructions
        if after.instructions != before.instructions:
            self.set_instructions(after.instructions)
        if changes:
            self._remember(changes)
        self.set_theme(after.theme)
        self.set_analysis(after.analysis)

    def _remember(self, changes: Changes) -> None:
        self._app.run_worker(self._write(changes), group="settings")

    async def _write(self, changes: Changes) -> None:
        async with self._writing:
            try:
                await asyncio.to_thread(update, changes)
            except SettingsError as error:
                self._app.warn(f"{error}.")
