"""The context as a budget: rooms, stubs, what leaves first, and what is left for an answer."""

import pytest

from mlx_model.harmony.message import Message, Role, assistant, user
from mlx_model.harmony.tools import FunctionTool
from mlx_model.request import Request
from mlx_model.tools.budget import LITTLE_LEFT, Budget, stub_of, with_half

VIEW = "[{}] Metal guide (https://example.com/a)\n**viewing lines [0 - 86] of 372**\n\nL0:\n" + "word " * 200


def words(text: str) -> int:
    return len(text.split())


def result(text: str, tool: str = "functions.read", channel: str = "commentary") -> Message:
    return Message(Role.TOOL, text, tool, channel, "assistant")


def step(text: str, tool: str = "functions.read") -> list[Message]:
    """A thought, a call and its result."""
    channel = "commentary" if tool.startswith("functions.") else "analysis"
    return [
        assistant("hm", "analysis"),
        Message(Role.ASSISTANT, "{}", None, channel, tool),
        result(text, tool, channel),
    ]


def stubs(messages: tuple[Message, ...]) -> list[int]:
    """Which results, in order, are stubs."""
    results = [message for message in messages if message.role is Role.TOOL]
    return [index for index, message in enumerate(results) if "left out to save room" in message.text]


@pytest.mark.parametrize(
    ("context", "used", "page", "other"),
    [
        (131_072, 1_000, 1024, 4_000),
        (32_768, 1_000, 1024, 3_971),
        (32_768, 26_000, 846, 846),
        (8_192, 600, 949, 949),
        (8_192, 6_500, 256, 256),
        (8_192, 9_000, 256, 256),
    ],
)
def test_a_result_may_take_an_eighth_of_what_is_left(context: int, used: int, page: int, other: int) -> None:
    budget = Budget(context)
    assert (budget.room("browser.open", used), budget.room("browser", used)) == (page, page)
    assert (budget.room("python", used), budget.room("functions.read", used)) == (other, other)


def test_no_result_floods_the_context() -> None:
    budget = Budget(8_192, words)
    text = "word " * 3_000
    assert budget.bounded(text, 2_000) == text  # more than its room, but it fits
    assert words(budget.bounded(text, 4_192)) <= 2_010
    assert 4_000 < words(budget.bounded("word " * 100_000, 0)) <= 4_110
    assert 7_900 < words(Budget(131_072, words).bounded("word " * 100_000, 0)) <= 8_010
    assert budget.bounded("word " * 2_000, 4_192) == "word " * 2_000
    for length in range(1, 9):
        assert budget.bounded("x" * length, 8_190) == "x" * length
    assert len(budget.bounded(text, 9_000)) < 60


