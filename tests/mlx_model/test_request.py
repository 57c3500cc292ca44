"""Requests: what a form may be, and who is told so."""

from typing import Any

import pytest

from mlx_model.errors import RequestError
from mlx_model.request import Form, Request


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "one of these: a JSON schema, a regular expression, a grammar"),
        ({"regex": "a", "grammar": "start: /a/"}, "one of these"),
        ({"schema": []}, "must be an object, not list"),
        ({"regex": ""}, "the regex of a form is ''"),
        ({"grammar": 5}, "the grammar of a form is 5"),
    ],
)
def test_what_is_no_form(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        Form(**fields)


def test_what_is_no_choice_of_a_tool() -> None:
    with pytest.raises(RequestError, match="the tool choice is ''; it must be \"auto\""):
        Request([], tool_choice="")


def test_an_empty_schema_is_a_form() -> None:
    assert Form({}).to_json() == {"schema": {}}
