"""Finds out what this computer is, and what of gpt-oss is on it, by asking `gptoss-chat doctor`."""

import asyncio
import json
import subprocess
import sys

from app.tui.text.computer import ComputerFacts

# In a process of its own, for the plan needs MLX; -P: a folder named "app" must not be taken for this package.
DOCTOR = (sys.executable, "-P", "-m", "app", "doctor", "--json")
_PATIENCE_S = 60.0


async def examine() -> ComputerFacts | None:
    """What the command says; None if it says nothing: the offer of a download stands without it.

    A thread waits for it, not the event loop, whose pipes would outlive it in a chat that ends meanwhile.
    """
    try:
        process = subprocess.Popen(DOCTOR, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    try:
        output, _ = await asyncio.to_thread(process.communicate, timeout=_PATIENCE_S)
        return ComputerFacts.of(json.loads(output))
    except (subprocess.TimeoutExpired, ValueError, LookupError, TypeError):
        return None
    finally:
        process.kill()  # does nothing where it has ended
