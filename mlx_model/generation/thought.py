"""When a thought has to end: its budget is used up, or the person wants the answer now."""

from collections.abc import Callable, Sequence

from mlx_model.events import Event, MessageEnd, MessageStart
from mlx_model.harmony.message import Role


class Thought:
    """Follows the analysis of one answer. A call that is made on the analysis channel is no thought.

    `most` is the number of tokens that all thoughts of the answer may have, None for any. `answer_now` is asked at each
    of them.
    """

    def __init__(self, most: int | None, answer_now: Callable[[], bool]) -> None:
        self._most = most
        self._answer_now = answer_now
        self._under_way = False
        self._tokens = 0

    def take(self, events: Sequence[Event]) -> None:
        """Takes what one token has brought about."""
        counts = self._under_way
        for event in events:
            if isinstance(event, MessageStart):
                counts = False
                self._under_way = (event.channel, event.recipient, event.role) == ("analysis", None, Role.ASSISTANT)
            elif isinstance(event, MessageEnd):
                self._under_way = False
        self._tokens += counts and self._under_way

    @property
    def must_end(self) -> bool:
        """Whether the last token is inside a thought that has to end."""
        if not self._under_way:
            return False
        return self._answer_now() or (self._most is not None and self._tokens >= self._most)
