"""The sampling options as people type them: `/set temperature 0.5`, and the fields of the settings screen."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from app.lines import one_line, similar
from app.settings import SAMPLING
from mlx_model.errors import RequestError
from mlx_model.options import Options

DEFAULTS: Mapping[str, Any] = {field.name: field.default for field in fields(Options)}
DEFAULT = "default"
"""What resets an option, in place of a number."""

_NONE = {"seed": "random", "max_tokens": "unlimited", "max_thinking": "unlimited"}
"""What None means."""


@dataclass(frozen=True, slots=True)
class Change:
    """What `/set` comes to: the options from now on, the name of the one that was set, or "", and what to say."""

    options: Options
    name: str
    text: str


def change(options: Options, argument: str) -> Change:
    """Carry out `/set NAME VALUE`; without a value or a name it says what is set.

    Raises RequestError for an option that there isn't, or a value outside its range.
    """
    name, value = (*re.split(r"[\s=]+", argument.strip().lower(), maxsplit=1), "")[:2]
    name = name.replace("-", "_")
    if not name:
        stated = ", ".join(f"{each} {_shown(options, each)}" for each in SAMPLING)
        return Change(options, "", f"{stated}. /set NAME VALUE changes one")
    if name not in SAMPLING:
        meant = similar(name, SAMPLING)
        advice = f"did you mean {meant}?" if meant else f"there are {', '.join(SAMPLING)}"
        raise RequestError(f"there is no option {one_line(name)}; {advice}")
    if not value:
        stated = f"{name} is {_shown(options, name)}"
        return Change(options, "", f"{stated}; /set {name} VALUE changes it, /set {name} {DEFAULT} resets it")
    text = "" if value in (DEFAULT, _NONE.get(name)) else value
    changed = replace(options, **{name: number(text, DEFAULTS[name])})
    return Change(changed, name, f"{name} is {_shown(changed, name)} from the next answer on")


def number(text: str, default: Any) -> Any:
    """`text` as a number, the default if it is empty; any other text is returned as it is, for Options to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text or default


def _shown(options: Options, name: str) -> str:
    value = getattr(options, name)
    return _NONE[name] if value is None else str(value)
