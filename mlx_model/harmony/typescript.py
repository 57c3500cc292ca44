"""Plain JSON schemas as the TypeScript-like types by which functions are declared to gpt-oss.

Layout and quirks are those of openai-harmony (0.0.8), on which the model was trained: no parentheses around unions,
nested bodies four columns in and variants three, an object's own description before its brace. Schemas are those of
`schema.normalise`, which has replaced what the library would lose by forms that can be written here.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

# Characters that would end a quoted text, or its line, too early.
_BREAKS = re.compile(r'["\x00-\x1f\x7f-\x9f\u2028\u2029]')
_NO_KEY = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def typescript(schema: dict[str, Any], indent: str = "") -> str:
    """The type of a normalised schema. `indent` is that of an object's properties; its first line has none."""
    match schema:
        case {"reference": name}:
            return str(name)
        case {"oneOf": variants}:
            return "".join(f"\n{indent} | {_variant(variant, indent)}" for variant in variants)
        case {"enum": values}:
            return " | ".join(_literal(value) for value in values)
        case {"type": list(names)}:
            return " | ".join("number" if name == "integer" else name for name in names)
        case {"type": "object"}:
            return _object(schema, indent)
        case {"type": "array", "prefixItems": items}:
            return f"[{', '.join(_type(item, indent) for item in items)}]"
        case {"type": "array", "items": items}:
            return f"{_type(items, indent)}[]"
        case {"type": "array"}:
            return "Array<any>"
        case {"type": "integer"}:
            return "number"
        case {"type": name}:
            return str(name)
    return "any"


def comment(text: str, indent: str = "") -> list[str]:
    """A text as comment lines. An empty one gives an empty comment."""
    return [f"{indent}// {line}" for line in text.splitlines() or [""]]


def json_text(value: object) -> str:
    """JSON as the library writes it (Rust's serde_json): without spaces, not limited to ASCII, numbers as Rust's."""
    match value:
        case dict():
            return "{" + ",".join(f"{json_text(key)}:{json_text(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(json_text, value)) + "]"
        case float():
            return _float(value)
    return json.dumps(value, ensure_ascii=False)


def _type(schema: dict[str, Any], indent: str) -> str:
    """As `typescript`, with the null that a nullable schema adds."""
    return typescript(schema, indent) + (" | null" if schema.get("nullable") else "")


def _object(schema: dict[str, Any], indent: str) -> str:
    lines = comment(schema["description"], indent) if "description" in schema else []
    lines.append("{")
    required = schema.get("required", ())
    for key, value in schema.get("properties", {}).items():
        name = json_text(key) if _NO_KEY.search(key) else key
        lines += _property(name if key in required else f"{name}?", value, indent)
    if "additionalProperties" in schema:
        lines.append(f"{indent}[key: string]: {_type(schema['additionalProperties'], f'{indent}    ')},")
    return "\n".join([*lines, f"{indent}}}"])


def _property(name: str, schema: dict[str, Any], indent: str) -> list[str]:
    """The lines of one property: comments, name and type, default."""
    lines = []
    if "title" in schema:
        lines += [*comment(schema["title"], indent), f"{indent}//"]
    variants = schema.get("oneOf", [])
    description = schema.get("description")
    # The library prints a description once if the first variant has the same one.
    own = description if not variants or variants[0].get("description") != description else None
    if own is not None and not variants:
        lines += comment(own, indent)
    if examples := schema.get("examples", []):
        texts = [example for example in examples if isinstance(example, str)]
        lines += [f"{indent}// Examples:", *(f"{indent}// - {_literal(example)}" for example in texts or examples)]
    if not variants:
        default = f" // {_default(schema)}" if "default" in schema else ""
        return [*lines, f"{indent}{name}: {_type(schema, f'{indent}    ')},{default}"]
    if own is not None:
        lines += comment(own, indent)
    if "default" in schema:
        lines.append(f"{indent}// {_default(schema)}")
    lines.append(f"{indent}{name}:")
    for i, variant in enumerate(variants):
        known = (i == 0 and own is not None) or variant.get("description") == description
        lines.append(f"{indent} | {_variant(variant, indent, of_property=True, described=not known)}")
    return [*lines, f"{indent},"]


def _variant(schema: dict[str, Any], indent: str, *, of_property: bool = False, described: bool = True) -> str:
    """One member of a union, with description and default behind it."""
    notes = []
    if described and "description" in schema:
        notes.append(" ".join(schema["description"].splitlines()))
    if "default" in schema:
        notes.append(_default(schema, of_property=of_property))
    return _type(schema, f"{indent}   ") + (f" // {' '.join(notes)}" if notes else "")


def _default(schema: dict[str, Any], *, of_property: bool = True) -> str:
    """A default that is one of an enum's texts has no quotes if it is a property's, and is JSON if it is not."""
    value = schema["default"]
    if not isinstance(value, str) or "enum" not in schema:
        return f"default: {_literal(value)}"
    if of_property and not _BREAKS.search(value):
        return f"default: {value}"
    return f"default: {json_text(value)}"


def _literal(value: object) -> str:
    """Texts as they are, between quotes; escaped only if they would end the quotes or the line."""
    if isinstance(value, str) and not _BREAKS.search(value):
        return f'"{value}"'
    return json_text(value)


def _float(value: float) -> str:
    """The shortest digits that give the number back, laid out as Rust's ryu does: 1.0, 0.00001, 1e16, 1.5e-7."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    if not value:
        text = "0.0"
    elif 0 < point <= 16:
        text = text.ljust(point, "0")
        text = f"{text[:point]}.{text[point:] or '0'}"
    elif -5 < point <= 0:
        text = f"0.{'0' * -point}{text}"
    else:
        text = f"{text[0]}{'.' * (len(text) > 1)}{text[1:]}e{point - 1}"
    return "-" * sign + text
