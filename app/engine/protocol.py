"""What the app and the engine process say to each other: frozen dataclasses as JSON lines over a pipe.

A line is one ASCII JSON object `{"type": class name, ...fields}`. Both directions use the same `encode`
and `decode`; the classes below and those of mlx_model.events are all there is. Nothing here loads MLX.
"""

import json
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from enum import EnumType
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from mlx_model import events
from mlx_model.errors import GptossError
from mlx_model.events import Event
from mlx_model.harmony.message import Message
from mlx_model.request import Request


class ProtocolError(GptossError):
    """A line that isn't a message of this protocol."""


@dataclass(frozen=True, slots=True)
class Load:
    """App to engine: load this model (name or path; None: the default one), in place of the present one.

    `dense_bits`, `map`, `memory`, in bytes, and `experts` as for mlx_model.load; `adapter` is the folder of a LoRA
    adapter. If nothing but that is another one, only that is loaded. `hosts` are computers that hold a part of the
    layers. Also what the command line says of loading.
    """

    model: str | None = None
    dense_bits: int | None = None
    map: str = "auto"
    memory: int | None = None
    adapter: str | None = None
    experts: int | None = None
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """App to engine: answer this request. `number` is that of the events of the answer."""

    number: int
    request: Request


@dataclass(frozen=True, slots=True)
class Cancel:
    """App to engine: end this answer within one token; it still ends with Finished("cancelled")."""

    number: int


@dataclass(frozen=True, slots=True)
class AnswerNow:
    """App to engine: end the thought of this answer within one token, and begin its final message."""

    number: int


@dataclass(frozen=True, slots=True)
class Count:
    """App to engine: how many tokens does each of these texts have? Answered at once, beside an answer under way."""

    number: int
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """Engine to app: the tokens of each text, in the vocabulary of the loaded model."""

    number: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loading:
    """Engine to app: loading has begun. `default` is true when nobody named this model."""

    model: str
    default: bool


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Engine to app: so many bytes of the model's weights are loaded, of `total`. With `kernels`, after that: so many
    pieces of the work for its kernels are done."""

    done: int
    total: int
    kernels: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """Engine to app: the model answers from now on. Lengths in tokens, memory in bytes, time in seconds.

    `resident_bytes` is what the weights keep, `budget_bytes` what the memory plan may use for everything: weights, KV
    cache, a prompt's intermediates, the process itself. Finished.stats says what an answer made of it. `not_mapped` is
    why the weights were copied into memory instead of mapped, None if they are mapped. `note` says what is to be known
    of this engine, as what it can't do, if there is something. `adapter` is the name of the LoRA adapter that it
    answers with, "" without one.
    `parallel` is how many requests it may be given at once: it answers them together, as far as they fit into memory.
    `slots` of the `experts` of a layer are in memory where others are read from the disk, else both are 0.
    `hosts` are the names of the other computers that hold layers.
    """

    model: str
    context_length: int
    resident_bytes: int
    budget_bytes: int
    load_s: float
    not_mapped: str | None = None
    note: str = ""
    adapter: str = ""
    parallel: int = 1
    slots: int = 0
    experts: int = 0
    hosts: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The model with its adapter, if it has one: what answers are by."""
        return f"{self.model} + {self.adapter}" if self.adapter else self.model


