"""An engine process with a scripted backend: what it does depends on the text it is asked.

Run by path, so that the client's tests exercise the real worker, pipes and threads without a model.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

from app.engine.protocol import Ask, Load, Loading, Ready
from app.engine.worker import serve
from mlx_model.errors import CheckpointError, ContextError
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, PrefillProgress, Stats, TextDelta
from mlx_model.harmony.message import assistant


class ScriptedBackend:
    """Answers with the prompt itself, unless the prompt is one of the words below."""

    def load(self, wanted: Load, announce: Callable[[Loading], None]) -> Ready:
        name = wanted.model
        announce(Loading(name or "scripted", default=name is None))
        if name == "missing":
            raise CheckpointError("there is no checkpoint called missing")
        if name == "bug":
            raise RuntimeError("[metal::malloc] out of memory")
        if name == "exit":
            print("libmetal: something is wrong", file=sys.stderr, flush=True)
            os._exit(3)
        return Ready(name or "scripted", context_length=4096, resident_bytes=1 << 20, budget_bytes=1 << 30, load_s=0.5)

    def stream(self, ask: Ask, cancelled: Callable[[], bool]) -> Iterator[Event]:
        text = ask.messages[-1].text
        match text:
            case "too long":
                raise ContextError("the prompt has 9,999 tokens, the context 4,096")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600)
            case "noise":
                print("this goes to standard output")
                os.system("echo so does a child")
        yield PrefillProgress(3, 3)
        yield MessageStart("final")
        said = ""
        if text == "forever":
            while not cancelled():
                said += "on "
                yield TextDelta("final", "on ")
                time.sleep(0.002)
        else:
            said = f"{ask.instructions or ''}{text}"
            yield TextDelta("final", said)
        if text == "partial":
            time.sleep(3600)
        yield MessageEnd(assistant(said))
        yield Finished("cancelled" if cancelled() else "stop", Stats(prefill_tokens=3, decode_tokens=2))


if __name__ == "__main__":
    serve(ScriptedBackend())
