"""Asks at the terminal whether a call may be run. Where nobody can be asked the answer is no."""

import asyncio
import contextlib
import signal
import sys
import termios

from app.cli.answer_printing import call_line
from app.cli.printing import say
from app.lines import one_line, visible
from app.settings import SettingsError, update
from app.tools.permission import Wish
from app.tools.verdict import Keep, Verdict
from mlx_model.harmony.calls import ToolCall

NOBODY = "nobody can be asked here, and the user would have to allow it"
_YES = {"y": Keep.ONCE, "yes": Keep.ONCE, "c": Keep.CONVERSATION, "a": Keep.ALWAYS}


async def ask_person(call: ToolCall, wish: Wish) -> Verdict:
    """What the person says to a call. Anything but one of the letters is a no: a reason, which the model is told, or
    nothing."""
    if not _can_ask():
        say(f"{call_line(call)} was not run: {one_line(wish.why)}, and without a terminal nobody can allow it")
        return Verdict(allowed=False, reason=NOBODY)
    lines = "\n".join(f"  | {line}" for line in visible(wish.shown).split("\n"))
    yes = "y once, c in this conversation, a always" if wish.always else "y once"
    question = f"Allow it? {yes}; any other line is a no, which the model reads as your reason:"
    asks = f"{one_line(call.name)} asks: {one_line(wish.why)}"
    answer = _answer_to(asks, lines, question)
    await asyncio.sleep(0)  # Ctrl-C has cancelled this: here it ends
    keep = _YES.get(answer.lower())
    if keep is not None:
        return Verdict(allowed=True, keep=keep if wish.always else Keep.ONCE)
    return Verdict(allowed=False, reason="" if answer.lower() in ("n", "no") else answer)


def confirmed(asks: str, shown: str, instead: str) -> bool:
    """Whether the person says yes to something that takes long. Where nobody can be asked, it is said what to do
    `instead`."""
    if not _can_ask():
        say(f"{one_line(asks)} {one_line(shown)}; without a terminal nobody can say yes: {instead}")
        return False
    return _answer_to(asks, shown, "y is a yes, any other line a no:").lower() in ("y", "yes")


def remember(subject: str) -> None:
    """Keep a yes as a rule of the settings; where that is not possible, say so."""
    try:
        update({("permissions", subject): "allow"})
    except SettingsError as error:
        say(str(error))


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _answer_to(*lines: str) -> str:
    _drop_typed()
    print("\n".join([*lines, "> "]), end="", file=sys.stderr, flush=True)
    return _line().strip()


def _drop_typed() -> None:
    """Forget what was typed before the question could be read: it is no answer to it."""
    with contextlib.suppress(termios.error, OSError):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


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
