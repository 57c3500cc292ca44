"""MCP servers: of the SDK in this process, as programs, over HTTP; and those that crash, hang, flood and change."""

import asyncio
import gzip
import json
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
import uvicorn
from mcp.server import MCPServer, Server
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ListToolsResult, TextContent
from mcp_types import Tool as Offered

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import Tool, ToolResult
from mlx_model.tools.mcp import Http, McpError, McpServer, Stdio, bounds
from mlx_model.tools.mcp import connection as connections
from mlx_model.tools.mcp import server as servers
from mlx_model.tools.sync import run_tool
from tests.fixtures import mcp_program


def program(*kind: str, **rest: Any) -> Stdio:
    return Stdio(sys.executable, ["-I", mcp_program.__file__, *kind], **rest)


def programs() -> list[psutil.Process]:
    """Those of this process that run now."""
    return [child for child in psutil.Process().children() if mcp_program.__file__ in child.cmdline()]


async def run(server: McpServer, name: str, shown: list[str] | None = None, **arguments: Any) -> ToolResult:
    tool: Tool = next(each for each in server.tools if each.declared.original == name)
    call = ToolCall(f"functions.{tool.name}", "", arguments=arguments)
    return await tool.run(call, (shown if shown is not None else []).append)


def a_server() -> MCPServer:
    """What the SDK makes of a few functions."""
    made = MCPServer("probe", instructions="Add first.\n\nThen think.")

    @made.tool()
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @made.tool()
    def fail() -> str:
        """Fails."""
        raise ToolError("no such thing")

    @made.tool()
    def much() -> str:
        """A million characters."""
        return "x" * 1_000_000

    @made.tool()
    async def walk(context: Context, steps: int = 1) -> str:
        """Reports how far it is."""
        for step in range(steps):
            await context.report_progress(step + 1, 2, "half\x1b[2J")
        return "done"

    return made


async def test_tools_of_the_sdk_are_declared_and_called() -> None:
    async with McpServer("probe", a_server()) as server:
        assert [tool.name for tool in server.tools] == ["probe_add", "probe_fail", "probe_much", "probe_walk"]
        assert server.instructions == "Add first. Then think."
        shown = list[str]()
        added = await run(server, "add", a=1, b=2)
        assert (added.text, added.error, added.outcome) == ("3", False, "1 line")
        failed = await run(server, "fail")
        assert failed.error and "no such thing" in failed.text and failed.outcome == ""
        assert (await run(server, "add", a="x", b=2)).error
        much = await run(server, "much")
        assert len(much.text) < 17_000 and "characters left out" in much.text
        assert (await run(server, "walk", shown)).text == "done"
        assert shown == ["1 of 2 half␛[2J\n"]
        await run(server, "walk", shown, steps=500)
        assert len(shown) == 101
    assert (await run(server, "add", a=1, b=2)).text == "Error: probe: it is not connected."


async def test_pages_of_tools_are_read_within_bounds_and_names_reach_the_server_as_it_gave_them() -> None:
    async def listed(context: Any, page: Any) -> ListToolsResult:
        at = int((page and page.cursor) or 0)
        tools = [Offered(name=f"werk-{at}-{i}·", input_schema={"type": "object"}) for i in range(1_500)]
        return ListToolsResult(tools=tools, next_cursor=str(at + 1))

    async def called(context: Any, asked: Any) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text=asked.name)])

    async with McpServer("s", Server("endless", on_list_tools=listed, on_call_tool=called)) as server:
        assert len(server.tools) == 100
        assert "1,900 of its tools are left out" in server.declarations.notes[0]
        assert (await run(server, "werk-0-7·")).text == "werk-0-7·"


async def test_a_server_that_fails_to_list_its_tools_anew_keeps_those_it_has() -> None:
    lists = 0

    async def listed(context: Any, page: Any) -> ListToolsResult:
        nonlocal lists
        lists += 1
        if lists > 1:
            raise ValueError("lost")
        return ListToolsResult(tools=[Offered(name="a", input_schema={"type": "object"})])

    async with McpServer("s", Server("forgetful", on_list_tools=listed)) as server:
        before = server.tools
        await server.connect()
        assert lists == 2 and server.tools is before


