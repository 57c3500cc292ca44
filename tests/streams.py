"""Recorded answers for the benchmark of the screen, and an engine process that replays them at a fixed speed.

Run by path as an engine: what it is asked is the name of a stream, and a number of answers to repeat it in.
"""

import time
from collections.abc import Callable, Iterator

from app.engine.protocol import Ask, Load, Loading, Ready
from app.engine.worker import serve
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, PrefillProgress, Stats, TextDelta
from mlx_model.harmony.message import assistant

TOKENS_S = 100
"""Faster than gpt-oss-20b runs on most Macs."""

_CHARACTERS = 4  # a token, about

STREAMS = {
    "prose": "\n\n".join(
        f"## Part {part}\n\n" + "Some words of prose, with **bold**, *emphasis* and `code`, as answers have it. " * 6
        for part in range(10)
    ),
    "300-row list": "".join(f"- item {row} has **some** words\n" for row in range(300)),
    "200-row table": "| row | value | words |\n|---|---|---|\n"
    + "".join(f"| {row} | {row * row} | and `text` |\n" for row in range(200)),
    "400-line code": "```python\n" + "".join(f"x{row} = f({row})  # {row}\n" for row in range(400)) + "```\n",
}

EARLIER = "# An answer\n\nWith **some** prose of a few lines' length.\n\n- a\n- list\n\n```python\nprint(1)\n```\n" * 2
"""What the forty answers before it look like; asked for by any other text."""


def pieces(text: str) -> list[str]:
    """The text in tokens."""
    return [text[start : start + _CHARACTERS] for start in range(0, len(text), _CHARACTERS)]


class Replay:
    """A backend that answers with a stream of that name, at TOKENS_S, and with EARLIER at once to anything else."""

    def load(self, wanted: Load, announce: Callable[[Loading], None]) -> Ready:
        """Nothing to load."""
        return Ready(wanted.model or "replay", context_length=131072, resident_bytes=0, budget_bytes=0, load_s=0.0)

    def stream(self, ask: Ask, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """One answer; its statistics say how fast it could be sent."""
        name = ask.messages[-1].text
        text = STREAMS.get(name, EARLIER)
        yield PrefillProgress(1, 1)
        yield MessageStart("final")
        start = time.perf_counter()
        tokens = pieces(text)
        for number, piece in enumerate(tokens, 1):
            yield TextDelta("final", piece)
            if name in STREAMS:
                time.sleep(max(0.0, start + number / TOKENS_S - time.perf_counter()))
        yield MessageEnd(assistant(text))
        spent = time.perf_counter() - start
        yield Finished("cancelled" if cancelled() else "stop", Stats(decode_tokens=len(tokens), decode_s=spent))


if __name__ == "__main__":
    serve(Replay())
