"""Asks at the terminal whether a call may be run. Where nobody can be asked the answer is no."""

import asyncio
import signal
import sys

from app.cli.answer_printing import call_line, visible
from app.cli.printing import say
from mlx_model.harmony.calls import ToolCall

DECLINED = "The user declined this call"
NOBODY = "This call was not run: the user would have to allow it, and can't be asked here."


async def ask_person(call: ToolCall, why: str) -> str | None:
    """None if the person allows this call, this once; else what to tell the model. Anything but "y" is a no: a reason,
    which the model is told, or nothing."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        say(f"{call_line(call)} was not run: {why}, and without a terminal nobody can allow it")
        return NOBODY
    code = str(call.arguments.get("code", call.text))
    lines = "\n".join(f"  | {line}" for line in visible(code).split("\n"))
    question = "Run it once? y, or no with any other line, which the model reads as your reason:"
    print(f"{call.name} asks: {why}\n{lines}\n{question}\n> ", end="", file=sys.stderr, flush=True)
    answer = _line().strip()
    await asyncio.sleep(0)  # Ctrl-C has cancelled this: here it ends
    if answer.lower() in ("y", "yes"):
        return None
    return f"{DECLINED}: {answer}" if answer and answer.lower() not in ("n", "no") else f"{DECLINED}."


def _line() -> str:
    """What the person types. Ctrl-C and Ctrl-D are nothing; Ctrl-C then does what it did before, and ends the answer.

    Read without an editor, whose prompt would go to standard output, where the answer is.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupted = False
    try:
        return sys.stdin.readline()
    except KeyboardInterrupt:
        interrupted = True
        print(file=sys.stderr)
        return ""
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupted:
            signal.raise_signal(signal.SIGINT)
