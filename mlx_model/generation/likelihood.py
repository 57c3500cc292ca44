"""Log probabilities of the final message's tokens, put to the deltas in which they end."""

from collections.abc import Sequence
from dataclasses import replace

from mlx_model.events import Alternative, Event, TextDelta, TokenLogprobs
from mlx_model.generation.sampling import Draw
from mlx_model.harmony.tokenizer import Tokenizer


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
