"""A line of the program's own in the transcript."""

from textual.content import Content
from textual.widgets import Static

from app.tui.text.pages import beginning
from mlx_model.text import clean


class Notice(Static):
    """A line of the program's own; `level` is "info", "warning" or "error"."""

    def __init__(self, text: str, level: str = "info") -> None:
        super().__init__(Content(clean(beginning(text))), markup=False, classes=f"-{level}")

    def say(self, text: str) -> None:
        """Say something else."""
        self.update(Content(clean(text)))
