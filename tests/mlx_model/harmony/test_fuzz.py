"""The parser on random and mutated tokens: no exception, no lost text, no markup in a text, all ids kept.

HARMONY_FUZZ sets how many sequences each test tries (default 3000; seeds are fixed).
"""

import os
import random
from collections.abc import Iterator

import pytest

from mlx_model.events import MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.calls import read_call
from mlx_model.harmony.message import Message, Role, assistant
from mlx_model.harmony.parse import StreamParser
from mlx_model.harmony.render import Renderer
from tests.fixtures.vocabulary import o200k

SEQUENCES = int(os.environ.get("HARMONY_FUZZ", "3000"))

START, CHANNEL, MESSAGE, CONSTRAIN = (o200k().special[f"<|{n}|>"] for n in ("start", "channel", "message", "constrain"))
STOPS = [o200k().special[f"<|{n}|>"] for n in ("end", "return", "call", "endoftext")]
SPECIAL = set(o200k().special.values())
WORDS = [
    o200k().encode(word)
    for word in (
        *("assistant", "user", "system", "functions.f", "python", "analysis", "commentary", "final", " to=", "to="),
        *(" to=functions.f", " json", " code", "json", " final", "?", "\n", " ", "{}", " the", "The", " answer", "💖"),
    )
]
# Bytes that are no character alone, ids nobody has.
FRAGMENTS = [*range(128, 256), 31446, 244, 9552, -1, 200500, 10**9]


def random_tokens(chance: random.Random) -> list[int]:
    """Markup, header words, text and rubbish in any order."""
    tokens: list[int] = []
    for _ in range(chance.randrange(1, 40)):
        kind = chance.random()
        if kind < 0.3:
            tokens.append(chance.choice([START, CHANNEL, MESSAGE, CHANNEL, MESSAGE, *STOPS]))
        elif kind < 0.6:
            tokens += chance.choice(WORDS)
        elif kind < 0.65:
            tokens.append(chance.choice(sorted(SPECIAL)))
        elif kind < 0.75:
            tokens.append(chance.choice(FRAGMENTS))
        else:
            tokens += [chance.randrange(199998) for _ in range(chance.randrange(1, 20))]
    return tokens


def run(tokens: list[int], role: Role | None = Role.ASSISTANT) -> StreamParser:
    """Parse, and check what holds for every sequence."""
    parser = StreamParser(o200k(), role)
    started: MessageStart | None = None
    text = ""
    ended: list[Message] = []
    for events in [*map(parser.push, tokens), parser.finish()]:
        for event in events:
            match event:
                case MessageStart():
                    assert started is None
                    started, text = event, ""
                    assert event.channel in ("analysis", "commentary", "final")
                case TextDelta():
                    assert started is not None
                    assert (event.channel, event.recipient) == (started.channel, started.recipient)
                    assert event.text
                    text += event.text
                case MessageEnd(message):
                    assert started is not None
                    assert message.text == text
                    assert (message.recipient, message.content_type) == (started.recipient, started.content_type)
                    assert message.role == started.role
                    assert message.channel == started.channel or message.role is not Role.ASSISTANT
                    ended.append(message)
                    started = None
    assert started is None
    assert parser.messages == ended
    calls = [read_call(message, ["functions.f", "python"]) for message in ended]
    assert [call is not None for call in calls] == [m.role is Role.ASSISTANT and bool(m.recipient) for m in ended]
    assert len(parser.tokens) == len(ended)
    kept = [token for ids in parser.tokens for token in ids]
    assert kept == tokens[: len(kept)]
    assert parser.finish() == []
    return parser


def texts_after_message_tokens(tokens: list[int]) -> Iterator[str]:
    """What nobody could take for anything but text: that between `<|message|>` and the next special token."""
    for at, token in enumerate(tokens):
        if token == MESSAGE:
            end = next((i for i in range(at + 1, len(tokens)) if tokens[i] in SPECIAL), len(tokens))
            yield o200k().decode(tokens[at + 1 : end])


