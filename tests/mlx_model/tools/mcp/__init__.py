import pytest

pytest.importorskip("mcp", reason="the SDK for MCP servers is in the extra [mcp]")
