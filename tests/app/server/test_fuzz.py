"""Random bodies to both readers: each is read, or refused with a path; nothing else comes of any. `make fuzz` has more.

They begin as requests that are right, of which something is replaced, taken out, or put elsewhere.
"""

import copy
import json
import os
import random
from typing import Any

import pytest

from app.server.chat_completions.reading import read_chat
from app.server.errors import ApiError
from app.server.fields import Fields
from app.server.responses.reading import read_response
from app.server.stored import Stored, StoredResponse
from app.server.thoughts import Thoughts
from mlx_model.harmony.message import assistant, user
from mlx_model.request import Request
from tests.fixtures.scripted_engine import call

COUNT = int(os.environ.get("SERVER_FUZZ", "400"))
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}
FORM = {"name": "A", "schema": {"type": "object"}, "strict": True}
RESPONSE: dict[str, Any] = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {"role": "developer", "content": "Kind."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}", "namespace": None},
        {"type": "function_call_output", "call_id": "call_1", "output": "done"},
        {"type": "custom_tool_call", "call_id": "2", "name": "p", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "y"}]},
        {"type": "item_reference", "id": "msg_1"},
        {"type": "message", "role": "assistant", "content": "Ok.", "phase": "final_answer"},
        {"role": "user", "content": "Go on."},
    ],
    "tools": [FUNCTION, {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "lark"}},
              {"type": "namespace", "name": "n", "tools": [FUNCTION]}, {"type": "web_search"}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "text": {"format": {"type": "json_schema", **FORM}, "verbosity": "low"},
    "reasoning": {"effort": "high", "summary": "auto"},
    "previous_response_id": None, "temperature": 0.5, "top_p": 1, "max_output_tokens": 5, "stream": True,
    "store": False, "metadata": {"a": "b"}, "include": ["x"], "truncation": "disabled", "seed": 3, "stop": ["a"],
    "top_logprobs": 2,
}  # fmt: skip
CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "I look.", "reasoning": "Hm", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
        {"role": "assistant", "content": "Ok."},
        {"role": "user", "content": "Go on."},
    ],
    "tools": [{"type": "function", "function": FUNCTION}, {"type": "custom", "custom": {"name": "p"}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": FORM},
    "reasoning_effort": "low", "n": 2, "stop": "x", "stream": True, "stream_options": {"include_usage": True},
    "logprobs": True, "top_logprobs": 2, "max_tokens": 5, "seed": -3, "logit_bias": {}, "presence_penalty": 0.0,
}  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 2**70, -(2**70), 1e308, "", "f", "call_1", "assistant", "none", "\ud800", "<|start|>",
    "x" * 300, [], [None], [[]], {}, {"type": "function"}, {"role": "user"}, "required", "functions", "n",
]  # fmt: skip


def mutated(value: Any, random_: random.Random) -> Any:
    """A copy with a few changes somewhere in it."""
    whole = copy.deepcopy(value)
    for _ in range(random_.randint(1, 4)):
        at = whole
        while isinstance(at, dict | list) and at:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = random_.choice(keys)
            inner = at[key]
            if not isinstance(inner, dict | list) or not inner or random_.random() < 0.3:
                change(at, key, random_)
                break
            at = inner
    return whole


def change(at: Any, key: Any, random_: random.Random) -> None:
    match random_.randrange(5):
        case 0:
            del at[key]
        case 1 if isinstance(at, list):
            at.insert(random_.randrange(len(at) + 1), copy.deepcopy(at[key]))
        case 2 if isinstance(at, list):
            random_.shuffle(at)
        case _:
            at[key] = copy.deepcopy(random_.choice(VALUES))


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_random_requests(api: str) -> None:
    random_ = random.Random(f"{api} 1")
    thoughts, stored = Thoughts(), Stored()
    thoughts.remember("call_1", [user("Hi")], [assistant("Hm", "analysis"), call("functions.f", "{}")])
    output = [{"id": "msg_1", "type": "message", "role": "assistant", "content": []}]
    stored.add(StoredResponse({"id": "f", "output": output}, [], (user("Hi"), call("functions.f", "{}")), "call_1"))
    read = 0
    for _ in range(COUNT):
        body = mutated(RESPONSE if api == "responses" else CHAT, random_)
        try:
            if api == "responses":
                asked = read_response(body, thoughts, stored, ("browser",))
                json.dumps(asked.echo)
                request = asked.request
            else:
                request = read_chat(body, thoughts, ("browser",)).request
        except ApiError as error:
            assert error.status in (400, 404) and str(error)
            assert error.param is None or isinstance(error.param, str)
            continue
        read += 1
        assert Request.from_json(request.to_json()) == request
    assert COUNT // 10 < read < COUNT


def test_each_error_names_its_path() -> None:
    without_references = [item for item in RESPONSE["input"] if item.get("type") != "item_reference"]
    for body in ({**RESPONSE, "input": without_references}, CHAT):
        for key, value in body.items():
            if isinstance(value, list | dict) or key in ("stream", "n", "seed"):
                with pytest.raises(ApiError) as caught:
                    if body is not CHAT:
                        read_response({**body, key: 0.5}, Thoughts(), Stored())
                    else:
                        read_chat({**body, key: 0.5}, Thoughts())
                assert caught.value.param == key and str(caught.value).startswith(key)
    assert Fields({"a": {"b": [{}]}}).inner_or_empty("a").at("b") == "a.b"
