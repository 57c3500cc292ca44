"""Keeps the engine running: starts it, loads the model, shows its state, and reports how it died."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Protocol
from urllib.parse import urlsplit

from app.engine.engine import Engine, EngineDied
from app.engine.protocol import Load, Loading, LoadProgress, Ready
from app.lines import sentence
from app.tui.parts.desk import Desk
from app.tui.text.progress import loading, preparing
from app.tui.widgets.status import READY
from mlx_model.errors import GptossError

LAST_LINES = 3
"""Lines of the engine's last words that are shown."""
STABLE_S = 60.0
"""For how long an engine that others use must have been ready, to be started again by itself when it ends."""
_RETRY = "A message, or /restart, tries again; /model lists the other models."
_RETRY_THERE = "A message, or /restart, tries again."


class Waits(Protocol):
    """What is on the screen for an answer that has not begun."""

    def wait(self, text: str) -> None:
        """Say what it waits for."""


class EngineKeeper:
    """Owns the engine process. `load` says which model comes first, and how; `loaded` is called with the full name of
    each that was loaded."""

    def __init__(
        self,
        desk: Desk,
        engine: Engine,
        load: Load,
        loaded: Callable[[str], None],
        server: str = "",
        shared_at: str = "",
    ) -> None:
        self._desk = desk
        self.server = server
        """The computer on which the engine is, "" for this one."""
        self.shared_at = shared_at
        """The URL at which other programs ask it, "" where they can't."""
        self._ready_at = 0.0
        self._noted = ""  # what has been said of it
        self.process = engine
        """A client of the process; in tests a stand-in."""
        self.model = ""
        """The short name of the model that is loaded."""
        self.label = ""
        """The same with its adapter, if it has one: what answers are by."""
        self.alone_tok_s = 0.0
        """Tokens a second of the last answer that this model gave alone; 0 before one."""
        self._load = load
        self._loaded = loaded
        self._opening: asyncio.Task[bool] | None = None
        self._last_death: EngineDied | None = None
        self.leaving = False

    @property
    def answers(self) -> bool:
        """Whether a model is loaded that can be asked now."""
        return self.process.alive and self._opening is not None and self._opening.done() and self._opening.result()

    async def close(self) -> None:
        """End the engine without a notice."""
        self.leaving = True
        await self.process.close()

    def open(self) -> asyncio.Task[bool]:
        """Start and load, unless that is under way or done; the task's result is whether the engine can be asked."""
        opening = self._opening
        if opening is None or (opening.done() and not self.answers):
            opening = self._opening = asyncio.create_task(self._start())
        return opening

    async def adapt(self, adapter: str | None) -> bool:
        """Load the adapter in a folder, or none, beside the present model, which may still be loading; whether it
        worked."""
        if self._opening is not None:
            await self._opening
        return await self.switch(self._load.model, adapter)

    async def switch(self, model: str | None, adapter: str | None = None) -> bool:
        """Load another model in place of the present one, which is loaded again if that fails; whether it worked.

        `adapter` is the folder of the adapter that it is to have; where the model is the same, only that is loaded.
        """
        load = replace(self._load, model=model, adapter=adapter)
        opening = self._opening = asyncio.create_task(self._switch(load, self._opening))
        return await opening and self._load == load

    async def _switch(self, load: Load, before: asyncio.Task[bool] | None) -> bool:
        usable = before is not None and await before  # one load at a time
        present, self._load = self._load, load
        if await self._start("The previous model is loaded again." if usable else ""):
            return True
        self._load = present
        return usable and await self._start()

    def restart(self) -> None:
        """Start the engine again if it has stopped."""
        before = self._opening
        if self.open() is before and self.process.alive:
            self._desk.notify("The connection holds." if self.server else "The engine is running.")

    async def opened(self, view: Waits, stopped: asyncio.Event) -> bool:
        """Wait for the model; false if it can't be loaded or `stopped` is set meanwhile. `view` shows the wait."""
        opening = self.open()
        if not opening.done():
            view.wait("waiting for the model; Esc takes the message back")
        stop = asyncio.create_task(stopped.wait())
        await asyncio.wait({opening, stop}, return_when=asyncio.FIRST_COMPLETED)
        gave_up = stopped.is_set()
        stop.cancel()
        return not gave_up and opening.result()

    async def bury(self, death: EngineDied) -> None:
        """Report once that the engine ended, and how."""
        if self.leaving or death is self._last_death:
            return
        self._last_death = death
        self._desk.status.state = "stopped"
        kept = "Your text is saved." if self._desk.status.saves else "What is on the screen is kept."
        smaller = "; at the next start --memory 10GB makes it smaller" if death.memory else ""
        last = "".join(f"\n    {line}" for line in death.last_lines[-LAST_LINES:])
        said = f"\nIt last said:{last}" if last else ""
        again = "/restart, or a message, connects again" if self.server else "/restart, or a message, starts it again"
        if self._restarts:
            again = "It is started again, since other programs use it"
        text = f"{sentence(str(death))} {kept} {again}{smaller}.{said}"
        await self._desk.notice(text, "error")

    async def _start(self, otherwise: str = "") -> bool:
        otherwise = otherwise or (_RETRY_THERE if self.server else _RETRY)
        desk, status = self._desk, self._desk.status
        status.state, began = "starting", monotonic()
        try:
            async for reply in self.process.load(self._load):
                match reply:
                    case Loading(model=model):
                        status.model, status.state = self._shown(model), "loading"
                        status.memory = status.budget = status.limit = status.slots = 0
                    case LoadProgress(done=done, total=total, kernels=True):
                        status.state, status.progress = "preparing the kernels", preparing(done, total)
                    case LoadProgress(done=done, total=total):
                        status.progress = loading(done, total, monotonic() - began)
                    case Ready() as ready:
                        # A new default may be there when it is started again; a server may have another model then.
                        if not self.server:
                            self._load = replace(self._load, model=ready.model)
                        self.model, self.alone_tok_s = _short(ready.model), 0.0
                        self.label = ready.label
                        together = " + ".join((self.label, *ready.hosts))
                        status.model, status.memory = self._shown(together), ready.resident_bytes
                        status.budget, status.limit = ready.budget_bytes, ready.context_length
                        status.slots, status.experts = ready.slots, ready.experts
                        status.state, status.progress = READY, None
                        self._ready_at = monotonic()
                        self._loaded(ready.model)
                        await self._note(ready.note)
        except EngineDied as death:
            await self.bury(death)
            return False
        except GptossError as error:
            status.state = "no model"
            why = sentence(str(error)) if self.server else f"The model could not be loaded: {error}."
            await desk.notice(f"{why} {otherwise}", "error")
            desk.attention.ended("The model could not be loaded.", monotonic() - began)
            return False
        finally:
            status.progress = None
        desk.attention.ended(f"{self.label} is ready.", monotonic() - began)
        desk.run(self._await_death(), group="death")
        return True

    def _shown(self, model: str) -> str:
        """A model as the status line names it."""
        where = self.server or (f":{urlsplit(self.shared_at).port}" if self.shared_at else "")
        return f"{_short(model)} at {where}" if where else _short(model)

    @property
    def _restarts(self) -> bool:
        """Whether an engine that ended starts again by itself. One that ends soon each time does not."""
        return bool(self.shared_at) and monotonic() - self._ready_at >= STABLE_S

    async def _note(self, text: str) -> None:
        """Say once what this engine can't do."""
        if text and text != self._noted:
            self._noted = text
            await self._desk.notice(sentence(text))

    async def _await_death(self) -> None:
        death = await self.process.died()
        restarts = self._restarts
        await self.bury(death)
        if restarts and not self.leaving:
            self.open()


def _short(model: str) -> str:
    """The last part of a path or of org/name."""
    return model.rstrip("/").rsplit("/", 1)[-1] or model
