"""What the tests of the screen share within a process."""

from collections.abc import Callable, Iterator

import pytest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

from tests.fixtures.unhurried import unhurried

__all__ = ["unhurried"]


@pytest.fixture(autouse=True, scope="package")
def styles_parsed_once() -> Iterator[None]:
    """Apps whose variables are equal share what Textual has parsed of their styles: a seventh of an app's start."""
    parse: Callable[..., list[RuleSet]] = Stylesheet._parse_rules
    parsed: dict[object, list[RuleSet]] = {}

    def parse_once(sheet: Stylesheet, *where: object, **how: object) -> list[RuleSet]:
        key = (where, *how.items(), *sheet._variables.items())
        if key not in parsed:
            parsed[key] = parse(sheet, *where, **how)
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        yield
