"""What each form of a JSON schema becomes, branch by branch: the plain schema itself, not its types."""

from typing import Any

import pytest

from mlx_model.errors import RequestError
from mlx_model.harmony.schema import normalise

S: dict[str, Any] = {"type": "string"}
NULL: dict[str, Any] = {"type": "null"}

FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a pointer's escapes in order": ({"$ref": "#/$defs/a~01b~1c", "$defs": {"a~1b/c": S}}, S),
    "ref into a list out of range": ({"$ref": "#/x/2", "x": [S, S]}, {"reference": "2 /* not defined */"}),
    "ref into a list by a huge number": (
        {"$ref": "#/x/0000000001", "x": [S, S]},
        {"reference": "0000000001 /* not defined */"},
    ),
    "ref to first of list": ({"$ref": "#/x/0", "x": [S, 1]}, S),
    "ref into a list by no number": ({"$ref": "#/x/-1", "x": [S]}, {"reference": "-1 /* not defined */"}),
    "ref through a text": ({"$ref": "#/x/y", "x": "y"}, {"reference": "y /* not defined */"}),
    "same def twice": (
        {"properties": {"a": {"$ref": "#/T"}, "b": {"$ref": "#/T"}}, "T": S},
        {"type": "object", "properties": {"a": S, "b": S}},
    ),
    "same def in union members": (
        {"oneOf": [{"$ref": "#/T"}, {"$ref": "#/T"}], "T": {"type": "object"}},
        {"oneOf": [{"type": "object", "properties": {}}, {"type": "object", "properties": {}}]},
    ),
    "same def in two members of allOf": ({"allOf": [{"$ref": "#/T"}, {"$ref": "#/T"}], "T": S}, S),
    "same def beside and in allOf": (
        {"$ref": "#/T", "allOf": [{"$ref": "#/U"}, {"$ref": "#/T"}], "T": S, "U": {"$ref": "#/T"}},
        S,
    ),
    "recursion through allOf": (
        {
            "$ref": "#/T",
            "T": {"allOf": [{"$ref": "#/U"}, {"properties": {"t": {"$ref": "#/T"}, "u": {"$ref": "#/U"}}}]},
            "U": {"type": "object"},
        },
        {
            "type": "object",
            "properties": {"t": {"reference": "T /* recursive */"}, "u": {"reference": "U /* recursive */"}},
        },
    ),
    "recursion inside a union": (
        {"$ref": "#/T", "T": {"anyOf": [{"type": "array", "items": {"$ref": "#/T"}}, S]}},
        {"oneOf": [{"type": "array", "items": {"reference": "T /* recursive */"}}, S]},
    ),
    "root title name": (
        {"title": "A b", "properties": {"x": {"$ref": "#"}}},
        {"type": "object", "properties": {"x": {"reference": "Ab /* recursive */"}}, "title": "A b"},
    ),
    "nullable null": ({"type": ["string", "null"], "nullable": True}, {"type": ["string", "null"]}),
    "nullable string": ({"type": "string", "nullable": True}, {"type": "string", "nullable": True}),
    "nullable word": ({"type": "string", "nullable": "yes"}, S),
    "nullable false": ({"type": "string", "nullable": False}, S),
    "nullable oneOf with null": (
        {"oneOf": [{"type": "object"}, NULL], "nullable": True},
        {"type": "object", "properties": {}, "nullable": True},
    ),
    "nullable oneOf nullable member": (
        {"oneOf": [{"type": "object", "nullable": True}, S], "nullable": True},
        {"oneOf": [{"type": "object", "properties": {}, "nullable": True}, S]},
    ),
    "nullable nulltype": ({"type": "null", "nullable": True}, NULL),
    "empty examples": ({"type": "string", "examples": []}, S),
    "examples text": ({"type": "string", "examples": "abc"}, S),
    "examples tuple": (
        {"type": "array", "examples": [(1, [2.5])], "default": False},
        {"type": "array", "examples": [[1, [2.5]]], "default": False},
    ),
    "default none": ({"type": "string", "default": None}, {"type": "string", "default": None}),
    "title not text": ({"type": "string", "title": 5, "description": ["x"]}, S),
    "empty anyOf": ({"anyOf": [], "type": "string"}, S),
    "empty oneOf beside anyOf": ({"oneOf": [], "anyOf": [S, {"type": "integer"}]}, {"type": ["string", "integer"]}),
    "oneOf before anyOf": ({"oneOf": [{"const": 1}], "anyOf": [S]}, {"oneOf": [{"type": "number", "enum": [1]}]}),
    "anyOf no list": ({"anyOf": {"a": 1}, "type": "string"}, S),
    "anyOf null": ({"anyOf": [NULL]}, NULL),
    "anyOf false": ({"anyOf": [False]}, {}),
    "oneOf false null": ({"oneOf": [False, NULL]}, NULL),
    "oneOf one": ({"oneOf": [S]}, {"oneOf": [S]}),
    "anyOf one": ({"anyOf": [S]}, S),
    "oneOf one and null": ({"oneOf": [S, NULL]}, {"type": "string", "nullable": True}),
    "anyOf strings": ({"anyOf": [S, S]}, S),
    "oneOf strings": ({"oneOf": [S, {"type": "integer"}]}, {"oneOf": [S, {"type": "integer"}]}),
    "oneOf strings null": ({"oneOf": [S, {"type": "integer"}, NULL]}, {"type": ["string", "integer", "null"]}),
    "anyOf list types": (
        {"anyOf": [{"type": ["string", "integer"]}, {"type": "number"}]},
        {"type": ["string", "number"]},
    ),
    "anyOf with any": ({"anyOf": [S, {}]}, {"oneOf": [S, {}]}),
    "anyOf with array": ({"anyOf": [S, {"type": "array"}]}, {"oneOf": [S, {"type": "array"}]}),
    "anyOf desc": (
        {"anyOf": [{"type": "string", "description": "d"}, {"type": "integer"}]},
        {"oneOf": [{"type": "string", "description": "d"}, {"type": "integer"}]},
    ),
    "anyOf around": (
        {"type": "object", "properties": {"a": S}, "anyOf": [{"minProperties": 1}]},
        {"type": "object", "properties": {"a": S}},
    ),
    "anyOf around telling": ({"type": "string", "anyOf": [{"pattern": "x"}, {"format": "date"}]}, S),
    "const and enum": ({"const": "a", "enum": ["b"]}, {"type": "string", "enum": ["a"]}),
    "const of another type": ({"type": "string", "const": 1}, S),
    "enum empty": ({"type": "string", "enum": []}, S),
    "enum no list": ({"type": "string", "enum": "ab"}, S),
    "type null list": ({"type": ["null"]}, {"type": ["null"]}),
    "type empty list": ({"type": []}, {}),
    "type list one": ({"type": ["string"]}, {"type": ["string"]}),
    "type list object null": (
        {"type": ["object", "null"], "properties": {}},
        {"type": "object", "properties": {}, "nullable": True},
    ),
    "type list array object": (
        {"type": ["array", "object"], "items": S, "properties": {"a": S}},
        {"oneOf": [{"type": "array", "items": S}, {"type": "object", "properties": {"a": S}}]},
    ),
    "type list array object null": (
        {"type": ["array", "object", "null"], "items": S},
        {"oneOf": [{"type": "array", "items": S}, {"type": "object", "properties": {}}, NULL]},
    ),
    "implied first": ({"items": S, "minimum": 1}, {"type": "array", "items": S}),
    "enum true": ({"enum": [True]}, {"type": "boolean", "enum": [True]}),
    "enum false": ({"enum": [False]}, {"type": "boolean", "enum": [False]}),
    "enum bools": ({"enum": [True, False]}, {"type": "boolean"}),
    "enum true true": ({"enum": [True, True]}, {"type": "boolean", "enum": [True, True]}),
    "enum ints": ({"enum": [1, 2]}, {"type": "number", "enum": [1, 2]}),
    "enum floats": ({"enum": [1.0, 2.5]}, {"type": "number", "enum": [1.0, 2.5]}),
    "enum int type": ({"type": "integer", "enum": [1, 2.0, 2.5, True, "x"]}, {"type": "number", "enum": [1, 2.0]}),
    "enum number type": ({"type": "number", "enum": [1, 2.5, True]}, {"type": "number", "enum": [1, 2.5]}),
    "enum boolean type": ({"type": "boolean", "enum": [True, 1]}, {"type": "boolean", "enum": [True]}),
    "enum null type": (
        {"type": ["string", "null"], "enum": ["a", None]},
        {"type": "string", "enum": ["a"], "nullable": True},
    ),
    "enum null not allowed": ({"type": "string", "enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
    "enum lists": ({"enum": [[1], [2]]}, {"type": "array", "enum": [[1], [2]]}),
    "enum dicts": ({"enum": [{"a": 1}]}, {"type": "object", "enum": [{"a": 1}]}),
    "enum nulls": ({"enum": [None, None]}, NULL),
    "prefix empty": ({"type": "array", "prefixItems": [], "items": S}, {"type": "array", "items": S}),
    "items false": ({"type": "array", "items": False}, {"type": "array"}),
    "items true": ({"type": "array", "items": True}, {"type": "array", "items": {}}),
    "items empty list": ({"type": "array", "items": []}, {"type": "array"}),
    "prefix no list": ({"type": "array", "prefixItems": S, "items": S}, {"type": "array", "items": S}),
    "items null": ({"type": "array", "items": None}, {"type": "array"}),
    "required odd": (
        {"properties": {"a": S}, "required": ["a", 5, None]},
        {"type": "object", "properties": {"a": S}, "required": ["a"]},
    ),
    "required no list": ({"properties": {"a": S}, "required": "a"}, {"type": "object", "properties": {"a": S}}),
    "additional true": ({"type": "object", "additionalProperties": True}, {"type": "object", "properties": {}}),
    "additional empty": ({"type": "object", "additionalProperties": {}}, {"type": "object", "properties": {}}),
    "additional and pattern": (
        {"type": "object", "additionalProperties": S, "patternProperties": {"x": {"type": "integer"}}},
        {"type": "object", "properties": {}, "additionalProperties": S},
    ),
    "additional false and pattern": (
        {"type": "object", "additionalProperties": False, "patternProperties": {"x": {"type": "integer"}}},
        {"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}},
    ),
    "patterns": (
        {"patternProperties": {"x": {"type": "integer"}, "y": S}},
        {"type": "object", "properties": {}, "additionalProperties": {"type": ["integer", "string"]}},
    ),
    "pattern no dict": ({"type": "object", "patternProperties": [1]}, {"type": "object", "properties": {}}),
    "merge properties": (
        {
            "allOf": [{"properties": {"a": {"type": "string", "description": "1"}}, "required": ["a"]}],
            "properties": {"a": {"description": "2"}, "b": S},
            "required": ["b"],
        },
        {"type": "object", "properties": {"a": {"type": "string", "description": "2"}, "b": S}, "required": ["a", "b"]},
    ),
    "merge disagree": (
        {"allOf": [{"type": "string", "title": "1"}, {"type": "integer"}], "title": "2"},
        {"type": "integer", "title": "2"},
    ),
    "allOf no list": ({"allOf": S, "type": "integer"}, {"type": "integer"}),
    "reference with parts": ({"$ref": "#/nowhere", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
    "reference with const": ({"$ref": "#/nowhere", "const": 3}, {"type": "number", "enum": [3]}),
    "reference with properties": (
        {"$ref": "#/nowhere", "properties": {"a": S}},
        {"type": "object", "properties": {"a": S}},
    ),
    "reference with description": (
        {"$ref": "#/nowhere", "description": "d"},
        {"reference": "nowhere /* not defined */", "description": "d"},
    ),
    "reference null": (
        {"anyOf": [{"$ref": "#/nowhere"}, NULL]},
        {"reference": "nowhere /* not defined */", "nullable": True},
    ),
    "reference with type": ({"$ref": "#/nowhere", "type": "object"}, {"reference": "nowhere /* not defined */"}),
    "null inside a union that may be null": (
        {"oneOf": [{"type": "object"}, {"type": ["string", "null"]}], "nullable": True},
        {"oneOf": [{"type": "object", "properties": {}}, {"type": ["string", "null"]}]},
    ),
    "a union without null that may be null": (
        {"oneOf": [S, {"type": "object"}], "nullable": True},
        {"oneOf": [S, {"type": "object", "properties": {}}], "nullable": True},
    ),
    "enum of an array type": ({"type": "array", "enum": [[1], {"a": 1}, "x"]}, {"type": "array", "enum": [[1]]}),
    "enum of an object type": ({"type": "object", "enum": [[1], {"a": 1}]}, {"type": "object", "enum": [{"a": 1}]}),
    "enum of mixed types": ({"enum": [[1], "x", 1.5, None]}, {"enum": [[1], "x", 1.5], "nullable": True}),
    "oneOf of nothing that fits": ({"oneOf": [False]}, {}),
    "anyOf of nulls": ({"anyOf": [NULL, NULL]}, NULL),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    schema, plain = FORMS[form]
    assert normalise(schema) == plain
    assert normalise(plain) == plain


@pytest.mark.parametrize(
    ("around", "member", "plain"),
    [
        ({"type": "string"}, {"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"enum": ["a"]}, S, {"type": "string", "enum": ["a"]}),
        ({"const": 1}, {"type": "integer"}, {"type": "number", "enum": [1]}),
        ({"items": S}, {"type": "array"}, {"type": "array", "items": S}),
        ({"prefixItems": [S]}, {"type": "array"}, {"type": "array", "prefixItems": [S]}),
        ({"properties": {"a": S}}, {"type": "object"}, {"type": "object", "properties": {"a": S}}),
        (
            {"additionalProperties": S},
            {"type": "object"},
            {"type": "object", "properties": {}, "additionalProperties": S},
        ),
        (
            {"patternProperties": {"x": S}},
            {"type": "object"},
            {"type": "object", "properties": {}, "additionalProperties": S},
        ),
        ({"required": ["a"]}, {"type": "object"}, {"type": "object", "properties": {}, "required": ["a"]}),
        ({"description": "d", "title": "t"}, {"type": "object"}, {"type": "object", "properties": {}}),
    ],
)
def test_members_of_a_union_take_part_in_what_stands_around_it(
    around: dict[str, Any], member: dict[str, Any], plain: dict[str, Any]
) -> None:
    for key in ("oneOf", "anyOf"):
        found = normalise({**around, key: [member, {"type": "boolean", "description": "d"}]})
        assert found["oneOf"][0] == plain


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("object", ["properties", "additionalProperties", "patternProperties"]),
        ("array", ["items", "prefixItems"]),
        ("string", ["pattern", "minLength", "maxLength"]),
        ("number", ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ],
)
def test_a_key_that_only_one_type_has_implies_it(kind: str, keys: list[str]) -> None:
    """Also for the member of a union, which is no mere condition then."""
    for key in keys:
        assert normalise({key: {}})["type"] == kind
        assert normalise({"oneOf": [{key: {}}], "description": "d"})["oneOf"][0]["type"] == kind


@pytest.mark.parametrize(("word", "kind"), [
    ("str", "string"), ("int", "integer"), ("float", "number"), ("bool", "boolean"), ("dict", "object"),
    ("list", "array"), ("NULL", "null"), ("Integer", "integer"),
])  # fmt: skip
def test_types_in_other_words(word: str, kind: str) -> None:
    assert normalise({"type": word})["type"] == kind


@pytest.mark.parametrize(("length", "kept"), [(63, 63), (64, 64), (65, 64)])
def test_names_are_short_and_safe(length: int, kept: int) -> None:
    assert normalise({"$ref": f"#/{'n' * length}"}) == {"reference": f"{'n' * kept} /* not defined */"}
    for reference, name in (
        ("#", "self"),
        ("", "self"),
        ("#/%2A%2F", "self"),
        ("#/a/b_c.d-1", "b_c.d-1"),
        ("x", "self"),
    ):
        found = normalise({"properties": {"p": {"$ref": reference}}})["properties"]["p"]["reference"]
        assert found.partition(" ")[0] == name


def test_how_deep_a_value_may_be() -> None:
    """40 levels: the schema, 38 lists and what is in the innermost."""
    value: Any = 1
    for _ in range(38):
        value = [value]
    assert normalise({"default": value}) == {"default": value}
    with pytest.raises(RequestError, match="nested more than 40 levels deep"):
        normalise({"default": [value]})


def test_how_many_parts_a_schema_may_have() -> None:
    """It is one part when it is read, and one when it is resolved."""
    assert len(normalise({"enum": list(range(19_998))})["enum"]) == 19_998
    with pytest.raises(RequestError, match="more than 20,000 parts"):
        normalise({"enum": list(range(19_999))})
