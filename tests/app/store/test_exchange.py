"""Our own exports: JSON that comes back as it was, and Markdown."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.chat.block_runs import kept_output
from app.chat.conversation import AnswerFacts, BlockRun, CallFacts, Conversation, Node, new_id
from app.store.exchange.export import to_json, to_markdown
from app.store.exchange.importing import read
from app.store.exchange.result import ImportResult
from mlx_model.events import Stats
from mlx_model.harmony.message import Effort, Message, Role, assistant
from tests.fixtures.exports import imported
from tests.fixtures.trees import TURN, branched, same

TEXTS = st.text(max_size=20) | st.sampled_from(["\ud800", "a\0b", "\x1b[31m", "\u202e", '"\\', "\ue200cite\ue201"])
TIMES = st.floats(0, 4e9) | st.integers(0, 4_000_000_000).map(float)
MESSAGES = st.builds(
    Message,
    st.sampled_from([Role.ASSISTANT, Role.TOOL]),
    TEXTS,
    st.none() | TEXTS,
    st.none() | st.sampled_from(["analysis", "commentary", "final"]),
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.booleans(),
)
STATS = st.builds(
    Stats,
    prefill_tokens=st.integers(0, 2**40),
    decode_s=st.floats(0, 1e6),
    seed=st.integers(0, 2**64 - 1),
)
FACTS = st.builds(
    AnswerFacts,
    TEXTS,
    st.none() | st.sampled_from(Effort),
    st.none() | TEXTS,
    STATS,
    TIMES,
    st.integers(0, 2**40),
    origin=TEXTS,
)

RUNS = st.builds(
    lambda block, code, output, facts: BlockRun(block, code, kept_output(output), facts),
    st.integers(1, 99),
    st.text("0123456789abcdef", min_size=16, max_size=16),
    TEXTS,
    st.none() | st.builds(CallFacts, st.floats(0, 1e6), st.booleans(), st.just(""), TEXTS),
)


@st.composite
def trees(draw: st.DrawFn) -> Conversation:
    """A conversation of any shape."""
    nodes: list[Node] = []
    for _ in range(draw(st.integers(1, 6))):
        parent = draw(st.sampled_from([None, *(node.id for node in nodes)]))
        if draw(st.booleans()):
            node = Node(new_id(), parent, draw(TIMES), (Message(Role.USER, draw(TEXTS)),))
        else:
            runs = tuple(draw(st.lists(RUNS, max_size=2, unique_by=lambda run: run.block)))
            runs = tuple(sorted(runs, key=lambda run: run.block))
            messages = tuple(draw(st.lists(MESSAGES, max_size=3)))
            node = Node(new_id(), parent, draw(TIMES), messages, draw(FACTS), runs)
        nodes.append(node)
    tree = Conversation(title=draw(TEXTS), created=draw(TIMES), nodes=nodes)
    tree.updated = draw(TIMES)
    tree.leaf = draw(st.sampled_from([node.id for node in nodes]))
    return tree


@settings(max_examples=30)
@given(st.lists(trees(), max_size=3))
def test_json_holds_everything_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, conversations: list[Conversation]
) -> None:
    file = tmp_path_factory.getbasetemp() / "export.json"
    file.write_text(to_json(conversations), encoding="ascii")
    result = ImportResult()
    back = list(read(file, result))
    assert len(back) == len(conversations) and all(map(same, back, conversations))
    assert result == ImportResult()


NO_TEXT, NO_NUMBER = "something else stands where a text should", "something else stands where a number should"
OUT_OF_RANGE, ODD = "a number is out of range", "its form is not that of an export"


@pytest.mark.parametrize(
    ("where", "value", "why"),
    [
        (("id",), 7, NO_TEXT),
        (("title",), None, NO_TEXT),
        (("created",), -1, OUT_OF_RANGE),
        (("created",), 1e300, OUT_OF_RANGE),
        (("leaf",), "nowhere", "its last message is not there"),
        (("nodes",), None, ODD),
        (("nodes", 1, "parent"), "nowhere", "a message follows one that is not there"),
        (("nodes", 0, "messages"), [], "a message has no text"),
        (("nodes", 1, "id"), "twice", "two messages have one id"),
        (("nodes", 1, "messages", 0, "role"), "boss", ODD),
        (("nodes", 1, "messages", 0, "text"), ["list"], NO_TEXT),
        (("nodes", 1, "messages", 0, "extra"), 1, ODD),
        (("nodes", 1, "turn", "effort"), "extreme", ODD),
        (("nodes", 1, "turn", "stats", "decode_s"), "fast", NO_NUMBER),
        (("nodes", 1, "turn", "stats", "decode_s"), float("nan"), OUT_OF_RANGE),
        (("nodes", 1, "turn", "stats", "decode_tokens"), 2**63, OUT_OF_RANGE),
        (("nodes", 1, "turn", "stats", "seed"), 2**64, OUT_OF_RANGE),
        (("nodes", 1, "turn", "analysis_tokens"), 10**400, OUT_OF_RANGE),
        (("nodes", 1, "turn", "calls"), [{"seconds": 1, "error": False, "allowed": None, "outcome": ""}], NO_TEXT),
        (("nodes", 1, "turn", "origin"), 8, NO_TEXT),
        (("nodes", 1, "runs"), [{"block": 1, "code": "a", "output": 7, "facts": None}], NO_TEXT),
        (("nodes", 1, "runs"), [{"block": -1, "code": "a", "output": "", "facts": None}], OUT_OF_RANGE),
        (("nodes", 1, "runs"), [{"block": 1, "code": "a", "output": ""}], '"facts" is missing'),
        (("nodes", 1, "turn"), [], ODD),
    ],
)
def test_one_broken_conversation_is_named_with_the_reason_and_the_others_come(
    tmp_path: Path, where: tuple[str | int, ...], value: object, why: str
) -> None:
    data = json.loads(to_json([branched(), branched()]))
    broken = data["conversations"][0]
    for key in where[:-1]:
        broken = broken[key]
    if value == "twice":
        value = data["conversations"][0]["nodes"][0]["id"]
    broken[where[-1]] = value
    back, result = imported(tmp_path, data)
    assert len(back) == 1 and result.unreadable == 1
    assert result.failed()[0].endswith(f" could not be read: {why}")


def test_markdown_has_the_versions_shown_and_is_inert() -> None:
    tree = branched()
    shown = to_markdown(tree)
    assert "There are **three**." in shown and "two" not in shown and "once more" not in shown
    assert "To python:\n\n```\n'strawberry'.count('r')\n```" in shown
    assert "## gpt-oss-20b (low, 42.0 tok/s)" in shown and "3 prompts and answers of other versions" in shown
    tree.select(tree.versions(tree.path[-1])[0].id)
    assert "\x1b" not in to_markdown(tree) and "\u202e" not in to_markdown(tree)
    last = tree.path[-1]
    tree.update_answer(last.id, replace(TURN, origin="votes\x1b 6 of 8"), last.messages)
    assert "(low, votes\u241b 6 of 8, 42.0 tok/s)" in to_markdown(tree)


def test_code_that_has_a_fence_of_its_own_stays_inside() -> None:
    tree = Conversation()
    call = Message(Role.ASSISTANT, "```\n# not a heading\n````", channel="commentary", recipient="python")
    tree.add_answer(tree.add_prompt("go", None).id, TURN, [call])
    assert "`````\n```\n# not a heading\n````\n`````" in to_markdown(tree)


@pytest.mark.parametrize(
    ("reason", "says"),
    [("stop", ""), ("length", "cut off: token limit"), ("died", "cut off: the engine stopped"), (None, "not finished")],
)
def test_an_answer_that_was_cut_off_says_so(reason: str | None, says: str) -> None:
    tree = Conversation()
    tree.add_answer(tree.add_prompt("go", None).id, replace(TURN, reason=reason), [assistant("Half an")])
    last = to_markdown(tree).splitlines()[-1]
    assert last.startswith(f"*({says}") if says else last == "Half an"


def test_what_a_tool_gave_and_an_answer_that_never_began_are_named_as_such() -> None:
    tree = branched()
    assert "From python:\n\n```\n3\n```" in to_markdown(tree)
    tree = Conversation()
    tree.add_answer(tree.add_prompt("go", None).id, TURN, [Message(Role.ASSISTANT, "hm", channel="analysis")])
    tree.add_prompt("another", None)
    tree.select(next(iter(tree.nodes)))
    shown = to_markdown(tree)
    assert "## gpt-oss-20b (low, 42.0 tok/s)\n\n*(stopped before the answer)*" in shown and "hm" not in shown
    assert "This text leaves out 1 prompt or answer of other versions." in shown
