"""Parsing sampled tokens: equal to OpenAI's library on well-formed output, sensible where that one gives up."""

import json
from typing import Any

import openai_harmony as oh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.events import MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.message import Message, Role, assistant, user
from mlx_model.harmony.parse import HEADER_TOKENS, StreamParser, parse
from mlx_model.harmony.render import Renderer
from mlx_model.harmony.tokenizer import Tokenizer
from mlx_model.harmony.vocabulary import Vocabulary
from tests.fixtures import FIXTURES
from tests.fixtures.vocabulary import O200K_PATTERN, o200k, oracle

# Made with openai-harmony 0.0.8: what its parser answers, strict and lenient, to 43 sequences.
GOLDEN: list[dict[str, Any]] = json.loads((FIXTURES / "data" / "harmony_parser.json").read_text())


def ids(text: str) -> list[int]:
    """The ids of a text in which markup is markup."""
    encoded: list[int] = oracle().encode(text, allowed_special="all")
    return encoded


def read(text: str, role: Role | None = Role.ASSISTANT) -> list[Message]:
    return parse(o200k(), ids(text), role)


def repaired(
    text: str,
    channel: str | None = "final",
    recipient: str | None = None,
    content_type: str | None = None,
    role: Role = Role.ASSISTANT,
    name: str | None = None,
) -> Message:
    return Message(role, text, name, channel, recipient, content_type, recovered=True)


def call(text: str, content_type: str | None = None, recovered: bool = False) -> Message:
    return Message(Role.ASSISTANT, text, None, "commentary", "functions.f", content_type, recovered)


# What a person reading the raw tokens would want, for each golden case in which the library raises or answers oddly.
THOUGHT = assistant("t", "analysis")
EXPECTED: dict[str, list[Message]] = {
    # The library raises.
    "constrain spaced": [call("{}", "<|constrain|>json", recovered=True)],
    "empty channel": [repaired("hi")],
    "channel with space": [repaired("hi")],
    "free text header": [repaired("hi", "analysis")],
    "missing message tok": [repaired("I must refuse", "analysis"), assistant("no")],
    "plain text no header": [repaired("I must refuse")],
    "plain text only eos": [repaired("I must refuse")],
    "double start": [THOUGHT, repaired("hi")],
    "text between messages": [THOUGHT, repaired("hi")],
    "newline between messages": [THOUGHT, repaired("hi")],
    "channel right after end": [THOUGHT, repaired("hi")],
    "call then end": [call("{}")],
    "return after return": [assistant("hi")],
    "truncated header": [],
    "role assistantassistant": [THOUGHT, repaired("hi")],
    "tool msg without to": [repaired("{}", "commentary", role=Role.TOOL, name="functions.f")],
    "named user": [Message(Role.USER, "hi", "bob")],
    # The library takes a type or a second channel for the recipient, or knows no channel.
    "content type only (quirk)": [repaired("{}", "commentary", content_type="json")],
    "constrain only (quirk)": [Message(Role.ASSISTANT, "{}", None, "final", None, "<|constrain|>json")],
    "no channel": [repaired("hi")],
    "unknown channel": [repaired("hi", "commentary")],
    "double channel": [repaired("hi")],
    "channel twice commentary": [repaired("hi", "commentary")],
    "question marks": [repaired("x", "commentary")],
    "assistant to=user": [repaired("hi")],
    # Well-formed for the library as well, but not as the model was trained.
    "bare recipient, no to=": [call("{}", "json", recovered=True)],
    "repeated role": [repaired("hi")],
    # The library makes text of markup. Here a header interrupts the text, and the end of text ends it.
    "special inside content": [repaired("a"), repaired("de")],
    "endoftext inside content": [repaired("a"), repaired("b")],
}


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden(case: dict[str, Any]) -> None:
    messages = parse(o200k(), case["tokens"], Role(case["role"]) if case["role"] else None)
    if case["name"] in EXPECTED:
        assert messages == EXPECTED[case["name"]]
        return
    assert case["strict"]["ok"]
    assert messages == [
        Message(
            Role(theirs["role"]),
            "".join(part["text"] for part in theirs["content"]),
            *(theirs.get(key) for key in ("name", "channel", "recipient", "content_type")),
        )
        for theirs in case["strict"]["messages"]
    ]


def test_table_names_golden_cases() -> None:
    assert EXPECTED.keys() <= {case["name"] for case in GOLDEN}


