"""Rendering to ids, against OpenAI's own library: the golden prompt, the system texts, random conversations."""

import datetime
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import openai_harmony as oh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.errors import TokenizerError
from mlx_model.harmony.history import drop_old_analysis, is_answer, is_final, is_thought
from mlx_model.harmony.message import Effort, Message, Role, assistant, user
from mlx_model.harmony.prompt import developer_message, system_message
from mlx_model.harmony.render import Renderer
from mlx_model.harmony.tokenizer import Tokenizer
from mlx_model.harmony.tools import FunctionTool
from mlx_model.harmony.vocabulary import Vocabulary
from tests.fixtures.conversations import MESSAGES, OPENING, Opening, library_ids, library_message
from tests.fixtures.vocabulary import O200K_PATTERN, SPECIAL, o200k, oracle

# Computed with openai-harmony 0.0.8.
GOLDEN_PROMPT = [
    *(200006, 17360, 200008, 3575, 553, 17554, 162016, 11, 261, 4410, 6439, 2359, 22203, 656, 7788, 17527, 558, 87447),
    *(100594, 25, 220, 1323, 19, 12, 3218, 198, 6576, 3521, 25, 220, 1323, 20, 12, 3218, 12, 2029, 279, 30377, 289, 25),
    *(14093, 279, 2, 13888, 18403, 25, 8450, 11, 49159, 11, 1721, 13, 21030, 2804, 413, 7360, 395, 1753, 3176, 13),
    *(200007, 200006, 1428, 200008, 4827, 382, 220, 17, 659, 220, 17, 30, 200007, 200006, 173781),
]
# More of them under `make fuzz`, as many tenths as sequences.
CONVERSATIONS = max(400, int(os.environ.get("HARMONY_FUZZ", "0")) // 10)


def drop_analysis_as_the_library(messages: Sequence[Message]) -> list[Message]:
    """What openai-harmony's auto_drop_analysis leaves.

    Once the model's last message is final, analysis before the first final goes; so a chat keeps the analysis of its
    second turn and all later ones, and a second turn that calls tools brings back that of the first.
    """
    own = [message for message in messages if message.role is Role.ASSISTANT]
    if not own or own[-1].channel != "final":
        return list(messages)
    first = next(i for i, message in enumerate(messages) if message.channel == "final")
    return [message for i, message in enumerate(messages) if i >= first or message.channel != "analysis"]


def renderer() -> Renderer:
    return Renderer(o200k())


def library_prompt(messages: list[oh.Message]) -> list[int]:
    conversation = oh.Conversation.from_messages(messages)
    config = oh.RenderConversationConfig(auto_drop_analysis=False)
    ids: list[int] = oracle().render_conversation_for_completion(conversation, oh.Role.ASSISTANT, config)
    return ids


def test_golden_prompt() -> None:
    for date in ("2025-06-28", datetime.date(2025, 6, 28)):
        assert renderer().prompt([system_message(date=date), user("What is 2 + 2?")]) == GOLDEN_PROMPT


CAPITAL = user("What is the capital of the largest country in the world?")
ROBOT = developer_message("Answer the user's questions like a robot.")
DAY = "2025-06-28"
# The files in openai/harmony's test-data: how many ids, and the SHA-256 of them, joined by commas, in 16 digits.
TEST_DATA = {
    "simple_convo": ([system_message(), user("What is 2 + 2?")], 64, "68a6f347ce71461c"),
    "simple_convo_low_effort": ([system_message(Effort.LOW), ROBOT, CAPITAL], 83, "f9687cf919d36488"),
    "simple_convo_medium_effort": ([system_message(), ROBOT, CAPITAL], 83, "b89e10e3db0c4b38"),
    "simple_convo_high_effort": ([system_message(Effort.HIGH), ROBOT, CAPITAL], 83, "11077901eddcbbef"),
    "simple_convo_low_effort_no_instruction": ([system_message(Effort.LOW), CAPITAL], 68, "c9a6a61b757279e7"),
    "simple_convo_medium_effort_no_instruction": ([system_message(), CAPITAL], 68, "385b15cf224dbfe3"),
    "simple_convo_high_effort_no_instruction": ([system_message(Effort.HIGH), CAPITAL], 68, "e55cc96b9e0b7919"),
    "no_tools": ([system_message(date=DAY)], 63, "9ec6e37c09d55abc"),
    "browser_tool_only": ([system_message(date=DAY, tools=["browser"])], 463, "8062fec0b0b9b1a9"),
    "browser_and_python_tool": ([system_message(date=DAY, tools=["browser", "python"])], 597, "1b80627d0d577652"),
}


@pytest.mark.parametrize("name", TEST_DATA)
def test_files_of_openai(name: str) -> None:
    messages, count, digest = TEST_DATA[name]
    ids = renderer().prompt(messages)
    assert len(ids) == count
    assert hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("tools", [(), ("browser",), ("python",), ("python", "browser")], ids=str)
@pytest.mark.parametrize("effort", Effort)
def test_system_message_is_the_librarys(effort: Effort, tools: tuple[str, ...]) -> None:
    content = oh.SystemContent.new().with_reasoning_effort(oh.ReasoningEffort[effort.name])
    content = content.with_conversation_start_date("2026-11-21").with_knowledge_cutoff("2025-01")
    if "browser" in tools:
        content = content.with_browser_tool()
    if "python" in tools:
        content = content.with_python_tool()
    expected = library_prompt([oh.Message.from_role_and_content(oh.Role.SYSTEM, content)])
    assert renderer().prompt([system_message(effort, date="2026-11-21", cutoff="2025-01", tools=tools)]) == expected


def test_parts_of_the_system_message_that_may_be_absent() -> None:
    content = oh.SystemContent(model_identity=None, knowledge_cutoff=None, reasoning_effort=oh.ReasoningEffort.LOW)
    expected = library_prompt([oh.Message.from_role_and_content(oh.Role.SYSTEM, content)])
    assert renderer().prompt([system_message("low", identity=None, cutoff=None)]) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [["analysis", "final"], ["final"], []])
