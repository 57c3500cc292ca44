"""Whether a model goes round in circles: the same call again, and the same came of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import ToolResult

MOST_ALIKE = 3
"""How often the same may be called with the same result, in a row or in turns with another call."""

_AGAIN = "You have this result already"
_CURSOR = re.compile(r"\A\[(\d+)\] ")


class Repeats:
    """The calls of a turn and what came of them, in order."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, str]] = []  # what was called, and what came of it
        self._last: ToolResult | None = None

    def goes_round(self, call: ToolCall) -> bool:
        """Whether with this call the same begins once more after MOST_ALIKE times: one call, or two by turns.

        Calls in between show that the same call is asked for something new: tests after another change of the code.
        """
        for period in (1, 2):
            steps = self._steps[-MOST_ALIKE * period :]
            alike = all(step == steps[index % period] for index, step in enumerate(steps))
            if len(steps) == MOST_ALIKE * period and alike and steps[0][0] == _identity(call):
                return True
        return False

    def known(self, call: ToolCall) -> ToolResult | None:
        """The result of the call before, with a hint, where this call is the same and its result has to be, too."""
        if self._last is None or self._last.error or _may_differ(call) or self._steps[-1][0] != _identity(call):
            return None
        cursor = _CURSOR.match(self._last.text) if _is_browser(call) else None
        where = f", at cursor {cursor[1]}" if cursor else ""
        hint = f"{_AGAIN}{where}: the same call was made just before. Use it, or call something else."
        return replace(self._last, text=f"{hint}\n\n{self._last.text}")

    def add(self, call: ToolCall, result: ToolResult) -> None:
        """The call has got its result, from the tool or by `known`."""
        text = result.text.partition("\n\n")[2] if result.text.startswith(_AGAIN) else result.text
        self._last = replace(result, text=text)
        # Each view of a page has a number of its own.
        self._steps.append((_identity(call), _CURSOR.sub("", text) if _is_browser(call) else text))


def _identity(call: ToolCall) -> str:
    return f"{call.name} {json.dumps(call.arguments, sort_keys=True)}" if call.error is None else call.text


def _is_browser(call: ToolCall) -> bool:
    return call.name.startswith("browser.")


def _may_differ(call: ToolCall) -> bool:
    """Whether the same call may have another result: python's state may have changed, what takes no arguments (the
    time, dice) is called for something new, and the browser takes the newest page where none is named."""
    if call.name == "python" or not call.arguments:
        return True
    if not _is_browser(call) or call.name == "browser.search":
        return False
    link, cursor = call.arguments.get("id", call.arguments.get("url")), call.arguments.get("cursor", -1)
    is_url = isinstance(link, str) and not link.strip().lstrip("-").isdigit()
    return not is_url and str(cursor) in ("-1", "None")