REFUSAL = "I'm sorry, but I can't help with that."
LONG = "The answer is that " + "one has to look at each part by itself and " * 8 + "then add them up."

MALFORMED = {
    # No markup, or not enough.
    "": [],
    "\n<|return|>": [],
    "No.<|return|>": [repaired("No.")],
    f"{REFUSAL}<|end|>": [repaired(REFUSAL)],
    f"{LONG}<|return|>": [repaired(LONG)],
    f"<|channel|>analysis {LONG}<|end|><|start|>assistant<|channel|>final<|message|>x<|return|>": [
        repaired(LONG, "analysis"),
        assistant("x"),
    ],
    f"<|channel|>analysis {LONG}<|message|>more<|end|>": [repaired(LONG + "more", "analysis")],
    "<|channel|>analysis<|message|>t<|end|>It is 4.<|return|>": [THOUGHT, repaired("It is 4.")],
    f"<|channel|>analysis<|message|>t<|end|><|start|>assistant{REFUSAL}<|return|>": [THOUGHT, repaired(REFUSAL)],
    "<|channel|>analysisThe user asks.<|end|>": [repaired("The user asks.", "analysis")],
    "<|start|>assistantfinal<|message|>x<|return|>": [repaired("x")],
    "<|start|>assistant analysis<|message|>t<|end|>": [repaired("t", "analysis")],
    "The user wants a sum.<|channel|>final<|message|>4<|return|>": [repaired("The user wants a sum."), repaired("4")],
    "<|channel|>python<|message|>1+1<|call|>": [repaired("1+1", "commentary", "python")],
    "<|channel|>analysis The user wants a sum.<|channel|>final<|message|>4<|return|>": [
        repaired("The user wants a sum.", "analysis"),
        repaired("4"),
    ],
    "用户想要知道这个问题的答案<|channel|>final<|message|>x<|return|>": [
        repaired("用户想要知道这个问题的答案"),
        repaired("x"),
    ],
    "<|channel|>final<|return|>": [repaired("")],
    # Channels in capitals.
    "<|channel|>Final<|message|>x<|return|>": [repaired("x")],
    "<|channel|>ANALYSIS<|message|>t<|end|>": [repaired("t", "analysis")],
    "<|start|>assistantAnalysis<|message|>t<|end|>": [repaired("t", "analysis")],
    "<|channel|>Commentary to=functions.f<|message|>{}<|call|>": [repaired("{}", "commentary", "functions.f")],
    "<|channel|>Analysis to=functions.addCommentary<|message|>{}<|call|>": [
        repaired("{}", "analysis", "functions.addCommentary")
    ],
    "<|channel|>Fin": [],
    # Ends that are missing.
    "<|channel|>analysis<|message|>t<|start|>assistant<|channel|>final<|message|>x<|return|>": [
        repaired("t", "analysis"),
        assistant("x"),
    ],
    "<|channel|>analysis<|message|>t<|channel|>final<|message|>x<|return|>": [repaired("t", "analysis"), repaired("x")],
    "<|channel|>final<|message|>x<|start|>assistant": [repaired("x")],
    "<|channel|>final<|message|>x<|start|>assis": [repaired("x")],
    # Markup in a text that starts no message: the text, thought here, goes on where it was.
    "<|channel|>analysis<|message|>It says <|start|> and then the role comes.<|end|>": [
        repaired("It says  and then the role comes.", "analysis")
    ],
    f"<|channel|>analysis<|message|>In <|channel|> {LONG}<|end|>": [repaired(f"In  {LONG}", "analysis")],
    "<|channel|>final<|message|>a<|message|>b<|constrain|>c<|reserved_200013|>d<|return|>": [repaired("abcd")],
    # Headers with something else in them.
    "<|channel|>?? <|message|>x<|return|>": [repaired("x")],
    "<|channel|>commentary code<|channel|>final<|message|>x<|return|>": [repaired("x")],
    "<|channel|><|channel|>final<|message|>x<|return|>": [repaired("x")],
    "<|channel|>finalassistant<|message|>x<|return|>": [repaired("x")],
    "<|channel|>final<|reserved_200013|><|message|>x<|return|>": [repaired("x")],
    "<|start|><|start|><|start|>assistant<|channel|>final<|message|>x<|return|>": [repaired("x")],
    "<|channel|>analysis<|message|>t<|end|><|end|>\n\n<|return|><|start|>assistant<|channel|>final<|message|>x": [
        THOUGHT,
        repaired("x"),
    ],
    "<|message|>t<|end|><|message|>x<|end|>": [repaired("t"), repaired("x")],
    # Calls: nothing may lose them.
    "<|channel|>commentary to= functions.f<|message|>{}<|call|>": [call("{}", recovered=True)],
    "<|channel|>to=functions.f<|message|>{}<|call|>": [call("{}", recovered=True)],
    " to=functions.f<|message|>{}<|call|>": [call("{}", recovered=True)],
    "functions.f<|channel|>commentary<|message|>{}<|call|>": [call("{}", recovered=True)],
    ' to=functions.f<|channel|>commentary <|constrain|>json{"a": 1}<|call|>': [
        call('{"a": 1}', "<|constrain|>json", recovered=True)
    ],
    '<|channel|>commentary to=functions.f{"a": 1}<|call|>': [call('{"a": 1}', recovered=True)],
    "<|channel|>commentary to=functions.f<|call|>": [call("", recovered=True)],
    "<|channel|>commentary to=functions.f,<|message|>{}<|call|>": [call("{}", recovered=True)],
    "<|channel|>commentary to=functions.g to=functions.f<|message|>{}<|call|>": [call("{}", recovered=True)],
    "<|channel|>analysis to=functions.f<|message|>{}<|call|>": [
        Message(Role.ASSISTANT, "{}", None, "analysis", "functions.f")
    ],
    # But words of a thought are no tool.
    "<|channel|>analysis python is what we need here.<|end|>": [repaired("python is what we need here.", "analysis")],
    # Somebody else's message.
    "<|channel|>final<|message|>x<|end|><|start|>user<|message|>y<|end|>": [assistant("x"), user("y")],
    "<|channel|>final<|message|>x<|start|>user<|message|>y<|end|>": [repaired("x"), user("y")],
    # Cut off in the header.
    "<|channel|>commentary to=functions": [],
    " to": [],
    "<|channel|>analysis<|message|>t<|end|><|start|>assistant<|channel|>": [THOUGHT],
}


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed(text: str) -> None:
    assert read(text) == MALFORMED[text]


