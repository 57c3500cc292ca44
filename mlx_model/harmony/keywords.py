"""Finds keywords of a JSON schema that no program knows: misspelt ones, above all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Objects with schemas under names of any kind."""

_OF_A_SCHEMA = (
    *("items", "additionalItems", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"),
    *("unevaluatedItems", "unevaluatedProperties", "contentSchema", "anyOf", "oneOf", "allOf", "prefixItems"),
)
"""A schema, or a list of them."""

_OTHERS = (
    *("type", "enum", "const", "format", "pattern", "required", "dependentRequired", "dependencies"),
    *(f"{end}{what}" for end in ("min", "max") for what in ("Length", "Items", "Properties", "Contains", "imum")),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "uniqueItems"),
    *("$schema", "$id", "id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"),
    *("$vocabulary", "$comment", "title", "description", "default", "example", "examples", "deprecated", "readOnly"),
    *("writeOnly", "contentEncoding", "contentMediaType", "discriminator", "externalDocs", "xml"),
)
"""Assertions, and what only describes. (OpenAPI's `nullable` is not among them: it would have to allow null.)"""

_KNOWN = frozenset((*_OF_SCHEMAS, *_OF_A_SCHEMA, *_OTHERS))


def unknown_keywords(schema: Mapping[str, Any]) -> list[str]:
    """The keywords of a schema, at any depth, that neither bind nor describe anything, each once. Those that begin with
    x- are somebody's own and meant to be passed over."""
    return [*dict.fromkeys(_unknown(schema))]


def _unknown(schema: object) -> Iterator[str]:
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        if not isinstance(each, Mapping):
            continue
        yield from (str(key) for key in each if key not in _KNOWN and not str(key).startswith("x-"))
        if (
            "prefixItems" in each and "additionalItems" in each
        ):  # of two versions of JSON schema; llguidance reads neither
            yield from ("prefixItems", "additionalItems")
        waiting += [value for key, value in each.items() if key in _OF_A_SCHEMA]
        for key in _OF_SCHEMAS:
            if isinstance(inner := each.get(key), Mapping):
                waiting += inner.values()
