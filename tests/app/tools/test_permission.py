"""Rules about calls: what they cover, which of several holds, and what none of them can allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import PERMISSIONS
from app.tools.permission import Decision, Rule, decide, rules_of
from mlx_model.harmony.calls import ToolCall

ALLOW, ASK, DENY = Decision.ALLOW, Decision.ASK, Decision.DENY
NAMES = ("python", "functions.f", "functions.get", "browser.open")
TOOLS = st.sampled_from([*NAMES, "functions.*", "browser.*", "*", "py", "function"])
RULES = st.lists(st.builds(Rule, TOOLS, st.sampled_from(Decision)), max_size=6)
CALLS = st.sampled_from([ToolCall(name, "") for name in NAMES])


@pytest.mark.parametrize(
    ("rules", "name", "confined", "decision"),
    [
        ({}, "python", True, ALLOW),
        ({}, "python", False, ASK),
        ({}, "functions.f", False, ASK),
        ({"python": "ask"}, "python", True, ASK),
        ({"python": "allow"}, "python", False, ASK),
        ({"*": "allow"}, "python", False, ASK),
        ({"python": "deny"}, "python", False, DENY),
        ({"*": "deny", "python": "allow"}, "python", True, DENY),
        ({"functions.*": "allow"}, "functions.f", False, ALLOW),
        ({"functions.*": "allow", "functions.f": "ask"}, "functions.f", False, ASK),
        ({"functions.*": "ask", "functions.f": "allow"}, "functions.f", False, ALLOW),
        ({"functions.f*": "ask", "functions.f": "allow"}, "functions.f", False, ALLOW),
        ({"functions": "allow"}, "functions.f", False, ASK),
        ({"functions.f": "allow"}, "functions.fg", False, ASK),
    ],
)
def test_decisions(rules: dict[str, str], name: str, confined: bool, decision: Decision) -> None:
    assert decide(rules_of(rules), ToolCall(name, ""), confined=confined) is decision


def test_the_settings_know_the_decisions() -> None:
    assert tuple(Decision) == PERMISSIONS


@given(RULES, CALLS, st.booleans(), TOOLS)
def test_one_rule_against_a_call_is_enough(rules: list[Rule], call: ToolCall, confined: bool, tool: str) -> None:
    against = Rule(tool, DENY)
    after = decide([*rules, against], call, confined=confined)
    if against.covers(call.name):
        assert after is DENY
    else:
        assert after is decide(rules, call, confined=confined)


@given(RULES)
def test_no_rule_allows_code_that_nobody_has_seen_outside_a_sandbox(rules: list[Rule]) -> None:
    assert decide(rules, ToolCall("python", ""), confined=False) is not ALLOW


@given(RULES, CALLS, st.booleans(), st.randoms())
def test_the_order_of_rules_means_nothing(rules: list[Rule], call: ToolCall, confined: bool, random: object) -> None:
    shuffled = sorted(rules, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert decide(shuffled, call, confined=confined) is decide(rules, call, confined=confined)


@given(RULES, CALLS, st.booleans())
def test_only_a_rule_that_allows_or_a_sandbox_allows(rules: list[Rule], call: ToolCall, confined: bool) -> None:
    if decide(rules, call, confined=confined) is ALLOW:
        allowed = any(rule.covers(call.name) and rule.decision is ALLOW for rule in rules)
        assert allowed or (confined and not any(rule.covers(call.name) for rule in rules))
