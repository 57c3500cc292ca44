"""JSON schemas as types: the library's text wherever that one is sensible, and nothing lost where it is not."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.errors import RequestError
from mlx_model.harmony.prompt import developer_message
from mlx_model.harmony.schema import normalise
from mlx_model.harmony.tools import FunctionTool
from mlx_model.harmony.typescript import json_text, typescript
from tests.fixtures import FIXTURES
from tests.fixtures.conversations import SENSIBLE_SCHEMA, library_text, library_types

# Made with openai-harmony 0.0.8.
GOLDEN: list[dict[str, Any]] = json.loads((FIXTURES / "data" / "harmony_schema.json").read_text())


def types(schema: object) -> str:
    return typescript(normalise(schema))


# The golden cases in which the library loses something, and what is rendered instead.
BETTER = {
    # anyOf with null, $ref (here to nowhere), const, allOf of one: all `any` in the library.
    "anyof": '{\n// x\na?: string | null, // default: null\nr?: X /* not defined */,\nc?: "k",\nal?: string,\n}',
    # An enum of numbers, one without type; a quote that would end its text.
    "int_enum": '{\na?: 1 | 2,\nb?: "x" | "y",\nc?: "q\\"z",\n}',
    # An enum beside a list of types.
    "typearr": '{\na?: string | null, // default: "d"\nb?: number | null, // default: null\ne?: "a" | null,\n}',
    # Lines two and on were no comments, and the default broke its line.
    "multiline": '{\n// line1\n// line2\na?: string, // default: "p\\nq"\n}',
    # What a map holds.
    "addl": "{\nm?: {\n    [key: string]: string,\n    },\n}",
}


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden(case: dict[str, Any]) -> None:
    assert (
        case["rendered"]
        == f"<|start|>developer<|message|>{library_text(FunctionTool('f', 'D', case['parameters']))}<|end|>"
    )
    if case["name"] in BETTER:
        assert types(case["parameters"]) == BETTER[case["name"]] != library_types(case["parameters"])
    else:
        message = developer_message(functions=[FunctionTool("f", "D", case["parameters"])])
        assert f"<|start|>developer<|message|>{message.text}<|end|>" == case["rendered"]


def test_table_names_golden_cases() -> None:
    assert BETTER.keys() <= {case["name"] for case in GOLDEN}


@settings(max_examples=300, deadline=None)
@given(SENSIBLE_SCHEMA)
def test_sensible_schemas_are_the_librarys(schema: dict[str, Any]) -> None:
    assert types(schema) == library_types(schema)
    assert normalise(normalise(schema)) == normalise(schema)


def test_a_tree_of_references_stays_small() -> None:
    """Each definition uses the next one twice: 2^30 nodes, if all were spelt out."""
    definitions: dict[str, Any] = {
        f"D{i}": {"properties": {"a": {"$ref": f"#/$defs/D{i + 1}"}, "b": {"$ref": f"#/$defs/D{i + 1}"}}}
        for i in range(15)
    }
    definitions["D15"] = {"type": "string"}
    text = types({"$ref": "#/$defs/D0", "$defs": definitions})
    assert "a?: string" in text
    assert "/* as above */" in text
    assert "recursive" not in text
    assert len(text) < 100_000


def test_definitions_that_all_use_each_other_stay_small() -> None:
    names = [f"D{i}" for i in range(12)]
    everything = {"properties": {name: {"$ref": f"#/$defs/{name}"} for name in names}}
    text = types({"$ref": "#/$defs/D0", "$defs": dict.fromkeys(names, everything)})
    assert "D11 /* as above */" in text
    assert len(text) < 1_000_000


def nested(levels: int, key: str = "items") -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        wrapped: dict[str, dict[str, Any]] = {
            "a": {"properties": {"x": schema}},
            "items": {"items": schema},
            "allOf": {"allOf": [schema]},
        }
        schema = wrapped[key]
    return schema


LOOP: dict[str, Any] = {}
LOOP |= {"properties": {"a": LOOP, "b": LOOP}}
LISTS: list[Any] = []
LISTS += [LISTS, LISTS]


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (None, "null where a schema"),
        ("string", "str where a schema"),
        ([], "list where a schema"),
        ({"type": "object", "properties": []}, '"properties" are not an object'),
        ({"properties": {1: {}}}, '"properties" are not an object'),
        ({"properties": {"a": "integer"}}, "str where a schema"),
        ({"properties": {"a": None}}, "null where a schema"),
        ({"anyOf": [3]}, "int where a schema"),
        ({"allOf": [3]}, "int where a schema"),
        ({"type": "date"}, "type 'date' is not one of string"),
        ({"type": ["string", 5]}, "type '5' is not one of string"),
        ({"type": {}}, "type '{}' is not one of string"),
        ({"$ref": 5}, "\\$ref is int"),
        ({"default": {1, 2}}, "not JSON \\(set\\)"),
        ({"default": math.nan}, "not JSON \\(float\\)"),
        ({"enum": [b"x"]}, "not JSON \\(bytes\\)"),
        ({"default": {1: 2}}, "not JSON \\(dict\\)"),
        ({"default": LISTS}, "levels deep"),
        ({"examples": [LISTS]}, "levels deep"),
        (nested(10_000, "a"), "levels deep"),
        (nested(10_000, "items"), "levels deep"),
        (nested(10_000, "allOf"), "levels deep"),
        (LOOP, "levels deep"),
        ({"properties": {str(i): {"type": "string"} for i in range(30_000)}}, "more than 20,000 parts"),
        ({"enum": list(range(30_000))}, "more than 20,000 parts"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_what_is_no_schema_gives_one_clear_error(schema: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        normalise(schema)
    with pytest.raises(RequestError, match=r"the parameters of the function 'f' can't be used: it"):
        FunctionTool("f", "", {"properties": {"x": schema}}).text()


def test_deep_schemas_are_fine() -> None:
    assert types(nested(35)) == "string" + "[]" * 35


KEYWORDS = [
    *("type", "enum", "const", "items", "prefixItems", "properties", "required", "additionalProperties"),
    *("anyOf", "oneOf", "allOf", "$ref", "$defs", "patternProperties"),
    *("default", "examples", "title", "description", "nullable", "a"),
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["#", "#/a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYWORDS),
            inner | st.sampled_from(["string", "object", "array", "null", "integer"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JUNK)
def test_any_json_is_a_type_or_one_error(schema: Any) -> None:
    try:
        plain = normalise(schema)
    except RequestError as error:
        assert "\n" not in str(error)
        return
    assert typescript(plain).strip()
    assert normalise(plain) == plain


@pytest.mark.parametrize("default", ["\\", "x"])
def test_the_default_of_an_enum_in_a_union_is_the_librarys(default: str) -> None:
    schema = {"oneOf": [{"type": "string", "enum": ["x"], "default": default}]}
    assert typescript(normalise(schema)) == library_types(schema)


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_the_librarys(value: float) -> None:
    text = json_text(value)
    assert float(text) == value
    # The library reads numbers with an error in the last place at times; then it writes that.
    theirs = library_types({"oneOf": [{"type": "number", "default": value}]}).rpartition(" ")[2]
    assert text == theirs or float(theirs) != value


POINT = {"type": "object", "properties": {"x": {"type": "number"}}}


def test_what_one_variant_refers_to_is_spelt_out_in_the_next_too() -> None:
    schema = {
        "$defs": {"p": POINT},
        "oneOf": [{"$ref": "#/$defs/p"}, {"type": "array", "items": {"$ref": "#/$defs/p"}}],
    }
    assert "reference" not in str(normalise(schema))


def test_a_variant_that_nothing_fits_is_left_out() -> None:
    assert normalise({"anyOf": [False, {"type": "string"}]}) == normalise({"anyOf": [{"type": "string"}]})


def test_a_definition_is_spelt_out_twice_in_a_small_schema_and_once_in_a_large_one() -> None:
    many = {f"p{i}": {"$ref": "#/$defs/p"} for i in range(3)}
    assert "as above" not in types({"$defs": {"p": POINT}, "properties": many})
    large = {f"s{i}": {"type": "string"} for i in range(3000)}
    assert types({"$defs": {"p": POINT}, "properties": large | many}).count("as above") == 2
