"""--server: the chat's model answers other programs as well, from a process that listens on this computer alone."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from app.engine.client import EngineClient
from app.engine.engine import EngineDied
from app.engine.protocol import Answer, Load, Loading, LoadProgress, Ready
from app.server.listening import check_installed, listen
from mlx_model.request import Request

# -P as for the engine's process.
SERVER = (sys.executable, "-P", "-m", "app.server.beside")
_HOST = "127.0.0.1"
_CANCEL_S = 75.0
"""How long a cancelled answer may go on; the server ends its own engine after 60 seconds."""


class SharedEngine(EngineClient):
    """See Engine. Its process is a server, which other programs ask as well; the model is in a process of that one.

    The socket is this process' own: a port that is taken is known before the first screen, and who connects while the
    server is started anew waits. No signal of the terminal reaches the server, so it goes on while the chat is stopped.
    """

    def __init__(self, port: int) -> None:
        """Raises RequestError where it can't listen at the port; 0 is any that is free."""
        check_installed()
        self._listener = listen(_HOST, port)
        descriptor = self._listener.fileno()
        super().__init__((*SERVER, str(descriptor)), cancel_grace_s=_CANCEL_S, pass_fds=(descriptor,), own_session=True)
        self.url = f"http://{_HOST}:{self._listener.getsockname()[1]}/v1"
        """What other programs are to be given."""
        self._load = Load()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def load(self, request: Load) -> AsyncIterator[Loading | LoadProgress | Ready]:
        """See Engine."""
        self._load, self._loop = request, asyncio.get_running_loop()
        async for reply in super().load(request):
            yield reply

    async def ask(self, request: Request) -> AsyncGenerator[Answer, None]:
        """See Engine. A server that ended meanwhile is started again: the plain chat hears of it only now."""
        for is_last_try in (False, True):
            if not self.alive:
                async for _ in super().load(self._load):
                    pass
            has_begun = False
            try:
                async with contextlib.aclosing(super().ask(request)) as answers:
                    async for answer in answers:
                        has_begun = True
                        yield answer
                return
            except EngineDied:
                if has_begun or is_last_try:
                    raise

    def death_of(self, returncode: int, last_lines: Sequence[str]) -> EngineDied:
        """See EngineClient. The memory is in a process of the server's own."""
        death = super().death_of(returncode, last_lines)
        return EngineDied("the server was killed", last_lines) if death.memory else death

    def stop(self) -> None:
        """Ask the running answer to end. Returns at once, and may be called in a signal handler."""
        if (loop := self._loop) is not None:
            loop.call_soon_threadsafe(lambda: loop.create_task(self.cancel()))

    async def close(self) -> None:
        """See Engine. Nobody listens any more."""
        await super().close()
        self._listener.close()
