"""Type hints as kinds of arguments: the JSON schema that the model is shown, and how a value of its is read."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from mlx_model.errors import RequestError

Read = Callable[[Any, str], Any]

_LISTS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys((list, Sequence, Iterable, Collection), list),
    **{kind: kind for kind in (tuple, set, frozenset)},
}
_NUMBER = re.compile(r"[-+]?(\d{1,100}(\.\d{0,100})?|\.\d{1,100})([eE][-+]?\d{1,3})?")
_MOST_LEVELS = 20


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument may be.

    `read` makes a JSON value what Python has in its place, and forgives what has only one meaning: a number in quotes,
    a whole number as 3.0, one value for a list of one. It is also given the argument's name, and raises ValueError,
    worded for the model.
    """

    schema: dict[str, Any]
    read: Read


@dataclass(frozen=True, slots=True)
class Field:
    """An argument of a function, or a part of an object. `default` None is no default, or one that JSON hasn't."""

    name: str
    kind: Kind
    description: str = ""
    required: bool = True
    default: str | float | None = None

    @property
    def schema(self) -> dict[str, Any]:
        """Its kind's, described."""
        described = {"description": self.description} if self.description else {}
        default = {} if self.default is None else {"default": self.default}
        return {**self.kind.schema, **described, **default}


def field_of(name: str, hint: Any, description: str = "", default: Any = dataclasses.MISSING, level: int = 0) -> Field:
    """An argument of this hint; a text in Annotated describes it. Raises RequestError, as `kind_of`."""
    if get_origin(hint) is Annotated:
        description = next((extra for extra in get_args(hint)[1:] if isinstance(extra, str)), description)
    shown = default if isinstance(default, str | int | float) and not isinstance(default, enum.Enum) else None
    return Field(name, kind_of(hint, level), description, default is dataclasses.MISSING, shown)


def kind_of(hint: Any, level: int = 0) -> Kind:
    """The kind of a type hint. Raises RequestError for one that no JSON value fits."""
    if level > _MOST_LEVELS:
        raise RequestError("a type that contains itself can't be shown to a model")
    while get_origin(hint) in (Annotated, typing.Required, typing.NotRequired):
        hint = get_args(hint)[0]
    hint = getattr(hint, "__value__", hint)  # of a `type` statement
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return Kind({}, lambda value, where: value)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is Literal:
        return _choice([(value, value) for value in inner])
    if origin in (Union, types.UnionType):
        return _union([kind_of(each, level + 1) for each in inner])
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choice([(member.value, member) for member in hint])
    if isinstance(hint, type) and (typing.is_typeddict(hint) or dataclasses.is_dataclass(hint)):
        return object_of(_parts(hint, level + 1), hint)
    if (origin or hint) in (dict, Mapping):
        return _mapping(*(kind_of(each, level + 1) for each in inner or (Any, Any)))
    if (origin or hint) is tuple and inner and inner[-1] is not ...:
        return _tuple([kind_of(each, level + 1) for each in inner])
    if (origin or hint) in _LISTS:
        return _list(kind_of(inner[0] if inner else Any, level + 1), _LISTS[origin or hint])
    raise RequestError(f"a value of the type {getattr(hint, '__name__', hint)} can't come from a model")


def object_of(fields: Sequence[Field], make: Callable[..., Any] = dict) -> Kind:
    """An object with these parts, and no others: leaving out one that isn't known could change what is meant."""
    known = {field.name: field for field in fields}
    required = [field.name for field in fields if field.required]

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        prefix = f"{where}." if where else ""
        if unknown := [name for name in value if name not in known]:
            raise ValueError(f"there is no argument {prefix}{unknown[0]}, only: {', '.join(known) or 'none'}.")
        if missing := [name for name in required if name not in value]:
            raise ValueError(f"the argument {prefix}{missing[0]} is missing.")
        return make(**{name: known[name].kind.read(part, f"{prefix}{name}") for name, part in value.items()})

    properties = {field.name: field.schema for field in fields}
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return Kind(schema, read)


