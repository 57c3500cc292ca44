"""The tools of the plain chat: switched on for a conversation, on an event loop that stays between its turns."""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING

from app.chat.loop import TurnTools
from app.cli.approval import ask_person
from app.engine.local import drive
from app.paths import work_folder

if TYPE_CHECKING:
    from app.tools.switched_on import SwitchedOn


class PlainTools:
    """Which tools are on. What they start belongs to one conversation and ends with it."""

    def __init__(self, permissions: Mapping[str, str]) -> None:
        self.names: tuple[str, ...] = ()
        """Those that are switched on."""
        self._permissions = permissions
        self._loop = asyncio.Runner()
        self._open: SwitchedOn | None = None

    def switch(self, names: tuple[str, ...]) -> None:
        """Let the model call these, and no others."""
        if names != self.names:
            self.leave()
            self.names = names

    def in_turn(self, conversation: str) -> TurnTools | None:
        """What the next turn of this conversation may use; None where nothing is switched on."""
        if not self.names:
            return None
        if self._open is None:
            from app.tools.switched_on import SwitchedOn  # only now: most chats need none of it

            self._open = SwitchedOn(self.names, work_folder(conversation), self._permissions, ask_person)
        return TurnTools(self._open.toolbox, self._open.approve)

    async def instructions(self, own: str | None) -> str | None:
        """The developer message of the next turn: the chat's own instructions, and what is to be said of the tools."""
        return own if self._open is None else await self._open.instructions(own)

    def drive(self, client: Coroutine[object, object, None]) -> None:
        """Run a turn: on the event loop where tools need one, else as `engine.local.drive`."""
        if self.names:
            self._loop.run(client)
        else:
            drive(client)

    def leave(self) -> None:
        """The conversation ends, or its tools are switched off: end what they have started."""
        if self._open is not None:
            tools, self._open = self._open, None
            self._loop.run(tools.close())

    def close(self) -> None:
        """End everything."""
        with contextlib.closing(self._loop):
            self.leave()
