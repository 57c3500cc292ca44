"""The last line of an answer."""

from textual.containers import Horizontal

from app.tui.widgets.fitting_line import FittingLine
from app.tui.widgets.live_container import LiveContainer
from app.tui.widgets.versions import VersionSwitch


class LastLine(Horizontal, LiveContainer):
    """Below an answer: what is to be said of it, and the switch between its versions. Takes no room for nothing."""

    def __init__(self, versions: VersionSwitch | None) -> None:
        self._footer = FittingLine(classes="footer")
        super().__init__(self._footer, *([versions] if versions else []))
        self._versions = versions
        self._fit()

    def say(self, *parts: str) -> None:
        """Say these clean texts, or as many of them, from the first, as there is room for."""
        counts = range(len(parts), 0, -1)
        self._footer.forms = tuple(" \u00b7 ".join(parts[:count]) for count in counts) or ("",)
        self._fit()

    async def switch(self, versions: VersionSwitch | None) -> None:
        """Show a switch between versions, in place of the one before."""
        if self._versions is not None:
            await self._versions.remove()
        self._versions = versions
        if versions is not None:
            await self.mount(versions)
        self._fit()

    def _fit(self) -> None:
        self.display = any(self._footer.forms) or self._versions is not None
