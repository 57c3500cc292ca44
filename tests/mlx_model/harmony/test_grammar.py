"""Grammars as text: ids of the real vocabulary, which keywords of a schema nobody understands. Without llguidance."""

import json
from typing import Any

import pytest

from mlx_model.harmony.choice import tool_choice
from mlx_model.harmony.grammar import bind
from mlx_model.harmony.keywords import unknown_keywords
from mlx_model.harmony.message import Message, Role
from mlx_model.harmony.render import Renderer
from mlx_model.harmony.tools import FunctionTool, Namespace
from mlx_model.request import Form, Request
from tests.fixtures.vocabulary import o200k

WEATHER = FunctionTool("get_weather", "", {"type": "object", "properties": {}}, strict=True)


def spelt(ids: list[int]) -> str:
    return " ".join(f"<[{token}]>" for token in ids)


def test_headers_are_spelt_in_the_ids_that_a_prompt_has() -> None:
    """In those of openai-harmony, that is (test_render): a call, and an answer, from behind `<|start|>assistant`."""
    tokenizer = o200k()
    binding = bind(Request([], functions=[WEATHER], strict_headers=True), tokenizer)
    assert binding is not None and binding.turn is not None
    lark = json.loads(binding.turn)["grammars"][0]["lark_grammar"]
    call = Message(Role.ASSISTANT, "", None, "commentary", "functions.get_weather", "<|constrain|>json")
    ids = Renderer(tokenizer).message(call)
    to, kind = ids[2 : ids.index(200005)], ids[ids.index(815) + 1 : ids.index(200008)]
    assert f"call0: ({spelt(to)} <[200005]> where | <[200005]> where {spelt(to)}) json <[200008]> @args0" in lark
    assert f"json: {spelt(kind)} | " in lark
    assert "final: <[200005]> <[17196]> json <[200008]> TEXT <[200002]>" in lark
    assert "where: <[35644]> | <[12606]> <[815]>" in lark
    assert "(said <[200007]> <[200006]> <[173781]>){0,8}" in lark


def test_functions_of_other_namespaces_are_bound_and_chosen_alike() -> None:
    request = Request([], namespaces=[Namespace("agents", (WEATHER,))], tool_choice="agents.get_weather")
    assert tool_choice(request).tools == ("agents.get_weather",)
    tokenizer = o200k()
    binding = bind(request, tokenizer)
    assert binding is not None and binding.turn is not None and binding.bound == {"agents.get_weather"}
    lark = json.loads(binding.turn)["grammars"][0]["lark_grammar"]
    assert f"{spelt(tokenizer.encode(' to=agents.get_weather'))}) json <[200008]> @args0" in lark
    assert 200003 in binding.opening  # <|constrain|>: its arguments are JSON


def test_a_schema_of_the_callers_does_not_decide_about_whitespace() -> None:
    schema: dict[str, Any] = {"type": "object", "x-guidance": {"whitespace_flexible": True, "lenient": True}}
    binding = bind(Request([], form=Form(schema)), o200k())
    assert binding is not None and binding.turn is not None
    answer = json.loads(binding.turn)["grammars"][-1]["json_schema"]["x-guidance"]
    assert answer == {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": False}
    assert schema["x-guidance"]["lenient"] is True


@pytest.mark.parametrize(
    ("choice", "tools", "sentence"),
    [
        ("auto", ("browser.find", "browser.open", "browser.search", "functions.get_weather"), ""),
        ("none", (), ""),
        ("required", ("browser.find", "browser.open", "browser.search", "functions.get_weather"), "one of the tools"),
        ("get_weather", ("functions.get_weather",), "functions.get_weather"),
        ("functions.get_weather", ("functions.get_weather",), "functions.get_weather"),
        ("browser", ("browser.find", "browser.open", "browser.search"), "one of the tools"),
        ("browser.open", ("browser.open",), "browser.open"),
    ],
)
def test_what_a_tool_choice_means(choice: str, tools: tuple[str, ...], sentence: str) -> None:
    found = tool_choice(Request([], functions=[WEATHER], tools=["browser"], tool_choice=choice))
    assert found.tools == tools and sentence in found.sentence and bool(found.sentence) == found.required


@pytest.mark.parametrize(
    ("schema", "unknown"),
    [
        ({"type": "object", "properties": {"maxlength": {"maxlength": 3}}}, ["maxlength"]),
        (
            {"$defs": {"typo": {"needed": []}}, "anyOf": [{"nullable": True}, {"x-order": 1}]},
            ["nullable", "needed"],
        ),
        ({"items": {"not": {"odd": 1}}, "enum": [{"odd_value": 1}], "const": {"no": 1}, "default": {"n": 1}}, ["odd"]),
        ({"prefixItems": [], "additionalItems": False}, ["prefixItems", "additionalItems"]),
        ({"items": [{"minItem": 1}, {"minItem": 1}], "required": ["minItem"], "additionalItems": False}, ["minItem"]),
        ({"type": "object", "additionalProperties": False, "$schema": "", "title": "t", "deprecated": True}, []),
    ],
)
def test_keywords_that_nobody_understands(schema: dict[str, Any], unknown: list[str]) -> None:
    assert sorted(unknown_keywords(schema)) == sorted(unknown)