@pytest.mark.parametrize("role", [Role.ASSISTANT, None])
def test_random_sequences(role: Role | None) -> None:
    for seed in range(SEQUENCES // 2):
        tokens = random_tokens(random.Random(seed))
        parser = run(tokens, role)
        everything = "\x00".join(message.text for message in parser.messages)
        assert "<|" not in everything or "<|" in o200k().decode(t for t in tokens if t not in SPECIAL)
        place = 0
        for text in texts_after_message_tokens(tokens):
            place = everything.find(text, place)
            assert place >= 0, f"seed {seed} lost {text!r}"
            place += len(text)


def test_text_without_markup_is_never_lost() -> None:
    for seed in range(SEQUENCES // 10):
        chance = random.Random(seed)
        words = [chance.choice([*WORDS[-8:], o200k().encode(" word")]) for _ in range(chance.randrange(1, 150))]
        tokens = [token for word in words for token in word]
        messages = run([*tokens, *([chance.choice(STOPS)] if seed % 2 else [])]).messages
        assert "".join(message.text for message in messages).strip() == o200k().decode(tokens).strip()
        assert {message.channel for message in messages} <= {"final"}


CONVERSATION = [
    assistant("The user greets.", "analysis"),
    Message(Role.ASSISTANT, '{"a": 1}', None, "commentary", "functions.zzz", "<|constrain|>json"),
    Message(Role.ASSISTANT, "print(1)", None, "analysis", "python", "code"),
    assistant("I look that up.", "commentary"),
    assistant("Hello! 💖"),
]


def mutations(tokens: list[int]) -> Iterator[list[int]]:
    """Every special token but the last left out, doubled, or followed by a stray newline or a reserved token."""
    for at in [i for i, token in enumerate(tokens[:-1]) if token in SPECIAL]:
        before, token, after = tokens[:at], tokens[at], tokens[at + 1 :]
        yield before + after
        yield [*before, token, token, *after]
        if token != MESSAGE:
            yield [*before, token, *o200k().encode("\n"), *after]
        yield [*before, token, o200k().special["<|reserved_200013|>"], *after]


def test_one_wrong_special_token_costs_nothing() -> None:
    """Whatever single token of the markup is missing or doubled, all texts come out, where they belong, and no more."""
    tokens = Renderer(o200k()).conversation(CONVERSATION)[2:]
    expected = [(message.channel, message.recipient, message.text) for message in CONVERSATION]
    count = 0
    for mutated in mutations(tokens):
        messages = run(mutated).messages
        got = [(message.channel, message.recipient, message.text) for message in messages]
        assert got == expected, o200k().decode(mutated)
        count += 1
    assert count > 70


def test_mutated_conversations() -> None:
    """Several tokens lost, doubled, swapped or put in: header words never become the answer's text."""
    tokens = Renderer(o200k()).conversation(CONVERSATION)[2:]
    for seed in range(SEQUENCES):
        chance = random.Random(seed)
        mutated = tokens[: chance.randrange(1, len(tokens) + 1)]
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(mutated)) if mutated else 0
            match chance.randrange(4):
                case 0:
                    del mutated[at : at + chance.randrange(1, 3)]
                case 1:
                    mutated[at:at] = mutated[at : at + 1]
                case 2:
                    mutated[at:at] = [chance.choice([*SPECIAL, *FRAGMENTS])]
                case 3:
                    mutated[at:at] = chance.choice(WORDS)
        everything = "\x00".join(message.text for message in run(mutated).messages)
        assert "<|" not in everything
        for text in texts_after_message_tokens(mutated):
            assert text in everything


@pytest.mark.parametrize(
    "token", [CHANNEL, START, MESSAGE, CONSTRAIN, STOPS[0], o200k().encode(" to=")[0], 198, 71, -1]
)
def test_one_token_for_ever(token: int) -> None:
    run([token] * 20_000)
    run([CHANNEL, *o200k().encode("analysis to=python"), token] * 3000)
