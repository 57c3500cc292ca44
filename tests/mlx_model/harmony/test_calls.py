"""Tool calls: names and arguments as the model writes them, and what it is told when they can't be read."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.harmony.calls import ToolCall, read_arguments, read_call
from mlx_model.harmony.message import Message, Role, assistant, user
from mlx_model.harmony.parse import parse
from mlx_model.harmony.render import Renderer
from tests.fixtures.vocabulary import o200k, oracle

KNOWN = [
    "functions.get_weather",
    "functions.search",
    "functions.mcp.files.read",
    "functions.lookup",
    "python",
    "browser",
]


def calling(recipient: str | None, text: str = "{}", channel: str | None = "commentary") -> Message:
    return Message(Role.ASSISTANT, text, None, channel, recipient, "json")


@pytest.mark.parametrize(
    ("recipient", "name"),
    [
        ("functions.get_weather", "functions.get_weather"),
        ("get_weather", "functions.get_weather"),
        ("browser.get_weather", "functions.get_weather"),
        ("functions.functions.get_weather", "functions.get_weather"),
        ("mcp.files.read", "functions.mcp.files.read"),
        ("python", "python"),
        ("functions.python", "python"),
        ("browser.open", "browser.open"),
        ("open", "browser.open"),
        ("functions.find", "browser.find"),
        # Both a function and the browser's: as it is spelt, and a function if there is no namespace.
        ("browser.search", "browser.search"),
        ("functions.search", "functions.search"),
        ("search", "functions.search"),
        # Names of other harnesses.
        ("python3", "python"),
        ("python.exec", "python"),
        ("python_code", "python"),
        ("functions.python.run", "python"),
    ],
)
def test_names(recipient: str, name: str) -> None:
    call = read_call(calling(recipient), KNOWN)
    assert call is not None
    assert (call.name, call.error) == (name, None)


EVERY = "browser.find, browser.open, browser.search, functions.get_weather, functions.lookup"


@pytest.mark.parametrize(
    ("recipient", "author"),
    [
        ("get", "functions.get"),
        ("browser", "browser"),
        ("browser.close", "browser.close"),
        ("container.exec", "container.exec"),
        ("repo_browser.open_file", "repo_browser.open_file"),
        ("functions", "functions.functions"),
        ("commentary", "functions.commentary"),
    ],
)
def test_a_name_that_no_tool_has_is_answered_with_all_that_there_are(recipient: str, author: str) -> None:
    call = read_call(calling(recipient), KNOWN)
    assert call is not None
    assert call.name == author
    assert call.error is not None
    assert call.error.startswith(f"Error: there is no tool {recipient}. Tools: {EVERY}, ")


@pytest.mark.parametrize("recipient", ["browser.open", "open", "functions.open", "browser", "python3"])
@pytest.mark.parametrize("known", [["functions.f"], ["functions.f", "functions.g"], []])
def test_tools_that_there_are_not(recipient: str, known: list[str]) -> None:
    call = read_call(calling(recipient, '{"query": "x"}'), known)
    assert call is not None
    if known:
        assert call.error == f"Error: there is no tool {recipient}. Tools: {', '.join(known)}."
    else:
        assert call.error == "Error: no tools are available. Answer from what you know."


@pytest.mark.parametrize("recipient", ["browser", "browser.run", "functions.browser", "browser.exec"])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"query": "x"}', "browser.search"),
        ('{"q": "x", "topn": 3}', "browser.search"),
        ('{"id": 3}', "browser.open"),
        ('{"cursor": 1, "loc": 40}', "browser.open"),
        ('{"url": "https://example.com"}', "browser.open"),
        ('{"pattern": "x", "cursor": 1}', "browser.find"),
    ],
)
def test_the_arguments_say_which_of_the_browsers_is_meant(recipient: str, text: str, name: str) -> None:
    call = read_call(calling(recipient, text, "analysis"), KNOWN)
    assert call == ToolCall(name, text, "analysis", json.loads(text))


@pytest.mark.parametrize(
    ("text", "known", "name", "arguments"),
    [
        ('{"name": "f", "arguments": {"a": 1}}', ["functions.f", "functions.g"], "functions.f", {"a": 1}),
        ('{"name": "functions.f", "parameters": {"a": 1}}', ["functions.f", "functions.g"], "functions.f", {"a": 1}),
        ('{"function": "g", "arguments": {}}', ["functions.f", "functions.g"], "functions.g", {}),
        ('{"a": 1}', ["functions.f", "python"], "functions.f", {"a": 1}),
        ('{"name": "Ann"}', ["functions.f"], "functions.f", {"name": "Ann"}),
    ],
)
def test_a_call_to_all_functions_names_one_inside(
    text: str, known: list[str], name: str, arguments: dict[str, Any]
) -> None:
    assert read_call(calling("functions", text), known) == ToolCall(name, text, "commentary", arguments)
    if len(known) == 2 and "python" not in known:
        other = read_call(calling("functions", '{"name": "h", "arguments": {}}'), known)
        assert (
            other is not None and other.error == "Error: there is no tool functions. Tools: functions.f, functions.g."
        )


PATCH = "*** Begin Patch\n*** Delete File: a\n*** End Patch"


@pytest.mark.parametrize("recipient", ["functions.apply_patch", "apply_patch", "container.exec", "functions.shell"])
def test_a_patch_finds_its_function(recipient: str) -> None:
    """In the training it was a command of a shell, with or without JSON around it."""
    known, command = ["functions.apply_patch", "functions.f"], {"cmd": ["apply_patch", PATCH]}
    call = read_call(calling(recipient, json.dumps(command)), known)
    assert call is not None
    assert (call.name, call.arguments, call.error) == ("functions.apply_patch", command, None)
    without = read_call(calling(recipient, json.dumps(command)), ["functions.f"])
    assert without is not None
    assert without.error == f"Error: there is no tool {recipient}. Tools: functions.f."


@pytest.mark.parametrize(("text", "is_patch"), [(PATCH, True), (f"```\n{PATCH}\n```", True), ("*** Begin", False)])
def test_a_patch_without_json(text: str, is_patch: bool) -> None:
    call = read_call(calling("functions.apply_patch", text), ["functions.apply_patch", "functions.f"])
    other = read_call(calling("functions.f", text), ["functions.apply_patch", "functions.f"])
    assert call is not None
    assert other is not None
    assert (call.arguments, call.error is None) == (({"input": text} if is_patch else {}), is_patch)
    assert other.error


def test_names_when_the_tools_are_not_known() -> None:
    names = {to: read_call(calling(to)) for to in ("f", "functions.f", "python", "browser.search", "mcp.f")}
    assert {to: call.name for to, call in names.items() if call is not None} == {
        "f": "functions.f",
        "functions.f": "functions.f",
        "python": "python",
        "browser.search": "browser.search",
        "mcp.f": "functions.mcp.f",
    }


@pytest.mark.parametrize(
    "message",
    [
        user("functions.f"),
        assistant("functions.f"),
        calling(None),
        calling(""),
        calling("all"),
        calling("user"),
        calling("assistant"),
        Message(Role.TOOL, "4", "functions.f", "commentary", "assistant"),
    ],
)
def test_what_is_no_call(message: Message) -> None:
    assert read_call(message, KNOWN) is None


@pytest.mark.parametrize("channel", ["analysis", "commentary", "final", None])
def test_calls_count_on_every_channel(channel: str | None) -> None:
    call = read_call(calling("functions.get_weather", '{"a": 1}', channel), KNOWN)
    assert call == ToolCall("functions.get_weather", '{"a": 1}', channel or "commentary", {"a": 1})


ARGUMENTS: dict[str, dict[str, Any]] = {
    '{"a": 1}': {"a": 1},
    "": {},
    " \n": {},
    "{}": {},
    # One comma too many.
    '{"a": 1,}': {"a": 1},
    '{"a": [1, 2, ], "b": {"c": 1,\n},\n}': {"a": [1, 2], "b": {"c": 1}},
    '{"a": ",}", "b": "x\\",]",}': {"a": ",}", "b": 'x",]'},
    '{"a": true,}': {"a": True},
    '{"a": [null, {"b": false,},\n],\t}': {"a": [None, {"b": False}]},
    '{"a": true, "b": ",}",}': {"a": True, "b": ",}"},
    # Fences, and the type in front.
    '```json\n{"a": 1}\n```': {"a": 1},
    '```\n{"a": "```"}\n```\n': {"a": "```"},
    '```{"a": 1,}```': {"a": 1},
    "```json\n\n```": {},
    'json\n{"a": 1}': {"a": 1},
    'json{"a": 1}': {"a": 1},
    'json {"a": "json {x}"}': {"a": "json {x}"},
    '{"a": "json {x}"}': {"a": "json {x}"},
    # Line breaks and tabs inside texts, as of code.
    '{"code": "a\n\tb"}': {"code": "a\n\tb"},
    # JSON once more than needed.
    '"{\\"a\\": 1}"': {"a": 1},
    # Python's notation.
    "{'a': True, 'b': None, 'c': \"it's\", 'd': [1, -2.5]}": {"a": True, "b": None, "c": "it's", "d": [1, -2.5]},
    # JSON's own.
    '{"a": "\\u00e9\\ud83d\\udc96", "a": 2, "b": 1e5}': {"a": 2, "b": 1e5},
}

WRONG = {
    '{"a": 1': "not valid JSON (Expecting ',' delimiter, line 1, column 8)",
    '{"a": 1}}': "not valid JSON (Extra data, line 1, column 9)",
    '{"a": 1} {"b": 2}': "not valid JSON",
    "Oslo": "not valid JSON (Expecting value, line 1, column 1)",
    '{"a": 1,,}': "not valid JSON",
    '{"a": NaN}': "not valid JSON (NaN is no number of JSON)",
    f'{{"a": {"9" * 5000}}}': "not valid JSON (Exceeds the limit",
    '{"a":' * 100_000: "not valid JSON",
    '"{' * 50_000: "not valid JSON",
    '{"a' + '\\"' * 50_000: "not valid JSON",
    '{"a": ```' + " " * 50_000: "not valid JSON",
    "{'a': true}": "not valid JSON",
    "{'a': (1, 2)}": "not valid JSON",
    "{'a': {1: 2}}": "not valid JSON",
    "{'a': b'x'}": "not valid JSON",
    "{'a': __import__('os')}": "not valid JSON",
    "{'a', 'b'}": "not valid JSON",
    "{'a': 1e999}": "not valid JSON",
    "{" + "'a':{" * 50_000: "not valid JSON",
    "{'a': " + "-" * 90_000 + "1}": "not valid JSON",
    "[1]": "not a JSON object",
    "3": "not a JSON object",
    "null": "not a JSON object",
    '"Oslo"': "not a JSON object",
}


@pytest.mark.parametrize("text", ARGUMENTS, ids=repr)
def test_arguments(text: str) -> None:
    assert read_arguments(text) == ARGUMENTS[text]


@pytest.mark.parametrize("text", WRONG, ids=lambda text: repr(text[:30]))
def test_arguments_that_cant_be_read_are_told_to_the_model(text: str) -> None:
    call = read_call(calling("get_weather", text), KNOWN)
    assert call is not None
    assert call.error is not None
    assert WRONG[text] in call.error
    assert call.error.startswith("Error: the arguments are not ")
    assert call.error.endswith(". Call functions.get_weather again with one JSON object.")
    assert len(call.error) < 300
    assert (call.arguments, call.text) == ({}, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3), st.booleans(), st.sampled_from([None, 1]))
def test_valid_arguments_are_read_as_they_are(arguments: dict[str, Any], plain: bool, indent: int | None) -> None:
    text = json.dumps(arguments, ensure_ascii=plain, indent=indent)
    assert read_arguments(text) == arguments
    assert read_arguments(f"```json\n{text}\n```") == arguments
    assert read_arguments(repr(arguments)) == arguments


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("{}[]\"'\\,:`json 1\n"), max_size=30), st.sampled_from(["get_weather", "python", "x"]))
def test_no_text_is_too_odd(text: str, recipient: str) -> None:
    call = read_call(calling(recipient, text), KNOWN)
    assert call is not None
    assert call.text == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("print(1)\n", "print(1)\n"),
        ("```python\nif x:\n    print(1)\n```", "if x:\n    print(1)"),
        ("```print(1)```", "print(1)"),
        ('{"code": "print(1)"}', "print(1)"),
        ('```json\n{"code": "print(1)"}\n```', "print(1)"),
        ('{"code": "print(1)", "timeout": 3}', "print(1)"),
        ("{'code': 'print(1)'}", "print(1)"),
        ('{"script": "print(1)"}', "print(1)"),
        ('{"input": "print(1)\n",}', "print(1)\n"),
        # Python, or nobody knows.
        ('{"code": 1}', '{"code": 1}'),
        ('{"a": "code"}', '{"a": "code"}'),
        ('["print(1)"]', '["print(1)"]'),
        ("{'code': code}", "{'code': code}"),
        ("{1, 2}", "{1, 2}"),
        ("s = '''```\n'''", "s = '''```\n'''"),
        ("", ""),
    ],
)
def test_code_for_python(text: str, code: str) -> None:
    call = read_call(calling("python", text, "analysis"), KNOWN)
    assert call == ToolCall("python", text, "analysis", {"code": code})


@pytest.mark.parametrize(
    ("recipient", "channel", "result"),
    [
        ("functions.get_weather", "commentary", "functions.get_weather to=assistant<|channel|>commentary"),
        ("get_weather", "analysis", "functions.get_weather to=assistant<|channel|>commentary"),
        ("python", "analysis", "python to=assistant<|channel|>analysis"),
        ("browser.search", "analysis", "browser.search to=assistant<|channel|>analysis"),
        ("open", "commentary", "browser.open to=assistant<|channel|>commentary"),
        ("nothing", "analysis", "functions.nothing to=assistant<|channel|>commentary"),
    ],
)
def test_results_as_in_training(recipient: str, channel: str, result: str) -> None:
    call = read_call(calling(recipient, "{}", channel), KNOWN)
    assert call is not None
    ids = Renderer(o200k()).message(call.result("It rains."))
    assert o200k().decode(ids) == f"<|start|>{result}<|message|>It rains.<|end|>"


# What gpt-oss has been seen to write, from the raw tokens to what the tool is given.
RAW = {
    ' to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{"city": "Oslo"}<|call|>',
    '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Oslo"}<|call|>',
    '<|channel|>analysis to=functions.get_weather code<|message|>{"city": "Oslo"}<|call|>',
    '<|channel|>commentary to=get_weather<|channel|>commentary json<|message|>{"city": "Oslo",}<|call|>',
    '<|channel|>commentary to=functions.get_weather<|message|>```json\n{"city": "Oslo"}\n```<|call|>',
    '<|channel|>comment to=functions.get_weather json<|message|>{"city": "Oslo"}<|call|>',
    'functions.get_weather<|channel|>commentary json<|message|>{"city": "Oslo"}<|call|>',
    '<|channel|>final to=functions.get_weather json<|message|>{"city": "Oslo"}<|return|>',
    "<|channel|>commentary to=functions.get_weather json<|message|>{'city': 'Oslo'}<|end|>",
}


@pytest.mark.parametrize("text", sorted(RAW))
def test_from_tokens_to_arguments(text: str) -> None:
    (message,) = parse(o200k(), oracle().encode(text, allowed_special="all"))
    call = read_call(message, KNOWN)
    assert call is not None
    assert (call.name, call.arguments, call.error) == ("functions.get_weather", {"city": "Oslo"}, None)


def test_a_type_in_the_recipients_place_is_no_tool() -> None:
    tokens = oracle().encode("<|channel|>commentary json<|message|>{}<|call|>", allowed_special="all")
    (message,) = parse(o200k(), tokens)
    assert (message.recipient, message.content_type) == (None, "json")


def test_a_name_that_two_tools_have_is_no_call() -> None:
    call = read_call(calling("tools.get"), {"a.get", "b.get"})
    assert call is not None
    assert call.error is not None
    assert "there is no tool" in call.error


def test_a_literal_too_long_to_parse_is_not_read() -> None:
    """Python's parser would take a hundred times its size."""
    call = read_call(calling("functions.f", "{'a': '" + "x" * 100_000 + "'}"))
    assert call is not None
    assert call.error is not None
    short = read_call(calling("functions.f", "{'a': '" + "x" * 1000 + "'}"))
    assert short is not None
    assert short.error is None
