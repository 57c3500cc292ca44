"""What a reading by parts takes, beforehand and while it goes on, in words."""

from dataclasses import dataclass

from app.chat.conversation import Conversation
from app.lines import counted, duration

LEAST_MEASURED = 64
"""Tokens of a prompt that say how fast the next is read."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured of the model, in tokens a second: reading and writing. 0 for what was not."""

    reading: float = 0.0
    writing: float = 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a reading takes beforehand. `written` is the most that may be."""

    parts: int
    tokens: int
    written: int
    is_exact: bool = True

    def __str__(self) -> str:
        about = "" if self.is_exact else "about "
        tokens = f"{about}{self.tokens:,} tokens to be read, up to {self.written:,} of notes written"
        return f"{counted(self.parts, 'part')}, {tokens}"

    def time(self, speed: Speed) -> str:
        """How long it takes at such a speed; "" where that is not known."""
        if not (speed.reading and speed.writing):
            return ""
        return f"about {duration(self.tokens / speed.reading + self.written / speed.writing / 2)}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reading is. `part` is the one under way, "" while notes are shortened; tokens are those of all parts,
    `seconds` what is left of it, 0 before that is known."""

    part: int
    parts: int
    where: str
    done: int
    total: int
    seconds: float = 0.0

    @property
    def doing(self) -> str:
        """In a few words."""
        return f"reading part {self.part:,} of {self.parts:,}" if self.where else "shortening the notes"

    @property
    def figures(self) -> str:
        """The rest of it."""
        left = f"{duration(self.seconds)} left" if self.seconds >= 1 else ""
        return ", ".join(filter(None, (self.where, f"{self.done:,} of {self.total:,} tokens", left)))

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.done / self.total if self.total else 0.0


def speed_in(conversation: Conversation, model: str) -> Speed:
    """What the answers of a conversation say of the model's speed, the latest first."""
    facts = [node.facts for node in reversed(conversation.nodes.values()) if node.facts is not None]
    stats = [each.stats for each in facts if each.model == model]
    reading = (each.prefill_tok_s for each in stats if each.prefill_tokens >= LEAST_MEASURED)
    return Speed(next(reading, 0.0), next((each.decode_tok_s for each in stats if each.decode_tok_s), 0.0))
