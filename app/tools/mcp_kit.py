"""A kit for each MCP server that a person has configured: its tools, under the server's name."""

import json
from collections.abc import Sequence
from pathlib import Path

from app.lines import counted
from app.paths import mcp_file, mcp_log
from app.tools.mcp_servers import ConfiguredServer
from app.tools.permission import Decision, Wish
from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.mcp import McpError, McpServer, McpTool

READY_WITHIN_S = 15.0
"""An older server that doesn't answer the newest protocol's first question costs 10 s of it."""


class MissingKit:
    """See Kit. A server that is switched on in a conversation, and that the person no longer has."""

    tools = ()
    instructions = state = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.subjects = (f"mcp.{name}",)
        self.trouble = f"it is not, or no longer, in {mcp_file()}"

    async def prepare(self) -> None:
        """See Kit."""

    async def wish(self, call: ToolCall) -> Wish:
        """See Kit."""
        return Wish((f"mcp.{self.name}",), Decision.DENY, self.trouble, "")

    async def close(self) -> None:
        """See Kit."""


class McpKit:
    """See Kit. What a tool sends besides text is kept in `folder`, which goes at the end if there is nothing in it.

    A turn waits `ready_within_s` seconds for a server that is starting.
    """

    def __init__(self, configured: ConfiguredServer, folder: Path, ready_within_s: float = READY_WITHIN_S) -> None:
        self.name = configured.name
        self.tools: Sequence[McpTool] = ()
        self.instructions = ""
        self.trouble = ""
        self.notes: tuple[str, ...] = ()
        """What the person should know of the tools: that they are many, that one can't be declared."""
        self.tokens = 0
        """How many tokens the declarations take, about."""
        self._unset = configured.unset
        self._ready_within_s = ready_within_s
        self._folder = folder
        self._seen: dict[str, str] = {}  # the fingerprint of each tool when it was first declared
        self._server = McpServer(
            configured.name,
            configured.endpoint,
            timeout_s=configured.timeout_s,
            only=configured.tools,
            folder=folder,
            log=mcp_log(configured.name),
        )

    @property
    def state(self) -> str:
        """See Kit."""
        tools = counted(len(self.tools), "tool")
        return "; ".join([f"connected, {tools}, asks before each call", *self.notes])

    @property
    def subjects(self) -> tuple[str, ...]:
        """See Kit."""
        return f"mcp.{self.name}", *(f"functions.{tool.name}" for tool in self.tools)

    async def prepare(self) -> None:
        """See Kit. The first time it starts the server; a server that needs longer is there in a later turn."""
        if self._unset:
            self.trouble = f"{self._unset[0]} is not set in the environment, and {mcp_file()} needs it"
            return
        try:
            await self._server.connect(self._ready_within_s)
        except McpError as error:
            self.trouble, self.tools = str(error), ()
            return
        self.trouble = ""
        self.tools = self._server.tools
        self.notes, self.tokens = self._server.declarations.notes, self._server.declarations.tokens
        for tool in self.tools:
            self._seen.setdefault(tool.declared.original, tool.declared.fingerprint)
        told = self._server.instructions
        self.instructions = f"Of its functions, the server {self.name} says: {told}" if told and self.tools else ""

    async def wish(self, call: ToolCall) -> Wish:
        """See Kit. A yes holds for the tool as it is described now: one that changes is asked for again."""
        declared = next(tool.declared for tool in self.tools if call.name == f"functions.{tool.name}")
        if declared.fingerprint != self._seen[declared.original]:
            why = f"the server {self.name} has changed what it says of it"
        elif declared.reads_only:
            why = f"the server {self.name} says that it only reads, which nobody has checked"
        else:
            why = f"what it does is up to the server {self.name}"
        shown = f"{declared.original} {json.dumps(call.arguments, ensure_ascii=False, indent=2)}"
        subjects = (f"{call.name} {declared.fingerprint}", call.name, f"mcp.{self.name}", "mcp")
        return Wish(subjects, Decision.ASK, why, shown, may_leave=True)

    async def close(self) -> None:
        """See Kit."""
        await self._server.close()
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()
