"""Which tools the model may call in a conversation, and the person's word on a call."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

from app.chat.loop import TurnTools
from app.lines import sentence
from app.tools.names import TOOLS, read_names
from app.tools.permission import Wish
from app.tools.switched_on import Keep, SwitchedOn, Verdict
from app.tui.parts.desk import Desk
from app.tui.parts.journal import Journal
from mlx_model.errors import RequestError
from mlx_model.harmony.calls import ToolCall

GRACE_S = 0.5
"""How long a question must have been in sight before a key or a click answers it: it may have been meant for what was
there before."""
MOST_SHOWN = 200_000
"""Characters of what a call would do: nobody looks at more."""
TOO_LONG = "it is too long for anyone to look at"
NOT_ASKED = "No call waits for you."
ONCE_ONLY = "Such a call is asked about each time: F7 allows this one."


class Tools:
    """What is switched on is kept with a conversation. What the tools of one have started (a kernel) goes on until
    another one uses tools.

    `permissions` are the rules of the settings, `remember` adds one. `asks` is called with the tool's name when the
    person is asked, `answered` when they have answered.
    """

    def __init__(
        self, desk: Desk, journal: Journal, permissions: Mapping[str, str], remember: Callable[[str], None]
    ) -> None:
        self._desk = desk
        self._journal = journal
        self._permissions = permissions
        self._remember = remember
        self._names: dict[str, tuple[str, ...]] = {}
        self._open: tuple[str, tuple[str, ...], SwitchedOn] | None = None
        self._turn: TurnTools | None = None
        self._question: tuple[asyncio.Future[Verdict], Wish, float] | None = None
        self._said: set[str] = set()
        self.asks: Callable[[str], Awaitable[None]] = _nobody
        self.answered: Callable[[], None] = lambda: None

    # What is on

    async def enter(self, conversation: str) -> None:
        """Find out what is switched on in a conversation, by its id."""
        if conversation not in self._names:
            self._names[conversation] = await self._journal.tools(conversation)

    def names_of(self, conversation: str) -> tuple[str, ...]:
        """What is switched on in a conversation that was entered or has begun here."""
        return self._names.get(conversation, ())

    def hint(self, conversation: str) -> str:
        """A short text that says what is switched on; "" for nothing."""
        return f"tools: {', '.join(names)}" if (names := self.names_of(conversation)) else ""

    def switch(self, conversation: str, argument: str) -> None:
        """Switch on what is named, and nothing else; "off" for nothing; "" says what is on."""
        try:
            names = () if argument.lower() == "off" else read_names(argument) if argument else None
        except RequestError as error:
            self._desk.warn(sentence(str(error)))
            return
        before = self.names_of(conversation)
        if names is not None and names != before:
            self._names[conversation] = names
            self._desk.run(self._journal.set_tools(conversation, names))
            self._desk.hint()
        on = ", ".join(self.names_of(conversation))
        if not on:
            self._desk.notify(f"The model may call no tools here. /tools {' '.join(TOOLS)} switches them on.")
        else:
            changed = " The next answer reads the whole conversation anew." if names not in (None, before) else ""
            self._desk.notify(f"The model may call {on} here; /tools off ends that.{changed}")

    # A turn

    async def in_turn(self, conversation: str) -> TurnTools | None:
        """What the next turn of a conversation may use; None where nothing is switched on."""
        names = self.names_of(conversation)
        if self._open is not None and self._open[:2] != (conversation, names):
            await self._end()
        if not names:
            return None
        if self._open is None:
            from app.tools.kits import kits_of  # only now: most chats need none of it

            tools = SwitchedOn(kits_of(names, conversation), self._permissions, self._ask, self._remember)
            self._open = conversation, names, tools
        tools = self._open[2]
        await tools.prepare()
        troubles = {f"{kit.name} can't be used: {kit.trouble}" for kit in tools.kits if kit.trouble}
        for trouble in sorted(troubles - self._said):
            await self._desk.notice(sentence(trouble), "warning")
        self._said = troubles
        self._turn = TurnTools(tools.toolbox, tools.approve)
        return self._turn

    def instructions(self, own: str | None) -> str | None:
        """The developer message of the turn: the conversation's own instructions, and what holds of its tools."""
        return own if self._open is None else self._open[2].instructions(own)

    def stop(self) -> None:
        """The person stops the turn: a call under way ends, and one that waits for them is not run."""
        if self._turn is not None:
            self._turn.cancel()
        if self._question is not None:
            self._settle(Verdict(allowed=False))

    async def close(self) -> None:
        """The chat ends."""
        self.stop()
        await self._end()

    async def _end(self) -> None:
        if self._open is not None:
            tools, self._open = self._open[2], None
            await tools.close()

    # A question

    @property
    def is_asking(self) -> bool:
        """Whether a call waits for the person."""
        return self._question is not None

    def answer(self, keep: Keep | None) -> None:
        """A key or a click allows the call that waits, for so long; None refuses it. Too early it is not meant."""
        if self._question is None:
            self._desk.warn(NOT_ASKED)
            return
        _, wish, since = self._question
        if monotonic() - since < GRACE_S:
            return
        if keep not in (None, Keep.ONCE) and not wish.always:
            self._desk.warn(ONCE_ONLY)
        else:
            self._settle(Verdict(allowed=keep is not None, keep=keep or Keep.ONCE))

    def refuse(self, reason: str) -> None:
        """The call that waits is not run, and the model is told why."""
        if self._question is None:
            self._desk.warn(NOT_ASKED)
        else:
            self._settle(Verdict(allowed=False, reason=reason))

    def _settle(self, verdict: Verdict) -> None:
        if self._question is not None and not self._question[0].done():
            self._question[0].set_result(verdict)

    async def _ask(self, call: ToolCall, wish: Wish) -> Verdict:
        if len(wish.shown) > MOST_SHOWN:
            self._desk.warn(f"A call of {call.name} was refused: {TOO_LONG}.")
            return Verdict(allowed=False, reason=TOO_LONG)
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        try:
            await self._desk.approval.ask(call, wish)
            self._question = answer, wish, monotonic()
            await self.asks(call.name)
            return await answer
        finally:
            self._question = None
            self.answered()
            await self._desk.approval.hide()


async def _nobody(tool: str) -> None:
    """Before the first turn nobody is asked."""
