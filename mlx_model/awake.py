"""Keeps a Mac from going to sleep in the middle of long work."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

_CAFFEINATE = Path("/usr/bin/caffeinate")


def stay_awake() -> None:
    """For as long as this process runs. Elsewhere than on a Mac nothing happens."""
    if _CAFFEINATE.exists():
        command = [str(_CAFFEINATE), "-i", "-w", str(os.getpid())]
        nothing = subprocess.DEVNULL
        with suppress(OSError):
            subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
