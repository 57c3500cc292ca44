"""One request of a chat at the server: its answer in the engine's protocol, and how many requests come before it."""

from collections.abc import AsyncIterator

from app.engine.protocol import Answer, Failed
from app.server.answering import Work
from app.server.declared import Declared
from app.server.errors import ApiError
from app.server.exchange import Service
from mlx_model.events import Finished, Queued
from mlx_model.request import Request

_LOOK_S = 1.0
"""How often the place in the line is looked at."""


class Asked:
    """One request of a chat. Raises ApiError if it can't stand in line."""

    def __init__(self, service: Service, number: int, request: Request) -> None:
        self._service = service
        self._number = number
        self.run = service.line.join(Work(request, Declared(), service.own))
        self._is_hurried = self._has_begun = False

    async def answer_now(self) -> None:
        """Ends the thought, or, of an answer that waits in line, the one that is yet to come."""
        self._is_hurried = True
        if self._has_begun:
            await self.run.engine.answer_now()

    async def replies(self) -> AsyncIterator[Answer | Failed | None]:
        """What comes, up to Finished or Failed; None now and then where nothing has to be said."""
        service, place = self._service, 0
        try:
            if place := self.run.place:
                yield self._answer(Queued(place))
            async for event in self.run.events(min(service.pulse_s, _LOOK_S)):
                if isinstance(event, Answer):
                    if isinstance(event.event, Finished):
                        service.metrics.add(event.event.stats)
                    else:  # one that was cancelled in line has never been the engine's
                        await self._begin()
                    yield Answer(self._number, event.event, event.deltas)
                elif self.run.place in (0, place):
                    yield None
                else:
                    place = self.run.place
                    yield self._answer(Queued(place))
        except ApiError as error:
            yield failed_reply(error, self._number)

    def _answer(self, event: Queued) -> Answer:
        return Answer(self._number, event)

    async def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            if self._is_hurried:
                await self.run.engine.answer_now()


def failed_reply(error: ApiError, number: int | None) -> Failed:
    """An error as the engine's protocol says it."""
    too_long = error.code == "context_length_exceeded"
    return Failed(str(error), number, too_long or error.status == 400, too_long, error.about)
