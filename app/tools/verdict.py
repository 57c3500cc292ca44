"""What a person says to a call of a tool, and for how long a yes holds."""

from dataclasses import dataclass
from enum import StrEnum


class Keep(StrEnum):
    """How long a person's yes holds: for this call, for this conversation, or always, as a rule of the settings."""

    ONCE = "once"
    CONVERSATION = "this conversation"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person has said to a call. A no may have a reason, which the model reads."""

    allowed: bool
    keep: Keep = Keep.ONCE
    reason: str = ""
