"""An answer's messages as the parts that a person sees, in the order in which the model wrote them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice

from app.chat.conversation import CallFacts
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
    """What a part still gets: more text (GROWING), the result of a tool that runs (RUNNING), one that nobody has begun
    to get (WAITING), or nothing (WHOLE). Of a call at the end of an answer that was cut off: that it was NOT_RUN, or
    CUT_OFF while it was run."""

    GROWING = "growing"
    RUNNING = "running"
    WAITING = "waiting"
    WHOLE = "whole"
    NOT_RUN = "not run"
    CUT_OFF = "cut off"


@dataclass(frozen=True, slots=True)
class Running:
    """The call under way: whether the person `is_asked` about it first, else for how many whole seconds it has run, and
    the end of what the tool has written."""

    is_asked: bool = False
    seconds: int = 0
    output: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One message, or several that belong together: analysis without a break, or a call and its results.

    A part of kind CALL begins with a result where nothing before it has called that tool. `facts` are those of its
    results, as far as there are any, `running` those of a call under way.
    """

    kind: Kind
    messages: tuple[Message, ...]
    state: State = State.WHOLE
    facts: tuple[CallFacts, ...] = ()
    running: Running | None = None

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

    def with_message(self, message: Message, facts: Sequence[CallFacts] = ()) -> "Part":
        """The part and one more; of a result also its facts."""
        return replace(self, messages=(*self.messages, message), facts=(*self.facts, *facts))


_SENTENCE = re.compile(r"[^\s.!?\u3002][^.!?\u3002\n]{14,}(?:[.!?](?=\s)|[\u3002\n])")
"""One that is complete, and no list number or "Hmm."."""


def last_sentence(text: str) -> str:
    """What a text that grows says at its end, in one line: its last complete sentence, else what there is of one."""
    tail = text[-LIVE_TAIL:]
    sentences = _SENTENCE.findall(tail)
    return " ".join((sentences[-1] if sentences else tail).split())


def parts_of(
    messages: Sequence[Message],
    reason: str | None,
    calls: Sequence[CallFacts] = (),
    running: Running | None = None,
) -> list[Part]:
    """The parts of an answer; `reason` says how it ended (Finished.reason), None that it goes on.

    `calls` are the facts of its results, in their order, and of a call at the end that was begun; `running` says how
    the one that is under way does.

    No part ever changes its place or its kind while messages are added or the last one grows: a screen that shows
    parts has to update only those that differ. Messages without text are no parts, unless they are calls.
    """
    parts: list[Part] = []
    facts = iter(calls)
    for message in messages:
        kind = _kind(message)
        of_result = [*islice(facts, 1)] if message.role is Role.TOOL else []
        if message.role is Role.TOOL and (call := _index_of_call(parts, message)) is not None:
            parts[call] = parts[call].with_message(message, of_result)
        elif kind is Kind.ANALYSIS and parts and parts[-1].kind is kind and message.text:
            parts[-1] = parts[-1].with_message(message)
        elif message.text or kind is Kind.CALL:
            parts.append(Part(kind, (message,), facts=tuple(of_result)))
    if reason is None and parts:
        state = State.GROWING if running is None else State.RUNNING
        parts[-1] = replace(parts[-1], state=state, running=running)
    elif reason == "tool_call":
        parts = [replace(p, state=State.WAITING) if p.kind is Kind.CALL and not p.results else p for p in parts]
    elif reason != "stop" and parts and parts[-1].kind is Kind.CALL and not parts[-1].results:
        parts[-1] = replace(parts[-1], state=State.NOT_RUN if next(facts, None) is None else State.CUT_OFF)
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
