"""An answer's messages as the parts that a person sees, in the order in which the model wrote them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mlx_model.harmony.message import Message, Role

LIVE_TAIL = 1200
"""Characters shown of an analysis or a call that grows: all of it ten times a second would take a tenth of a core."""


class Kind(StrEnum):
    """What a part is. ASIDE is what the model tells the person before its answer, before a call for example."""

    ANALYSIS = "analysis"
    ASIDE = "aside"
    CALL = "call"
    ANSWER = "answer"


class State(StrEnum):
    """What a part still gets: more text (GROWING), a tool's result (WAITING), or nothing (WHOLE)."""

    GROWING = "growing"
    WAITING = "waiting"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Part:
    """One message, or several that belong together: analysis without a break, or a call and its results.

    A part of kind CALL begins with a result where nothing before it has called that tool.
    """

    kind: Kind
    messages: tuple[Message, ...]
    state: State = State.WHOLE

    @property
    def text(self) -> str:
        """The texts, with a blank line between."""
        return "\n\n".join(message.text.strip("\n") for message in self.messages)

    @property
    def call(self) -> Message | None:
        """What the model asks of a tool."""
        return None if self.messages[0].role is Role.TOOL else self.messages[0]

    @property
    def results(self) -> tuple[Message, ...]:
        """What the tool gave."""
        return tuple(message for message in self.messages if message.role is Role.TOOL)

    def with_message(self, message: Message) -> "Part":
        """The part and one more."""
        return replace(self, messages=(*self.messages, message))


_SENTENCE = re.compile(r"[^\s.!?\u3002][^.!?\u3002\n]{14,}(?:[.!?](?=\s)|[\u3002\n])")
"""One that is complete, and no list number or "Hmm."."""


def last_sentence(text: str) -> str:
    """What a text that grows says at its end, in one line: its last complete sentence, else what there is of one."""
    tail = text[-LIVE_TAIL:]
    sentences = _SENTENCE.findall(tail)
    return " ".join((sentences[-1] if sentences else tail).split())


def parts_of(messages: Sequence[Message], reason: str | None) -> list[Part]:
    """The parts of an answer; `reason` says how it ended (Finished.reason), None that it goes on.

    No part ever changes its place or its kind while messages are added or the last one grows: a screen that shows
    parts has to update only those that differ. Messages without text are no parts, unless they are calls.
    """
    parts: list[Part] = []
    for message in messages:
        kind = _kind(message)
        if message.role is Role.TOOL and (call := _index_of_call(parts, message)) is not None:
            parts[call] = parts[call].with_message(message)
        elif kind is Kind.ANALYSIS and parts and parts[-1].kind is kind and message.text:
            parts[-1] = parts[-1].with_message(message)
        elif message.text or kind is Kind.CALL:
            parts.append(Part(kind, (message,)))
    if reason is None and parts:
        parts[-1] = replace(parts[-1], state=State.GROWING)
    if reason == "tool_call":
        parts = [replace(p, state=State.WAITING) if p.kind is Kind.CALL and not p.results else p for p in parts]
    return parts


def _kind(message: Message) -> Kind:
    """What a message is. Its recipient makes it a call, whatever the channel: the model uses all of them."""
    if message.role is Role.TOOL or message.calls_tool:
        return Kind.CALL
    return {"analysis": Kind.ANALYSIS, "commentary": Kind.ASIDE}.get(message.channel or "", Kind.ANSWER)


def _index_of_call(parts: Sequence[Part], result: Message) -> int | None:
    """The index of the call that a result answers: the first of that name without one, else the last without one.

    (Harmony numbers no calls, and ChatGPT's tools don't always answer under the name by which they were called.)
    """
    unanswered = [i for i, part in enumerate(parts) if part.kind is Kind.CALL and not part.results]
    same_name = [i for i in unanswered if (call := parts[i].call) is not None and call.recipient == result.name]
    return same_name[0] if same_name else unanswered[-1] if unanswered else None
