"""A connection to an MCP server: the SDK's client, which a task of its own enters, keeps and leaves.

The SDK's scopes belong to the task that entered them, so no caller may do that: calls come from any task of the loop.
Importing this loads the SDK, which takes 1.5 s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp_types
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer, Server
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.message import SessionMessage

from mlx_model.text import clean
from mlx_model.tools.base import Output
from mlx_model.tools.mcp.bounds import MOST_CHARACTERS, TOO_LONG, TOO_MUCH, BoundedBody, install
from mlx_model.tools.mcp.endpoints import Http, McpError, NotCarriedOutError, Stdio
from mlx_model.tools.mcp.stderr import StandardError

CONNECT_S = 60.0
"""For a server to start and to list its tools: npx and uvx download theirs first."""
MOST_LISTED = 2_000
"""Tools that are listed at most; what comes after is not looked at."""

# How the SDK puts a 404 to a session that the server no longer knows.
_LOST_SESSION = "Session terminated"
_MOST_PAGES = 100
_MOST_PROGRESS = 100
_MOST_NOISE = 100  # messages
_LIST_ANEW_S = 3.0

# Without a handler Python prints a library's warnings on standard error, where a screen may be.
logging.getLogger("mcp").addHandler(logging.NullHandler())
install()


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server says of itself: its tools, and what a model should know to use them."""

    tools: tuple[mcp_types.Tool, ...]
    instructions: str


class Connection:
    """One server that is being connected, connected, or gone. Made on a running loop; begins to connect at once.

    `listing` has what it offers once it is connected, or raises McpError when it can't be. What a server may ask of its
    client (sampling, roots, elicitation) is refused by the SDK, since nothing is given that could answer.
    """

    def __init__(self, endpoint: Stdio | Http | MCPServer | Server[Any], log: Path | None) -> None:
        self.listing: asyncio.Future[Listing] = asyncio.get_running_loop().create_future()
        self.listing.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may interest nobody
        self._endpoint = endpoint
        self._stderr = StandardError(log)
        self._known = ""  # of a problem, what the transport knows: the SDK says only that there is one
        self._over = asyncio.Event()
        self._client: Client | None = None
        self._owner = asyncio.create_task(self._own())
        self._owner.add_done_callback(lambda _: self._end("it was closed"))

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or could not be made."""
        return self._over.is_set()

    async def list_anew(self) -> Listing | None:
        """What a connected server offers by now; None if it doesn't say, or not in time."""
        assert self._client is not None  # there is a listing
        with suppress(Exception):  # of the SDK, of a server that is gone or sends anything
            async with asyncio.timeout(_LIST_ANEW_S):
                return await _listing(self._client)
        return None

    async def call(
        self, tool: str, arguments: dict[str, Any], timeout_s: float, output: Output
    ) -> mcp_types.CallToolResult:
        """Calls a tool of a connected server; `output` gets a line for what it says of its progress. Raises McpError,
        also after `timeout_s` seconds."""
        assert self._client is not None  # there is a listing
        try:
            async with asyncio.timeout(timeout_s):
                return await self._client.call_tool(tool, arguments, progress_callback=_shown(output))
        except TimeoutError:
            raise McpError(
                f"it did not answer within {timeout_s:g} s; what it was asked to do may still happen"
            ) from None
        except MCPError as error:
            if self.is_over or error.code == mcp_types.CONNECTION_CLOSED:
                self._over.set()
                ended = self._known or "it ended"
                raise McpError(f"{ended} during this call, which may have been carried out{self._last_words}") from None
            if error.message == _LOST_SESSION:
                self._over.set()
                raise NotCarriedOutError("it was started again") from None
            raise McpError(self._known or clean(error.message)[:1_000]) from None
        except Exception as error:  # of the SDK, on what a server sends: not what was announced, not of the protocol
            raise McpError(f"its answer can't be used: {_plain(error)}") from None

    async def close(self) -> None:
        """Ends it, at whatever stage: a program that goes on after its input has ended is killed."""
        self._over.set()
        if not self.listing.done():
            self._owner.cancel()
        await asyncio.wait([self._owner])

    async def _own(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_S):
                    self._client = await stack.enter_async_context(Client(self._target()))
                    listing = await _listing(self._client)
                self.listing.set_result(listing)
                await self._over.wait()
        except TimeoutError:
            self._end(f"it did not answer within {CONNECT_S:g} s{self._last_words}")
        except Exception as error:  # whatever a transport raises, alone or in groups
            self._end(self._problem(error))

    def _end(self, problem: str) -> None:
        self._over.set()
        if not self.listing.done():
            self.listing.set_exception(McpError(problem))

    def _target(self) -> MCPServer | Server[Any] | Transport:
        if isinstance(self._endpoint, Stdio):
            return _watched(partial(_program, self._endpoint, self._stderr), self._note_end)
        if isinstance(self._endpoint, Http):
            return _watched(partial(_address, self._endpoint, self._take_response), self._note_end)
        return self._endpoint

    def _note_end(self, problem: str) -> None:
        self._known = problem or self._known
        self._over.set()

    async def _take_response(self, response: httpx2.Response) -> None:
        self._known = ""
        body, kind = response.stream, response.headers.get("Content-Type", "").lower()
        assert isinstance(body, httpx2.AsyncByteStream)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            # What a small body unpacks to has its size only once it is in memory.
            response.stream = BoundedBody(body, 0, self._note_packed)
        elif kind.startswith("application/json"):
            response.stream = BoundedBody(body, MOST_CHARACTERS, self._note_too_much)
        if response.status_code in (401, 403):
            self._known = f"it refuses access ({response.status_code}): put its token into the headers"
        elif response.status_code >= 500:
            self._known = f"it answers {response.status_code} {response.reason_phrase}"

    def _note_too_much(self) -> None:
        self._known = TOO_MUCH

    def _note_packed(self) -> None:
        self._known = "it packs its answers, though it was asked not to"

    @property
    def _last_words(self) -> str:
        line = self._stderr.last_line
        return f" (its last words: {line})" if line else ""

    def _problem(self, error: BaseException) -> str:
        """Why it could not be connected, in words."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        match error:
            case MCPError() if error.code == mcp_types.CONNECTION_CLOSED:
                return f"{self._known or 'it ended at once'}{self._last_words}"
            case MCPError():
                return self._known or f"it refuses the connection: {clean(error.message)[:1_000]}"
            case OSError() if isinstance(self._endpoint, Stdio):
                return f"{str(error.filename or self._endpoint.command)!r} can't be started: {error.strerror or error}"
            case httpx2.TransportError() if isinstance(self._endpoint, Http):
                return f"nothing answers at {self._endpoint.url.partition('?')[0]} ({_plain(error)})"
        return f"it can't be connected: {_plain(error)}{self._last_words}"


async def _listing(client: Client) -> Listing:
    """All pages of a server's tools, within bounds. Raises MCPError, and ValueError for what is no list of tools."""
    tools, cursor = list[mcp_types.Tool](), None
    if client.server_capabilities.tools is not None:
        for _ in range(_MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None or len(tools) >= MOST_LISTED:
                break
    return Listing(tuple(tools[:MOST_LISTED]), client.instructions or "")


@asynccontextmanager
async def _program(endpoint: Stdio, stderr: StandardError) -> AsyncIterator[Any]:
    """The streams of a program that is started, and ended with everything that it has started."""
    parameters = StdioServerParameters(
        command=endpoint.command,
        args=list(endpoint.args),
        env=dict(endpoint.env),
        cwd=endpoint.cwd,
        encoding_error_handler="replace",
    )
    with stderr.open() as writing:
        async with stdio_client(parameters, errlog=writing) as streams:
            writing.close()
            yield streams


@asynccontextmanager
async def _address(endpoint: Http, on_response: Callable[[httpx2.Response], Any]) -> AsyncIterator[Any]:
    """The streams of a server at an address. A call may take as long as its own limit says."""
    headers = httpx2.Headers(dict(endpoint.headers))
    headers["Accept-Encoding"] = "identity"
    timeout = httpx2.Timeout(30.0, read=None)
    hooks: dict[str, list[Callable[..., Any]]] = {"response": [on_response]}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout, event_hooks=hooks) as client,
        streamable_http_client(endpoint.url, http_client=client, max_sse_event_size=MOST_CHARACTERS) as streams,
    ):
        yield streams


