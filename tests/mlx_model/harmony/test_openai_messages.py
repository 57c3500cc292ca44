"""OpenAI-style conversations to Harmony messages, and what is said of those that can't be read."""

from typing import Any

import pytest

from mlx_model.errors import RequestError
from mlx_model.harmony.message import Message, Role, assistant, system, user
from mlx_model.harmony.openai_messages import read_messages

USER = {"role": "user", "content": "hi"}


def call(name: str, arguments: object = "{}", **more: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def called(name: str, arguments: str = "{}") -> Message:
    return Message(Role.ASSISTANT, arguments, None, "commentary", f"functions.{name}", "<|constrain|>json")


def result(name: str, text: str) -> Message:
    return Message(Role.TOOL, text, f"functions.{name}", "commentary", "assistant")


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([], []),
        ([USER], [user("hi")]),
        ([user("hi")], [user("hi")]),
        (
            [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, USER],
            [system("A"), system("B"), user("hi")],
        ),
        (
            [USER, {"role": "system", "content": "A"}],
            [user("hi"), Message(Role.DEVELOPER, "# Instructions\n\nA")],
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]}],
            [user("ab")],
        ),
        ([{"role": "user", "content": ""}], [user("")]),
        ([{"role": "assistant", "content": "a", "refusal": None, "annotations": [], "name": "x"}], [assistant("a")]),
        (
            [{"role": "assistant", "content": "a", "reasoning_content": "because"}],
            [assistant("because", "analysis"), assistant("a")],
        ),
        (
            [{"role": "assistant", "content": None, "reasoning": "because", "reasoning_content": "because"}],
            [assistant("because", "analysis")],
        ),
        (
            # Both calls first, as OpenAI's API has it, and the results in another order.
            [
                USER,
                {
                    "role": "assistant",
                    "content": "I look.",
                    "reasoning": "look",
                    "tool_calls": [call("f", '{"a": 1}', id="1"), call("g", {"b": "é"}, id="2")],
                },
                {"role": "tool", "tool_call_id": "2", "content": "second"},
                {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "first"}]},
                USER,
            ],
            [
                user("hi"),
                assistant("look", "analysis"),
                assistant("I look.", "commentary"),
                called("f", '{"a": 1}'),
                result("f", "first"),
                called("g", '{"b": "é"}'),
                result("g", "second"),
                user("hi"),
            ],
        ),
        (
            [
                {"role": "assistant", "tool_calls": [call("f"), call("g")]},
                {"role": "tool", "content": "1"},
                {"role": "tool", "content": "2"},
            ],
            [called("f"), result("f", "1"), called("g"), result("g", "2")],
        ),
    ],
)
def test_conversations(items: list[Any], messages: list[Message]) -> None:
    assert read_messages(items) == messages


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["hi"], r"messages\[0\] is of the type str"),
        ([USER, None], r"messages\[1\] is missing"),
        (
            [{"content": "hi"}],
            r"messages\[0\]\.role is None; it must be one of system, developer, user, assistant, tool",
        ),
        ([{"role": "robot", "content": "hi"}], r"messages\[0\]\.role is 'robot'"),
        ([{"role": "user"}], r"messages\[0\]\.content is missing"),
        ([{"role": "user", "content": 7}], r"messages\[0\]\.content is of the type int"),
        (
            [USER, {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            r"messages\[1\]\.content\[0\] is a part of type 'image_url'; gpt-oss reads text parts only",
        ),
        ([{"role": "user", "content": ["a"]}], r"messages\[0\]\.content\[0\] is of the type str"),
        (
            [{"role": "user", "content": "a", "audio": "x"}],
            r"messages\[0\]\.audio is not known in a message of the role user",
        ),
        ([{"role": "user", "content": "a", "tool_calls": [1]}], r"messages\[0\]\.tool_calls is not known"),
        ([{"role": "assistant"}], r"messages\[0\]\.content is empty"),
        ([{"role": "assistant", "tool_calls": "f"}], r"messages\[0\]\.tool_calls is of the type str"),
        ([{"role": "assistant", "tool_calls": [7]}], r"messages\[0\]\.tool_calls\[0\] must be"),
        ([{"role": "assistant", "tool_calls": [{"type": "hosted", "hosted": {}}]}], r"tool_calls\[0\] must be"),
        ([{"role": "assistant", "tool_calls": [call("")]}], r"tool_calls\[0\]\.function\.name is ''"),
        ([{"role": "assistant", "tool_calls": [call("f", 7)]}], r"function\.arguments is of the type int"),
        (
            [{"role": "assistant", "tool_calls": [call("f", id="1"), call("g", id="1")]}],
            r"tool_calls\[1\]\.id is '1'; each",
        ),
        (
            [{"role": "assistant", "tool_calls": [call("f", id="1")]}, USER],
            r"messages\[0\]\.tool_calls has a call, '1', without",
        ),
        ([USER, {"role": "tool", "content": "a"}], r"messages\[1\]\.role is tool, but no message with tool_calls"),
        (
            [
                {"role": "assistant", "tool_calls": [call("f", id="1")]},
                {"role": "tool", "tool_call_id": "2", "content": "a"},
            ],
            r"messages\[1\]\.tool_call_id is '2'",
        ),
        (
            [{"role": "assistant", "tool_calls": [call("f", id="1")]}, {"role": "tool", "tool_call_id": "1"}],
            r"messages\[1\]\.content is missing",
        ),
        (
            [{"role": "assistant", "content": "a"}, {"role": "tool", "tool_call_id": "1", "content": "a"}],
            r"messages\[1\]\.tool_call_id is '1'",
        ),
    ],
)
def test_what_can_not_be_read(items: list[Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_messages(items)
