"""Keeps a Mac awake while it works through the night."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

_CAFFEINATE = Path("/usr/bin/caffeinate")


def stay_awake() -> None:
    """Keeps a Mac from going to sleep by itself for as long as this process runs."""
    if _CAFFEINATE.exists():
        command = [str(_CAFFEINATE), "-i", "-w", str(os.getpid())]
        nothing = subprocess.DEVNULL
        with suppress(OSError):
            subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
