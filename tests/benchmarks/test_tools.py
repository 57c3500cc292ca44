"""The timing of tools, once, with a small page."""

from importlib.util import find_spec

import pytest

from tests.benchmarks.tools import browser_rows, mcp_rows, page


async def test_the_browsers_calls_succeed() -> None:
    assert len(page(20_000)) >= 20_000
    rows = await browser_rows(1, 20_000)
    assert [name for name, _ in rows] == ["open a page of 0.02 MB", "scroll in it", "find in it"]


@pytest.mark.skipif(find_spec("mcp") is None, reason="the SDK for MCP servers is in the extra [mcp]")
async def test_the_calls_of_an_mcp_server_succeed() -> None:
    assert [name for name, _ in await mcp_rows(1)] == ["MCP: server started and its tools listed", "MCP: a call"]