def _parts(hint: Any, level: int) -> list[Field]:
    hints = typing.get_type_hints(hint, include_extras=True)
    if typing.is_typeddict(hint):
        required: frozenset[str] = hint.__required_keys__
        return [
            dataclasses.replace(field_of(name, inner, level=level), required=name in required)
            for name, inner in hints.items()
        ]
    return [
        field_of(part.name, hints[part.name], default=_default(part), level=level)
        for part in dataclasses.fields(hint)
        if part.init
    ]


def _default(part: dataclasses.Field[Any]) -> Any:
    return part.default if part.default_factory is dataclasses.MISSING else None


def _text(value: Any, where: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return value
    raise _wrong(where, "a text", value)


def _number(value: Any, where: str) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise _wrong(where, "a number", value)


def _whole(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d{1,100}", value.strip()):
        return int(value)
    with contextlib.suppress(ValueError):
        if (number := _number(value, where)).is_integer():
            return int(number)
    raise _wrong(where, "a whole number", value)


def _boolean(value: Any, where: str) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    raise _wrong(where, "true or false", value)


def _nothing(value: Any, where: str) -> None:
    if value is not None and value != "null":
        raise _wrong(where, "null", value)


_PLAIN = {
    str: Kind({"type": "string"}, _text),
    int: Kind({"type": "integer"}, _whole),
    float: Kind({"type": "number"}, _number),
    bool: Kind({"type": "boolean"}, _boolean),
    None: Kind({"type": "null"}, _nothing),
    type(None): Kind({"type": "null"}, _nothing),
}


def _choice(meanings: Sequence[tuple[Any, Any]]) -> Kind:
    """One of some values, each with what it stands for."""
    choices = [choice for choice, _ in meanings]

    def read(value: Any, where: str) -> Any:
        for choice, meant in meanings:
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return meant
        spelt = str(value).strip().casefold()
        alike = [meant for choice, meant in meanings if str(choice).casefold() == spelt]
        if len(alike) == 1:
            return alike[0]
        raise _wrong(where, f"one of {', '.join(map(repr, choices))}", value)

    kinds = {type(choice) for choice in choices}
    typed = _PLAIN[kinds.pop()].schema if len(kinds) == 1 and kinds <= _PLAIN.keys() else {}
    return Kind({**typed, "enum": choices}, read)


def _union(kinds: Sequence[Kind]) -> Kind:
    def read(value: Any, where: str) -> Any:
        """As the first kind that has the value's own type, else the first that can read it."""
        name = _type_name(value)
        errors: list[ValueError] = []
        for kind in sorted(kinds, key=lambda kind: kind.schema.get("type") != name):
            try:
                return kind.read(value, where)
            except ValueError as error:
                errors.append(error)
        raise errors[0]

    return Kind({"anyOf": [kind.schema for kind in kinds]}, read)


def _list(item: Kind, make: Callable[[list[Any]], Any]) -> Kind:
    def read(value: Any, where: str) -> Any:
        values = value if isinstance(value, list) else [value]
        return make([item.read(each, f"{where}[{i}]") for i, each in enumerate(values)])

    return Kind({"type": "array", "items": item.schema}, read)


def _tuple(items: Sequence[Kind]) -> Kind:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, list) or len(value) != len(items):
            raise _wrong(where, f"a list of {len(items)}", value)
        return tuple(kind.read(each, f"{where}[{i}]") for i, (kind, each) in enumerate(zip(items, value, strict=True)))

    schemas = [kind.schema for kind in items]
    return Kind({"type": "array", "prefixItems": schemas, "items": False, "minItems": len(items)}, read)


def _mapping(key: Kind, item: Kind) -> Kind:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        return {key.read(name, where): item.read(each, f"{where}.{name}") for name, each in value.items()}

    return Kind({"type": "object", "additionalProperties": item.schema or True}, read)


def _type_name(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _wrong(where: str, kind: str, value: Any) -> ValueError:
    shown = repr(value)
    return ValueError(f"{where or 'the argument'} must be {kind}, not {shown[:60]}{'...' if shown[60:] else ''}.")
