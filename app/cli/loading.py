"""Loads a model for `ask`, the plain chat and `serve`, and says what of it is not as expected."""

import sys

from app.cli.printing import TerminalLine, say
from app.engine.engine import Engine
from app.engine.local import LocalEngine
from app.engine.protocol import Load, Loading, LoadProgress, Ready
from mlx_model.hub.environment import missing_disk
from mlx_model.hub.inventory import unverified
from mlx_model.hub.names import Repository
from mlx_model.hub.published import DEFAULT, DEMO, KNOWN

_DOWNLOAD = f"gptoss-chat download {DEFAULT}"


class PreparingLine:
    """How far the kernels are prepared, in a terminal's line of standard error that is gone at the end."""

    def __init__(self) -> None:
        self._line = TerminalLine(sys.stderr)

    def hear(self, reply: Loading | LoadProgress | Ready) -> None:
        """Show how far the kernels are; whatever else a load says takes the line away."""
        if isinstance(reply, LoadProgress) and reply.kernels:
            self.show(reply.done, reply.total)
        else:
            self.end()

    def show(self, done: int, total: int) -> None:
        """So many pieces of work for the kernels are done, and the next is under way."""
        self._line.show(preparing(done, total))

    def end(self) -> None:
        """Take the line away, if there is one."""
        self._line.end()


def preparing(done: int, total: int) -> str:
    """What is said while kernels are prepared: that so many pieces of the work are done, and the next is under way."""
    return "preparing the kernels" + (f": {done + 1} of {total}" if total > 1 else "")


async def load_model(engine: Engine, load: Load) -> Ready:
    """Load a model, and say on standard error what of it is not as expected. Raises EngineError or EngineDied."""
    line = PreparingLine()
    if is_here := isinstance(engine, LocalEngine):
        engine.progress = line.hear
    try:
        async for reply in engine.load(load):
            line.hear(reply)
            say_what_is_odd(reply, load)
            if isinstance(reply, Ready) and reply.note and not is_here:
                say(reply.note)  # in this process the model has logged it
    finally:
        line.end()
    assert isinstance(reply, Ready)
    return reply


async def load_there(engine: Engine, load: Load) -> Ready:
    """Connect to a server, and say on standard error what it can't do. Raises EngineError or EngineDied."""
    async for reply in engine.load(load):
        if isinstance(reply, Ready) and reply.note:
            say(reply.note)
    assert isinstance(reply, Ready)
    return reply


def say_what_is_odd(reply: Loading | LoadProgress | Ready, load: Load) -> None:
    """Say on standard error what of a load is not as expected."""
    match reply:
        case Loading(model=model, default=True) if model == DEMO:
            say_that_the_demo("answers")
        case Ready(model=model, not_mapped=not_mapped):
            if not_mapped is not None and load.map == "on":
                say(f"the weights are copied, not mapped: {not_mapped}")
            if (line := unverified(model)) is not None:
                say(line)


def say_that_the_demo(does: str) -> None:
    """Say on standard error what the demo model does in place of gpt-oss-20b though nobody asked for it, and why."""
    say(f"the small demo model {does}, because {DEFAULT} {_what_is_missing()}; get it with: {_DOWNLOAD}")


def _what_is_missing() -> str:
    if missing_disk() is not None:
        return "is on a disk that is not connected, if it was downloaded"
    if Repository(KNOWN[DEFAULT]).snapshot() is None:
        return "is not downloaded yet (13.8 GB)"
    return "is not complete and verified yet"
