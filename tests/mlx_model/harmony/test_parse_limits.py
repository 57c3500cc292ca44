"""Parsing at its limits: what is debris and what a message, how long a header may be, what is kept meanwhile."""

import pytest

from mlx_model.events import Event, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.message import Message, Role, assistant, user
from mlx_model.harmony.parse import HEADER_TOKENS, StreamParser, parse
from tests.fixtures.vocabulary import o200k, oracle


def ids(text: str) -> list[int]:
    """The ids of a text in which markup is markup."""
    encoded: list[int] = oracle().encode(text, allowed_special="all")
    return encoded


def read(text: str, role: Role | None = Role.ASSISTANT) -> list[Message]:
    return parse(o200k(), ids(text), role)


def repaired(text: str, channel: str = "final", recipient: str | None = None) -> Message:
    return Message(Role.ASSISTANT, text, None, channel, recipient, recovered=True)


SHORT, LONG = "x" * 24, "x" * 25


@pytest.mark.parametrize(
    ("text", "is_debris"),
    [
        ("ok", True),
        ("ok so", True),
        ("ok so then", False),
        (SHORT, True),
        (LONG, False),
        (f"{SHORT[:12]} {SHORT[:11]}", True),
        (f"{SHORT[:12]} {SHORT[:12]}", False),
        ("一" * 8, True),  # 24 bytes
        ("一" * 9, False),
    ],
)
def test_a_word_or_two_are_debris(text: str, is_debris: bool) -> None:
    """Before a channel and between messages. Where nothing follows, and before a terminator, any text is content."""
    final = "<|channel|>final<|message|>x<|return|>"
    own = [] if is_debris else [repaired(text)]
    assert read(f"{text}{final}") == [*own, repaired("x")]
    assert read(f"<|channel|>final<|message|>a<|end|>{text}<|start|>assistant{final}") == [
        assistant("a"),
        *own,
        repaired("x") if is_debris else assistant("x"),
    ]
    alone = [repaired(text)] if text.strip() else []
    assert read(text) == read(f"{text}<|end|>") == alone


def words(count: int) -> list[int]:
    """So many tokens, a word each."""
    found = ids("one" + " two" * (count - 1))
    assert len(found) == count
    return found


def starts(parser: StreamParser, tokens: list[int]) -> list[int]:
    """At which of these tokens, counted from 1, a message starts."""
    return [
        at for at, token in enumerate(tokens, 1) if any(isinstance(event, MessageStart) for event in parser.push(token))
    ]


@pytest.mark.parametrize("before", ["", "<|channel|>analysis", "<|channel|>final<|message|>a<|end|>"])
def test_a_header_that_is_no_header_is_shown_after_so_many_tokens(before: str) -> None:
    parser = StreamParser(o200k())
    starts(parser, ids(before))
    already = len([token for token in ids(before) if before == "<|channel|>analysis" and token < 199998])
    assert starts(parser, words(100)) == [HEADER_TOKENS - already]


