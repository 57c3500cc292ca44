"""Tools of MCP servers, through the official SDK (the extra `mcp`), which is loaded when the first server is needed."""

from mlx_model.tools.mcp.endpoints import Http, McpError, Stdio
from mlx_model.tools.mcp.server import McpServer
from mlx_model.tools.mcp.tool import McpTool

__all__ = ["Http", "McpError", "McpServer", "McpTool", "Stdio"]
