"""Control sequences for the terminal that are not part of a frame."""

import sys
from collections.abc import Mapping

from textual.app import App

SILENT = ("", "dumb", "linux", "unknown")
"""Values of TERM of what shows such a sequence as text, or may."""


def write(app: App[None], environment: Mapping[str, str], sequence: str) -> bool:
    """Send a sequence between two frames, as Textual sends its own; whether there is a terminal that takes it."""
    driver = app._driver
    stream = sys.__stderr__  # to which Textual draws
    if driver is None or driver.is_headless or environment.get("TERM", "") in SILENT:
        return False
    if stream is None or not stream.isatty():
        return False
    driver.write(sequence)
    return True