def test_other_channels(channels: list[str]) -> None:
    content = oh.SystemContent.new().with_required_channels(channels)
    expected = library_prompt([oh.Message.from_role_and_content(oh.Role.SYSTEM, content)])
    assert renderer().prompt([system_message(channels=channels)]) == expected


def test_a_system_message_may_say_nothing() -> None:
    assert system_message(None, identity=None, cutoff=None, channels=()).text == ""


def test_line_for_functions_is_the_librarys() -> None:
    tool = oh.ToolDescription.new("now", "The time.")
    developer = oh.DeveloperContent.new().with_instructions("Be brief.").with_function_tools([tool])
    messages = [
        oh.Message.from_role_and_content(oh.Role.SYSTEM, oh.SystemContent.new()),
        oh.Message.from_role_and_content(oh.Role.DEVELOPER, developer),
    ]
    mine = [system_message(functions=True), developer_message("Be brief.", [FunctionTool("now", "The time.")])]
    assert renderer().prompt(mine) == library_prompt(messages)


@pytest.mark.parametrize("instructions", ["Answer in French.", "", "a\n\n# Instructions\n<|end|>"])
def test_developer_message_is_the_librarys(instructions: str) -> None:
    content = oh.DeveloperContent.new().with_instructions(instructions)
    expected = oracle().render(oh.Message.from_role_and_content(oh.Role.DEVELOPER, content))
    assert renderer().message(developer_message(instructions)) == expected


def test_unknown_tool_is_an_error() -> None:
    with pytest.raises(ValueError, match="'bash' is not a builtin tool"):
        system_message(tools=["bash"])


@settings(max_examples=CONVERSATIONS, deadline=None)
@given(st.none() | OPENING, MESSAGES, st.booleans())
def test_random_conversations_are_the_librarys(opening: Opening | None, messages: list[Message], drop: bool) -> None:
    """Roles, channels, builtin tools, functions with schemas, texts that look like markup: the same ids."""
    mine = [*(opening.messages() if opening else []), *messages]
    theirs = [*(opening.library_json() if opening else []), *map(library_message, messages)]
    kept = drop_analysis_as_the_library(mine) if drop else mine
    assert renderer().prompt(kept) == library_ids(theirs, drop=drop)
    assert renderer().training(kept) == library_ids(theirs, "training", drop=drop)


def headed(role: Role, **header: Any) -> Message:
    return Message(role, "x", **header)


RENDERED = {
    "<|start|>user<|message|>x<|end|>": user("x"),
    "<|start|>user:bob<|message|>x<|end|>": headed(Role.USER, name="bob"),
    "<|start|>user to=python<|message|>x<|end|>": headed(Role.USER, recipient="python"),
    "<|start|>assistant<|message|>x<|end|>": headed(Role.ASSISTANT),
    "<|start|>assistant<|channel|><|message|>x<|end|>": headed(Role.ASSISTANT, channel=""),
    "<|start|>assistant:a<|channel|>final code<|message|>x<|end|>": headed(
        Role.ASSISTANT, name="a", channel="final", content_type="code"
    ),
    "<|start|>assistant to=f<|channel|>commentary json<|message|>x<|call|>": headed(
        Role.ASSISTANT, channel="commentary", recipient="f", content_type="json"
    ),
    "<|start|>assistant to=f <|constrain|>json<|message|>x<|call|>": headed(
        Role.ASSISTANT, recipient="f", content_type="<|constrain|>json"
    ),
    "<|start|>f to=assistant<|channel|>commentary<|message|>x<|end|>": headed(
        Role.TOOL, name="f", channel="commentary", recipient="assistant"
    ),
    "<|start|>f<|message|>x<|end|>": headed(Role.TOOL, name="f", recipient="all"),
}


