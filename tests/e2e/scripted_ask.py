"""`gptoss-chat` with a model that says what the prompt says, or "on and " for ever if the prompt is "forever".

An answer that was cut off ends with "the end". The model goes on when it is stopped if the prompt is "deaf"; the prompt
"too long" is refused as one that is.
"""

import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import app.cli.ask
from app.cli.main import main
from mlx_model.errors import ContextError
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Stats, TextDelta
from mlx_model.harmony.message import Message, Role, assistant
from mlx_model.options import Options


class ScriptedSession:
    """Stands in for mlx_model.generation.session.Session."""

    def __init__(self, model: object, *, instructions: str | None = None) -> None:
        self.model = model
        self.instructions = instructions
        self.tokens: list[int] = []

    def stream(
        self, messages: list[Message], options: Options, cancelled: Callable[[], bool] = bool
    ) -> Iterator[Event]:
        text = messages[-1].text
        if messages[-1].role is Role.ASSISTANT:
            yield TextDelta("final", f"the {options.effort} end")
            yield MessageEnd(assistant(f"{text}the {options.effort} end"))
            yield Finished("stop", Stats(decode_tokens=3))
            return
        if text == "too long":
            raise ContextError("the prompt has too many tokens")
        yield MessageStart("analysis")
        yield TextDelta("analysis", f"{options.effort} \x1b[31mthought")
        yield MessageEnd(assistant("thought", "analysis"))
        yield MessageStart("final")
        said = ""
        while text == "deaf" or (text == "forever" and not cancelled()):
            yield TextDelta("final", "on and \n")
            said += "on and \n"
            time.sleep(0.001)
        if cancelled():
            yield MessageEnd(assistant(said))
            yield Finished("cancelled", Stats(decode_tokens=7))
            return
        said = f"{self.instructions or ''}{text}"
        yield TextDelta("final", said)
        yield MessageEnd(assistant(said))
        yield Finished("stop")


if __name__ == "__main__":
    app.ask.load = lambda name, **how: SimpleNamespace(name=name, load_s=0.0, resident_bytes=0)
    app.ask.Session = ScriptedSession
    sys.exit(main())
