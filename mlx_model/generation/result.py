"""What a script gets: one answer, and the several that it was made of, if it was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlx_model.events import Finished, Stats
from mlx_model.harmony.fold import FoldedAnswer
from mlx_model.harmony.message import Message
from mlx_model.pro.samples import Outcome
from mlx_model.tools.loop import ToolFinished


@dataclass(frozen=True, slots=True)
class Result:
    """One answer. `text` is what is meant for the user, `analysis` the chain of thought, `tokens` the sampled ids.

    `commentary` is what the model said to the user on its way, before a tool call, or by mistake in place of an answer.
    `calls` are the tool calls that were run here, each with its result; `messages` has them too.
    `finish_reason` is "stop", "no_answer", "tool_call", "tool_limit", "length" or "stop_string" (see events.Finished).
    Only after "stop" there certainly is a `text`. Cut off while thinking, an answer has none: analysis is never passed
    off as the answer. `warnings` say what of a schema binds nothing. `stats` are those of all `samples` together.
    """

    text: str
    analysis: str
    messages: tuple[Message, ...]
    tokens: tuple[int, ...]
    finish_reason: str
    stats: Stats
    commentary: str = ""
    calls: tuple[ToolFinished, ...] = ()
    warnings: tuple[str, ...] = ()
    samples: tuple["Result", ...] = ()
    """Every answer, where several were asked for: those that were stopped too ("cancelled")."""
    outcome: Outcome | None = None
    """What came of them, then: how this answer was made, and the votes."""
    read: Callable[[str], Any] | None = field(default=None, repr=False, compare=False)
    """Makes of the text what the response format says."""

    @property
    def parsed(self) -> Any:
        """What the answer says, where a response format binds it: a value of JSON, or an instance of the class given.

        None for any other answer, and for one that is not whole (`finish_reason` is not "stop"). Raises what the class
        raises, if it refuses what the schema allows.
        """
        return self.read(self.text) if self.read is not None and self.finish_reason == "stop" else None


def result_of(
    answer: FoldedAnswer,
    tokens: Sequence[int],
    read: Callable[[str], Any] | None,
    warnings: Sequence[str] = (),
    calls: Sequence[ToolFinished] = (),
) -> Result:
    """An answer that has ended."""
    finished = answer.finished or Finished("cancelled")
    return Result(
        text=answer.text,
        analysis=answer.analysis,
        messages=tuple(answer.messages),
        tokens=tuple(tokens),
        finish_reason=finished.reason,
        stats=finished.stats,
        commentary=answer.on("commentary"),
        calls=tuple(calls),
        warnings=tuple(warnings),
        read=read,
    )
