"""The context of a turn as a budget: what a result may take of it, and which results leave when it fills up."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from mlx_model.harmony.history import drop_old_analysis
from mlx_model.harmony.message import Message, Role
from mlx_model.harmony.prompt import developer_message, system_message
from mlx_model.request import Request
from mlx_model.tools.base import CHARACTERS_A_TOKEN, ROOM, shortened

MOST_OF_A_VIEW = 1024
"""Tokens of a page that the browser shows at once, as in the model's training."""
LEAST = 256
"""Tokens that a result may take however little is left: fewer tell the model nothing."""

LITTLE_LEFT = "[Little context is left. Answer now with what you have.]"
"""What the model reads below a result when nothing more can be left out, and in place of a call's that can't be run."""

_LITTLE = 1024
"""Tokens for a thought, one more call and an answer. Of a short context it is an eighth."""
_HEADER = 15
"""Tokens of a message besides its text: author, recipient, channel, and the markup around them."""
_WORTH = 32
"""Tokens that have to become free for a result to be left out: what comes after it is computed again."""
_LONGEST_TITLE = 300
# What opens the display of a page: its number, title and address, and the lines that are shown.
_VIEW = re.compile(r"^(\[(\d+)\] .*)\n\*\*viewing lines (\[\d+ - \d+\]) of \d+\*\*$", re.MULTILINE)


def about(text: str) -> int:
    """Tokens of an English text, by its length."""
    return len(text) // CHARACTERS_A_TOKEN


class Budget:
    """A context of so many tokens. `count` gives the tokens of a text.

    It may be an estimate: after each round the engine says how many tokens there are, and where a round turns out to
    have no room, more is left out. Methods change nothing; `used` are the tokens of the conversation so far.

    What the prompt, thoughts and calls don't take is the share of the results and of what is still to come.

    | left | what happens |
    | ---- | ------------ |
    | any  | a result may take an eighth of it, but at least LEAST; at most ROOM, or MOST_OF_A_VIEW of a page |
    | under a quarter of the share | the oldest results become stubs, in one go, until half of the share is left |
    | little, even so | the last result ends with LITTLE_LEFT |
    | half of that | calls are not run, their result is LITTLE_LEFT |
    """

    def __init__(self, context: int = 1 << 40, count: Callable[[str], int] = about) -> None:
        self.context = context
        self._count = lru_cache(maxsize=256)(count)
        self._little = min(_LITTLE, context // 8)

    def room(self, tool: str, used: int) -> int:
        """The tokens that the result of this tool should take."""
        most = MOST_OF_A_VIEW if _is_browser(tool) else ROOM
        return min(max((self.context - used) // 8, LEAST), most)

    def bounded(self, text: str, used: int) -> str:
        """A result as the model may have it: a tool counts in its own way, but none may flood the context."""
        most, tokens = max(min((self.context - used) // 2, 2 * ROOM), 0), self._count(text)
        return text if tokens <= most else shortened(text, about(text) * most // tokens)

    def is_little(self, used: int) -> bool:
        """Whether the model should answer now."""
        return self.context - used < self._little

    def is_spent(self, used: int) -> bool:
        """Whether another result would leave no room for an answer."""
        return self.context - used < self._little // 2

    def size(self, message: Message) -> int:
        """The tokens of a message."""
        return self._count(message.text) + _HEADER

    def relieved(self, messages: Sequence[Message], used: int) -> tuple[tuple[Message, ...], int]:
        """The messages, with stubs for the oldest results if too little is left; and the tokens used then.

        First those of this turn, then those of earlier ones, which are further up: more would be computed again. The
        newest result of this turn stays. The positions of messages do not change.
        """
        if self.context - used >= max(self.context // 4, self._little):  # no share is greater
            return tuple(messages), used
        relieved, leaving = list(messages), _oldest(messages)
        stubs = [stub_of(relieved[index]) for index in leaving]
        saved = [self._count(relieved[i].text) - self._count(stub.text) for i, stub in zip(leaving, stubs, strict=True)]
        share = self.context - used + sum(filter(lambda tokens: tokens >= _WORTH, saved))
        if self.context - used < max(share // 4, self._little):
            for index, stub, tokens in zip(leaving, stubs, saved, strict=True):
                if self.context - used >= max(share // 2, self._little):
                    break
                if tokens >= _WORTH:
                    relieved[index], used = stub, used - tokens
        return tuple(relieved), used

    def opened(self, request: Request) -> Request:
        """A request as it can be asked first, before the engine has said anything of its size.

        The conversation may have outgrown the context in an earlier turn, or in the part of this turn that it was cut
        off in: it is stored with all results.
        """
        messages = request.messages
        fits = sum(about(message.text) for message in messages) < self.context // 2
        if fits or not any(message.role is Role.TOOL for message in messages):
            return request  # without counting, which takes its time
        used = sum(map(self.size, [*_head(request), *_kept(messages)]))
        return replace(request, messages=self.relieved(messages, used)[0])


def stub_of(message: Message) -> Message:
    """What stands in place of a result: which page it was, or how much text."""
    view = _VIEW.search(message.text) if _is_browser(message.name) else None
    if view is None:
        return replace(message, text=f"[{len(message.text):,} characters of this result are left out to save room]")
    title = view[1][:_LONGEST_TITLE]
    left_out = f"**lines {view[3]} left out to save room; open with cursor {view[2]} shows them again**"
    return replace(message, text=f"{title}\n{left_out}")


def with_note(message: Message) -> Message:
    """A result at whose end the model is asked to answer."""
    return replace(message, text=f"{message.text}\n\n{LITTLE_LEFT}")


def with_half(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages with half of the newest result, and the note: where all else is left out, and there is no room."""
    halved = list(messages)
    for index in [i for i, message in enumerate(messages) if message.role is Role.TOOL][-1:]:
        text = halved[index].text.removesuffix(LITTLE_LEFT).rstrip()
        halved[index] = with_note(replace(halved[index], text=shortened(text, about(text) // 2)))
    return tuple(halved)


def _is_browser(tool: str | None) -> bool:
    return (tool or "").partition(".")[0] == "browser"


def _oldest(messages: Sequence[Message]) -> list[int]:
    """Where the results are that may leave, in the order in which they do."""
    kept = {id(message) for message in _kept(messages)}
    results = [i for i, message in enumerate(messages) if message.role is Role.TOOL and id(message) in kept]
    prompt = max((i for i, message in enumerate(messages) if message.role is Role.USER), default=-1)
    of_turn = [i for i in results if i > prompt]
    return of_turn[:-1] + [i for i in results if i < prompt]


def _kept(messages: Sequence[Message]) -> list[Message]:
    """Those that are in the prompt. A final message at the end has been cut off, and goes on there."""
    unfinished = messages[-1:] if messages and messages[-1].role is Role.ASSISTANT else ()
    return [*drop_old_analysis(messages[: len(messages) - len(unfinished)]), *unfinished]


def _head(request: Request) -> list[Message]:
    """About what the conversation opens with."""
    functions, formats = request.functions, filter(None, [request.response_format])
    developer = developer_message(request.instructions, functions, namespaces=request.namespaces, formats=formats)
    return [system_message(request.options.effort, tools=request.tools, functions=bool(functions)), developer]
