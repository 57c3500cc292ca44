"""A download in the background of the chat: what it means beforehand, and a thread that fetches and can be paused."""

from collections.abc import Callable
from dataclasses import replace
from threading import Event, Lock, Thread
from typing import ParamSpec

from app.tui.text.computer import ModelFacts
from app.tui.text.download_offer import DownloadOffer
from mlx_model.errors import GptossError
from mlx_model.hub.download import fetch, prepare, repository_of
from mlx_model.hub.environment import cache_folder, free_space, missing_disk
from mlx_model.hub.inventory import local_models
from mlx_model.hub.meter import Meter
from mlx_model.hub.progress import ACTIVE, DownloadState, Phase
from mlx_model.hub.published import SIZES

Arguments = ParamSpec("Arguments")


def offer_of(model: ModelFacts, *, is_demo: bool) -> DownloadOffer | None:
    """What the download of this model means, of which little but the name may be known; None where it can't begin.

    The Hub is asked only about a model whose size isn't known. `is_demo`: the demo answers meanwhile. Raises NoModel
    and GptossError.
    """
    repository = repository_of(model.name)
    if missing_disk() is not None:
        return None
    if repository.short in SIZES:
        here = next((each for each in local_models() if each.name == repository.short), None)
        present = here.size if here else 0
        size = present if here and here.complete else SIZES[repository.short]
    else:
        plan = prepare(model.name)
        size, present = plan.total, plan.present
    folder = cache_folder()
    return DownloadOffer(replace(model, size=size, present=present), free_space(folder), str(folder), is_demo)


class Download:
    """Fetches one model, by its name on the Hub, in a thread of its own. Its methods return at once.

    The thread is a daemon: it may be waiting for the network when the program ends, and what it has written is as good
    as after kill -9.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._meter = Meter()
        self._lock = Lock()
        self._cancel = Event()
        self._thread: Thread | None = None

    @property
    def state(self) -> DownloadState:
        """How far it is now."""
        with self._lock:
            return self._meter.read()

    @property
    def active(self) -> bool:
        """Whether it is on its way: not paused, not failed, not done."""
        return self._thread is not None and self.state.phase in ACTIVE

    def start(self) -> None:
        """Begin, or go on where it was, unless it is on its way."""
        if self.active:
            return
        before, self._cancel = self._thread, Event()
        with self._lock:
            self._meter.begin()
        self._thread = Thread(target=self._run, args=(self._cancel, before), name="download", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop if it is on its way; what was fetched is kept, and `start` goes on."""
        with self._lock:
            if self._meter.read().phase in ACTIVE:
                self._cancel.set()
                self._meter.end(Phase.PAUSED)

    def _run(self, cancel: Event, before: Thread | None) -> None:
        if before is not None:
            before.join()
        try:
            plan = prepare(self.name)
            self._note(cancel, self._meter.plan, plan)
            for event in fetch(plan, cancel):
                self._note(cancel, self._meter.take, event)
        except GptossError as error:
            self._note(cancel, self._meter.end, Phase.FAILED, str(error))
        except Exception as error:  # not foreseen; a thread that ended without a word would look like a slow one
            text = f"unexpected {type(error).__name__}: {error}. This is a bug; please report it"
            self._note(cancel, self._meter.end, Phase.FAILED, text)

    def _note(
        self,
        cancel: Event,
        change: Callable[Arguments, None],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> None:
        """Change the meter, unless the download was paused meanwhile."""
        with self._lock:
            if not cancel.is_set():
                change(*arguments, **keywords)
