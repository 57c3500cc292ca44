"""The flavours of JSON schema that people and programs write, and what the model is shown for each."""

from enum import IntEnum
from typing import Annotated, Any, Literal

import pydantic
import pytest

from mlx_model.harmony.schema import normalise
from mlx_model.harmony.typescript import typescript
from tests.fixtures.conversations import library_types


def types(schema: object) -> str:
    return typescript(normalise(schema))


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
# What people write, and its type. The library renders `any` or less for each.
FLAVOURS: dict[str, tuple[Any, str]] = {
    "ref": ({"$ref": "#/$defs/T", "$defs": {"T": {"type": "string"}}}, "string"),
    "ref in definitions": ({"$ref": "#/definitions/T", "definitions": {"T": {"type": "integer"}}}, "number"),
    "ref with an escaped name": ({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "string"}}}, "string"),
    "ref into a list": ({"$ref": "#/x/1", "x": [1, {"type": "string"}]}, "string"),
    "ref of a ref": ({"$ref": "#/a", "a": {"$ref": "#/b"}, "b": {"type": "string"}}, "string"),
    "ref with a description of its own": (
        {"properties": {"p": {"$ref": "#/T", "description": "mine"}}, "T": {"type": "string", "description": "its"}},
        "{\n// mine\np?: string,\n}",
    ),
    "ref to itself": ({"$ref": "#/a", "a": {"$ref": "#/a"}}, "a /* recursive */"),
    "ref to elsewhere": ({"$ref": "https://example.org/T.json"}, "T.json /* not defined */"),
    "ref with markup in it": ({"$ref": "#/*/ evil\n"}, "evil /* not defined */"),
    "recursion": ({"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}, "{\nnext?: Node /* recursive */,\n}"),
    "recursion with its type told twice": (
        {"type": "object", "properties": {"a": {"type": "object", "$ref": "#"}}},
        "{\na?: self /* recursive */,\n}",
    ),
    "recursion to the root": (
        {"title": "Tree", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}},
        "{\nkids?: Tree /* recursive */[],\n}",
    ),
    "anyOf with null": ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string"),
    "anyOf of simple types": ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "number | string"),
    "anyOf of integer and number": ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, "number"),
    "anyOf of simple types and null": (
        {"anyOf": [{"type": "integer"}, {"type": "null"}, {"type": "string", "title": "T"}]},
        "number | string | null",
    ),
    "anyOf of more": (
        {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string", "description": "one"}]},
        "\n | string[]\n | string // one",
    ),
    "oneOf with null": (
        {"oneOf": [{"type": "object", "properties": {"a": {"type": "number"}}}, {"const": "x"}, {"type": "null"}]},
        '\n | {\n   a?: number,\n   }\n | "x"\n | null',
    ),
    "a property that may be null": (
        {
            "properties": {"p": {"anyOf": [{"$ref": "#/T"}, {"type": "null"}]}},
            "T": {"properties": {"q": {"type": "null"}}},
        },
        "{\np?: {\n    q?: null,\n    } | null,\n}",
    ),
    "items that may be null": ({"type": "array", "items": {"type": "string", "nullable": True}}, "string | null[]"),
    "anyOf that only constrains": (
        {"properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        "{\na?: string,\n}",
    ),
    "anyOf with a common part": (
        {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "required": ["a"],
            "anyOf": [
                {"properties": {"b": {"type": "string"}}, "required": ["b"]},
                {"properties": {"c": {"const": 1}}},
            ],
        },
        "\n | {\n   a: string,\n   b: string,\n   }\n | {\n   a: string,\n   c?: 1,\n   }",
    ),
    "oneOf whose members have no type": (
        {"type": "string", "oneOf": [{"const": "a", "description": "A"}, {"const": "b"}]},
        '\n | "a" // A\n | "b"',
    ),
    "allOf of one": ({"allOf": [{"$ref": "#/T"}], "T": {"enum": ["a"]}}, '"a"'),
    "allOf of objects": (
        {
            "allOf": [
                {"properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"properties": {"b": {"type": "string"}, "a": {"description": "both"}}, "required": ["b"]},
            ],
            "properties": {"c": {"type": "string"}},
        },
        "{\n// both\na: string,\nb: string,\nc?: string,\n}",
    ),
    "allOf of a type and limits": ({"allOf": [{"type": "integer"}, {"minimum": 1}]}, "number"),
    "const": ({"const": "k"}, '"k"'),
    "const of a number": ({"type": "integer", "const": 3}, "3"),
    "const null": ({"const": None}, "null"),
    "enum of integers": ({"type": "integer", "enum": [1, 2]}, "1 | 2"),
    "enum of numbers": ({"type": "number", "enum": [0.5, 1]}, "0.5 | 1"),
    "enum of a boolean": ({"type": "boolean", "enum": [True]}, "true"),
    "enum of both booleans": ({"enum": [True, False]}, "boolean"),
    "enum without type": ({"enum": ["x", "y"]}, '"x" | "y"'),
    "enum of all sorts": ({"enum": ["x", 1, 1.5, True, {"a": [None]}]}, '"x" | 1 | 1.5 | true | {"a":[null]}'),
    "enum with null": ({"properties": {"p": {"enum": ["x", None]}}}, '{\np?: "x" | null,\n}'),
    "enum of null": ({"enum": [None]}, "null"),
    "enum of another type": ({"type": "string", "enum": [1, "a"]}, '"a"'),
    "enum of no fitting value": ({"type": "string", "enum": [1, 2]}, "string"),
    "enum of texts with quotes and lines": ({"enum": ['a"b', "c\nd", "e\\f"]}, '"a\\"b" | "c\\nd" | "e\\f"'),
    "list of types with an object": (
        {"properties": {"p": {"type": ["object", "null"], "properties": {"a": {"type": "string"}}}}},
        "{\np?: {\n    a?: string,\n    } | null,\n}",
    ),
    "list of types with items": (
        {"type": ["array", "string"], "items": {"type": "string"}},
        "\n | string[]\n | string",
    ),
    "null": ({"type": "null"}, "null"),
    "object without type": ({"properties": {"a": {"type": "string"}}}, "{\na?: string,\n}"),
    "array without type": ({"items": {"type": "string"}}, "string[]"),
    "limits without type": (
        {"properties": {"a": {"minimum": 1}, "b": {"pattern": "x"}}},
        "{\na?: number,\nb?: string,\n}",
    ),
    "map": ({"additionalProperties": {"type": "integer"}}, "{\n[key: string]: number,\n}"),
    "map by pattern": ({"patternProperties": {"^x": {"type": "integer"}}}, "{\n[key: string]: number,\n}"),
    "closed object": ({"properties": {}, "additionalProperties": False}, "{\n}"),
    "property that may not be": ({"properties": {"a": False, "b": True}}, "{\nb?: any,\n}"),
    "tuple": ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}, "[string, number]"),
    "tuple as of draft 4": ({"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}, "[string, number]"),
    "Gemini's types": ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, "{\na?: string,\n}"),
    "Python's types": ({"type": "dict", "properties": {"a": {"type": ["str", "int"]}}}, "{\na?: string | number,\n}"),
    "descriptions of several lines": (
        {
            "type": "object",
            "description": "x\ny",
            "properties": {
                "a": {"oneOf": [{"type": "string"}, {"type": "string", "description": "r\ns"}], "description": "p\nq"},
                "b": {"type": "string", "description": "one\n\nthree\u2028four", "title": "T\nU"},
            },
        },
        "// x\n// y\n{\n// p\n// q\na?:\n | string\n | string // r s\n,\n"
        "// T\n// U\n//\n// one\n// \n// three\n// four\nb?: string,\n}",
    ),
    "examples that are no texts": (
        {"properties": {"a": {"type": "integer", "examples": [1, 2]}}},
        "{\n// Examples:\n// - 1\n// - 2\na?: number,\n}",
    ),
    "a name with a line break": ({"properties": {"a\n}": {"type": "string"}}}, '{\n"a\\n}"?: string,\n}'),
    # Nothing was said, and that is what comes out.
    "anything": ({"description": "whatever"}, "any"),
    "true": (True, "any"),
}  # fmt: skip


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_flavours(flavour: str) -> None:
    schema, expected = FLAVOURS[flavour]
    assert types(schema) == expected
    assert normalise(normalise(schema)) == normalise(schema)


class Unit(IntEnum):
    """Units."""

    C = 1
    F = 2


class Place(pydantic.BaseModel):
    """A place on earth."""

    name: str
    at: tuple[float, float] | None = None
    near: "list[Place]" = []


class Circle(pydantic.BaseModel):
    kind: Literal["circle"] = "circle"
    radius: float


class Square(pydantic.BaseModel):
    kind: Literal["square"] = "square"
    side: Annotated[int, pydantic.Field(ge=1)]


class Arguments(pydantic.BaseModel):
    place: Place
    unit: Unit = Unit.C
    days: int | None = pydantic.Field(None, description="How many days.\nAt most ten.")
    tags: dict[str, list[str | int]] = {}
    shape: Annotated[Circle | Square, pydantic.Field(discriminator="kind")]


PYDANTIC = """\
{
// Place
//
// A place on earth.
place:     // A place on earth.
{
    // Name
    //
    name: string,
    // At
    //
    at?: [number, number] | null, // default: null
    // Near
    //
    near?: Place /* recursive */[], // default: []
    },
// Unit
//
// Units.
unit?: 1 | 2, // default: 1
// Days
//
// How many days.
// At most ten.
days?: number | null, // default: null
// Tags
//
tags?: {
    [key: string]: string | number[],
    }, // default: {}
// Shape
//
shape:
 | {
   // Kind
   //
   kind?: "circle", // default: circle
   // Radius
   //
   radius: number,
   }
 | {
   // Kind
   //
   kind?: "square", // default: square
   // Side
   //
   side: number,
   }
,
}"""


def test_pydantic() -> None:
    schema = Arguments.model_json_schema()
    assert library_types(schema).count(" any") == 5
    assert types(schema) == PYDANTIC
