"""/pro in the plain chat: several answers at once, a line for each that has ended, and the one that is made of them."""

import sys
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from time import monotonic

from app.chat.answer import CHECKPOINT_S, AnswerRecord
from app.chat.conversation import Conversation, Node
from app.chat.plan import Plan
from app.chat.pro import Pro, alone_speed, is_whole
from app.engine.engine import Engine
from app.lines import one_line
from mlx_model.request import Request
from mlx_model.text import clean

_MOST = 60
"""Characters of an answer in its line."""


class PlainSeveral:
    """Several answers to one prompt of a conversation. `save` puts what has come on the disk."""

    def __init__(
        self,
        prompt: Node,
        conversation: Conversation,
        request: Request,
        plan: Plan,
        model: str,
        save: Callable[[], None],
    ) -> None:
        """Raises RequestError for what can't be answered several times."""
        effort = request.options.effort
        self._new_record = partial(AnswerRecord, effort, prompt, model=model)
        self._pro = Pro(request, [self._new_record() for _ in range(plan.count)], plan.combine)
        self._conversation = conversation
        self._alone_tok_s = alone_speed(conversation, model)
        self._save = save

    async def show(self, engine: Engine, is_stopped: Callable[[], bool]) -> None:
        """Ask, and say of each answer what it comes to. Raises what the engine raises."""
        pro, told, doing, saved = self._pro, set[int](), "", monotonic()
        async with aclosing(pro.events(engine, self._new_record, is_stopped)) as events:
            async for _ in events:
                if ended := pro.ended - told:
                    told |= ended
                    for number in sorted(ended):
                        self._say_sample(number)
                if pro.doing != doing:
                    doing = pro.doing
                    _say(f"{doing} ...")
                if ended or monotonic() - saved >= CHECKPOINT_S:
                    self.keep()
                    saved = monotonic()

    def keep(self, unfinished: str | None = None) -> None:
        """Put what has come into the conversation; `unfinished` as for Pro.keep_in."""
        self._pro.keep_in(self._conversation, self._alone_tok_s, unfinished)
        if self._pro.answer is not None:
            self._save()

    def print_answer(self) -> None:
        """What came of them; below it, on standard error, how."""
        answer = self._pro.answer
        if answer is None:
            return
        if is_whole(answer):
            print(clean(answer.text).rstrip("\n"), flush=True)
        _say(f"{answer.origin}\n")

    def _say_sample(self, number: int) -> None:
        state = self._pro.states[number]
        text = one_line(state.text)
        shown = text if len(text) <= _MOST else f"{text[:_MOST]}..."
        _say(f"answer {number + 1} of {len(self._pro.records)}: {shown or state.state}, {state.tokens:,} tokens")


def _say(text: str) -> None:
    print(clean(text), file=sys.stderr, flush=True)
