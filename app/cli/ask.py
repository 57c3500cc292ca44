"""One answer on standard output, streamed; everything said about it goes to standard error.

`opened`, `shown` and `say` are the plain chat's too.
"""

import json
import os
import sys
from collections.abc import Iterator

from app.engine.protocol import Load
from mlx_model.events import Event, MessageEnd, PrefillProgress, TextDelta
from mlx_model.generation.answer import collect, stats_json
from mlx_model.generation.session import Session
from mlx_model.harmony.message import user
from mlx_model.hub.names import DEMO, KNOWN, Repository, default_model
from mlx_model.model import load
from mlx_model.options import Options
from mlx_model.request import Request
from mlx_model.text import clean

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


def answer(
    prompt: str,
    wanted: Load,
    options: Options,
    instructions: str | None,
    *,
    as_json: bool = False,
    show_analysis: bool = False,
) -> int:
    """Load the model, answer, print; returns 0, or 1 if it was cut off before an answer began.

    Raises GptossError, and BrokenPipeError when nobody reads on.

    Plain: the text of the final channel as it comes, without any control character but newline and tab. `as_json`: one
    ASCII object at the end, whose strings are exactly what the model wrote. `show_analysis` streams the analysis to
    standard error, dimmed on a terminal.
    """
    session = opened(wanted)
    events = session.stream(Request((user(prompt),), options, instructions))
    result = collect(events if as_json else shown(events, show_analysis), session)
    if as_json:
        fields = {
            "text": result.text,
            "analysis": result.analysis,
            "finish_reason": result.finish_reason,
            "stats": stats_json(session.model, result.stats),
        }
        print(json.dumps(fields), flush=True)
    elif not result.text.endswith("\n"):
        print(flush=True)
    if result.finish_reason == "length":
        say(f"cut off after {result.stats.decode_tokens:,} tokens: the limit is reached")
        if not result.text:
            say("that was before the answer began; allow more with --max-tokens, or less thinking with --effort low")
            return 1
    return 0


def opened(wanted: Load) -> Session:
    """Load a model and say on standard error what of it was not as wanted. Raises GptossError."""
    chosen = default_model() if wanted.model is None else wanted.model
    if wanted.model is None and chosen == DEMO:
        say(f"the small demo model answers, for gpt-oss-20b {_what_is_missing()}: gptoss-chat download gpt-oss-20b")
    model = load(chosen, dense_bits=wanted.dense_bits, map=wanted.map, memory=wanted.memory)
    if wanted.map == "on" and model.residence.refusal is not None:
        say(f"the weights are copied, not mapped: {model.residence.refusal}")
    return Session(model)


def shown(events: Iterator[Event], show_analysis: bool) -> Iterator[Event]:
    """Pass events on, having printed their text: the answer, and on standard error the analysis if it is wanted."""
    is_terminal = sys.stderr.isatty()
    dim = is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"
    reading = False
    for event in events:
        match event:
            case PrefillProgress(done=done, total=total) if is_terminal and (reading or done < total):
                # A long prompt takes a while; the line is gone once the answer begins.
                reading = done < total
                text = f"reading the prompt: {done:,} of {total:,} tokens" if reading else ""
                print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)
            case TextDelta(channel="final", text=text, recipient=None):
                print(clean(text), end="", flush=True)
            case TextDelta(text=text) if show_analysis:
                # The dimming is closed with every piece: Ctrl-C may come between any two.
                print(f"{DIM}{clean(text)}{PLAIN}" if dim else clean(text), end="", file=sys.stderr, flush=True)
            case MessageEnd(message=message) if show_analysis and message.channel != "final":
                print(file=sys.stderr, flush=True)
        yield event


def say(text: str) -> None:
    """A line of the program's own."""
    print(f"gptoss-chat: {clean(text)}", file=sys.stderr, flush=True)


def _what_is_missing() -> str:
    if Repository(KNOWN["gpt-oss-20b"]).snapshot() is None:
        return "isn't here yet (13.8 GB)"
    return "is not complete and verified yet"