@pytest.mark.parametrize("count", [30, 140, 164])
def test_a_long_header_is_read_to_its_end(count: int) -> None:
    """The name of a function may have more tokens than that, as long as it is one."""
    name = "functions." + ".".join("ab" for _ in range(count // 2))
    tokens = len(ids(name))
    assert count == 30 or tokens > HEADER_TOKENS
    (message,) = read(f"<|channel|>commentary to={name[:256]} <|constrain|>json<|message|>{{}}<|call|>")
    assert (message.recipient, message.content_type) == (name[:256], "<|constrain|>json")
    assert not message.recovered


def test_a_header_of_nothing_but_markers_is_bounded() -> None:
    for marker in ("<|channel|>", "<|constrain|>", "<|start|>", "<|channel|><|constrain|>"):
        parser = StreamParser(o200k())
        for token in ids(marker * 200):
            parser.push(token)
        assert parser._header is not None
        assert len(parser._header) <= 9
        for token in ids("<|channel|>final<|message|>x<|return|>"):
            parser.push(token)
        assert parser.messages == [repaired("x")]


@pytest.mark.parametrize("markers", [0, 1, 5, 6, 7, 8, 20])
def test_of_many_channels_the_last_counts(markers: int) -> None:
    repeated = "<|channel|>analysis" * markers
    expected = assistant("x") if not markers else repaired("x")
    assert read(f"{repeated}<|channel|>final<|message|>x<|return|>") == [expected]


@pytest.mark.parametrize("markers", [1, 7, 8, 20])
def test_who_it_is_for_is_kept_over_many_channels(markers: int) -> None:
    repeated = "<|channel|>analysis" * markers
    text = f" to=functions.f{repeated}<|channel|>commentary<|message|>{{}}<|call|>"
    assert read(text) == [repaired("{}", "commentary", "functions.f")]


# Events and ids


def events_of(text: str) -> list[Event]:
    parser = StreamParser(o200k())
    found = [event for token in ids(text) for event in parser.push(token)]
    return found + parser.finish()


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>analysis<|message|>t<|end|><|start|>assistant<|channel|>final<|message|>x<|return|>",
        "<|channel|>final<|message|>a<|channel|>b c d e f g h<|end|>",
        "<|channel|>final<|message|>a<|start|>and on it goes with text<|return|>",
        "<|channel|>final<|message|>a<|start|>user<|message|>b<|end|>",
        "plain text without any markup at all, cut off",
        "<|channel|>commentary to=functions.f<|message|>{}<|call|><|start|>assistant<|channel|>final<|message|>x",
        "<|channel|>final<|message|>x<|return|><|return|><|end|>",
        "ok<|channel|>final<|message|>x<|return|>",
    ],
)
def test_events_and_messages_tell_the_same(text: str) -> None:
    """Each message starts, has its text in pieces, and ends; its ids are all there are, each once, in order."""
    parser = StreamParser(o200k())
    events = [event for token in ids(text) for event in parser.push(token)] + parser.finish()
    shape = "".join({MessageStart: "(", TextDelta: ".", MessageEnd: ")"}[type(event)] for event in events)
    assert shape.replace(".", "") == "()" * len(parser.messages)
    assert [event.message for event in events if isinstance(event, MessageEnd)] == parser.messages
    pieces: list[str] = []
    for event in events:
        if isinstance(event, MessageStart):
            pieces.append("")
        elif isinstance(event, TextDelta):
            assert event.text
            pieces[-1] += event.text
    assert pieces == [message.text for message in parser.messages]
    assert len(parser.tokens) == len(parser.messages)
    sampled = [token for tokens in parser.tokens for token in tokens]
    assert sampled == ids(text)[: len(sampled)]


def test_what_is_sampled_stands_in_the_history_as_it_would_be_rendered() -> None:
    special = o200k().special
    opening = ids("<|start|>assistant")
    for end in ("<|end|>", "<|return|>", "<|endoftext|>", ""):
        parser = StreamParser(o200k())
        for token in ids(f"<|channel|>final<|message|>x{end}"):
            parser.push(token)
        parser.finish()
        expected = {assistant("x"): [*opening, *ids("<|channel|>final<|message|>x<|end|>")]}
        assert parser.sampled == ({} if end == "<|endoftext|>" else expected)
    parser = StreamParser(o200k(), role=None)
    for token in ids("<|start|>assistant<|channel|>final<|message|>x<|end|><|start|>user<|message|>y<|end|>"):
        parser.push(token)
    assert parser.messages == [assistant("x"), user("y")]
    assert parser.sampled == {assistant("x"): ids("<|start|>assistant<|channel|>final<|message|>x<|end|>")}
    call = parse_one("<|channel|>commentary to=functions.f<|message|>{}<|call|>")
    (tokens,) = call.sampled.values()
    assert tokens[-1] == special["<|call|>"]


def parse_one(text: str) -> StreamParser:
    parser = StreamParser(o200k())
    for token in ids(text):
        parser.push(token)
    parser.finish()
    return parser
