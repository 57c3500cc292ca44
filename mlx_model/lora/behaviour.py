"""How a model answers prompts that it has not learnt from: a low loss is not the behaviour that was wished for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mlx_model.events import Finished, MessageEnd
from mlx_model.generation.session import Session
from mlx_model.harmony.history import is_answer, is_thought
from mlx_model.harmony.message import Message, Role
from mlx_model.lora.dialogues import Dialogue
from mlx_model.lora.examples import turns
from mlx_model.lora.languages import ENGLISH, Languages
from mlx_model.model import Model
from mlx_model.options import Options
from mlx_model.request import Request

MAX_TOKENS = 1024
"""Of an answer that is only to be judged."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How many of `prompts` were answered in full, and how many of those that asked for a language of thoughts
    (`asked`), and that did not (`unasked`), were thought about in the right one."""

    prompts: int = 0
    whole: int = 0
    asked: int = 0
    asked_right: int = 0
    unasked: int = 0
    unasked_right: int = 0

    def __add__(self, other: "Behaviour") -> "Behaviour":
        return Behaviour(
            self.prompts + other.prompts,
            self.whole + other.whole,
            self.asked + other.asked,
            self.asked_right + other.asked_right,
            self.unasked + other.unasked,
            self.unasked_right + other.unasked_right,
        )


def languages_of(dialogues: Sequence[Dialogue]) -> Languages:
    """What the thoughts of conversations teach of their languages.

    Where each of them asks for a language, the model's own English is added: else thoughts that stay as they were would
    be taken for one of the languages that were learnt.
    """
    thoughts = [
        (dialogue.language, message.text)
        for dialogue in dialogues
        for message in dialogue.messages
        if is_thought(message)
    ]
    if not {"", "english"} & {language.lower() for language, _ in thoughts}:
        thoughts.append(("", ENGLISH))
    return Languages(thoughts)


def behaviours(
    model: Model, dialogues: Sequence[Dialogue], languages: Languages, cancelled: Callable[[], bool]
) -> Iterator[Behaviour]:
    """One for the last prompt of each conversation, answered without chance. Ends early once `cancelled()` is true.

    Of languages nothing is said where only one is known, since every thought would be in that.
    """
    session = Session(model)
    for dialogue in dialogues:
        thoughts, whole = _answered(session, dialogue, cancelled)
        if cancelled():
            return
        right = languages.of(thoughts) == dialogue.language
        if len(languages.names) < 2:
            yield Behaviour(1, whole)
        elif dialogue.language:
            yield Behaviour(1, whole, 1, right)
        else:
            yield Behaviour(1, whole, unasked=1, unasked_right=right)


def _answered(session: Session, dialogue: Dialogue, cancelled: Callable[[], bool]) -> tuple[str, bool]:
    """What the model thinks about the last prompt, and whether it answers it."""
    last = max(at for at, message in enumerate(dialogue.messages) if message.role is Role.USER)
    effort = dialogue.effort_of(sum(1 for _ in turns(dialogue.messages[:last])))
    options = Options(effort=effort, temperature=0.0, max_tokens=MAX_TOKENS)
    request = Request(dialogue.messages[: last + 1], options, dialogue.instructions, functions=dialogue.functions)
    messages, finished = list[Message](), None
    for event in session.stream(request, cancelled):
        if isinstance(event, MessageEnd):
            messages.append(event.message)
        elif isinstance(event, Finished):
            finished = event.reason
    thoughts = "\n".join(message.text for message in messages if is_thought(message))
    return thoughts, finished == "stop" and any(map(is_answer, messages))