@asynccontextmanager
async def _watched(transport: Callable[[], Any], on_end: Callable[[str], None]) -> AsyncIterator[Any]:
    """A transport that says when it ends, and why if that is known: the SDK's client leaves that to the next call.

    It is ended when too much of what comes is no MCP: lines that a program prints for ever would keep this loop busy.
    And when a message is longer than can be taken in.
    """
    async with transport() as (read, write), anyio.create_task_group() as group:
        sending, receiving = anyio.create_memory_object_stream[Any](0)

        async def pass_on() -> None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                async with sending:
                    problem, noise = "", 0
                    try:
                        async for message in read:
                            noise += isinstance(message, Exception)
                            if noise > _MOST_NOISE:
                                problem = "what it writes is not MCP"
                                break
                            if _is_too_long(message):
                                problem = TOO_MUCH
                                break
                            await sending.send(message)
                    finally:
                        on_end(problem)

        group.start_soon(pass_on)
        yield receiving, write
        group.cancel_scope.cancel()


def _is_too_long(message: Any) -> bool:
    return isinstance(message, SessionMessage) and getattr(message.message, "method", "") == TOO_LONG


def _shown(output: Output) -> ProgressFnT:
    """Takes a server's reports of its progress, and shows a bounded number of them."""
    shown = 0

    async def show(progress: float, total: float | None, message: str | None) -> None:
        nonlocal shown
        shown += 1
        if shown <= _MOST_PROGRESS:
            part = f"{progress:g}" if total is None else f"{progress:g} of {total:g}"
            output(f"{part} {clean(message or '')[:200]}".rstrip() + "\n")

    return show


def _plain(error: BaseException) -> str:
    """An exception as a clause of one line."""
    line = " ".join(clean(str(error)).split())[:300]
    return line or type(error).__name__
