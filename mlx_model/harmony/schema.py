"""Any JSON schema as a plain one, every part of which can be written in the types that gpt-oss was trained on.

openai-harmony renders `any` where a schema says $ref, anyOf, allOf or const, or an enum of anything but texts; pydantic
and MCP servers write all of these. A plain schema has only the keys title, description, examples, default, nullable,
and one of these forms (see typescript.py):

- `type` with `enum`, `properties`, `required`, `additionalProperties` (a schema), `items` or `prefixItems`;
- `type` as a list of names;  `enum` alone, of mixed values;  `oneOf`;
- `reference`, the name of a definition that is not written out, and why: it stands further out, or nowhere.

A schema that states no type stays empty, which is `any`, as its author meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from mlx_model.errors import RequestError

Schema = dict[str, Any]

# Schemas are untrusted. Real ones have a few levels and at most some hundred nodes.
_MOST_LEVELS = 40
_MOST_NODES = 20_000
# Above this a definition that has been written out once is only named: definitions that use each other many times
# would grow exponentially.
_ROOMY_NODES = 1_000

_TYPES = {name: name for name in ("string", "number", "integer", "boolean", "null", "object", "array")}
# Python's names of types, which people write by mistake.
_ALIASES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object", "list": "array"}
# A schema without a type that has one of these keys can only mean this one.
_IMPLIED = {
    **dict.fromkeys(("properties", "additionalProperties", "patternProperties"), "object"),
    **dict.fromkeys(("items", "prefixItems"), "array"),
    **dict.fromkeys(("pattern", "minLength", "maxLength"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
}
_ANNOTATIONS = ("title", "description", "examples", "default", "nullable")
_PARTS_OF = {
    "object": ("properties", "required", "additionalProperties", "patternProperties"),
    "array": ("items", "prefixItems"),
}
_PARTS = tuple(part for parts in _PARTS_OF.values() for part in parts)
# What the members of a union inherit from the schema around it.
_INHERITED = ("type", "enum", "const", *_PARTS)
# A member that has none of these is a condition, not a type.
_TELLING = ("type", "enum", "const", "oneOf", "anyOf", "reference", *_IMPLIED)


def normalise(schema: object) -> Schema:
    """The plain form of a JSON schema. What is plain already comes out as it was.

    Raises RequestError if it is no JSON schema: no object, of an unknown type, too deep or too large.
    """
    return _SchemaReader(schema).read(schema)


class _SchemaReader:
    """One pass over a schema."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._open = ["#"]  # the references inside which we are
        self._spelt: set[str] = set()
        self._nodes = 0
        self._levels = 0

    def read(self, schema: object) -> Schema:
        with self._inside():
            before = len(self._open)
            plain = self._plain(self._resolve(schema))
            del self._open[before:]
            return plain

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._nodes += 1
        self._levels += 1
        if self._levels > _MOST_LEVELS:
            raise RequestError(f"it is nested more than {_MOST_LEVELS} levels deep")
        if self._nodes > _MOST_NODES:
            raise RequestError(f"it has more than {_MOST_NODES:,} parts")
        try:
            yield
        finally:
            self._levels -= 1

    def _resolve(self, schema: object) -> Schema:
        """Replace $ref and allOf by what they stand for. References that are followed stay in _open."""
        with self._inside():
            own = _object_of(schema)
            rest = {key: value for key, value in own.items() if key not in ("$ref", "allOf")}
            before, followed = len(self._open), list[str]()
            merged: Schema = {}
            if "$ref" in own:
                merged = self._follow(own["$ref"])
            if isinstance(own.get("allOf"), list):
                for member in own["allOf"]:
                    # Members stand side by side: what one refers to is no recursion in the next.
                    followed += self._open[before:]
                    del self._open[before:]
                    merged = _merge(merged, self._resolve(member))
            self._open[before:before] = followed
            return _merge(merged, rest)

    def _follow(self, reference: object) -> Schema:
        if not isinstance(reference, str):
            raise RequestError(f"its $ref is {type(reference).__name__}, not the name of a definition")
        if reference in self._open:
            return {"reference": f"{self._name(reference)} /* recursive */"}
        if self._nodes > _ROOMY_NODES and reference in self._spelt:
            return {"reference": f"{self._name(reference)} /* as above */"}
        target = self._root
        for step in unquote(reference).removeprefix("#/").split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and step.isdecimal() and len(step) < 9 and int(step) < len(target):
                target = target[int(step)]
            elif isinstance(target, dict) and step in target:
                target = target[step]
            else:
                return {"reference": f"{self._name(reference)} /* not defined */"}
        self._open.append(reference)
        self._spelt.add(reference)
        return self._resolve(target)

    def _name(self, reference: str) -> str:
        """A short name for a definition, safe inside the types."""
        name = reference.rpartition("/")[2] if "/" in reference else ""
        if not name and isinstance(self._root, dict):
            name = str(self._root.get("title") or "")
        return "".join(char for char in unquote(name) if char.isalnum() or char in "_.-")[:64] or "self"

    def _plain(self, schema: Schema) -> Schema:
        """Of a schema without $ref and allOf."""
        plain = self._union(schema)
        if plain is None:
            plain = self._value(schema)
        for key in ("title", "description"):
            if isinstance(schema.get(key), str):
                plain[key] = schema[key]
        if isinstance(schema.get("examples"), list) and schema["examples"]:
            plain["examples"] = [self._json(example) for example in schema["examples"]]
        if "default" in schema:
            plain["default"] = self._json(schema["default"])
        if schema.get("nullable") is True:
            plain["nullable"] = True
        if plain.get("nullable") and _allows_null(plain):
            del plain["nullable"]
        return plain

    def _union(self, schema: Schema) -> Schema | None:
        """The oneOf or anyOf of a schema; None if it has none, or one that only constrains what stands beside it."""
        key = next((key for key in ("oneOf", "anyOf") if isinstance(schema.get(key), list) and schema[key]), None)
        if key is None:
            return None
        around = {part: schema[part] for part in _INHERITED if part in schema}
        variants = []
        distinct = not around
        for member in schema[key]:
            if member is False:
                continue
            before = len(self._open)
            resolved = self._resolve(member)
            distinct |= any(part in resolved for part in _TELLING)
            with self._inside():
                variants.append(self._plain(_merge(around, resolved)))
            del self._open[before:]
        if not distinct:
            return None
        others = [variant for variant in variants if variant.get("type") != "null"]
        has_null = len(others) < len(variants)
        if not others:
            return {"type": "null"} if has_null else {}
        if len(others) == 1 and (has_null or key == "anyOf"):
            return {**others[0], **({"nullable": True} if has_null else {})}
        if (has_null or key == "anyOf") and (names := _names(others)):
            return _typed(names, has_null)
        return {"oneOf": [*others, *([{"type": "null"}] if has_null else [])]}

    def _value(self, schema: Schema) -> Schema:
        """What a schema without a union says."""
        if "reference" in schema and not any(part in schema for part in ("enum", "const", *_PARTS)):
            return {"reference": schema["reference"]}
        names = _type_names(schema.get("type"))
        if "const" in schema or (isinstance(schema.get("enum"), list) and schema["enum"]):
            values = [schema["const"]] if "const" in schema else schema["enum"]
            if plain := self._enum([self._json(value) for value in values], names):
                return plain
        if isinstance(schema.get("type"), list) and names and not any(part in schema for part in _PARTS):
            return {"type": names}
        if not names:
            names = [implied for key, implied in _IMPLIED.items() if key in schema][:1]
        if not names:
            return {}
        kinds = [self._kind(name, schema) for name in names if name != "null"]
        if len(kinds) < 2:
            return {**kinds[0], **({"nullable": True} if "null" in names else {})} if kinds else {"type": "null"}
        return {"oneOf": [*kinds, *([{"type": "null"}] if "null" in names else [])]}

    def _enum(self, values: list[Any], names: list[str]) -> Schema:
        """An enum as far as its values are of the types named; empty if none is."""
        values = [value for value in values if not names or any(_is(value, name) for name in names)]
        others = [value for value in values if value is not None]
        if not others:
            return {"type": "null"} if values else {}
        fitting = [name for name in _TYPES if all(_is(value, name) for value in others)]
        plain: Schema = {"type": fitting[0]} if fitting else {}
        if fitting != ["boolean"] or len(set(others)) == 1:
            plain["enum"] = others
        return {**plain, **({"nullable": True} if len(others) < len(values) else {})}

    def _kind(self, name: str, schema: Schema) -> Schema:
        """What a schema says of values of one type."""
        plain: Schema = {"type": name}
        if name == "object":
            self._add_properties(plain, schema)
        elif name == "array":
            items = schema.get("items")
            members = schema.get("prefixItems", items if isinstance(items, list) else None)
            if isinstance(members, list) and members:
                plain["prefixItems"] = [self.read(member) for member in members]
            elif items is not None and items is not False and not isinstance(items, list):
                plain["items"] = self.read(items)
        return plain

    def _add_properties(self, plain: Schema, schema: Schema) -> None:
        properties = schema.get("properties", {})
        if not isinstance(properties, dict) or not all(isinstance(key, str) for key in properties):
            raise RequestError('its "properties" are not an object')
        plain["properties"] = {key: self.read(value) for key, value in properties.items() if value is not False}
        if isinstance(schema.get("required"), list):
            plain["required"] = [key for key in schema["required"] if isinstance(key, str)]
        others = schema.get("additionalProperties")
        if not isinstance(others, dict) and isinstance(schema.get("patternProperties"), dict):
            others = {"anyOf": list(schema["patternProperties"].values())}
        if isinstance(others, dict) and (value := self.read(others)):
            plain["additionalProperties"] = value

    def _json(self, value: object) -> Any:
        """A default, an example or a value of an enum, if it can be written as JSON."""
        with self._inside():
            match value:
                case None | bool() | int() | str():
                    return value
                case float() if math.isfinite(value):
                    return value
                case list() | tuple():
                    return [self._json(item) for item in value]
                case dict() if all(isinstance(key, str) for key in value):
                    return {key: self._json(item) for key, item in value.items()}
        raise RequestError(f"it contains a value that is not JSON ({type(value).__name__})")


