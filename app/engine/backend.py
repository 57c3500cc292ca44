"""What the engine process runs: a model and its session behind three calls, so that tests can script one."""

import gc
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from app.engine.protocol import Load, Loading, LoadProgress, Ready
from mlx_model.distributed.hosts import plain
from mlx_model.errors import RequestError
from mlx_model.events import Event, Finished, MessageEnd
from mlx_model.harmony.message import Message, Role
from mlx_model.request import Request

if TYPE_CHECKING:
    from mlx_model.generation.session import Session
    from mlx_model.model import Model


PROGRESS_S = 0.25
"""Seconds between two reports on a load: more often they can't be read."""


class Backend(Protocol):
    """Anything that loads a model and streams answers. `load`, `stream` and `count` may raise GptossError."""

    def load(self, load: Load, announce: Callable[[Loading | LoadProgress], None]) -> Ready:
        """Load a model; `announce` is called once its name is known, and then now and then with how far it is."""
        ...

    def stream(
        self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
    ) -> Iterator[Event | None]:
        """The events of one answer; ends early with Finished("cancelled") once `cancelled()` is true.

        Once `answer_now()` is true, a thought ends and the final message begins. None is where others may be read:
        answers that are read in turn, each up to its next None, are computed together.
        """
        ...

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text. Called in any thread, whatever else is under way."""
        ...

    def settle(self) -> Generator[object, None, None]:
        """Prepare for the request that is likely to come next, in short steps that are taken while none waits."""
        ...


class ModelBackend:
    """One Model and the Session that keeps its KV caches. MLX is imported on the first load."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._loaded: Load | None = None
        self._session: Session | None = None
        self._answered: tuple[Request, list[Message]] | None = None

    def load(self, load: Load, announce: Callable[[Loading | LoadProgress], None]) -> Ready:
        """See Backend. The previous model is released first: two of them may not fit into memory."""
        from mlx_model.hub import names as hub

        chosen = hub.default_model() if load.model is None else load.model
        announce(Loading(chosen, default=load.model is None))
        if load.hosts and load.adapter is not None:
            raise RequestError("a model over several computers takes no adapter: leave out --adapter, or --with")
        bare = replace(load, model=chosen, adapter=None)
        if self._model is not None and bare == self._loaded and self._model.changes_to(load.adapter):
            self._model = self._model.with_adapter(load.adapter)
            self._session = self._answered = None  # what is in its KV caches comes of the other weights
            return _ready(self._model, load.hosts)
        self._model = self._session = self._answered = self._loaded = None
        gc.collect()
        due = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal due
            if monotonic() >= due:
                due = monotonic() + PROGRESS_S
                announce(LoadProgress(done, total))

        self._model = _load(load, chosen, progress, lambda done, total: announce(LoadProgress(done, total, True)))
        self._loaded = bare
        return _ready(self._model, load.hosts)

    def stream(
        self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
    ) -> Iterator[Event | None]:
        """See Backend. One session answers all requests of a model."""
        from mlx_model.generation.session import Session

        if self._model is None:
            raise RequestError("no model is loaded yet")
        if self._session is None:
            self._session = Session(self._model)
        self._answered = None
        answer: list[Message] = []
        for event in self._session.steps(request, cancelled, answer_now=answer_now):
            match event:
                case MessageEnd(message) if message.role is Role.ASSISTANT:
                    answer.append(message)
                case Finished("stop"):
                    self._answered = request, answer
            yield event

    def count(self, texts: Sequence[str]) -> list[int]:
        """See Backend."""
        model = self._model
        if model is None or model.tokenizer is None:
            raise RequestError("no model with a tokenizer is loaded yet")
        return [len(model.tokenizer.encode(text)) for text in texts]

    def settle(self) -> Generator[object, None, None]:
        """See Backend. Brings the last answer into the KV cache as the next turn's prompt will have it."""
        answered, self._answered = self._answered, None
        if self._session is not None and answered is not None:
            yield from self._session.settle(*answered)


def _load(
    load: Load, name: str, progress: Callable[[int, int], None], preparing: Callable[[int, int], None]
) -> "Model":
    if load.hosts:
        from mlx_model.distributed.load import load_across

        return load_across(
            name,
            load.hosts,
            dense_bits=load.dense_bits,
            map=load.map,
            memory=load.memory,
            progress=progress,
            preparing=preparing,
        )
    from mlx_model.model import load as load_here

    return load_here(
        name,
        dense_bits=load.dense_bits,
        map=load.map,
        memory=load.memory,
        adapter=load.adapter,
        experts=load.experts,
        progress=progress,
        preparing=preparing,
    )


def _ready(model: "Model", hosts: Sequence[str] = ()) -> Ready:
    sizes = (model.context_length, model.resident_bytes, model.plan.budget)
    refusal, parallel, names = model.residence.refusal, model.plan.parallel, tuple(map(plain, hosts))
    note = "; ".join(filter(None, (model.doubt, model.kernels.unkept)))
    ready = Ready(model.name, *sizes, model.load_s, refusal, note, model.adapter, parallel, hosts=names)
    if not model.plan.streamed_layers:
        return ready
    return replace(ready, slots=model.plan.slots, experts=model.config.num_local_experts)
