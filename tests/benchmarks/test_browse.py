"""The browse of 27 calls: what it costs at each size of context, and that it goes on after a kill at any step."""

from contextlib import aclosing
from pathlib import Path

import pytest

from mlx_model.harmony.message import Message, Role
from mlx_model.tools.loop import ToolFinished, ToolStarted
from tests.benchmarks.browse import Cost, cost_of
from tests.fixtures.browsing import CALLS, Browse, browser


@pytest.mark.parametrize(
    ("context", "times", "most_prefilled"), [(8_192, 4, 29_000), (16_384, 3, 46_500), (32_768, 1, 45_500)]
)
async def test_it_comes_to_an_answer_and_computes_again_only_where_pages_are_left_out(
    context: int, times: int, most_prefilled: int
) -> None:
    cost = await cost_of(context)
    assert (cost.calls, cost.ended, cost.times) == (27, "stop", times)
    assert cost.prefilled < most_prefilled and cost.longest < context
    assert cost.again < times * context * 3 // 4


async def test_where_the_context_holds_it_all_each_prompt_extends_the_one_before() -> None:
    cost = await cost_of(131_072)
    assert cost == Cost(27, "stop", cost.longest, cost.prefilled, again=0, times=0, without_cache=cost.without_cache)
    assert cost.prefilled < cost.longest < cost.without_cache // 10


async def test_it_goes_on_after_a_kill_before_and_after_each_result(tmp_path: Path) -> None:
    """What is on the disk then is what the record has: all results, the call that has none at the end."""
    states, whole = list[list[Message]](), Browse(8_192, browser(tmp_path))
    async for event in whole.events():
        if isinstance(event, ToolStarted | ToolFinished):
            states.append(whole.record.messages)
    displays = [message.text for message in whole.record.messages if message.role is Role.TOOL]
    assert len(states) == 2 * len(CALLS) and not any("left out" in display for display in displays)
    for number, done in enumerate(states):
        tool, results = browser(tmp_path), (number + 1) // 2
        tool.restore(done)
        browse = Browse(8_192, tool, done)
        async with aclosing(browse.events()) as events:
            async for event in events:
                if isinstance(event, ToolStarted):
                    name, arguments = CALLS[results]
                    assert (event.call.name, event.call.arguments) == (f"browser.{name}", arguments)
                    assert browse.record.messages[: len(done)] == done
                if isinstance(event, ToolFinished):  # cursors go on where they were
                    assert event.result.text.partition("\n")[0] == displays[results].partition("\n")[0]
                    break
            else:
                assert results == len(CALLS) and browse.record.text.startswith("The limit is set by")
