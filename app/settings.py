"""The person's settings in one TOML file: read with defaults for whatever is wrong, changed without losing the rest."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.paths import settings_file
from metal.files import read_small, replace_file
from mlx_model.errors import GptossError, RequestError
from mlx_model.options import Options

ANALYSIS = ("shown", "collapsed", "hidden")
"""How the analysis is displayed: open; open while it grows; closed."""
NOTIFY = ("auto", "always", "off")
"""When the end of long work is a notification: while the terminal has not the focus; always; never."""
TITLES = ("model", "words")
"""Who names a conversation: the model after its first answer, or the first words of its first prompt."""
PERMISSIONS = ("allow", "ask", "deny")
"""What may happen to the calls of a tool; the table `permissions` says it by the tool's name."""
SUBJECTS = ("python", "browser", "files", "functions", "mcp")
"""What the names in that table begin with."""
BROWSER = ("search", "key", "url")
"""Texts in the table `browser`: who searches, with which key, at which URL. `allow_hosts` lists private hosts."""
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "max_tokens", "max_thinking")
"""Fields of Options that stand in the table `sampling`."""
AT_THE_TOP = ("effort", "prompt_lookup")
"""Fields of Options that stand outside of it: how an answer comes about, whatever is drawn."""

MOST_CALLS = 40
"""How often the model may call tools in one turn, by default."""
_NO_MORE_CALLS = 1000

_STILL_IN_EFFECT = "the changes stay in effect until you quit"

SettingChanges = Mapping[tuple[str, ...], Any]
"""New values by their place, such as ("sampling", "top_p"); None takes the line out, so that the default holds."""


class SettingsError(GptossError):
    """The settings can't be read or written; the file is as it was."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file says, with defaults for the rest. `warnings` are lines for the person about what in it makes no
    sense.

    `options` has those fields of Options that the file states, each valid; `presets` are instructions by name;
    `permissions` has one of PERMISSIONS for tools (see app.tools.permission.Rule); `most_calls` is how often the model
    may call tools in one turn; `browser` has texts under the names in BROWSER, and `allow_hosts`, a tuple of texts (see
    app.tools.browser_kit); `connect` is the address of a server that answers instead of a model on this computer (see
    app.remote.address); `hosts` are other computers that hold a part of the model (see mlx_model.distributed.hosts),
    `with` in the file; `model` None stands for the default one; `titles` is one of TITLES; `theme` is a name that
    app.tui.theme interprets; without the `mouse` clicks do nothing and the terminal selects text by its own means.
    """

    model: str | None = None
    theme: str = "dark"
    analysis: str = "collapsed"
    titles: str = "model"
    notify: str = "auto"
    mouse: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, str] = field(default_factory=dict)
    permissions: Mapping[str, str] = field(default_factory=dict)
    most_calls: int = MOST_CALLS
    browser: Mapping[str, Any] = field(default_factory=dict)
    connect: str | None = None
    hosts: str | None = None
    warnings: tuple[str, ...] = ()


def load(path: Path | None = None) -> Settings:
    """The settings. Never raises: a file that can't be read, and each value that makes no sense, costs a line of
    `warnings` and leaves the default. What this version doesn't know is left alone."""
    path = path or settings_file()
    try:
        text = _read(path)
    except SettingsError as error:
        return Settings(warnings=(f"{error}; the defaults are used",))
    return _checked(path, text)


def update(changes: SettingChanges, path: Path | None = None) -> None:
    """Change some values and keep everything else, comments and unknown keys included.

    The file is read anew, so that what another program has changed meanwhile stays, and replaced in one step. Raises
    SettingsError; a file that isn't TOML is never written.
    """
    import tomlkit  # only now: it takes as long to load as all the rest of the program's start
    from tomlkit.exceptions import TOMLKitError

    path = path or settings_file()
    text = _read(path)
    try:
        document = tomlkit.parse(text)
        for place, value in changes.items():
            _put(document, place, value)
        changed = tomlkit.dumps(document)
        tomllib.loads(changed)
    except (TOMLKitError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} can't be changed: {error}; {_STILL_IN_EFFECT}") from None
    _write(path, changed)


def _read(path: Path) -> str:
    """The text of the file, which is valid TOML; "" if there is none. Raises SettingsError."""
    try:
        text = read_small(path).decode("utf-8-sig")
        tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}, line {line}: the text is not UTF-8; the file is left as it is") from None
    except ValueError as error:  # tomllib's own, and Python's for an integer of thousands of digits
        raise SettingsError(f"{path}, {_where(str(error), text)}; the file is left as it is") from None
    except RecursionError:
        raise SettingsError(f"{path} is nested too deeply; the file is left as it is") from None
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror or error}") from None
    return text


def _where(what: str, text: str) -> str:
    """'line 3: what' of an error of tomllib, which names the place at its end."""
    match = re.search(r" \((?:at line (\d+).*|at end of document)\)$", what)
    if match is None:
        return what
    return f"line {match[1] or text.count(chr(10)) + 1}: {what[: match.start()]}"


