"""How likely tokens are: worked out when they are drawn, and put to the text of the final message that they end in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import mlx.core as mx
import numpy as np

from mlx_model.events import Alternative, Event, TextDelta, TokenLogprobs
from mlx_model.harmony.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Draw:
    """How likely a token was, lazy: its log probability, and the likeliest ids with theirs, in no order."""

    logprob: mx.array
    ids: mx.array
    logprobs: mx.array

    @property
    def arrays(self) -> tuple[mx.array, mx.array, mx.array]:
        """What is to be computed of it."""
        return self.logprob, self.ids, self.logprobs

    @property
    def of_token(self) -> float:
        """The token's log probability."""
        return float(self.logprob.item())  # type: ignore[arg-type]  # a real number

    def top(self) -> list[tuple[int, float]]:
        """The likeliest ids and their log probabilities, the likeliest first."""
        ids, logprobs = np.array(self.ids).tolist(), np.array(self.logprobs).tolist()
        return sorted(zip(ids, logprobs, strict=True), key=lambda pair: -pair[1])


def draw_of(logits: mx.array, token: mx.array, count: int) -> Draw:
    """How likely a token is by logits float32 [vocab], beside `count` of the likeliest."""
    logprobs = logits - mx.logsumexp(logits)
    count = min(count, logits.size)
    ids = mx.argpartition(-logprobs, count - 1)[:count] if count else mx.zeros(0, mx.uint32)
    return Draw(logprobs[token], ids, logprobs[ids])


class Likelihoods:
    """Follows one answer token by token. A token within a character waits for the delta that has the character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._bytes = tokenizer.token_bytes
        self._waiting: tuple[TokenLogprobs, ...] = ()

    def put(self, token: int, draw: Draw | None, events: list[Event], *, inside_character: bool) -> list[Event]:
        """The events that a token has brought, the text of a final message with what is known of its tokens."""
        if draw is None and not self._waiting:
            return events
        if draw is not None:
            self._waiting += (self._entry(token, draw),)
        put = [*events]
        for at, event in enumerate(put):
            if isinstance(event, TextDelta) and event.channel == "final" and event.recipient is None:
                put[at] = replace(event, logprobs=self._waiting)
                self._waiting = ()
        if not inside_character:
            self._waiting = ()  # markup, a header, another channel
        return put

    def _entry(self, token: int, draw: Draw) -> TokenLogprobs:
        top = tuple(Alternative(self._bytes(id), logprob) for id, logprob in draw.top())
        return TokenLogprobs(Alternative(self._bytes(token), draw.of_token), top)


def ended(entries: Sequence[TokenLogprobs], size: int) -> tuple[int, int]:
    """How many of the tokens have ended within so many bytes, and how many bytes of the next there are."""
    for count, entry in enumerate(entries):
        length = len(entry.sampled.token)
        if length > size:
            return count, size
        size -= length
    return len(entries), 0
