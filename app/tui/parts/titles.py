"""Has the model name a conversation after its first answer, while the person reads."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from app.chat.conversation import Conversation
from app.chat.titles import ask_title, title_request, wants_title
from app.tui.parts.engine import EngineKeeper
from app.tui.parts.preferences import Preferences
from app.tui.parts.tools import Tools
from mlx_model.errors import GptossError

DEMO = "demo"
"""The model that can't name a conversation."""


class Titles:
    """One title at a time. `rename` gives a conversation another title and saves it."""

    def __init__(
        self,
        engine: EngineKeeper,
        preferences: Preferences,
        tools: Tools,
        rename: Callable[[Conversation, str], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._preferences = preferences
        self._tools = tools
        self._rename = rename
        self._writing: asyncio.Task[None] | None = None

    def begin(self, conversation: Conversation) -> None:
        """Ask for a title, if the conversation wants one and the person wants it from the model."""
        ready = self._engine.process.alive and not self._engine.leaving and self._engine.model != DEMO
        if ready and self._preferences.titles == "model" and wants_title(conversation):
            self._writing = asyncio.create_task(self._write(conversation))

    async def stop(self) -> None:
        """End the asking at once: a prompt comes, or another conversation."""
        if (writing := self._writing) is not None:
            self._writing = None
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing

    async def _write(self, conversation: Conversation) -> None:
        instructions = self._preferences.instructions_of(conversation.id)
        request = self._tools.declare(title_request(conversation, self._preferences.options, instructions))
        with contextlib.suppress(GptossError):  # the first words stay; a death of the engine is reported elsewhere
            title = await ask_title(self._engine.process, request)
            if title and wants_title(conversation):  # the person may have renamed it meanwhile
                await self._rename(conversation, title)
