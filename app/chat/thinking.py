"""How long a model thinks before and within an answer, and in how many tokens. Pure: the caller has the clock."""

from app.chat.repetition import Repetition
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, TextDelta


class Thinking:
    """Follows the events of one answer. A call that is made on the analysis channel is no thinking.

    `seconds` and `tokens` are where it begins: those of an answer that was cut off and is continued. `now` is always in
    seconds, and never decreases. `repetition` says whether the thoughts go round in circles.
    """

    def __init__(self, seconds: float = 0.0, tokens: int = 0) -> None:
        self.tokens = tokens
        self.repetition = Repetition()
        self._before = seconds
        self._since: float | None = None

    @property
    def under_way(self) -> bool:
        """Whether the model thinks now."""
        return self._since is not None

    def seconds(self, now: float) -> float:
        """All of it up to now."""
        return self._before + (now - self._since if self._since is not None else 0.0)

    def take(self, event: Event, now: float, tokens: int = 1) -> None:
        """Add one event, which stands for so many `tokens` if it is text."""
        match event:
            case MessageStart(channel="analysis", recipient=None):
                self._stop(now)
                self._since = now
            case TextDelta(channel="analysis", recipient=None, text=text):
                self.tokens += tokens
                self.repetition.take(text)
                if self._since is None:  # inside a message that was begun before
                    self._since = now
            case MessageStart() | MessageEnd() | Finished():
                self._stop(now)

    def _stop(self, now: float) -> None:
        self._before, self._since = self.seconds(now), None