async def test_a_server_may_have_no_tools_and_may_get_others_later() -> None:
    made = MCPServer("empty")
    async with McpServer("e", made) as server:
        assert not server.tools
        made.add_tool(lambda: "new", "new")
        await server.connect()
        assert [tool.name for tool in server.tools] == ["e_new"]
    async with McpServer("e", Server("bare")) as server:
        assert not server.tools


async def test_a_program_is_spoken_with_alone_and_asks_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    log = tmp_path / "logs" / "mcp.log"
    async with McpServer("p", program(env={"TOKEN": "t"}, cwd=tmp_path), log=log) as server:
        assert (await run(server, "echo", word="å")).text == '{"word": "\\u00e5"}'
        assert (await run(server, "ask")).text == "refused refused refused"
        folder, names, token = json.loads((await run(server, "where")).text)
        assert (Path(folder), token) == (tmp_path, "t") and "SECRET" not in names and "PATH" in names
        assert (await run(server, "flood")).text == "{}"  # nobody waits for its standard error to be read
        (child,) = programs()
    assert not child.is_running()
    written = [log, log.with_name("mcp.log.1")]
    assert all(path.stat().st_size < 1_100_000 for path in written if path.exists()) and written[1].exists()


async def test_a_program_that_ends_in_a_call_is_started_again_for_the_next() -> None:
    async with McpServer("p", program()) as server:
        crashed = await run(server, "crash")
        assert crashed.error and crashed.outcome.startswith(
            "it ended during this call, which may have been carried out"
        )
        assert "(its last words: Fatal: ␛[31mout of cheese)" in crashed.text
        assert (await run(server, "echo", a=1)).text == '{"a": 1}'
        programs()[0].kill()  # between two calls
        while (connection := server._connection) and not connection.is_over:
            await asyncio.sleep(0)
        assert (await run(server, "echo", a=2)).text == '{"a": 2}'


async def test_a_message_without_end_ends_the_program_and_a_long_one_is_read_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "MOST_CHARACTERS", 1_000_000)
    async with McpServer("p", program()) as server:
        assert "900,000 characters left out" in (await run(server, "much", characters=916_000)).text
        too_much = await run(server, "much", characters=1_200_000)
        assert too_much.outcome.startswith("it has sent more than 32 MB at once during this call, which may have been")
        assert (await run(server, "echo", a=1)).text == '{"a": 1}'


async def test_lines_come_whole() -> None:
    class Pieces:
        def __init__(self, *pieces: bytes) -> None:
            self.pieces = list(pieces)

        async def receive(self, most: int = 0) -> bytes:
            if not self.pieces:
                raise anyio.EndOfStream
            return self.pieces.pop(0)

    reader = bounds.WholeLines(Pieces(b"a", b"b\nc\nd", b"\xc3", b"\xa9\n", b"rest"))  # type: ignore[arg-type]
    assert [await reader.receive(), await reader.receive()] == ["ab\nc\n", "d\u00e9\n"]
    with pytest.raises(anyio.EndOfStream):
        await reader.receive()


async def test_a_tool_that_has_changed_since_it_was_declared_is_not_called(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with McpServer("p", program("changing", str(starts))) as server:
        before = server.tools
        assert before[0].declared.function.description == "Echo, start 1"
        await run(server, "crash")
        call = ToolCall("functions.p_echo", "", arguments={"a": 1})
        changed = await before[0].run(call, print)
        assert changed.error and "this tool has changed" in changed.text
        assert server.tools[0].declared.function.description == "Echo, start 2"
        assert (await server.tools[0].run(call, print)).text == '{"a": 1}'


async def test_a_call_that_takes_too_long_or_is_cancelled_ends_and_the_server_goes_on() -> None:
    async with McpServer("p", program(), timeout_s=1) as server:
        late = await run(server, "hang")
        assert late.error and "did not answer within 1 s" in late.text
        assert (await run(server, "echo")).text == "{}"
    async with McpServer("p", program()) as server:
        shown = list[str]()
        running = asyncio.create_task(run(server, "hang", shown))
        while not shown:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await run(server, "echo")).text == "{}"


