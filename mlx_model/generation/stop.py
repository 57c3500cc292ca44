"""Stop strings of the caller's: they end an answer when they appear in its final channel, and nowhere else."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from mlx_model.events import Event, MessageEnd, TextDelta, TokenLogprobs
from mlx_model.generation.likelihood import ended
from mlx_model.harmony.message import Message, assistant


class StopStrings:
    """Watches the events of one answer; text that may be the beginning of a stop string waits until that is known.

    `unfinished` is the message of the model's own that the answer continues. Its text has been shown already, so stop
    strings are looked for in what follows it. `found` is True once one has appeared; the events then end with the
    message cut off before it.
    """

    def __init__(self, strings: Sequence[str], unfinished: Message | None = None) -> None:
        self.found = False
        self._strings = strings
        self._text_so_far = unfinished.text if unfinished is not None and unfinished.channel == "final" else ""
        self._pending = ""
        self._tokens: tuple[TokenLogprobs, ...] = ()  # of the pending text
        self._begun = 0  # bytes of the first of them that have been shown

    def filter(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events, as far as they may be shown by now."""
        for event in events:
            if self.found:
                return
            if not self._strings:
                yield event
            elif isinstance(event, TextDelta) and event.channel == "final":
                yield from self._text(event)
            elif isinstance(event, MessageEnd) and event.message.channel == "final":
                if self._pending:
                    yield TextDelta("final", self._pending, logprobs=self._tokens)
                self._text_so_far, self._pending, self._tokens, self._begun = "", "", (), 0
                yield event
            else:
                yield event

    def _text(self, delta: TextDelta) -> Iterator[Event]:
        text = self._pending + delta.text
        places = [place for string in self._strings if (place := text.find(string)) >= 0]
        cut = min(places) if places else len(text) - self._undecided(text)
        self._pending = text[cut:]
        self._text_so_far += text[:cut]
        self._tokens += delta.logprobs
        if cut:
            whole, self._begun = ended(self._tokens, self._begun + len(text[:cut].encode("utf-8", "replace")))
            yield replace(delta, text=text[:cut], logprobs=self._tokens[:whole])
            self._tokens = self._tokens[whole:]
        if places:
            self.found = True
            yield MessageEnd(assistant(self._text_so_far))

    def _undecided(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string."""
        longest = max(len(string) for string in self._strings) - 1
        ends = range(min(longest, len(text)), 0, -1)
        return next((n for n in ends if any(string.startswith(text[-n:]) for string in self._strings)), 0)
