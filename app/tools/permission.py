"""Whether a call may be run: a pure function of the person's rules and the call."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from mlx_model.harmony.calls import ToolCall


class Decision(StrEnum):
    """What is to happen to a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """A decision on the calls of a tool, by its full name ("python", "functions.get_weather"), of all tools in a
    namespace ("functions.*"), or of all there are ("*")."""

    tool: str
    decision: Decision

    @property
    def exactness(self) -> tuple[int, bool]:
        """Greater where less is covered."""
        return len(self.tool.removesuffix("*")), not self.tool.endswith("*")

    def covers(self, name: str) -> bool:
        """Whether it is about the tool of this name."""
        return name == self.tool or (self.tool.endswith("*") and name.startswith(self.tool[:-1]))


def rules_of(settings: Mapping[str, str]) -> tuple[Rule, ...]:
    """The rules of the settings file."""
    return tuple(Rule(tool, Decision(decision)) for tool, decision in settings.items())


def decide(rules: Iterable[Rule], call: ToolCall, *, confined: bool) -> Decision:
    """What is to happen to a call of a tool that is `confined`: code in a sandbox whose test it has passed.

    One rule against a call is enough. Else the rule that names the tool most exactly holds, of several the most
    careful one. What no rule is about is asked, except for a confined tool. Code that can reach the whole computer is
    asked each time: no rule allows beforehand what nobody has seen.
    """
    covering = [rule for rule in rules if rule.covers(call.name)]
    if any(rule.decision is Decision.DENY for rule in covering):
        return Decision.DENY
    if call.name == "python" and not confined:
        return Decision.ASK
    if not covering:
        return Decision.ALLOW if confined else Decision.ASK
    most = max(rule.exactness for rule in covering)
    exact = [rule.decision for rule in covering if rule.exactness == most]
    return Decision.ASK if Decision.ASK in exact else Decision.ALLOW
