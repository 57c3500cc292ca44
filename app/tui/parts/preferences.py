"""What a person has chosen: theme, analysis, sampling, presets, instructions. Applies it and saves it."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from app.chat.sampling import DEFAULTS, change
from app.lines import sentence
from app.settings import ANALYSIS, NOTIFY, SAMPLING, SettingChanges, Settings, SettingsError, update
from app.tui.parts.desk import Desk
from app.tui.parts.journal import Journal
from app.tui.parts.themes import Themes
from app.tui.theme import THEMES
from mlx_model.errors import RequestError
from mlx_model.harmony.message import Effort
from mlx_model.options import Options

if TYPE_CHECKING:
    from app.tui.screens.settings import Form


class Preferences:
    """Changes the settings in effect, and writes them into the settings file in a thread.

    `options` are those of the next answer; `instructions` those of the command line, which apply
    to every conversation that has none of its own. If the file can't be written, a warning says so, and the choice
    stays in effect.
    """

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        themes: Themes,
        settings: Settings,
        options: Options,
        instructions: str | None,
    ) -> None:
        self._desk = desk
        self._journal = journal
        self._themes = themes
        self._settings = settings
        self.options = options
        self.presets = dict(settings.presets)
        self.analysis = settings.analysis
        self.titles = settings.titles
        """One of app.settings.TITLES."""
        self.theme = settings.theme
        self.permissions = dict(settings.permissions)
        """The rules about calls of tools."""
        desk.attention.notify = settings.notify
        self._default_instructions = instructions
        self._own_instructions: dict[str, str] = {}  # by the id of a conversation
        self._writing = asyncio.Lock()

    def apply(self) -> None:
        """Take the look and the effort that were chosen; before the app runs, or all styles are computed twice."""
        self._themes.choose(self.theme if self._themes.has(self.theme) else "dark")
        self._desk.effort_switch.effort = self.options.effort

    def watch(self) -> None:
        """Remember every theme that is chosen from now on."""
        self._themes.on_change(self._theme_changed)

    async def greet(self) -> None:
        """Say what is wrong with the settings file."""
        warnings = list(self._settings.warnings)
        if not self._themes.has(self.theme):
            warnings.append(f'there is no theme "{self.theme}"; /theme lists the themes')
        for text in warnings:
            await self._desk.notice(sentence(text), "warning")

    # The look

    @property
    def themes(self) -> list[str]:
        """The names of all themes, ours first."""
        return self._themes.names

    def _theme_changed(self, name: str) -> None:
        if name != self.theme:
            self.theme = name
            self._remember({("theme",): name})

    def set_theme(self, name: str) -> None:
        """Take a theme by its name, and say so."""
        if self._themes.has(name):
            self._themes.choose(name)
            self._desk.notify(f"The theme is {name}.")
        else:
            self._desk.warn(f"There is no theme {name}. Use {', '.join(THEMES)}, or one that /theme lists.")

    def set_analysis(self, name: str) -> None:
        """Show every analysis as `name` says, and those to come."""
        from app.tui.widgets.messages import AnswerView

        if name not in ANALYSIS:
            self._desk.warn(f"The analysis can be {', '.join(ANALYSIS[:-1])} or {ANALYSIS[-1]}.")
            return
        for view in self._desk.transcript.query(AnswerView):
            view.treat_analysis(name)
        if name != self.analysis:
            self.analysis = name
            self._remember({("analysis",): name})

    def set_effort(self, effort: Effort) -> None:
        """Take an effort for the next answers, in this chat and in later ones."""
        self._desk.effort_switch.effort = effort
        if effort is not self.options.effort:
            self.options = replace(self.options, effort=effort)
            self._remember({("effort",): None if effort is DEFAULTS["effort"] else effort.value})

    # Sampling

    def set_option(self, argument: str) -> None:
        """Set a sampling option, as "temperature 0.5", for the next answers; or say what is set."""
        try:
            after = change(self.options, argument)
        except RequestError as error:
            self._desk.warn(sentence(str(error)))
            return
        if after.name and after.options != self.options:
            self.options = after.options
            value = getattr(self.options, after.name)
            self._remember({("sampling", after.name): None if value == DEFAULTS[after.name] else value})
        self._desk.notify(sentence(after.text))

    # Instructions

    def instructions_of(self, conversation: str) -> str | None:
        """Those of a conversation, by its id."""
        return self._own_instructions.get(conversation, self._default_instructions) or None

    def set_instructions(self, conversation: str, text: str) -> None:
        """Give a conversation others; "" for none."""
        self._own_instructions[conversation] = text
        self._desk.hint()
        self._desk.run(self._journal.set_instructions(conversation, text))

    async def enter(self, conversation: str) -> None:
        """Take the instructions that a conversation had when it was last open."""
        if (text := await self._journal.instructions(conversation)) is not None:
            self._own_instructions[conversation] = text

    def use_preset(self, conversation: str, name: str) -> None:
        """Give a conversation the instructions of a preset; "" says which there are."""
        if name in self.presets:
            self.set_instructions(conversation, self.presets[name])
            self._desk.notify(f'The next answers follow the preset "{name}".')
        elif self.presets:
            self._desk.warn(f"{f'There is no preset {name}. ' if name else ''}Presets: {', '.join(self.presets)}.")
        else:
            self._desk.warn("There are no presets yet. /settings can save instructions as a preset.")

    def hint(self, conversation: str) -> str:
        """A short text that says which instructions a conversation has; "" for none."""
        text = self.instructions_of(conversation)
        name = next((name for name, preset in self.presets.items() if preset == text), None)
        return "" if text is None else "with instructions" if name is None else f"preset {name}"

    def allow(self, subject: str) -> None:
        """Allow from now on what a rule can name so; see app.tools.permission."""
        self.permissions[subject] = "allow"
        self._remember({("permissions", subject): "allow"})

    # The screen

    def open(self, conversation: str, *, at_instructions: bool = False) -> None:
        """Show the settings, with the instructions of a conversation."""
        from app.tui.screens.settings import Form, SettingsScreen

        notify, instructions = self._desk.attention.notify, self.instructions_of(conversation) or ""
        before = Form(self.options, self.theme, self.analysis, self.titles, notify, instructions)

        def closed(after: Form | None) -> None:
            if after is not None:
                self._take(conversation, before, after)

        self._desk.ask(SettingsScreen(before, self.presets, self.themes, at_instructions=at_instructions), closed)

    def _take(self, conversation: str, before: "Form", after: "Form") -> None:
        changes: dict[tuple[str, ...], object] = {}
        for name in ("effort", *SAMPLING):
            value = getattr(after.options, name)
            if value != getattr(before.options, name):
                place = (name,) if name == "effort" else ("sampling", name)
                changes[place] = None if value == DEFAULTS[name] else str(value) if name == "effort" else value
        if after.options.effort is not before.options.effort:
            self._desk.effort_switch.effort = after.options.effort
        self.options = after.options
        if after.titles != before.titles:
            self.titles = changes["titles",] = after.titles
        if after.save_as:
            self.presets[after.save_as] = after.instructions
            changes["presets", after.save_as] = after.instructions
        if after.instructions != before.instructions:
            self.set_instructions(conversation, after.instructions)
        if after.notify != before.notify:
            self._desk.attention.notify = after.notify
            changes["notify",] = None if after.notify == NOTIFY[0] else after.notify
        if changes:
            self._remember(changes)
        if after.theme != before.theme:
            self._themes.choose(after.theme)
        self.set_analysis(after.analysis)

    def _remember(self, changes: SettingChanges) -> None:
        self._desk.run(self._write(changes), group="settings")

    async def _write(self, changes: SettingChanges) -> None:
        async with self._writing:
            try:
                await asyncio.to_thread(update, changes)
            except SettingsError as error:
                self._desk.warn(sentence(str(error)))
