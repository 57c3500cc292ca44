"""What users of other programs report of Harmony, row by row: the raw tokens, and what a person wants to see of them.

The rows are public issues, mostly of openai/harmony, vllm and the MLX servers. `recovered` says that the parser had to
repair something; a row without it is well-formed output that others lose.
"""

import pytest

from mlx_model.harmony.calls import read_call
from mlx_model.harmony.message import Message, Role, assistant, user
from mlx_model.harmony.parse import parse
from mlx_model.harmony.prompt import system_message
from mlx_model.harmony.render import Renderer
from tests.fixtures.vocabulary import o200k, oracle

CALL = Message(Role.ASSISTANT, "{}", None, "commentary", "functions.f", "<|constrain|>json")
BARE = Message(Role.ASSISTANT, "{}", None, "commentary", "functions.f")


def repaired(text: str, channel: str = "final", recipient: str | None = None, kind: str | None = None) -> Message:
    return Message(Role.ASSISTANT, text, None, channel, recipient, kind, recovered=True)


ROWS: dict[str, tuple[str, list[Message]]] = {
    "1 text after a call (harmony#60)": (
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"
        "commentary to=functions.f<|message|>{}<|call|>",
        [CALL, repaired("{}", "commentary", "functions.f")],
    ),
    "2 words in a header (harmony#38, vllm#23567)": (
        "<|channel|>commentary to=functions.f and so on<|message|>{}<|call|>",
        [repaired("{}", "commentary", "functions.f")],
    ),
    "2 words in a header, no tool": ("<|channel|>final as we said<|message|>4<|return|>", [repaired("4")]),
    "3 a refusal without markup (harmony#80)": (
        "I'm sorry, but I can't help with that.<|return|>",
        [repaired("I'm sorry, but I can't help with that.")],
    ),
    "3 a refusal after the channel's name": (
        "<|channel|>final I'm sorry, but I can't help with that.<|return|>",
        [repaired("I'm sorry, but I can't help with that.")],
    ),
    "4 a channel without a name (harmony#48)": ("<|channel|><|message|>4<|return|>", [repaired("4")]),
    "5 the stream ends in a header (cookbook#2038)": (
        "<|channel|>final<|message|>4<|end|><|start|>assistant<|channel|>comm",
        [assistant("4")],
    ),
    "6 a type taken for a recipient (harmony#84)": (
        "<|channel|>analysis code<|message|>Think.<|end|>",
        [repaired("Think.", "analysis", None, "code")],
    ),
    "8 constrain as a special token (harmony#27)": (
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
        [CALL],
    ),
    "8 constrain glued to the recipient": (
        "<|channel|>commentary to=functions.f<|constrain|>json<|message|>{}<|call|>",
        [CALL],
    ),
    "9 the recipient before the channel (harmony#81)": (
        " to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
        [CALL],
    ),
    "10 a tool's result without to=assistant (harmony#62)": (
        "<|channel|>commentary to=functions.f<|message|>{}<|call|>"
        "<|start|>functions.f<|channel|>commentary<|message|>42<|end|>",
        [BARE, Message(Role.TOOL, "42", "functions.f", "commentary", recovered=True)],
    ),
    "11 two calls in one answer (harmony#31)": (
        "<|channel|>commentary to=functions.f<|message|>{}<|call|>"
        '<|start|>assistant<|channel|>commentary to=functions.g<|message|>{"a": 1}<|call|>',
        [BARE, Message(Role.ASSISTANT, '{"a": 1}', None, "commentary", "functions.g")],
    ),
    "13 question marks for a channel (llama.cpp#27720)": ("<|channel|>??<|message|>4<|return|>", [repaired("4")]),
    "13 a doubled channel": ("<|channel|>analysis<|channel|>final<|message|>4<|return|>", [repaired("4")]),
    "13 free text before the channel": (
        "Let me see<|channel|>final<|message|>4<|return|>",
        [repaired("Let me see"), repaired("4")],
    ),
    "14 a name with a channel in it (pi#4439)": (
        "<|channel|>commentary to=functions.f<|channel|>commentary json<|message|>{}<|call|>",
        [repaired("{}", "commentary", "functions.f", "json")],
    ),
    "14 the same with the marker missing": (
        "<|start|>assistant to=functions.fcommentary json<|message|>{}<|call|>",
        [repaired("{}", "commentary", "functions.f", "json")],
    ),
    "15 a call without namespace (vllm#42454)": (
        "<|channel|>commentary to=f code<|message|>{}<|call|>",
        [Message(Role.ASSISTANT, "{}", None, "commentary", "f", "code")],
    ),
    "15 a call on the analysis channel (vllm-mlx#562)": (
        "<|channel|>analysis to=functions.f code<|message|>{}<|call|>",
        [Message(Role.ASSISTANT, "{}", None, "analysis", "functions.f", "code")],
    ),
    "15 a call on a channel that isn't": (
        "<|channel|>comment to=functions.f<|message|>{}<|call|>",
        [repaired("{}", "commentary", "functions.f")],
    ),
    "16 markup in the text (mlx-lm#875)": (
        "<|channel|>final<|message|>It is <|constrain|>4<|reserved_200013|>.<|return|>",
        [repaired("It is 4.")],
    ),
    "17 an answer in several messages (vmlx-swift#254)": (
        "<|channel|>analysis<|message|>Sum.<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>",
        [assistant("Sum.", "analysis"), assistant("4")],
    ),
    "18 cut off while thinking (Rapid-MLX#794)": (
        "<|channel|>analysis<|message|>The answer must",
        [assistant("The answer must", "analysis")],
    ),
    "19 a preamble before a call (vllm#32114)": (
        "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.f"
        "<|message|>{}<|call|>",
        [assistant("I look.", "commentary"), BARE],
    ),
    "20 a doubled start (exo#1126)": (
        "<|start|><|start|>assistant<|channel|>final<|message|>4<|return|>",
        [repaired("4")],
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_row(row: str) -> None:
    text, expected = ROWS[row]
    messages = parse(o200k(), oracle().encode(text, allowed_special="all"))
    assert messages == expected
    calls = [read_call(message, ["functions.f", "functions.g"]) for message in messages if message.recipient]
    assert all(call is not None and call.error is None for call in calls)


def test_row_5_a_whole_prompt_is_read_as_well() -> None:
    """harmony#33: the ids of prompt and answer given together."""
    conversation = [system_message(), user("2+2?")]
    answer = oracle().encode("<|channel|>final<|message|>4<|return|>", allowed_special="all")
    tokens = [*Renderer(o200k()).prompt(conversation), *answer]
    assert parse(o200k(), tokens, None) == [*conversation, assistant("4")]


def test_row_7_bytes_that_are_no_character() -> None:
    """harmony#83, vllm#26480: token 9552 is a space and half a character; the text after it comes at once."""
    header = oracle().encode("<|channel|>final<|message|>", allowed_special="all")
    assert parse(o200k(), [*header, 9552, 12194, 9552]) == [assistant(" \ufffdHi \ufffd")]


def test_row_8_constrain_spelt_as_text() -> None:
    """The model, trained on text that shows the token, spells it in letters; it means the same."""
    head, name = oracle().encode("<|channel|>commentary to=functions.f", allowed_special="all"), " <|constrain|>json"
    tail = oracle().encode("<|message|>{}<|call|>", allowed_special="all")
    messages = parse(o200k(), [*head, *o200k().encode(name), *tail])
    assert messages == [repaired("{}", "commentary", "functions.f", "<|constrain|>json")]
