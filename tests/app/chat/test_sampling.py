"""`/set NAME VALUE`: what it sets, says and refuses."""

import pytest

from app.chat.sampling import change
from app.settings import SAMPLING
from mlx_model.errors import RequestError
from mlx_model.options import Options


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("temperature 0", "temperature", 0),
        ("Top-P = 0.9", "top_p", 0.9),
        ("seed=7", "seed", 7),
        ("seed random", "seed", None),
        ("max_tokens default", "max_tokens", None),
        ("temperature default", "temperature", 1.0),
    ],
)
def test_what_is_set(argument: str, name: str, value: object) -> None:
    after = change(Options(temperature=0.3, seed=1, max_tokens=9), argument)
    assert after.name == name and getattr(after.options, name) == value
    assert after.text.startswith(f"{name} is ") and after.text.endswith(" from the next answer on")


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("temperature hot", "temperature is 'hot'; it must be a number"),
        ("temperature -1", r"temperature is -1; it must be 0 \(greedy\) or more"),
        ("seed 1.5", "seed is 1.5; it must be a whole number"),
        ("temprature 0", r"there is no option temprature; did you mean temperature\?"),
        ("x 0", "there is no option x; there are temperature, top_p"),
        ("effort high", "there is no option effort"),
    ],
)
def test_what_is_refused_says_why(argument: str, error: str) -> None:
    with pytest.raises(RequestError, match=error):
        change(Options(), argument)


def test_without_a_value_it_says_what_is_set() -> None:
    options = Options(temperature=0.3)
    assert change(options, "temperature").text.startswith("temperature is 0.3; ")
    assert change(options, "seed").text.startswith("seed is random; ")
    all_of_them = change(options, "")
    assert all(f"{name} " in all_of_them.text for name in SAMPLING) and all_of_them.options is options
