"""What the person sends: command lines are carried out, prompts asked, in the order in which they were sent."""

import asyncio
from collections.abc import Awaitable, Callable

from app.chat.commands import Command, CommandLine, no_argument, parse, unknown
from app.tui.parts.conversation import ConversationKeeper
from app.tui.parts.desk import Desk
from app.tui.parts.engine import EngineKeeper
from app.tui.widgets.composer import Composer


class Submitting:
    """`run` carries out an action, `must_wait` says whether a command can't be used now. While another conversation
    `is_opening`, what is sent waits until it is there: `opened`."""

    def __init__(
        self,
        desk: Desk,
        engine: EngineKeeper,
        conversations: ConversationKeeper,
        *,
        run: Callable[[str], Awaitable[bool]],
        must_wait: Callable[[Command, str], bool],
        is_opening: Callable[[], bool],
        opened: Callable[[], Awaitable[None]],
    ) -> None:
        self._desk = desk
        self._engine = engine
        self._conversations = conversations
        self._run = run
        self._must_wait = must_wait
        self._is_opening = is_opening
        self._opened = opened
        self._waiting = 0
        self._in_order = asyncio.Lock()

    async def take(self, submission: Composer.Submitted) -> None:
        """A command or a prompt. What is sent behind /new waits for the new chat."""
        self._desk.toast.on_sent()
        if self._waiting or self._is_opening():
            self._waiting += 1
            self._desk.run(self._take_later(submission), group="submit")
        else:
            await self._take(submission)

    async def _take_later(self, submission: Composer.Submitted) -> None:
        async with self._in_order:
            await self._opened()
            await self._take(submission)
            self._waiting -= 1

    async def _take(self, submission: Composer.Submitted) -> None:
        if self._engine.leaving or not self._desk.composer.received(submission):
            return  # it is saved as the draft, or was withdrawn
        if not self._conversations.editing and (line := parse(submission.prompt)) is not None:
            await self._carry_out(line)
        else:
            plan = self._conversations.plan if submission.several else None
            await self._conversations.submit(submission.prompt, plan)

    async def _carry_out(self, line: CommandLine) -> None:
        """Run a command line, or say why not; Up brings it back into the input."""
        command, argument = line.command, line.argument
        if command is None:
            self._desk.warn(f"{unknown(line.name)} Up brings it back; with a space before it, it is a message.")
        elif argument and not command.takes:
            self._desk.warn(no_argument(line.name))
        elif self._must_wait(command, argument):
            self._desk.warn_busy()
        else:
            await self._run(f"{command.action}({argument!r})" if argument else command.action)
