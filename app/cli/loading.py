"""Loads a model in this process, for `ask` and the plain chat."""

from app.cli.printing import say
from app.engine.engine import Engine
from app.engine.protocol import Load, Loading, Ready
from mlx_model.hub.environment import missing_disk
from mlx_model.hub.inventory import unverified
from mlx_model.hub.names import DEFAULT, DEMO, KNOWN, Repository

_DOWNLOAD = f"gptoss-chat download {DEFAULT}"


async def load_model(engine: Engine, load: Load) -> Ready:
    """Load a model, and say on standard error what of it is not as expected. Raises EngineError."""
    async for reply in engine.load(load):
        match reply:
            case Loading(model=model, default=True) if model == DEMO:
                say(f"the small demo model answers, because {DEFAULT} {_what_is_missing()}; get it with: {_DOWNLOAD}")
            case Ready(not_mapped=str(reason)) if load.map == "on":
                say(f"the weights are copied, not mapped: {reason}")
    assert isinstance(reply, Ready)
    if (line := unverified(reply.model)) is not None:
        say(line)
    return reply


def _what_is_missing() -> str:
    if missing_disk() is not None:
        return "is on a disk that is not connected, if it was downloaded"
    if Repository(KNOWN[DEFAULT]).snapshot() is None:
        return "is not downloaded yet (13.8 GB)"
    return "is not complete and verified yet"
