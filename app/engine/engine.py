"""What a chat needs of an engine, wherever it runs, and the two ways in which one fails."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

from app.engine.protocol import Answer, Load, Loading, LoadProgress, Ready
from mlx_model.errors import GptossError
from mlx_model.request import Request


class EngineError(GptossError):
    """The engine declined or failed, and still runs. `unusable`: the request itself was at fault; `too_long`: by its
    length; `about`: what of it, as RequestError says it."""

    def __init__(self, text: str, unusable: bool = False, too_long: bool = False, about: str = "") -> None:
        super().__init__(text)
        self.unusable = unusable
        self.too_long = too_long
        self.about = about


class EngineDied(GptossError):
    """The engine process is gone. `last_lines` is what it last wrote to standard error; `memory` is true if it probably
    needed more memory than there was."""

    def __init__(self, what: str, last_lines: Sequence[str] = (), *, memory: bool = False) -> None:
        super().__init__(what)
        self.last_lines = tuple(last_lines)
        self.memory = memory


class Engine(Protocol):
    """What a chat needs of an engine: EngineClient runs it in a process of its own, local.LocalEngine in this one,
    app.remote.engine.RemoteEngine reaches that of another computer."""

    @property
    def alive(self) -> bool:
        """Whether it runs and can be asked."""
        ...

    @property
    def context_length(self) -> int:
        """The most tokens that a prompt and its answer may have together with the loaded model; 0 without one."""
        ...

    def load(self, request: Load) -> AsyncIterator[Loading | LoadProgress | Ready]:
        """Start the engine if it doesn't run, and load a model. Raises EngineError or EngineDied."""
        ...

    def ask(self, request: Request) -> AsyncGenerator[Answer, None]:
        """The events of one answer, up to Finished; closing it cancels the answer. Several may be asked for at once.
        Raises EngineError or EngineDied."""
        ...

    async def cancel(self) -> None:
        """Ask the answers under way to end; an engine that doesn't react is killed."""
        ...

    async def answer_now(self) -> None:
        """Ask the answers under way to end their thoughts, now or where they are yet to come, and to begin their final
        messages. Raises EngineError where that is not possible, and EngineDied."""
        ...

    async def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text in the loaded model's vocabulary. Raises EngineError without a model, EngineDied."""
        ...

    async def died(self) -> EngineDied:
        """Wait until the process has ended, however that came about."""
        ...

    async def close(self) -> None:
        """End the process."""
        ...


class ServedEngine(Engine, Protocol):
    """An engine that several ask at once."""

    def share(self) -> Engine:
        """The same engine for one of them: `cancel` and `answer_now` concern the answers that were asked for there."""
        ...
