"""Stops the program for the shell (`kill -TSTP`) and goes on (`fg`), between two steps of the event loop."""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType


def suspend_between_steps(take_anew: Callable[[], object]) -> None:
    """Let SIGTSTP wait for the end of the event loop's step; to be called in the loop, with Textual's handlers set.

    Textual's handler writes to the terminal through a queue whose lock is not reentrant. Run at once, in the middle of
    a step that writes, it would wait for ever for the step that it has interrupted. `take_anew` sets the terminal up
    and draws the screen: SIGSTOP stops a program without a word, and then the terminal is as the shell left it.
    """
    loop = asyncio.get_running_loop()
    suspend, resume = signal.getsignal(signal.SIGTSTP), signal.getsignal(signal.SIGCONT)
    if not (callable(suspend) and callable(resume)):
        return  # no terminal
    suspended = False

    def stop() -> None:
        nonlocal suspended
        suspended = True
        suspend(signal.SIGTSTP, None)

    def continued(number: int, frame: FrameType | None) -> None:
        nonlocal suspended
        if suspended:
            suspended = False
            resume(number, frame)
        else:
            loop.call_soon_threadsafe(take_anew)

    loop.add_signal_handler(signal.SIGTSTP, stop)
    signal.signal(signal.SIGCONT, continued)
