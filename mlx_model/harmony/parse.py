"""Parse sampled tokens into typed events, one token at a time, whatever the model emits.

Markup is recognised by token id, never by text. Well-formed output is read as OpenAI's library reads it. Where that
raises, this parser resynchronises as a person reading the raw tokens would, and marks the message as `recovered`:

- A header that can't be read counts for what can be: the last known channel, a `to=` anywhere. An unknown channel is
  commentary, none at all final (commentary if there is a recipient).
- A header without `<|message|>` is over at a stop token, or after HEADER_TOKENS; its text is then the content. So a
  refusal with no markup at all is a final message.
- One or two short words before a channel or between messages are debris; more are a message of their own.
- `<|start|>` or `<|channel|>` inside a text means that the end of the message is missing, unless no header follows:
  then the message goes on. Other special tokens inside a text are left out. No markup ever becomes text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mlx_model.events import Event, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.header import Header, read_header
from mlx_model.harmony.message import CONSTRAIN, Message, Role
from mlx_model.harmony.tokenizer import StreamDecoder, Tokenizer

# Text tokens after which a header without <|message|> is taken for content. The longest real ones, calls of functions
# with long names, have about 30.
HEADER_TOKENS = 64
# At most so much text in a header is debris, if the header goes on.
_DEBRIS_WORDS = 2
_DEBRIS_BYTES = 24
# Bounds a header of nothing but markers.
_MOST_PARTS = 8

_START, _CHANNEL, _MESSAGE, _END, _RETURN, _CALL, _END_OF_TEXT = (
    f"<|{name}|>" for name in ("start", "channel", "message", "end", "return", "call", "endoftext")
)
_STOPS = (_END, _RETURN, _CALL, _END_OF_TEXT)


@dataclass(slots=True)
class _Open:
    """The message whose text is being read."""

    header: Header
    channel: str
    recovered: bool
    texts: list[str] = field(default_factory=list)


class StreamParser:
    """Feed `push` with each sampled token and call `finish` once at the end. Neither raises on any token.

    `messages` are the complete messages so far, `tokens[i]` the ids of `messages[i]` as sampled: from the terminator of
    the message before to its own, both where they exist. All of `tokens` in order are what was pushed.
    """

    def __init__(self, tokenizer: Tokenizer, role: Role | None = Role.ASSISTANT) -> None:
        """`role` is that of a prompt that ended in `<|start|>` and a role; None to read from `<|start|>` on."""
        self.messages: list[Message] = []
        self.tokens: list[list[int]] = []
        self._tokenizer = tokenizer
        self._names = {token: name for name, token in tokenizer.special.items()}
        self._decoder = StreamDecoder(tokenizer)
        self._ids: list[int] = []  # since the last message
        self._open: _Open | None = None
        # The header being read: "", <|channel|>, <|constrain|> with the text tokens after each. None inside a text.
        self._header: list[tuple[str, list[int]]] | None = None
        self._header_at = 0  # where in _ids it begins; behind the text that it interrupts, if _open is not None
        self._new_header("", role, needs_start=role is None)
        self._repaired = False  # something before the next message was left out

    def push(self, token: int) -> list[Event]:
        """Take one sampled token; return what it brings about."""
        self._ids.append(token)
        special = self._names.get(token)
        if self._header is None:
            return self._text(self._decoder.push(token)) if special is None else self._special_in_text(special)
        if special is not None:
            return self._special_in_header(special, self._header)
        self._header[-1][1].append(token)
        self._header_tokens += 1
        if self._header_tokens < self._header_limit:
            return []
        self._header_limit *= 2
        return self._begin_without_message_token(even_debris=False)

    def finish(self) -> list[Event]:
        """The stream has ended, after a stop token or not. Closes the message that is open, if any."""
        events = []
        if self._header is not None:
            rest = self._read_header(complete=False).rest.strip()
            if not "to=".startswith(rest):  # a recipient that was cut off is no text
                events = self._begin_without_message_token(even_debris=True)
        return events + self._end(recovered=self._header is not None)

    @property
    def inside_character(self) -> bool:
        """Whether the last token ended within a character, of which the next is to bring the rest."""
        return self._decoder.inside_character

    @property
    def sampled(self) -> dict[Message, list[int]]:
        """For `Renderer.prompt`: the model's well-formed messages, with their ids as they stand in a history."""
        special = self._tokenizer.special
        opening = [special[_START], *self._tokenizer.encode(Role.ASSISTANT)]
        stops = {special[name] for name in _STOPS if name in special}
        known = {}
        for message, tokens in zip(self.messages, self.tokens, strict=True):
            if message.recovered or message.role is not Role.ASSISTANT:
                continue
            ids = tokens if tokens[0] == special[_START] else opening + tokens
            end = special[_CALL] if ids[-1] == special[_CALL] or message.calls_tool else special[_END]
            known[message] = [*(ids[:-1] if ids[-1] in stops else ids), end]
        return known

    def _text(self, text: str) -> list[Event]:
        if not text or self._open is None:
            return []
        self._open.texts.append(text)
        return [TextDelta(self._open.channel, text, self._open.header.recipient)]

    def _special_in_text(self, special: str) -> list[Event]:
        if special in _STOPS:
            return self._end(recovered=special == _END_OF_TEXT)
        events = self._text(self._decoder.flush())
        if special == _START:
            self._new_header("", None, needs_start=False)
        elif special == _CHANNEL:
            self._new_header(_CHANNEL, Role.ASSISTANT, needs_start=True)
        elif self._open is not None:
            self._open.recovered = True
        return events

    def _special_in_header(self, special: str, header: list[tuple[str, list[int]]]) -> list[Event]:
        if special == _MESSAGE:
            return self._begin(self._read_header(complete=True))
        if special in _STOPS:
            read = self._read_header(complete=False)
            begins = read.rest.strip() or read.channel or read.recipient
            return (self._begin(read) if begins else []) + self._end(recovered=True)
        if special not in (_START, _CHANNEL, CONSTRAIN):
            self._repaired = True
            return []
        if special != CONSTRAIN and (events := self._begin_without_message_token(even_debris=False)):
            return events + self._special_in_text(special)
        if special == _START:
            self._repaired |= not self._needs_start or header != [("", [])]
            self._new_header("", None, needs_start=False, at=self._header_at)
            return []
        header.append((special, []))
        if len(header) > _MOST_PARTS:
            self._repaired = True
            del header[1]
        return []

    def _new_header(self, marker: str, role: Role | None, *, needs_start: bool, at: int | None = None) -> None:
        """Begin to read a header whose first token, `marker`, is the last of _ids (or is yet to come: "")."""
        self._header = [("", [])] if not marker else [("", []), (marker, [])]
        self._header_at = max(len(self._ids) - 1, 0) if at is None else at
        self._header_tokens = 0
        self._header_limit = HEADER_TOKENS
        self._role = role
        self._needs_start = needs_start

    def _read_header(self, *, complete: bool) -> Header:
        """What the header says up to here. _decoder is left ready to continue the text of its last part."""
        *parts, (marker, ids) = self._header or [("", [])]
        self._decoder.flush()
        last = "".join(map(self._decoder.push, ids))
        texts = [(name, self._tokenizer.decode(tokens)) for name, tokens in parts]
        return read_header([*texts, (marker, last)], self._role, complete=complete)

    def _begin_without_message_token(self, *, even_debris: bool) -> list[Event]:
        """Take the header for what it is so far and its text for content, if it has any."""
        header = self._read_header(complete=False)
        rest = header.rest.strip()
        debris = len(rest.split()) <= _DEBRIS_WORDS and len(rest.encode()) <= _DEBRIS_BYTES
        return self._begin(header) if rest and (even_debris or not debris) else []

    def _begin(self, header: Header) -> list[Event]:
        """The header is over: start its message, or go on with the text that it seemed to interrupt."""
        events: list[Event] = []
        says_nothing = header.channel is None and header.recipient is None and header.role is Role.ASSISTANT
        if self._open is not None and says_nothing and not header.complete:
            self._header = None
            self._open.recovered = True
            return self._text(header.rest)
        if self._open is not None:
            events += self._close(self._open, self._ids[: self._header_at], True)
            del self._ids[: self._header_at]
        if header.complete:
            self._decoder.flush()
        if header.role is Role.ASSISTANT:
            channel = header.channel or ("final" if header.recipient is None else "commentary")
        else:
            channel = header.channel or "commentary"
        self._open = _Open(header, channel, self._repaired or self._needs_start or not header.clean)
        self._header = None
        self._repaired = False
        events.append(MessageStart(channel, header.recipient, header.content_type, header.role.value))
        return events + self._text(header.rest.lstrip())

    def _end(self, *, recovered: bool) -> list[Event]:
        """A terminator: close the message that is open, if any, and wait for the next header."""
        events = self._text(self._decoder.flush()) if self._header is None else []
        if self._open is not None:
            events += self._close(self._open, self._ids, recovered)
            self._ids = []
        self._repaired |= bool(self._ids)
        self._new_header("", Role.ASSISTANT, needs_start=True)
        return events

    def _close(self, open_: _Open, ids: list[int], recovered: bool) -> list[Event]:
        header = open_.header
        message = Message(
            header.role,
            "".join(open_.texts),
            header.name,
            open_.channel if header.role is Role.ASSISTANT else header.channel,
            header.recipient,
            header.content_type,
            recovered or open_.recovered,
        )
        self.messages.append(message)
        self.tokens.append(ids)
        self._open = None
        return [MessageEnd(message)]


def parse(tokenizer: Tokenizer, tokens: Iterable[int], role: Role | None = Role.ASSISTANT) -> list[Message]:
    """The messages in a whole sequence of tokens; see StreamParser."""
    parser = StreamParser(tokenizer, role)
    for token in tokens:
        parser.push(token)
    parser.finish()
    return parser.messages