@pytest.mark.parametrize("text", RENDERED)
def test_headers(text: str) -> None:
    """Each field where the model was trained to find it."""
    ids = renderer().message(RENDERED[text])
    assert o200k().decode(ids) == text
    # Markup is one token each, and none of it comes from a field.
    assert [o200k().decode([token]) for token in ids if token >= 199_998] == re.findall(r"<\|\w+\|>", text)


def test_only_an_answer_at_the_end_closes_the_conversation() -> None:
    for messages, end in (
        ([user("a"), assistant("b")], "<|return|>"),
        ([assistant("b"), user("a")], "<|end|>"),
        ([user("a"), assistant("b", "analysis")], "<|end|>"),
        ([headed(Role.TOOL, name="f", channel="final")], "<|end|>"),
    ):
        ids = renderer().training(iter(messages))
        assert o200k().decode(ids[-1:]) == end
        assert ids[:-1] == renderer().conversation(messages)[:-1]
    assert renderer().training([]) == []


def test_the_opening_of_an_answer() -> None:
    assert o200k().decode(renderer().prompt([user("a")])).endswith("<|end|><|start|>assistant")
    begun = assistant("b", "analysis")
    ids = renderer().prompt([user("a")], unfinished=begun)
    assert ids == renderer().conversation([user("a"), begun])[:-1]
    spelt = [*renderer().message(begun)[:-2], 1, 2, 3]
    assert renderer().prompt([user("a")], {begun: spelt}, begun)[-2:] == [1, 2]
    with pytest.raises(TokenizerError, match=r"lacks <\|start\|>, <\|channel\|>, .*: it is not a tokenizer of gpt-oss"):
        Renderer(Tokenizer(Vocabulary(O200K_PATTERN, {bytes([b]): b for b in range(256)}, {})))


def test_tool_without_a_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs the tool's name"):
        renderer().message(Message(Role.TOOL, "42"))


def test_sampled_ids_replace_rendered_ones() -> None:
    hi = assistant("hi")
    spelling = [200006, 173781, 200005, 17196, 200008, 71, 72, 200007]
    ids = renderer().prompt([user("a"), hi, user("b")], {hi: spelling})
    assert ids == [
        *renderer().message(user("a")),
        *spelling,
        *renderer().prompt([user("b")]),
    ]


