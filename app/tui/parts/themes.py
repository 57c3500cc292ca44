"""The themes by the names that people and the settings use: which there are, choosing one, hearing of a choice."""

from collections.abc import Callable

from textual.app import App
from textual.theme import Theme

from app.tui import theme


class Themes:
    """Knows the themes of an app, and adds our own to them."""

    def __init__(self, app: App[None]) -> None:
        self._app = app
        for ours in theme.THEMES.values():
            app.register_theme(ours)

    @property
    def names(self) -> list[str]:
        """The names of all themes, ours first."""
        return [*theme.THEMES, *(name for name in self._app.available_themes if name == theme.short_name(name))]

    def has(self, name: str) -> bool:
        """Whether there is a theme of this name."""
        return theme.long_name(name) in self._app.available_themes

    def choose(self, name: str) -> None:
        """Show the app in a theme that there is."""
        self._app.theme = theme.long_name(name)

    def on_change(self, changed: Callable[[str], None]) -> None:
        """Report the name of every theme that is chosen from now on."""

        def pass_on(chosen: Theme) -> None:
            changed(theme.short_name(chosen.name))

        self._app.theme_changed_signal.subscribe(self._app, pass_on)
