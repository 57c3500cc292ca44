"""Messages: JSON round trip, equality, errors."""

import json

import pytest

from mlx_model.harmony.message import Message, Role, assistant, user


@pytest.mark.parametrize(
    "message",
    [
        user("hi"),
        assistant("", "analysis"),
        Message(Role.TOOL, "4\ud800", "functions.f", "commentary", "assistant"),
        Message(Role.ASSISTANT, "{}", None, "commentary", "python", "<|constrain|>json", recovered=True),
    ],
)
def test_json_round_trip(message: Message) -> None:
    copy = Message.from_json(json.loads(json.dumps(message.to_json())))
    assert copy == message
    assert hash(copy) == hash(message)


def test_only_fields_that_are_set_are_written() -> None:
    assert user("hi").to_json() == {"role": "user", "text": "hi"}


@pytest.mark.parametrize("fields", [{"role": "robot", "text": ""}, {"role": "user", "text": "", "mood": "good"}])
def test_unknown_roles_and_fields_are_errors(fields: dict[str, str]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Message.from_json(fields)
