"""What a browse of 27 calls costs at several sizes of context: `python -m tests.benchmarks.browse`.

Prints a Markdown table. No model is needed: the engine follows a script and counts what a model would have to compute.
Where old pages are left out, what follows them is computed again; the table says how often, and how much.
"""

import asyncio
from dataclasses import dataclass

from tests.fixtures.browsing import Browse

CONTEXTS = (8_192, 16_384, 32_768, 131_072)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a browse has cost, in tokens: the longest prompt, those that were computed, those of them that had been
    computed before; and how often a prompt did not go on where the one before ended."""

    calls: int
    ended: str
    longest: int
    prefilled: int
    again: int
    times: int
    without_cache: int


async def cost_of(context: int) -> Cost:
    """The cost of the whole browse in a context of so many tokens."""
    browse = Browse(context)
    async for _ in browse.events():
        pass
    finished, rounds = browse.record.finished, browse.rounds
    assert finished is not None
    return Cost(
        len(browse.record.calls),
        finished.reason,
        max(each.prompt for each in rounds),
        sum(each.prompt - each.known for each in rounds),
        sum(each.computed_again for each in rounds),
        sum(not each.extends for each in rounds),
        sum(each.prompt for each in rounds),
    )


def main() -> None:
    """Browse in each context and print the table."""
    print("| context | calls | ended | longest prompt | prefilled | of it again | times | without a cache |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for context in CONTEXTS:
        cost = asyncio.run(cost_of(context))
        figures = (cost.longest, cost.prefilled, cost.again, cost.times, cost.without_cache)
        cells = (f"{context:,}", str(cost.calls), cost.ended, *(f"{figure:,}" for figure in figures))
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
