"""The engine protocol: every message survives the pipe, anything else is refused by name."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat.conversation import AnswerFacts, Conversation
from app.engine.protocol import (
    Answer,
    AnswerNow,
    Ask,
    Cancel,
    Count,
    Counted,
    Failed,
    FromEngine,
    Load,
    Loading,
    LoadProgress,
    ProtocolError,
    Ready,
    ToEngine,
    decode,
    encode,
)
from app.engine.worker import merge
from app.store.store import Store
from mlx_model.events import (
    Alternative,
    Finished,
    MessageEnd,
    MessageStart,
    PrefillProgress,
    Stats,
    TextDelta,
    TokenLogprobs,
    Warned,
)
from mlx_model.harmony.message import Message, Role, assistant, user
from mlx_model.harmony.tools import FunctionTool, Namespace, ResponseFormat
from mlx_model.options import Options
from mlx_model.request import Form, Request

SCHEMA = {
    "type": "object",
    "properties": {"type": {"type": "string", "enum": ["Load", "Stats"]}, "n": {"type": ["integer", "null"]}},
    "fields": {"type": "Ask", "number": 1},
}
"""A schema whose keys and values are those of the protocol itself."""
HALF = TokenLogprobs(Alternative(b"\xc3", -0.5), (Alternative(b"e", float("-inf")),))
SEARCH = FunctionTool("search", "Finds things.", SCHEMA)
FORM = ResponseFormat("answer", SCHEMA, "How to answer.")

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too


@pytest.mark.parametrize(
    "message",
    [
        Load(),
        Load("demo"),
        Cancel(3),
        AnswerNow(3),
        Count(4, ("a", "\ud800")),
        Counted(4, (1, 0)),
        Loading("demo", default=True),
        LoadProgress(4_100_000_000, 13_800_000_000),
        LoadProgress(3, 8, kernels=True),
        Ready("demo", 4096, 1, 2, 0.25),
        Ready("demo", 4096, 1, 2, 0.25, "mapping is switched off"),
        Failed("no", 7, unusable=True),
        Ask(1, Request(())),
        Ask(2, Request((user("a"), assistant("b", "analysis")), Options(seed=1, stop=("x", "y")), "be brief")),
        Ask(3, Request((user("a"),), tools=("python",), functions=(SEARCH,), response_format=FORM)),
        Ask(4, Request((user("a"),), tool_choice="search", form=Form(SCHEMA, strict=False), strict_headers=True)),
        Ask(5, Request((user("a"),), functions=(replace(SEARCH, strict=True),), form=Form(regex="a|b"))),
        Ask(6, Request((user("a"),), namespaces=(Namespace("agents", (SEARCH,), "Others."),))),
        Failed("too long", 7, unusable=True, too_long=True),
        Answer(1, PrefillProgress(1, 2)),
        Answer(1, Warned("uniqueItems is left out")),
        Answer(1, MessageStart("commentary", "python", "json")),
        Answer(1, TextDelta("final", "x"), deltas=4),
        Answer(1, TextDelta("final", "é", logprobs=(HALF, HALF))),
        Answer(1, MessageEnd(Message(Role.TOOL, "4", name="python", recipient="assistant", recovered=True))),
        Answer(1, Finished("length", Stats(1, 2, 3, 0.5, 0.25, 0.125, 9))),
    ],
    ids=lambda message: type(message).__name__,
)
def test_round_trip(message: ToEngine | FromEngine) -> None:
    assert decode(encode(message)) == message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text | st.sampled_from(["Load", "Stats", "Message"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "fields", "number"]) | any_text, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["type", "fields"]) | any_text, json_values, max_size=4))
def test_any_schema_passes_as_it_is(schema: dict[str, object]) -> None:
    request = Request((user("a"),), functions=(FunctionTool("f", "", schema),))
    assert decode(encode(Ask(1, request))).request.functions[0].parameters == schema


@given(any_text)
def test_any_text_is_one_ascii_line(text: str) -> None:
    line = encode(Answer(1, TextDelta("final", text)))
    assert line.isascii() and line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode(line).event.text == text


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"Loading weights: 10%",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type": "Load", "colour": "red"}',
        b'{"type": "Cancel"}',
        b'{"type": "Cancel", "number": "1"}',
        b'{"type": "Cancel", "number": true}',
        b'{"type": "Cancel", "number": 1, "more": 1}',
        b'{"type": "Stats"}',
        b'{"type": "Answer", "number": 1, "event": '
        b'{"type": "Finished", "reason": "stop", "stats": {"type": "Stats", "ttft_s": true}}}',
        b'{"type": ["Load"]}',
        b'{"type": "Answer", "number": 1, "event": {"type": "Load"}}',
        b'{"type": "Ask", "number": 1, "request": {"type": "Request"}}',
        b'{"type": "Ask", "number": 1, "request": {"type": "Request", "fields": []}}',
        b'{"type": "Ask", "number": 1, "request": {"type": "Request", "fields": {"colour": "red", "messages": []}}}',
        b'{"type": "Ask", "number": 1, "request": '
        b'{"type": "Request", "fields": {"messages": [{"role": "king", "text": ""}]}}}',
        b'{"type": "Ask", "number": 1, "request": {"type": "Request", "fields": {"messages": [], '
        b'"options": {"top_p": 7}}}}',
        b'{"type": "Ask", "number": 1, "request": {"type": "Request", "fields": {"messages": [], "form": {"x": 1}}}}',
        b'{"type": "Ask", "number": 1, "request": {"type": "Request", "fields": {"messages": [], "tool_choice": 7}}}',
    ],
)
def test_garbage_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a message"):
        decode(line)


ABSURD = ["NaN", "Infinity", "-Infinity", "1e999", "-1", "1e300", "9" * 30, str(2**63), "5e-324"]


@pytest.mark.parametrize("number", ABSURD)
@pytest.mark.parametrize("name", [field.name for field in fields(Stats)])
def test_a_figure_that_cannot_be_is_left_out_of_the_statistics(name: str, number: str) -> None:
    """They come with the answer, which must be kept and can then be stored."""
    good = {each.name: type(getattr(Stats(), each.name))(7) for each in fields(Stats)}
    line = encode(Answer(1, Finished("stop", Stats(**good)))).decode()
    (figure,) = re.findall(rf'"{name}":[\d.]+', line)
    finished = decode(line.replace(figure, f'"{name}":{number}').encode()).event
    seed = name == "seed" and number == str(2**63)
    assert finished.stats == replace(Stats(**good), **{name: 2**63 if seed else type(good[name])(0)})


@pytest.mark.parametrize("number", ABSURD[:-1])
@pytest.mark.parametrize(
    "line",
    [
        '{"type":"Ready","model":"m","context_length":4096,"resident_bytes":1,"budget_bytes":1,"load_s":#}',
        '{"type":"Ready","model":"m","context_length":#,"resident_bytes":1,"budget_bytes":1,"load_s":1}',
        '{"type":"Answer","number":1,"event":{"type":"PrefillProgress","done":1,"total":#}}',
        '{"type":"Answer","number":1,"event":{"type":"MessageStart","channel":"final"},"deltas":#}',
        '{"type":"Cancel","number":#}',
    ],
)
def test_other_numbers_that_cannot_be_are_refused(line: str, number: str) -> None:
    with pytest.raises(ProtocolError, match="not a message"):
        decode(line.replace("#", number).encode())


def test_a_microsecond_is_a_time() -> None:
    stats = Stats(ttft_s=1e-6, decode_s=0.5)
    assert decode(encode(Answer(1, Finished("stop", stats)))).event.stats == stats


def test_sums_of_what_the_pipe_lets_through_can_be_stored(tmp_path: Path) -> None:
    number, seconds = 2**48 - 1, float(2**48 - 1)
    line = encode(
        Answer(1, Finished("stop", Stats(number, number, number, seconds, seconds, seconds, number, 2**64 - 1)))
    )
    stats = decode(line).event.stats
    for _ in range(1000):  # an answer that was cut off and continued as often
        stats = stats.followed_by(decode(line).event.stats)
    conversation, store = Conversation(), Store(tmp_path / "conversations.db")
    conversation.add_answer(conversation.add_prompt("q", None).id, AnswerFacts("m", None, "stop", stats), [])
    store.save(conversation.everything())
    assert store.load(conversation.id).everything() == conversation.everything()  # type: ignore[union-attr]
    store.close()


keys = st.sampled_from(["type", "number", "request", "fields", "messages", "model"])
scalars = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["Load", "Cancel", "Ask"])


@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner)))
def test_no_json_raises_anything_but_protocol_errors(value: object) -> None:
    try:
        message = decode(json.dumps(value).encode())
    except ProtocolError:
        return
    assert decode(encode(message)) == message


def test_a_whole_number_of_seconds_is_a_number_of_seconds() -> None:
    line = encode(Ready("m", 4096, 1, 1, 7.0)).replace(b"7.0", b"7")
    assert b'"load_s":7,' in line and decode(line) == Ready("m", 4096, 1, 1, 7.0)


def test_merge_joins_only_neighbours_of_one_message() -> None:
    def delta(text: str, channel: str = "final", request: int = 1) -> Answer:
        return Answer(request, TextDelta(channel, text))

    end = Answer(1, Finished("stop"))
    merged = merge([delta("a"), delta("b"), delta("c", "analysis"), end, delta("d"), delta("e", request=2)])
    assert merged == [
        Answer(1, TextDelta("final", "ab"), 2),
        delta("c", "analysis"),
        end,
        delta("d"),
        delta("e", request=2),
    ]
    with_logprobs = Answer(1, TextDelta("final", "x", logprobs=(HALF,)))
    assert merge([with_logprobs, delta("y"), with_logprobs]) == [
        Answer(1, TextDelta("final", "xyx", logprobs=(HALF, HALF)), 3)
    ]
    assert merge([delta("alone")]) == [delta("alone")]
