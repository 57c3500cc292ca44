"""The timing of tools, once, with a small page."""

from tests.benchmarks.tools import browser_rows, page


async def test_the_browsers_calls_succeed() -> None:
    assert len(page(20_000)) >= 20_000
    rows = await browser_rows(1, 20_000)
    assert [name for name, _ in rows] == ["open a page of 0.02 MB", "scroll in it", "find in it"]
