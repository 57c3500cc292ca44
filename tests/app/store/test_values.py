"""Single values of files that anybody may have written: taken, brought into a form that can be stored, or refused."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from app.chat.conversation import new_id
from app.store.values import (
    LAST_MOMENT,
    OddValueError,
    hashed,
    moment,
    name_of,
    number,
    storable,
    text,
    text_of,
    text_or_none,
)


@pytest.mark.parametrize("value", ["", "a"])
def test_texts(value: str) -> None:
    assert text(value) == text_or_none(value) == text_of(value) == value


@pytest.mark.parametrize("value", [None, 1, True, ["a"], {"a": 1}, b"a"])
def test_what_is_no_text(value: Any) -> None:
    assert text_of(value) == ""
    with pytest.raises(OddValueError):
        text(value)
    if value is None:
        assert text_or_none(value) is None
    else:
        with pytest.raises(OddValueError):
            text_or_none(value)


@pytest.mark.parametrize(
    ("value", "bits", "fits"),
    [
        (0, 63, True),
        (0.5, 63, True),
        (2**63 - 1, 63, True),
        (2**63, 63, False),
        (2**63, 64, True),
        (-1, 63, False),
        (math.nan, 63, False),
        (math.inf, 63, False),
    ],
)
def test_numbers(value: float, bits: int, fits: bool) -> None:
    if fits:
        assert number(value, bits) == value and type(number(value, bits)) is type(value)
    else:
        with pytest.raises(OddValueError, match="out of range"):
            number(value, bits)


@pytest.mark.parametrize("value", [None, True, False, "1", [1]])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(OddValueError):
        number(value)


def test_moments() -> None:
    assert moment(0) == 0.0 and moment(LAST_MOMENT) == LAST_MOMENT and isinstance(moment(7), float)
    with pytest.raises(OddValueError, match="a time is out of range"):
        moment(LAST_MOMENT + 1)
    assert f"{datetime.fromtimestamp(LAST_MOMENT, UTC):%Y-%m-%d %H:%M:%S}" == "9999-12-31 23:59:59"


def test_names() -> None:
    ours = new_id()
    assert name_of(ours) == ours
    for other in ("", ours[1:], f"{ours}0", ours.upper() + "A", f"{ours}\n", "g" * len(ours)):
        name = name_of(other)
        assert name != other and name_of(name) == name == name_of(other)
    assert len({hashed("a", "b"), hashed("ab"), hashed("b", "a"), hashed("a")}) == 4
    assert len(hashed("\ud800")) == len(ours)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a", "a"), ("é\U0001f353", "é\U0001f353"), ("a\0b", "a\ufffdb"), ("é\ud800\0", "é\ufffd\ufffd")],
)
def test_what_can_be_stored(given: str, kept: str) -> None:
    assert storable(given) == kept