@dataclass(frozen=True, slots=True)
class Failed:
    """Engine to app: the Ask or Count of this number, or a Load where that is None, came to nothing; `text` says why.

    `unusable` is true when the request itself is at fault (prompt too long, empty), so that another would
    work; `too_long` when it has more tokens than the context. `about` is what of it is, as RequestError says it.
    """

    text: str
    number: int | None = None
    unusable: bool = False
    too_long: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Engine to app: one event of an answer. `deltas` counts the text deltas merged into this one."""

    number: int
    event: Event
    deltas: int = 1


ToEngine = Load | Ask | Cancel | AnswerNow | Count
FromEngine = Loading | LoadProgress | Ready | Failed | Answer | Counted

_TYPES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        *(Load, Ask, Cancel, AnswerNow, Count, Loading, LoadProgress, Ready, Failed, Answer, Counted),
        *(Message, Request, events.Stats, events.TokenLogprobs),
        *get_args(Event),
    )
}

_MOST = 2**48
"""No count, memory or time is as much, and sums of such numbers still fit into 64 bits. Seeds have all 64."""
_LEAST_S = 1e-6
"""A time that is not 0 is as long: speeds are divided by it."""

_PAYLOADS = (Message, Request, events.TokenLogprobs)
"""Classes with a JSON form of their own, which is passed on as it is: a schema in it may have any keys, "type" too."""


def encode(message: ToEngine | FromEngine) -> bytes:
    """The line for a message, newline included; ASCII, so that lone surrogates pass unharmed."""
    return json.dumps(_to_json(message), separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> Any:
    """The message of a line. Raises ProtocolError on anything `encode` couldn't have written."""
    try:
        return _from_json(json.loads(line), ToEngine | FromEngine)
    except (ValueError, TypeError, KeyError, AttributeError, GptossError, RecursionError) as error:
        excerpt = line[:80].decode("ascii", "backslashreplace")
        raise ProtocolError(f"not a message of the engine protocol ({error}): {excerpt!r}") from None


def _to_json(value: Any) -> Any:
    if isinstance(value, _PAYLOADS):
        return {"type": type(value).__name__, "fields": value.to_json()}
    if type(value).__name__ in _TYPES:
        pairs = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {"type": type(value).__name__, **{name: _to_json(item) for name, item in pairs}}
    return [_to_json(item) for item in value] if isinstance(value, tuple) else value


def _from_json(value: Any, hint: Any) -> Any:
    """`value` as the type hint states it; raises TypeError where it doesn't fit."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if isinstance(value, dict):
        cls = _TYPES.get(value.get("type", ""))
        if cls is None or cls not in options:
            raise TypeError(f"unexpected type {value.get('type')!r}")
        if issubclass(cls, _PAYLOADS):
            return cls.from_json(value["fields"])
        return _build(cls, {name: item for name, item in value.items() if name != "type"})
    for option in options:
        if get_origin(option) is tuple and isinstance(value, list):
            return tuple(_from_json(item, get_args(option)[0]) for item in value)
        if isinstance(option, EnumType) and isinstance(value, str):
            return option(value)
        if option is float and type(value) is int:
            return float(_number(value))
        if type(value) is option:
            return _number(value) if option in (int, float) else value
    raise TypeError(f"unexpected value {str(value)[:40]!r}")


def _number(value: int | float, most: int = _MOST) -> int | float:
    if not 0 <= value < most:  # nor is NaN
        raise ValueError(f"{str(value)[:40]} is out of range")
    return value


def _stats(values: Mapping[str, Any]) -> events.Stats:
    """Statistics without the figures that can't be: those are no reason to lose an answer."""
    known = events.Stats()
    for name, value in values.items():
        kind = type(getattr(known, name))
        if type(value) not in (int, float):
            raise TypeError(f"unexpected value {str(value)[:40]!r}")
        with suppress(ValueError):
            figure = _number(value, 2**64 if name == "seed" else _MOST)
            if type(value) is int or (kind is float and figure >= _LEAST_S):
                known = replace(known, **{name: kind(figure)})
    return known


def _build(cls: type, values: Mapping[str, Any]) -> Any:
    hints = _hints(cls)
    if unknown := values.keys() - hints.keys():
        raise TypeError(f"{cls.__name__} has no field {sorted(unknown)[0]!r}")
    if cls is events.Stats:
        return _stats(values)
    return cls(**{name: _from_json(item, hints[name]) for name, item in values.items()})


_hints = cache(get_type_hints)
