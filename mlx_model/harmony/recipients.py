"""Which tool the model means by a recipient: it also writes names of other harnesses, or none at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mlx_model.harmony.builtin import BUILTIN_TOOLS
from mlx_model.harmony.tools import FUNCTIONS

_BROWSER = ("browser.search", "browser.open", "browser.find")
# What only one of the browser's three takes, in the order in which they are told apart.
_BROWSER_ARGUMENTS = {
    "browser.find": ("pattern",),
    "browser.search": ("query", "q"),
    "browser.open": ("id", "url", "cursor", "loc"),
}
# How a call is wrapped by harnesses in which all functions share one recipient.
_INNER_NAMES = ("name", "function", "tool")
_INNER_ARGUMENTS = ("arguments", "parameters")

PATCH_TOOL = f"{FUNCTIONS}.apply_patch"
"""A function with a format that the model knows from its training, where it was a command of a shell."""
PATCH_BEGIN = "*** Begin Patch"


def every_tool(known: Collection[str]) -> list[str]:
    """The full names of all tools, where "browser" stands for its three."""
    return sorted({*known, *(_BROWSER if "browser" in known else ())} - {"browser"})


def unknown_name(recipient: str) -> str:
    """The name under which a tool that there isn't answers: as the model wrote it, within a namespace."""
    return recipient if "." in recipient or recipient in BUILTIN_TOOLS else f"{FUNCTIONS}.{recipient}"


def find_tool(
    recipient: str, arguments: Mapping[str, Any], known: Collection[str] | None
) -> tuple[str, dict[str, Any] | None] | None:
    """The full name of the tool that is meant, and its arguments where they are wrapped; None if there is none.

    `arguments` tell the browser's three apart, and functions behind a recipient that names none. Without `known` a
    name is completed, and none is refused.
    """
    space = recipient.partition(".")[0]
    full = recipient if space in (*BUILTIN_TOOLS, FUNCTIONS) else f"{FUNCTIONS}.{recipient}"
    if known is None:
        return full, None
    names = every_tool(known)
    for name in (recipient, full):
        if name in names:
            return name, None
    ends = {recipient, recipient.partition(".")[2] or recipient}
    fitting = [name for name in names if name in ends or name.partition(".")[2] in ends]
    if len(fitting) == 1:
        return fitting[0], None
    bare = recipient.removeprefix(f"{FUNCTIONS}.")
    # As OpenAI's own server does: python3, python.exec, python_code.
    if "python" in names and bare.startswith("python"):
        return "python", None
    if "browser" in known and bare.partition(".")[0] == "browser":
        found = next((name for name, keys in _BROWSER_ARGUMENTS.items() if arguments.keys() & {*keys}), None)
        return None if found is None else (found, None)
    if PATCH_TOOL in names and PATCH_BEGIN in str(arguments):
        return PATCH_TOOL, None
    return _function_inside(arguments, names) if bare == FUNCTIONS else None


def _function_inside(arguments: Mapping[str, Any], names: Collection[str]) -> tuple[str, dict[str, Any] | None] | None:
    """The function of a call to all of them: it is named inside, or there is only one."""
    functions = [name for name in names if name.startswith(f"{FUNCTIONS}.")]
    inner = next((arguments[key] for key in _INNER_ARGUMENTS if isinstance(arguments.get(key), dict)), None)
    for key in _INNER_NAMES:
        name = f"{FUNCTIONS}.{str(arguments.get(key)).removeprefix(f'{FUNCTIONS}.')}"
        if name in functions and inner is not None:
            return name, inner
    return (functions[0], None) if len(functions) == 1 else None
