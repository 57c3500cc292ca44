"""The arguments of a call as the model meant them: it writes numbers as texts, and names of other tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_model.tools.browser.errors import BrowserError

UNSET = -1


def text_of(arguments: Mapping[str, Any], *names: str) -> str:
    """The first of these arguments that is a text, empty if none is."""
    return next((value for name in names if isinstance(value := arguments.get(name), str)), "")


def number_of(arguments: Mapping[str, Any], name: str, default: int = UNSET) -> int:
    """A number, also one written as a text. Raises BrowserError for anything else."""
    value = arguments.get(name)
    if value is None or value == "":
        return default
    number = as_number(value)
    if number is None:
        raise BrowserError(f"`{name}` should be an integer, not `{type(value).__name__}`")
    return number


def as_number(value: object) -> int | None:
    """An integer, or what can only mean one; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and len(value) < 10 and value.strip().removeprefix("-").isdecimal():
        value = int(value)
    return max(-1, value) if isinstance(value, int) else None


def flag_of(arguments: Mapping[str, Any], name: str) -> bool:
    """Whether it is switched on."""
    value = arguments.get(name)
    return value is True or (isinstance(value, str) and value.lower() == "true")