def test_special_ids_come_from_the_tokenizer() -> None:
    names = [name for name in SPECIAL.values() if "reserved" not in name]
    special = {name: i for i, name in enumerate(names)}
    tokenizer = Tokenizer(Vocabulary(O200K_PATTERN, {bytes([b]): 500 + b for b in range(256)}, special))
    ids = Renderer(tokenizer).message(assistant("é"))
    assert tokenizer.decode(ids) == "<|start|>assistant<|channel|>final<|message|>é<|end|>"
    assert [i for i in ids if i < 500] == [special[n] for n in ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")]
    del special["<|call|>"]
    with pytest.raises(TokenizerError, match=r"lacks <\|call\|>"):
        Renderer(Tokenizer(Vocabulary(O200K_PATTERN, {bytes([b]): 500 + b for b in range(256)}, special)))


THOUGHT, CALL, RESULT = (
    assistant("hm", "analysis"),
    Message(Role.ASSISTANT, "1+1", channel="analysis", recipient="python", content_type="code"),
    Message(Role.TOOL, "2", name="python", channel="analysis", recipient="assistant"),
)
FUNCTION = (
    Message(Role.ASSISTANT, "{}", channel="commentary", recipient="functions.f", content_type="json"),
    Message(Role.TOOL, "2", name="functions.f", channel="commentary", recipient="assistant"),
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([user("a")], [user("a")], id="first turn"),
        pytest.param(
            [user("a"), THOUGHT, assistant("b"), user("c")], [user("a"), assistant("b"), user("c")], id="second turn"
        ),
        pytest.param(
            [user("a"), THOUGHT, assistant("b"), user("c"), THOUGHT, assistant("d"), user("e")],
            [user("a"), assistant("b"), user("c"), assistant("d"), user("e")],
            id="third turn, where the library keeps the second analysis",
        ),
        pytest.param(
            [user("a"), THOUGHT, assistant("b"), user("c"), THOUGHT, CALL, RESULT],
            [user("a"), assistant("b"), user("c"), THOUGHT, CALL, RESULT],
            id="tool loop, where the library brings back the first analysis",
        ),
        pytest.param(
            [user("a"), THOUGHT, CALL, RESULT, THOUGHT, assistant("b"), user("c")],
            [user("a"), assistant("b"), user("c")],
            id="what an answered turn did with builtin tools",
        ),
        pytest.param(
            [user("a"), THOUGHT, *FUNCTION, assistant("b"), user("c")],
            [user("a"), *FUNCTION, assistant("b"), user("c")],
            id="functions stay",
        ),
        pytest.param(
            [user("a"), replace(FUNCTION[0], channel="analysis"), FUNCTION[1], assistant("b")],
            [user("a"), replace(FUNCTION[0], channel="analysis"), FUNCTION[1], assistant("b")],
            id="a function called on analysis stays with its result",
        ),
        pytest.param(
            [user("a"), replace(CALL, channel="commentary"), replace(RESULT, channel="commentary"), assistant("b")],
            [user("a"), assistant("b")],
            id="a builtin tool called on commentary leaves with its result",
        ),
        pytest.param(
            [user("a"), replace(CALL, recipient="functions.python"), RESULT, assistant("b")],
            [user("a"), assistant("b")],
            id="a builtin tool by another name",
        ),
        pytest.param(
            [user("a"), replace(CALL, recipient="browser.open"), assistant("b")],
            [user("a"), assistant("b")],
            id="a call without a result",
        ),
        pytest.param(
            [user("a"), THOUGHT, CALL, RESULT, user("b"), THOUGHT, assistant("c"), user("d")],
            [user("a"), CALL, RESULT, user("b"), assistant("c"), user("d")],
            id="what a turn without a final message did stays",
        ),
        pytest.param(
            [user("a"), THOUGHT, assistant("plan", "commentary"), CALL, RESULT],
            [user("a"), THOUGHT, assistant("plan", "commentary"), CALL, RESULT],
            id="first turn, still calling",
        ),
        pytest.param([THOUGHT, user("a")], [THOUGHT, user("a")], id="a thought before all else"),
        pytest.param(
            [THOUGHT, assistant("a"), THOUGHT], [assistant("a"), THOUGHT], id="a thought behind the last answer"
        ),
        pytest.param([THOUGHT, assistant("")], [assistant("")], id="an empty answer"),
        pytest.param([user("a"), THOUGHT, user("b")], [user("a"), THOUGHT, user("b")], id="turn cut off in analysis"),
    ],
)
def test_which_analysis_stays(before: list[Any], after: list[Any]) -> None:
    assert drop_old_analysis(before) == after
    assert drop_old_analysis(after) == after


@pytest.mark.parametrize(
    ("message", "kinds"),
    [
        (assistant("a"), {"final", "answer"}),
        (assistant(" \n"), {"final"}),
        (assistant(""), {"final"}),
        (THOUGHT, {"thought"}),
        (CALL, set()),
        (RESULT, set()),
        (assistant("a", "commentary"), set()),
        (user("a"), set()),
        (replace(CALL, channel="final"), set()),
        (replace(THOUGHT, recipient="all"), {"thought"}),
        (headed(Role.USER, channel="final"), set()),
        (headed(Role.TOOL, name="f", channel="analysis"), set()),
    ],
)
def test_kinds_of_messages(message: Message, kinds: set[str]) -> None:
    found = {"final": is_final(message), "answer": is_answer(message), "thought": is_thought(message)}
    assert {kind for kind, holds in found.items() if holds} == kinds


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([[THOUGHT], [CALL, RESULT], [*FUNCTION], [assistant("plan", "commentary")]])))
def test_dropping_agrees_with_the_library_where_it_drops(steps: list[list[Message]]) -> None:
    """In the first turn, with calls on the channels that they have in training."""
    messages = [user("a"), *(message for step in steps for message in step), assistant("b")]
    assert renderer().prompt(drop_old_analysis(messages)) == library_ids([*map(library_message, messages)], drop=True)


def test_the_librarys_way_of_dropping() -> None:
    """Its two oddities: a second turn's analysis is kept, and while that turn calls tools the first's comes back."""
    first, second = [user("a"), THOUGHT, assistant("b")], [user("c"), THOUGHT, CALL, RESULT]
    answered = [*first, *second, assistant("d"), user("e")]
    assert drop_analysis_as_the_library(answered) == [user("a"), *answered[2:]]
    assert drop_analysis_as_the_library([*first, *second]) == [*first, *second]
