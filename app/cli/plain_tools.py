"""The tools of the plain chat: switched on for a conversation, on an event loop that stays between its turns."""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from app.chat.conversation import Conversation
from app.chat.loop import TurnTools
from app.cli.approval import ask_person, remember
from app.cli.printing import say
from app.engine.local import drive
from app.settings import MOST_CALLS
from app.tools.switched_on import SwitchedOn

T = TypeVar("T")


class PlainTools:
    """Which tools are on. What they start belongs to one conversation and ends with it."""

    def __init__(
        self, permissions: Mapping[str, str], most_calls: int = MOST_CALLS, *, always_loops: bool = False
    ) -> None:
        """`always_loops`: a turn needs the event loop also without tools, as that of a server does."""
        self._always_loops = always_loops
        self.names: tuple[str, ...] = ()
        """Those that are switched on."""
        self._permissions = permissions
        self._most_calls = most_calls
        self._loop = asyncio.Runner()
        self._open: SwitchedOn | None = None

    def switch(self, names: tuple[str, ...]) -> None:
        """Let the model call these, and no others."""
        if names != self.names:
            self.leave()
            self.names = names

    def in_turn(self, conversation: Conversation) -> TurnTools | None:
        """What the next turn of this conversation may use; None where nothing is switched on."""
        if not self.names:
            return None
        if self._open is None:
            from app.tools.kits import kits_of  # only now: most chats need none of it

            kits = kits_of(self.names, conversation.id)
            self._open = SwitchedOn(kits, self._permissions, ask_person, remember)
        self._loop.run(self._open.prepare(conversation.messages))
        for kit in self._open.kits:
            if kit.trouble:
                say(f"{kit.name} can't be used: {kit.trouble}")
        return TurnTools(self._open.toolbox, self._open.approve, self._most_calls)

    def instructions(self, own: str | None) -> str | None:
        """The developer message of the next turn: the chat's own instructions, and what is to be said of the tools."""
        return own if self._open is None else self._open.instructions(own)

    def drive(self, client: Coroutine[Any, Any, T], *, loops: bool = False) -> T:
        """Run what talks to the engine: on the event loop where something needs one, it itself if it `loops`, else as
        `engine.local.drive`."""
        return self._loop.run(client) if self.names or self._always_loops or loops else drive(client)

    def leave(self) -> None:
        """The conversation ends, or its tools are switched off: end what they have started."""
        if self._open is not None:
            tools, self._open = self._open, None
            self._loop.run(tools.close())

    def close(self) -> None:
        """End everything."""
        with contextlib.closing(self._loop):
            self.leave()
