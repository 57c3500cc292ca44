"""Whether a call may be run: a pure function of the person's rules and of what the call wants."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Decision(StrEnum):
    """What is to happen to a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a call wants, as rules and a person judge it.

    `subjects` are what a rule may name, the most exact first, which is the longest: "browser.open docs.python.org",
    "browser.open", "browser". `default` holds where no rule is about any of them. `why` says in a few words why a
    person is asked, `shown` is all of what would be done: code, a URL, a diff. Both are untrusted text. Without
    `always` the person is asked each time, whatever rules allow: code that can reach the whole computer. With
    `is_exact` only a rule that names the first subject allows it, and those about the others only forbid: a URL that
    the model has made up. What `may_leave` can carry off what the conversation has, or do harm, wherever it goes: a yes
    for it does not outlast the moment when text comes in that may have misled the model (see SwitchedOn).
    """

    subjects: tuple[str, ...]
    default: Decision
    why: str
    shown: str
    always: bool = True
    is_exact: bool = False
    may_leave: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A decision on what is called exactly so, or begins so ("functions.*", "*")."""

    subject: str
    decision: Decision

    @property
    def exactness(self) -> tuple[int, bool]:
        """Greater where less is covered."""
        return len(self.subject.removesuffix("*")), not self.subject.endswith("*")

    def covers(self, subject: str) -> bool:
        """Whether it is about this subject of a wish."""
        return subject == self.subject or (self.subject.endswith("*") and subject.startswith(self.subject[:-1]))


def rules_of(settings: Mapping[str, str]) -> tuple[Rule, ...]:
    """The rules of the settings file."""
    return tuple(Rule(subject, Decision(decision)) for subject, decision in settings.items())


def decide(rules: Iterable[Rule], wish: Wish) -> tuple[Decision, str]:
    """What is to happen to a call, and the subject of the rule that says so; "" where no rule does.

    One rule against a call is enough. Else the rule that names it most exactly holds, of several the most careful one.
    """
    covering = [rule for rule in rules if any(rule.covers(subject) for subject in wish.subjects)]
    for rule in covering:
        if rule.decision is Decision.DENY:
            return Decision.DENY, rule.subject
    if wish.default is Decision.DENY:
        return Decision.DENY, ""
    if not wish.always:
        return Decision.ASK, ""
    if wish.is_exact:
        covering = [rule for rule in covering if rule.subject == wish.subjects[0]]
    if not covering:
        return wish.default, ""
    most = max(rule.exactness for rule in covering)
    exact = [rule for rule in covering if rule.exactness == most]
    holds = next((rule for rule in exact if rule.decision is Decision.ASK), exact[0])
    return holds.decision, holds.subject
