"""Finds out what this computer is, and what of gpt-oss is on it, by asking `gptoss-chat doctor`."""

import asyncio
import contextlib
import json
import sys

from app.tui.text.computer import ComputerFacts

# In a process of its own, for the plan needs MLX; -P: a folder named "app" must not be taken for this package.
DOCTOR = (sys.executable, "-P", "-m", "app", "doctor", "--json")
_PATIENCE_S = 60.0


async def examine() -> ComputerFacts | None:
    """What the command says; None if it says nothing: the offer of a download stands without it."""
    try:
        process = await asyncio.create_subprocess_exec(
            *DOCTOR,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _PATIENCE_S)
        return ComputerFacts.of(json.loads(output))
    except (TimeoutError, ValueError, LookupError, TypeError):
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()  # else its pipe outlives the event loop where the chat has ended meanwhile