async def test_a_program_of_the_sdk_is_spoken_with_in_the_newest_protocol() -> None:
    code = "from mcp.server import MCPServer as M; m = M('m'); m.add_tool(lambda a=1: str(a), 'show'); m.run()"
    async with McpServer("m", Stdio(sys.executable, ["-c", code])) as server:
        assert (await run(server, "show", a=7)).text == "7"


async def test_one_that_never_answers_is_waited_for_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    server = McpServer("p", program("silent"))
    with pytest.raises(McpError, match="still starting"):
        await server.connect(0.05)
    while not programs():
        await asyncio.sleep(0)
    monkeypatch.setattr(servers, "_LONGER_S", 0.05)
    with pytest.raises(McpError, match="still starting"):
        await server.connect(30)  # the same program is asked
    assert len(programs()) == 1
    await server.close()
    assert not programs()
    connecting = asyncio.create_task(server.connect())
    while not programs():
        await asyncio.sleep(0)
    await server.close()
    with pytest.raises(McpError, match="it was closed"):
        await connecting
    monkeypatch.setattr(connections, "CONNECT_S", 0.05)
    with pytest.raises(McpError, match=r"did not answer within 0\.05 s"):
        await server.connect()
    await server.close()


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (Stdio("no-such-program"), "'no-such-program' can't be started: No such file or directory"),
        (Stdio("true", cwd=Path("/no/such")), "'/no/such' can't be started: No such file or directory"),
        (
            Stdio("sh", ["-c", "echo first; echo >&2 'no module x'; exit 1"]),
            r"it ended at once \(its last words: no module x\)",
        ),
        (program("noisy"), "^what it writes is not MCP$"),
        (Http("http://127.0.0.1:1/mcp"), "nothing answers at http://127.0.0.1:1/mcp"),
    ],
)
async def test_why_a_server_can_t_be_connected_is_said(
    endpoint: Stdio | Http, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.client.stdio.PROCESS_TERMINATION_TIMEOUT", 0.05)  # of the one that prints for ever
    server = McpServer("x", endpoint)
    with pytest.raises(McpError, match=words):
        await server.connect()
    assert not server.tools
    await server.close()


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """An application of ASGI on loopback; yields its address."""
    serving = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=0))
    task = asyncio.create_task(serving.serve())
    while not serving.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{serving.servers[0].sockets[0].getsockname()[1]}/mcp"
    finally:
        serving.should_exit = True
        await task


async def test_a_server_over_http_gets_its_headers() -> None:
    seen = list[str | None]()
    made = MCPServer("web")

    @made.tool()
    async def token(context: Context) -> str:
        request = context.request_context.request
        seen.append(request.headers.get("authorization") if request else None)
        await context.report_progress(1)  # what comes after it is an event
        return "seen" * 300_000

    app = made.streamable_http_app()
    async with served(app) as url, McpServer("web", Http(url, {"Authorization": "Bearer t"})) as server:
        assert (await run(server, "token")).text.startswith("seenseen")  # more than the SDK takes by default
    assert seen == ["Bearer t"]


async def test_an_answer_over_http_is_bounded_and_the_server_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    app = a_server().streamable_http_app(json_response=True)
    async with served(app) as url, McpServer("web", Http(url)) as server:
        monkeypatch.setattr(connections, "MOST_CHARACTERS", 100_000)
        assert (await run(server, "much")).text == "Error: web: it has sent more than 32 MB at once."
        assert (await run(server, "add", a=1, b=2)).text == "3"


