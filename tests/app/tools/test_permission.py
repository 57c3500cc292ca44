"""Rules about calls: what they cover, which of several holds, and what none of them can allow."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import PERMISSIONS
from app.tools.permission import Decision, Rule, Wish, decide, rules_of

ALLOW, ASK, DENY = Decision.ALLOW, Decision.ASK, Decision.DENY
CONFINED = Wish(("python",), ALLOW, "", "")
UNCONFINED = Wish(("python",), ASK, "", "", always=False)
FUNCTION = Wish(("functions.f",), ASK, "", "")
PAGE = Wish(("browser.open docs.example.org", "browser.open example.org", "browser.open", "browser"), ASK, "", "")
FORBIDDEN = Wish(("browser.open file",), DENY, "", "")

SUBJECTS = st.sampled_from([*PAGE.subjects, "python", "functions.f", "functions.*", "browser.*", "*", "py", "function"])
RULES = st.lists(st.builds(Rule, SUBJECTS, st.sampled_from(Decision)), max_size=6)
WISHES = st.sampled_from([CONFINED, UNCONFINED, FUNCTION, PAGE, FORBIDDEN])


def decision(rules: Sequence[Rule], wish: Wish) -> Decision:
    return decide(rules, wish)[0]


@pytest.mark.parametrize(
    ("rules", "wish", "decided"),
    [
        ({}, CONFINED, (ALLOW, "")),
        ({}, UNCONFINED, (ASK, "")),
        ({}, FUNCTION, (ASK, "")),
        ({"python": "ask"}, CONFINED, (ASK, "python")),
        ({"python": "allow"}, UNCONFINED, (ASK, "")),
        ({"*": "allow"}, UNCONFINED, (ASK, "")),
        ({"python": "deny"}, UNCONFINED, (DENY, "python")),
        ({"*": "deny", "python": "allow"}, CONFINED, (DENY, "*")),
        ({"functions.*": "allow"}, FUNCTION, (ALLOW, "functions.*")),
        ({"functions.*": "allow", "functions.f": "ask"}, FUNCTION, (ASK, "functions.f")),
        ({"functions.*": "ask", "functions.f": "allow"}, FUNCTION, (ALLOW, "functions.f")),
        ({"functions.f*": "ask", "functions.f": "allow"}, FUNCTION, (ALLOW, "functions.f")),
        ({"functions": "allow"}, FUNCTION, (ASK, "")),
        ({"functions.f": "allow"}, replace(FUNCTION, subjects=("functions.fg",)), (ASK, "")),
        ({"browser": "allow"}, PAGE, (ALLOW, "browser")),
        ({"browser": "allow", "browser.open example.org": "ask"}, PAGE, (ASK, "browser.open example.org")),
        ({"browser": "ask", "browser.open docs.example.org": "allow"}, PAGE, (ALLOW, "browser.open docs.example.org")),
        ({"browser.open example.org": "deny", "browser.open docs.example.org": "allow"}, PAGE, (DENY,)),
        ({"browser.open ample.org": "allow"}, PAGE, (ASK, "")),
        ({"*": "allow"}, FORBIDDEN, (DENY, "")),
    ],
)
def test_decisions(rules: dict[str, str], wish: Wish, decided: tuple[object, ...]) -> None:
    assert decide(rules_of(rules), wish)[: len(decided)] == decided


def test_the_settings_know_the_decisions() -> None:
    assert tuple(Decision) == PERMISSIONS


@given(RULES, WISHES, SUBJECTS)
def test_one_rule_against_a_call_is_enough(rules: list[Rule], wish: Wish, subject: str) -> None:
    against = Rule(subject, DENY)
    after = decision([*rules, against], wish)
    if any(against.covers(each) for each in wish.subjects):
        assert after is DENY
    else:
        assert after is decision(rules, wish)


@given(RULES)
def test_no_rule_allows_code_that_nobody_has_seen_outside_a_sandbox(rules: list[Rule]) -> None:
    assert decision(rules, UNCONFINED) is not ALLOW
    assert decision(rules, FORBIDDEN) is DENY


@given(RULES, WISHES, st.randoms())
def test_the_order_of_rules_means_nothing(rules: list[Rule], wish: Wish, random: object) -> None:
    shuffled = sorted(rules, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert decision(shuffled, wish) is decision(rules, wish)


@given(RULES, WISHES)
def test_only_a_rule_that_allows_or_the_default_allows(rules: list[Rule], wish: Wish) -> None:
    decided, subject = decide(rules, wish)
    if decided is ALLOW:
        assert Rule(subject, ALLOW) in rules if subject else wish.default is ALLOW
