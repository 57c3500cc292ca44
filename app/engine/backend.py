"""What the engine process runs: a model and its session behind two calls, so that tests can script one."""

import gc
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from app.engine.protocol import Load, Loading, Ready
from mlx_model.errors import RequestError
from mlx_model.events import Event
from mlx_model.request import Request

if TYPE_CHECKING:
    from mlx_model.generation.session import Session
    from mlx_model.model import Model


class Backend(Protocol):
    """Anything that loads a model and streams answers. Both calls may raise GptossError."""

    def load(self, wanted: Load, announce: Callable[[Loading], None]) -> Ready:
        """Load a model; `announce` is called once its name is known."""
        ...

    def stream(self, request: Request, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """The events of one answer; ends early with Finished("cancelled") once `cancelled()` is true."""
        ...


class ModelBackend:
    """One Model and the Session that keeps its prompt cache. MLX is imported on the first load."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._session: Session | None = None

    def load(self, wanted: Load, announce: Callable[[Loading], None]) -> Ready:
        """See Backend. The model of before is let go first: two of them may not fit into memory."""
        from mlx_model.hub import names as hub

        chosen = hub.default_model() if wanted.model is None else wanted.model
        announce(Loading(chosen, default=wanted.model is None))
        self._model = self._session = None
        gc.collect()
        from mlx_model.model import load

        model = self._model = load(chosen, dense_bits=wanted.dense_bits, map=wanted.map, memory=wanted.memory)
        sizes = (model.context_length, model.resident_bytes, model.plan.budget)
        return Ready(model.name, *sizes, model.load_s, model.residence.refusal)

    def stream(self, request: Request, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """See Backend. One session answers all requests of a model."""
        from mlx_model.generation.session import Session

        if self._model is None:
            raise RequestError("no model is loaded yet")
        if self._session is None:
            self._session = Session(self._model)
        yield from self._session.stream(request, cancelled)