def _checked(path: Path, text: str) -> Settings:
    values = tomllib.loads(text)
    warnings: list[str] = []

    def refuse(key: str, what: str) -> None:
        warnings.append(f"{path}{_line_of(key, text)}: {what}; the default is used")

    def choice(key: str, default: Any, allowed: tuple[str, ...] = ()) -> Any:
        value = values.get(key, default)
        if value == default or (isinstance(value, str) and value and (not allowed or value in allowed)):
            return value
        must = f"one of {', '.join(allowed)}" if allowed else "text"
        refuse(key, f"{key} is {value!r}; it must be {must}")
        return default

    def table(key: str) -> Mapping[str, Any]:
        value = values.get(key, {})
        if not isinstance(value, dict):
            refuse(key, f"{key} is {value!r}; it must be a table")
            return {}
        return value

    options: dict[str, Any] = {}
    sampling = table("sampling")
    in_file = {name: values.get(name) for name in AT_THE_TOP} | {name: sampling.get(name) for name in SAMPLING}
    for name, value in in_file.items():
        if value is not None:
            try:
                options[name] = getattr(Options(**{name: value}), name)
            except RequestError as error:
                refuse(name, str(error))
    misplaced = {name: "outside [sampling]; write it below that line" for name in SAMPLING if name in values}
    misplaced |= {name: "below [sampling]; write it at the top" for name in AT_THE_TOP if name in sampling}
    warnings += [f"{path}{_line_of(name, text)}: {name} has no effect {where}" for name, where in misplaced.items()]
    presets: dict[str, str] = {}
    for name, value in table("presets").items():
        if isinstance(value, str) and value.strip():
            presets[name] = value
        else:
            refuse(name, f'the preset "{name}" is {value!r}; it must be text')
    permissions: dict[str, str] = {}
    for name, value in table("permissions").items():
        if not _names_a_tool(name):  # a no that nobody heeds
            must = f"its name must begin with one of {', '.join(SUBJECTS)}"
            warnings.append(f"{path}{_line_of(name, text)}: the permission of {name[:40]!r} is about no tool; {must}")
        if value in PERMISSIONS:
            permissions[name] = value
        else:  # meant as a limit, perhaps
            permissions[name] = "ask"
            must = f"it must be one of {', '.join(PERMISSIONS)}; you are asked"
            warnings.append(f"{path}{_line_of(name, text)}: the permission of {name!r} is {value!r}; {must}")
    most_calls = table("tools").get("most_calls", MOST_CALLS)
    if type(most_calls) is not int or not 1 <= most_calls <= _NO_MORE_CALLS:
        refuse("most_calls", f"most_calls is {most_calls!r}; it must be a number from 1 to {_NO_MORE_CALLS:,}")
        most_calls = MOST_CALLS
    browser = _browser(table("browser"), refuse)
    model, theme = choice("model", None), choice("theme", "dark")
    analysis, notify = choice("analysis", "collapsed", ANALYSIS), choice("notify", "auto", NOTIFY)
    titles = choice("titles", "model", TITLES)
    mouse = values.get("mouse", True)
    if not isinstance(mouse, bool):
        refuse("mouse", f"mouse is {mouse!r}; it must be true or false")
        mouse = True
    rest = (permissions, most_calls, browser, choice("connect", None), choice("with", None))
    return Settings(model, theme, analysis, titles, notify, mouse, options, presets, *rest, tuple(warnings))


def _browser(values: Mapping[str, Any], refuse: Callable[[str, str], None]) -> dict[str, Any]:
    """What of the table `browser` makes sense."""
    browser: dict[str, Any] = {}
    for name, value in values.items():
        if name == "allow_hosts":
            if isinstance(value, list) and all(isinstance(host, str) for host in value):
                browser[name] = tuple(value)
            else:
                refuse(name, f"{name} is {value!r}; it must be a list of hosts")
        elif name in BROWSER:
            if isinstance(value, str):
                browser[name] = value
            else:
                refuse(name, f"{name} is {value!r}; it must be text")
    return browser


def _names_a_tool(rule: str) -> bool:
    word = re.split(r"[ .*]", rule, maxsplit=1)[0]
    return word in SUBJECTS or (rule == f"{word}*" and any(each.startswith(word) for each in SUBJECTS))


def _line_of(key: str, text: str) -> str:
    pattern = re.compile(rf"""\s*\[?(?:\w+\s*\.\s*)?["']?{re.escape(key)}["']?\s*[=\]]""")
    lines = (number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line))
    return f", line {number}" if (number := next(lines, None)) else ""


def _put(document: Any, place: tuple[str, ...], value: Any) -> None:
    import tomlkit

    *tables, key = place
    for name in tables:
        if not isinstance(document.get(name), dict):
            if value is None:
                return
            document[name] = tomlkit.table()
        document = document[name]
    if value is None:
        document.pop(key, None)
    elif isinstance(value, str) and "\n" in value:
        document[key] = tomlkit.string(value, multiline=True)
    else:
        document[key] = value


def _write(path: Path, text: str) -> None:
    """Replace the file in one step. A link, as people have who keep such files in a repository, stays one."""
    path = path.resolve()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, text.encode(), durable=True)
    except (OSError, UnicodeEncodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{path} can't be written: {reason}; {_STILL_IN_EFFECT}") from None