async def test_an_answer_over_http_is_never_unpacked() -> None:
    """Its size would be known only then: 30 kB may be 30 MB."""
    asked: list[bytes | None] = []

    async def packs(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            asked.append(dict(scope["headers"]).get(b"accept-encoding"))
            kind = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
            await send({"type": "http.response.start", "status": 200, "headers": kind})
            await send({"type": "http.response.body", "body": gzip.compress(b" " * 1_000_000)})

    async with served(packs) as url:
        with pytest.raises(McpError, match="it packs its answers, though it was asked not to"):
            async with McpServer("web", Http(url, {"accept-encoding": "gzip"})):
                pass
    assert set(asked) == {b"identity"}


class OlderApp:
    """A server of the protocol's older versions, which knows its clients by sessions; made so as to forget them."""

    def __init__(self) -> None:
        self.session = 1

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        request = json.loads((await receive()).get("body") or b"{}")
        method = request.get("method")
        known = headers.get(b"mcp-session-id") == str(self.session).encode()
        tools = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
        info = {"protocolVersion": "2025-06-18", "serverInfo": {"name": "older", "version": "1"}}
        results: dict[str, Any] = {
            "initialize": {**info, "capabilities": {"tools": {}}},
            "tools/list": tools,
            "tools/call": {"content": [{"type": "text", "text": f"session {self.session}"}]},
        }
        result = results.get(method)
        status = 200 if method == "initialize" or (known and result) else 202 if known else 404
        body = json.dumps({"jsonrpc": "2.0", "id": request.get("id"), "result": result}) if status == 200 else ""
        kind = [(b"content-type", b"application/json"), (b"mcp-session-id", str(self.session).encode())]
        await send({"type": "http.response.start", "status": status, "headers": kind})
        await send({"type": "http.response.body", "body": body.encode()})


async def test_a_server_that_has_forgotten_this_client_is_connected_anew_and_asked_once_more() -> None:
    app = OlderApp()
    async with served(app) as url, McpServer("web", Http(url)) as server:
        assert (await run(server, "echo")).text == "session 1"
        app.session = 2
        assert (await run(server, "echo")).text == "session 2"


@pytest.mark.parametrize(("status", "words"), [(401, r"refuses access \(401\): put its token"), (503, "answers 503")])
async def test_a_refusal_over_http_is_said(status: int, words: str) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

    async with served(refuse) as url:
        with pytest.raises(McpError, match=words):
            async with McpServer("web", Http(url)):
                pass


def test_a_script_connects_with_a_with_and_its_calls_run_on_the_same_loop() -> None:
    with McpServer("probe", a_server()) as server:
        call = ToolCall("functions.probe_add", "", arguments={"a": 2, "b": 3})
        *_, result = run_tool(server.tools[0], call)
        assert isinstance(result, ToolResult) and result.text == "5"
        elsewhere = asyncio.run(server.tools[0].run(call, print))
        assert elsewhere.error and "another event loop" in elsewhere.text
    *_, result = run_tool(server.tools[0], call)
    assert isinstance(result, ToolResult) and "it is not connected" in result.text


def test_without_the_sdk_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlx_model.tools.mcp.connection", None)
    monkeypatch.delattr("mlx_model.tools.mcp.connection")
    words = r"^the MCP server p can't be used: .* install 'gptoss-chat\[mcp\]'$"
    with pytest.raises(McpError, match=words), McpServer("p", program()):
        pass


async def test_a_program_that_is_not_waited_for_any_longer_is_ended() -> None:
    async def enter() -> None:
        async with McpServer("p", program("silent")):
            raise AssertionError

    entering = asyncio.create_task(enter())
    while not programs():
        await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert not programs()


async def test_a_server_may_be_closed_while_the_sdk_is_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    load = servers._load

    def slowly() -> Any:
        begun.set()
        go_on.wait()
        return load()

    monkeypatch.setattr(servers, "_load", slowly)
    server = McpServer("p", program())
    connecting = asyncio.create_task(server.connect())
    await asyncio.to_thread(begun.wait)
    await server.close()
    go_on.set()
    with pytest.raises(McpError, match="it was closed"):
        await connecting
    assert not programs()
    async with server:
        assert (await run(server, "echo")).text == "{}"


async def test_a_connection_may_be_closed_before_it_has_begun() -> None:
    connection = connections.Connection(a_server(), None)
    await connection.close()
    assert connection.is_over
    with pytest.raises(McpError, match="it was closed"):
        await connection.listing


async def test_a_server_may_be_closed_while_a_call_connects_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    server = McpServer("probe", a_server())
    await server.connect()
    assert server._connection is not None
    await server._connection.close()
    declare = server._declare

    async def close_meanwhile(listing: connections.Listing) -> None:
        await declare(listing)
        await server.close()

    monkeypatch.setattr(server, "_declare", close_meanwhile)
    result = await run(server, "add", a=1, b=2)
    assert (result.error, result.text) == (True, "Error: probe: it is not connected.")