def test_text_without_markup_is_shown_before_it_ends() -> None:
    parser = StreamParser(o200k())
    events = [event for token in ids(LONG * 2)[: HEADER_TOKENS + 2] for event in parser.push(token)]
    assert isinstance(events[0], MessageStart)
    assert len([event for event in events if isinstance(event, TextDelta)]) == 3


def test_invalid_bytes_where_a_header_turns_into_text() -> None:
    heart = o200k().encode("💖")
    tokens = [*o200k().encode("word " * HEADER_TOKENS)[: HEADER_TOKENS - 1], heart[0], heart[1], 9552, 200002]
    (message,) = parse(o200k(), tokens)
    assert message.text == o200k().decode(tokens[:-1]).lstrip()


def test_events_of_an_answer() -> None:
    parser = StreamParser(o200k())
    text = (
        "<|channel|>analysis<|message|>Sum.<|end|>"
        "<|start|>assistant<|channel|>analysis to=python code<|message|>1+1<|call|>"
    )
    events = [event for token in ids(text) for event in parser.push(token)] + parser.finish()
    python = Message(Role.ASSISTANT, "1+1", None, "analysis", "python", "code")
    assert events == [
        MessageStart("analysis"),
        TextDelta("analysis", "Sum"),
        TextDelta("analysis", "."),
        MessageEnd(assistant("Sum.", "analysis")),
        MessageStart("analysis", "python", "code"),
        TextDelta("analysis", "1", "python"),
        TextDelta("analysis", "+", "python"),
        TextDelta("analysis", "1", "python"),
        MessageEnd(python),
    ]
    assert parser.finish() == []


def test_role_of_a_message_that_is_not_the_models() -> None:
    parser = StreamParser(o200k())
    events = [event for token in ids("<|start|>user<|message|>y<|end|>") for event in parser.push(token)]
    assert events[0] == MessageStart("commentary", role="user")
    assert parser.sampled == {}


