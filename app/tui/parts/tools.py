"""Which tools the model may call in a conversation, and the person's word on a call."""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from app.chat.commands import QUESTION_WAITS
from app.chat.context import context_note
from app.chat.conversation import Conversation
from app.lines import sentence
from app.settings import MOST_CALLS
from app.tools.names import FOLDER, available, in_words, kit_of, problems, read_names
from app.tools.verdict import Keep, Verdict
from app.tui.parts.desk import Desk
from app.tui.parts.journal import Journal
from app.tui.text.grace import GRACE_S
from mlx_model.errors import GptossError, RequestError
from mlx_model.request import Request

if TYPE_CHECKING:  # only now, in the functions: most chats need none of it
    from app.chat.loop import TurnTools
    from app.tools.permission import Wish
    from app.tools.switched_on import SwitchedOn
    from app.tui.parts.tool_list import Count
    from mlx_model.harmony.calls import ToolCall

MOST_SHOWN = 200_000
"""Characters of what a call would do: nobody looks at more."""
TOO_LONG = "it is too long for anyone to look at"
NOTHING_ON = "The model may call no tools here."
NOT_ASKED = "No call waits for you."
ONCE_ONLY = "Such a call is asked about each time: F7 allows this one."


class Tools:
    """What is switched on is kept with a conversation. What the tools of one have started (a kernel) goes on until
    another one uses tools.

    `permissions` are the rules of the settings, `remember` adds one. `asks` is called with the tool's name when the
    person is asked, `answered` when they have answered. `most_calls` is how many a turn may have.
    """

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        permissions: Mapping[str, str],
        remember: Callable[[str], None],
        most_calls: int = MOST_CALLS,
    ) -> None:
        self._desk = desk
        self._journal = journal
        self._permissions = permissions
        self._remember = remember
        self._most_calls = most_calls
        self._names: dict[str, tuple[str, ...]] = {}
        self._open: tuple[str, tuple[str, ...], SwitchedOn] | None = None
        self._turn: TurnTools | None = None
        self._question: tuple[asyncio.Future[Verdict], Wish, float] | None = None
        self._one_question = asyncio.Lock()
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
        return f"tools: {', '.join(map(kit_of, names))}" if (names := self.names_of(conversation)) else ""

    def switch(self, conversation: str, argument: str) -> None:
        """Switch on what is named, and nothing else; "off" for nothing, at once in an answer that is under way."""
        try:
            names = () if argument.lower() == "off" else read_names(argument)
        except RequestError as error:
            self._desk.warn(sentence(str(error)))
            return
        if not names and self._turn is not None:
            self._turn.switch_off()
            self._settle(Verdict(allowed=False))
        if names != self.names_of(conversation):
            self._names[conversation] = names
            self._desk.run(self._journal.set_tools(conversation, names))
            self._desk.hint()
        on = ", ".join(map(in_words, names))
        limit = self._desk.status.limit  # 0 before a model is loaded
        said = f"The model may call {on} here; /tools off ends that. {context_note(limit) if limit else ''}"
        self._desk.notify(said.rstrip() if on else NOTHING_ON)

    def show(self, conversation: Conversation, count: "Count") -> None:
        """Show which tools there are, and switch them as the person does there."""
        from app.tui.parts.tool_list import rows_off, rows_on
        from app.tui.screens.tools import ToolScreen

        before = self.names_of(conversation.id)
        rows = rows_off(available(), before)
        screen = ToolScreen(rows, problems())

        def closed(on: frozenset[str] | None) -> None:
            if on is not None and on != {kit_of(name) for name in before}:
                self._take(conversation.id, [row.name for row in rows if row.name in on])

        async def find_out() -> None:
            if (tools := await self._opened(conversation.id)) is not None and not self.is_asking:
                await tools.prepare()
                screen.know(await rows_on(rows, tools.kits, tools.rules, conversation, count))

        self._desk.ask(screen, closed)
        self._desk.run(find_out(), group="tools", exclusive=True)

    def _take(self, conversation: str, on: Sequence[str]) -> None:
        """Switch on these; which folder is to be opened has to be typed."""
        folder = next((name for name in self.names_of(conversation) if kit_of(name) == FOLDER), "")
        names = [folder if name == FOLDER else name for name in on]
        quoted = " ".join(shlex.quote(name) for name in names if name)
        if "" not in names:
            self.switch(conversation, quoted or "off")
        else:
            self._desk.composer.put_back(f"/tools {quoted} {FOLDER} ".replace("  ", " "))
            self._desk.notify("Which folder may the model read? Write it behind the command.")

    # A turn

    async def in_turn(self, conversation: Conversation, stopped: asyncio.Event) -> "TurnTools | None":
        """What the next turn of a conversation may use; None where nothing is switched on, and as soon as the turn is
        `stopped`: a server may take long to get ready."""
        self._turn = None
        if (tools := await self._opened(conversation.id)) is None:
            return None
        if not await unless(stopped, tools.prepare(conversation.messages)):
            return None
        troubles = {f"{kit.name} can't be used: {kit.trouble}" for kit in tools.kits if kit.trouble}
        for trouble in sorted(troubles - self._said):
            await self._desk.notice(sentence(trouble), "warning")
        self._said = troubles
        from app.chat.loop import TurnTools

        self._turn = TurnTools(tools.toolbox, tools.approve, self._most_calls)
        return self._turn

    async def _opened(self, conversation: str) -> "SwitchedOn | None":
        """The kits of what is switched on in a conversation; None where nothing is. Those of another one end."""
        names = self.names_of(conversation)
        if self._open is not None and self._open[:2] != (conversation, names):
            await self._end()
        if not names:
            return None
        if self._open is None:
            from app.tools.kits import kits_of
            from app.tools.switched_on import SwitchedOn

            tools = SwitchedOn(kits_of(names, conversation), self._permissions, self._ask_in_turn, self._remember)
            self._open = conversation, names, tools
        return self._open[2]

    def instructions(self, own: str | None) -> str | None:
        """The developer message of the turn: the conversation's own instructions, and what holds of its tools."""
        return own if self._open is None else self._open[2].instructions(own)

    def declare(self, request: Request) -> Request:
        """A request about the conversation of the last turn, with the tools that this had: what the model reads before
        the first message is then the same, and in the KV cache."""
        if self._open is None:
            return request
        request = replace(request, instructions=self.instructions(request.instructions))
        return self._open[2].toolbox.request(request)

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

    async def undo(self, conversation: str) -> bool:
        """Put back what the last patch of a conversation has replaced; false if there is none to undo."""
        if (tools := await self._opened(conversation)) is None:
            return False
        from app.tools.kit import Undoing

        files = next((kit for kit in tools.kits if isinstance(kit, Undoing)), None)
        if files is None or not await asyncio.to_thread(lambda: files.has_changed):
            return False
        try:
            self._desk.notify(await asyncio.to_thread(files.undo))
        except GptossError as error:
            self._desk.notify(sentence(str(error)), severity="error")
        return True

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

    async def ask(self, call: "ToolCall", wish: "Wish", shown: Callable[[], Awaitable[None]] | None = None) -> Verdict:
        """Ask the person about a call, once no other question stands; `shown` is called when it is in sight."""
        if len(wish.shown) > MOST_SHOWN:
            self._desk.warn(f"A call of {call.name} was refused: {TOO_LONG}.")
            return Verdict(allowed=False, reason=TOO_LONG)
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        async with self._one_question:
            try:
                await self._desk.approval.ask(call, wish)
                self._question = answer, wish, monotonic()
                if shown is not None:
                    await shown()
                return await answer
            finally:
                self._question = None
                self._desk.unsay(QUESTION_WAITS)
                await self._desk.approval.hide()

    async def _ask_in_turn(self, call: "ToolCall", wish: "Wish") -> Verdict:
        try:
            return await self.ask(call, wish, partial(self.asks, call.name))
        finally:
            self.answered()


async def unless(stopped: asyncio.Event, work: Coroutine[object, object, None]) -> bool:
    """Whether the work was done; it is given up as soon as `stopped` is set."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.done() and working.result() is None
    finally:
        working.cancel()
        stopping.cancel()


async def _nobody(tool: str) -> None:
    """Before the first turn nobody is asked."""