def test_little_is_a_thought_a_call_and_an_answer() -> None:
    for context, little in ((131_072, 1_024), (8_192, 1_024), (2_048, 256)):
        budget = Budget(context)
        assert not budget.is_little(context - little) and budget.is_little(context - little + 1)
        assert not budget.is_spent(context - little // 2) and budget.is_spent(context - little // 2 + 1)


def test_a_page_leaves_what_it_takes_to_open_it_again() -> None:
    view = result(VIEW.format(3), "browser.open", "analysis")
    stub = (
        "[3] Metal guide (https://example.com/a)\n"
        "**lines [0 - 86] left out to save room; open with cursor 3 shows them again**"
    )
    assert stub_of(view) == result(stub, "browser.open", "analysis")
    again = result("You have this result already, at cursor 3.\n\n" + VIEW.format(3), "browser.open", "analysis")
    assert stub_of(again).text == stub
    long_title = result(f"[0] {'x' * 5_000}\n**viewing lines [7 - 9] of 9**\n\nL7:", "browser.find")
    assert len(stub_of(long_title).text) < 400
    assert stub_of(result(VIEW.format(3))).text == "[1,079 characters of this result are left out to save room]"
    assert stub_of(result("x" * 4_321, "browser.open")).text.startswith("[4,321 characters")


def test_the_oldest_results_leave_in_one_go_until_half_is_free() -> None:
    budget = Budget(8_192, words)
    steps = [message for number in range(6) for message in step(f"{number} " + "word " * 1_000)]
    messages = (user("q"), *steps)
    assert budget.relieved(messages, 6_100) == (messages, 6_100)
    relieved, used = budget.relieved(messages, 6_700)
    assert stubs(relieved) == [0, 1] and used == 6_700 - 2 * (1_001 - 11)
    assert [message for message in relieved if message.role is not Role.TOOL] == [
        message for message in messages if message.role is not Role.TOOL
    ]
    assert budget.relieved(relieved, used) == (relieved, used)
    assert stubs(budget.relieved(messages, 7_900)[0]) == [0, 1, 2]
    edge = next(used for used in range(6_000, 8_000) if budget.relieved(messages, used)[1] != used)
    share = budget.context - edge + 5 * (1_001 - 11)
    assert budget.context - edge == share // 4 - 1
    # The newest stays, however little that leaves.
    relieved, used = budget.relieved(messages, 20_000)
    assert stubs(relieved) == [0, 1, 2, 3, 4] and budget.is_little(used) and budget.is_spent(used)


def test_a_long_prompt_is_no_reason_to_forget_each_result_at_once() -> None:
    """Half of the context can't become free, so half of what the results have is."""
    budget = Budget(32_768, words)
    messages = (user("word " * 24_000), *[m for _ in range(6) for m in step("word " * 1_000)])
    assert budget.relieved(messages, 30_200) == (messages, 30_200)
    relieved, used = budget.relieved(messages, 31_500)
    assert stubs(relieved) == [0, 1] and 32_768 - used > 3_200


def test_what_leaves_is_in_the_prompt_and_worth_it() -> None:
    """Pages of answered turns are in no prompt; functions' results of earlier turns leave after those of this one."""
    budget = Budget(4_096, words)
    first = [*step(VIEW.format(0), "browser.open"), *step("word " * 500), assistant("done")]
    second = [*step("short"), *step("word " * 500), *step("word " * 100), *step("word " * 500)]
    messages = (user("q"), *first, user("r"), *second)
    for used, left_out in ((3_600, [3]), (4_096, [3, 4]), (4_700, [1, 3, 4])):
        assert stubs(budget.relieved(messages, used)[0]) == left_out
    # A final message at the end goes on: this turn is not answered, and has its pages.
    browsed = (user("q"), *step(VIEW.format(0), "browser.open"), *step("x", "browser.open"), assistant("It is"))
    assert stubs(budget.relieved(browsed, 4_000)[0]) == [0]
    assert stubs(budget.relieved((*browsed, user("r")), 4_000)[0]) == []


def test_a_conversation_that_has_outgrown_the_context_is_asked_with_stubs() -> None:
    budget = Budget(4_096, words)
    steps = [message for _ in range(5) for message in step("word " * 900)]
    request = Request(
        [user("q"), *steps], instructions="Be brief.", tools=("python",), functions=[FunctionTool("read")]
    )
    opened = budget.opened(request)
    assert stubs(tuple(opened.messages)) == [0, 1, 2] and opened.functions == request.functions
    uncounted = Budget(4_096, lambda text: pytest.fail("needless"))
    long_prompt = Request([user("word " * 9_000)])
    assert uncounted.opened(long_prompt) is long_prompt
    short = Request([user("q"), *step("word " * 1_600)])
    assert uncounted.opened(short) is short
    for fits in (Request([user("q"), *steps[:6]]), Request([user("word " * 9_000)])):
        assert budget.opened(fits) == fits


def test_half_of_the_newest_result_is_left_with_the_note() -> None:
    messages = (user("q"), *step("word " * 200), assistant("hm", "analysis"))
    once = with_half(messages)
    assert "\n[... 504 characters left out ...]\n" in once[3].text and once[3].text.endswith(f"word\n\n{LITTLE_LEFT}")
    twice = with_half(once)
    assert len(twice[3].text) < 450 and twice[3].text.count(LITTLE_LEFT) == 1
    assert [*once[:3], once[4]] == [*messages[:3], messages[4]]
    assert with_half((user("q"),)) == (user("q"),)