def _object_of(schema: object) -> Schema:
    if isinstance(schema, bool):
        return {}
    if not isinstance(schema, dict):
        raise RequestError(f"it has {'null' if schema is None else type(schema).__name__} where a schema should be")
    return schema


def _merge(first: Schema, second: Schema) -> Schema:
    """Both at once. Where they disagree, `second` counts."""
    merged = {**first, **second}
    if isinstance(mine := first.get("properties"), dict) and isinstance(theirs := second.get("properties"), dict):
        both = {key: {"allOf": [mine[key], theirs[key]]} for key in mine if key in theirs}
        merged["properties"] = {**mine, **theirs, **both}
    if isinstance(mine := first.get("required"), list) and isinstance(theirs := second.get("required"), list):
        merged["required"] = [*mine, *theirs]
    return merged


def _type_names(names: object) -> list[str]:
    """The types a schema names, in JSON schema's words."""
    found = []
    for name in names if isinstance(names, list) else [] if names is None else [names]:
        word = name.lower() if isinstance(name, str) else ""
        if (known := _TYPES.get(word) or _ALIASES.get(word)) is None:
            raise RequestError(f"its type {str(name)[:40]!r} is not one of {', '.join(_TYPES)}")
        found.append(known)
    return found


def _names(variants: Iterable[Schema]) -> list[str]:
    """The types of variants that say nothing else; empty if one says more. (A title only names the type.)"""
    names: list[str] = []
    for variant in variants:
        kind = variant.get("type")
        if variant.keys() - {"type", "title"} or kind in ("object", "array", None):
            return []
        names += kind if isinstance(kind, list) else [kind]
    return names


def _typed(names: list[str], has_null: bool) -> Schema:
    """One type, or a list of several; an integer beside a number is no type of its own."""
    names = list(dict.fromkeys([*names, *(["null"] if has_null else [])]))
    if "number" in names and "integer" in names:
        names.remove("integer")
    return {"type": names if len(names) > 1 else names[0]}


def _is(value: object, name: str) -> bool:
    """Whether a JSON value is of a type."""
    match value:
        case None:
            return name == "null"
        case bool():
            return name == "boolean"
        case int():
            return name in ("integer", "number")
        case float():
            return name == "number" or (name == "integer" and value.is_integer())
        case str():
            return name == "string"
        case list():
            return name == "array"
    return name == "object"


def _allows_null(schema: Schema) -> bool:
    """Whether a plain schema, `nullable` aside, says null itself."""
    kind = schema.get("type")
    return (
        kind == "null"
        or (isinstance(kind, list) and "null" in kind)
        or any(variant.get("nullable") or _allows_null(variant) for variant in schema.get("oneOf", ()))
    )
