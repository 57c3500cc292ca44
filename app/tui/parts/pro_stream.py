"""Shows several answers to one prompt as they come."""

from time import monotonic

from app.chat.pro import Pro
from app.tui.text.coalesce import Coalescer
from app.tui.text.pro_lines import ProFigures
from app.tui.text.speed import Speed
from app.tui.text.status_line import memory
from app.tui.widgets.pro import ProView
from app.tui.widgets.status import StatusLine

ENDS_EARLY = "Esc ends early with what there is"


class ProStream:
    """Shows several answers as they come. `alone_tok_s` is the speed of one alone, 0 where none was measured."""

    def __init__(self, pro: Pro, view: ProView, status: StatusLine, alone_tok_s: float, notes: list[str]) -> None:
        """`notes` say what is to be known of them."""
        self.alone_tok_s = alone_tok_s
        self._pro, self._view, self._status = pro, view, status
        self._notes = [ENDS_EARLY, *notes]
        self._speed, self._seen = Speed(), 0
        self._coalescer: Coalescer | None = None
        self._own_status = True

    def begin(self) -> None:
        """The engine is asked."""
        self._coalescer = Coalescer(self._flush)
        self._say("reading")
        self.poke()

    def show(self, number: int) -> None:
        """A sample has changed."""
        pro, record = self._pro, self._pro.records[number]
        self._speed.count(monotonic(), pro.tokens - self._seen)
        self._seen = pro.tokens
        self._status.used, self._status.estimated = pro.context, False
        if record.finished is not None:
            self._status.memory = max(self._status.memory, record.stats.peak_memory_bytes)
        if any(each.thinking.under_way for each in pro.records):
            self._say("thinking")
        elif any(each.has_begun for each in pro.records):
            self._say("answering")
        self.poke()

    def begin_further(self) -> None:
        """The samples have ended, be it by the person, and something is made of them."""
        self._notes[0] = "Esc stops it, and the answers stay"
        self._own_status = False
        self._status.state, self._status.speed = "reading", 0.0
        self.poke()

    def poke(self) -> None:
        """There is something to show."""
        if self._coalescer is not None:
            self._coalescer.poke()

    async def close(self) -> None:
        """All of it is over."""
        if self._coalescer is not None:
            await self._coalescer.close()
        self._status.speed = 0.0

    def _say(self, state: str) -> None:
        if self._status.state != "stopping":
            self._status.state = state

    async def _flush(self) -> None:
        pro, status = self._pro, self._status
        if self._own_status:
            status.speed = self._speed.value
        self._view.figures = ProFigures(
            pro.states,
            [(count.answer, count.votes) for count in pro.samples.tally.counts],
            pro.samples.tally.abstentions,
            pro.doing,
            pro.cost(self.alone_tok_s),
            memory(status.memory, status.budget),
            tuple(self._notes),
        )