def test_another_vocabulary() -> None:
    """Headers of one token a byte, special tokens with other ids: the names count, not the numbers."""
    special = {name: i for i, name in enumerate(o200k().special)}
    tokenizer = Tokenizer(Vocabulary(O200K_PATTERN, {bytes([b]): 500 + b for b in range(256)}, special))
    name = "functions.a_tool_with_a_name_that_is_longer_than_the_headers_of_most_messages_put_together"
    messages = [assistant("é", "analysis"), Message(Role.ASSISTANT, "{}", None, "commentary", name, "json")]
    tokens = Renderer(tokenizer).conversation(messages)
    assert len(tokens) > 2 * HEADER_TOKENS
    assert parse(tokenizer, tokens, None) == messages


def test_sampled_ids_stand_in_the_history() -> None:
    """The recipient where the model puts it, a text spelt its own way, a stop that becomes an end."""
    renderer = Renderer(o200k())
    parser = StreamParser(o200k())
    one = ids("<|channel|>commentary to=functions.f<|constrain|>json<|message|>{}<|call|>")
    two = [*ids("<|start|>assistant<|channel|>final<|message|>"), 71, 72]
    for token in [*one, *two, 200002, *ids("<|start|>assistant<|channel|>?<|message|>x<|end|>")]:
        parser.push(token)
    parser.finish()
    assert parser.tokens[:2] == [one, [*two, 200002]]
    opening = ids("<|start|>assistant")
    assert renderer.conversation(parser.messages[:2], parser.sampled) == [*opening, *one, *two, 200007]
    assert parser.messages[2].recovered
    assert parser.messages[2] not in parser.sampled


def test_sampled_ids_of_an_answer_that_was_cut_off() -> None:
    parser = StreamParser(o200k())
    for token in ids("<|channel|>final<|message|>par"):
        parser.push(token)
    parser.finish()
    assert parser.sampled == {assistant("par"): ids("<|start|>assistant<|channel|>final<|message|>par<|end|>")}


TEXT = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.sampled_from(["<|end|>", "<|start|>assistant", " to=python", "final", "\n\n", '{"a": 1}', "💖 é 日本"]),
)
CALLED = st.sampled_from(["functions.get_weather", "functions.f", "browser.search", "python"])
CONTENT_TYPE = st.sampled_from([None, "json", "code", "<|constrain|>json"])
ANSWERS = st.lists(
    st.one_of(
        st.builds(assistant, TEXT, st.sampled_from(["analysis", "commentary", "final"])),
        st.builds(
            Message,
            *(st.just(Role.ASSISTANT), TEXT, st.none()),
            *(st.sampled_from(["analysis", "commentary"]), CALLED, CONTENT_TYPE),
        ),
        st.builds(Message, st.just(Role.TOOL), TEXT, CALLED, st.just("commentary"), st.just("assistant")),
    ),
    min_size=1,
    max_size=4,
)


def as_the_model_writes(message: Message) -> list[int]:
    """The ids with the recipient after the channel."""
    rendered = Renderer(o200k()).message(message)
    if message.role is Role.TOOL or message.recipient is None:
        return rendered
    to = o200k().encode(f" to={message.recipient}")
    assert rendered[2 : 2 + len(to)] == to
    channel = [o200k().special["<|channel|>"], *o200k().encode(message.channel or "")]
    return rendered[:2] + channel + to + rendered[2 + len(to) + len(channel) :]


@settings(max_examples=500, deadline=None)
@given(ANSWERS, st.booleans())
def test_well_formed_output_is_parsed_as_by_the_library(messages: list[Message], trained_order: bool) -> None:
    spell = Renderer(o200k()).message if trained_order else as_the_model_writes
    tokens = [token for message in messages for token in spell(message)]
    role = Role.ASSISTANT if messages[0].role is Role.ASSISTANT else None
    tokens = tokens[2:] if role else tokens
    parser = StreamParser(o200k(), role)
    theirs = oh.StreamableParser(oracle(), oh.Role.ASSISTANT if role else None)
    for token in tokens:
        parser.push(token)
        theirs.process(token)
    parser.finish()
    assert parser.messages == messages
    assert [token for sampled in parser.tokens for token in sampled] == tokens
    opening = ids("<|start|>assistant") if role else []
    assert Renderer(o200k()).conversation(parser.messages, parser.sampled) == opening + tokens
    assert [
        (m.author.role, m.author.name, m.content[0].text, m.channel, m.recipient, m.content_type)
        for m in theirs.messages
    ] == [(m.role, m.name, m.text, m.channel, m.recipient, m.content_type) for m in messages]
