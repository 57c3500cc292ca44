"""The conversation on the screen: follows the newest line until the person scrolls up."""

from textual.containers import VerticalScroll
from textual.widget import Widget


class Transcript(VerticalScroll, can_focus=False):
    """Prompts, answers and notices in order. It takes no focus, so that typing always reaches the input."""

    _following = False

    @property
    def follows(self) -> bool:
        """Whether the newest line is in sight."""
        return self.scroll_y >= self.max_scroll_y - 1

    async def add(self, *widgets: Widget) -> None:
        """Put widgets at the end."""
        await self.mount(*widgets)

    def on_mount(self) -> None:
        """Look again whenever the content has grown or shrunk."""
        self.watch(self, "virtual_size", self._fit, init=False)

    def follow(self) -> None:
        """Jump to the newest line and stay there until the person scrolls up."""
        self._following = True
        if self.max_scroll_y > 0:
            self.anchor()

    def on_resize(self) -> None:
        """The same content may fill a smaller window."""
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        # An anchored container shows content that doesn't fill it at its lower end; a conversation begins at the top.
        if self.max_scroll_y > 0 and self._following and not self.is_anchored:
            self.anchor()
        elif self.max_scroll_y <= 0 and self.is_anchored:
            self.anchor(False)
            self.scroll_target_y = self.scroll_y = 0  # scroll_home does nothing where nothing needs scrolling
