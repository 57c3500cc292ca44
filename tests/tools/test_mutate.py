"""The mutation driver: what its operators make of a text, and that the areas it knows still exist."""

import tomllib
from pathlib import Path

import pytest

from tests.tools.mutate import ROOT, Area, Mutation
from tests.tools.operators import changes

AREAS = tomllib.loads(Path(__file__).with_name("mutations.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "mutants"),
    [
        ("a < b", {"a <= b"}),
        ("a == b is not c", {"a != b is not c", "a == b is c"}),
        ("(a) and b", {"(a) or b"}),
        ("é = x - 2", {"é = x + 2", "é = x - 3", "é = x - 1"}),
        ("x = not y", {"x = (y)"}),
        ("x = a if b else c", {"x = a if True else c", "x = a if False else c"}),
        ("x = min(a)", {"x = max(a)"}),
        ("x = a[b:]", {"x = a[:]"}),
        ("x = [a for a in b if c]", {"x = [a for a in b if True]"}),
        ("a.b = c", {"pass"}),
        ("a()", {"pass"}),
        ("raise E('no', 1)", {"pass"}),
        ("f(x=True, y='word', z='two words')", {"pass", "f(x=False, y='word', z='two words')",
                                                "f(x=True, y=\"other\", z='two words')"}),
        ("log.info('x', 1)", {"pass"}),
        ("x: int = f'{1}'", set()),
        ("def f(a: x < y) -> 3:\n  'doc'\n  return a", {"def f(a: x < y) -> 3:\n  'doc'\n  return None"}),
    ],
)  # fmt: skip
def test_operators(text: str, mutants: set[str]) -> None:
    source = text.encode()
    assert {change.applied(source).decode() for change in changes(source)} == mutants


def test_one_function_alone() -> None:
    source = b"def f(): return 1 < x\ndef g(): return 1 < y\n"
    assert {change.applied(source)[:21] for change in changes(source, "g")} == {source[:21]}
    assert changes(source, "h") == []


@pytest.mark.parametrize("name", AREAS)
def test_areas_are_up_to_date(name: str) -> None:
    """Their files are there, and the text that a mutation changes stands once in one of them."""
    area = Area(name, **AREAS[name])
    tests = [test.removeprefix("--deselect=").partition("::")[0] for test in area.tests]
    assert all((ROOT / path).exists() for path in (*area.files, *tests))
    for fields in area.mutations:
        assert fields["file"] in area.files
        assert Mutation.chosen(fields).change is not None, fields["old"]


def test_a_seed_draws_the_same_sample() -> None:
    area = Area("exclusive", **AREAS["exclusive"])
    assert area.sample(5, 1) == area.sample(5, 1) != area.sample(5, 2)
