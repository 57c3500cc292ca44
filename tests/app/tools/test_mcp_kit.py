"""The kit of an MCP server: what it asks of a person, and what it says where it can't be used."""

import asyncio
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from app.paths import mcp_file, mcp_log, work_folder
from app.tools.kits import kits_of
from app.tools.mcp_kit import McpKit
from app.tools.mcp_servers import read_servers
from app.tools.permission import Decision, Wish
from app.tools.switched_on import FORBIDDEN, Approval, SwitchedOn
from app.tools.verdict import Keep, Verdict
from mlx_model.harmony.calls import ToolCall
from tests.fixtures import mcp_program

pytestmark = pytest.mark.skipif(find_spec("mcp") is None, reason="the SDK for MCP servers is in the extra [mcp]")


def configure(name: str = "prog", *kind: str, **rest: Any) -> None:
    program = {"command": sys.executable, "args": ["-I", mcp_program.__file__, *kind]} | rest
    mcp_file().parent.mkdir(parents=True, exist_ok=True)
    mcp_file().write_text(json.dumps({"mcpServers": {name: program}}))


class Person:
    """Says yes, for good; notes what they were asked."""

    def __init__(self) -> None:
        self.asked: list[Wish] = []
        self.rules: dict[str, str] = {}

    async def says(self, call: ToolCall, wish: Wish) -> Verdict:
        self.asked.append(wish)
        return Verdict(allowed=True, keep=Keep.ALWAYS)

    def remember(self, subject: str) -> None:
        self.rules[subject] = "allow"

    async def switched_on(self, *names: str) -> SwitchedOn:
        tools = SwitchedOn(kits_of(names, "talk"), self.rules, self.says, self.remember)
        await tools.prepare()
        return tools


async def test_a_call_is_asked_for_and_a_yes_that_always_holds_ends_with_a_change(tmp_path: Path) -> None:
    configure("prog", "changing", str(tmp_path / "starts"))
    person, call = Person(), ToolCall("functions.prog_echo", "", arguments={"to": "å"})
    for _ in range(2):  # the second start says something else of its tools
        tools = await person.switched_on("prog", "gone")
        assert [kit.trouble for kit in tools.kits] == ["", f"it is not, or no longer, in {mcp_file()}"]
        assert [function.name for function in tools.toolbox.functions][:2] == ["prog_echo", "prog_ask"]
        assert (await tools.approve(call)).by == "you, always"
        assert (await tools.approve(call)).by.startswith("the rule functions.prog_echo ")
        tool = tools.toolbox.tool(call)
        assert tool is not None and (await tool.run(call, print)).text == '{"to": "\\u00e5"}'
        await tools.close()
    first, second = person.asked
    assert first.shown == 'echo {\n  "to": "å"\n}'
    assert first.why == "what it does is up to the server prog"
    assert first.subjects[1:] == ("functions.prog_echo", "mcp.prog", "mcp") == second.subjects[1:]
    assert len(person.rules) == 2 and first.default is Decision.ASK
    assert not work_folder("talk").exists()


async def test_a_change_while_the_chat_goes_on_is_said_in_the_question(tmp_path: Path) -> None:
    configure("prog", "changing", str(tmp_path / "starts"))
    tools, call = await Person().switched_on("prog"), ToolCall("functions.prog_crash", "")
    (kit,) = tools.kits
    crash = tools.toolbox.tool(call)
    assert crash is not None
    before = await kit.wish(call)
    await crash.run(call, print)
    assert (await kit.wish(call)) == before  # what was declared to the model in this turn
    await tools.prepare()
    after = await kit.wish(call)
    assert after.why == "the server prog has changed what it says of it"
    assert after.subjects[0] != before.subjects[0]
    await tools.close()


@pytest.mark.parametrize("rule", ["mcp.prog", "mcp", "functions.prog_*", "functions.prog_echo"])
async def test_a_rule_may_be_about_a_tool_or_a_server(rule: str) -> None:
    configure()
    person = Person()
    person.rules = {rule: "deny"}
    tools = await person.switched_on("prog")
    assert await tools.approve(ToolCall("functions.prog_echo", "")) == Approval(refusal=FORBIDDEN)
    await tools.close()


async def test_why_a_server_can_t_be_used_is_said_with_what_to_do() -> None:
    configure("prog", env={"KEY": "${NO_SUCH_KEY}"})
    (unset,) = kits_of(["prog"], "talk")
    await unset.prepare()
    assert unset.trouble == f"NO_SUCH_KEY is not set in the environment, and {mcp_file()} needs it"
    configure("prog", "silent")
    kit = McpKit(read_servers({}).servers["prog"], work_folder("talk"), 0.05)
    await kit.prepare()
    assert kit.trouble == "it is still starting; try again in a moment" and kit.tools == ()
    await kit.close()
    await kit.close()


async def test_what_a_server_s_program_writes_is_in_its_log() -> None:
    configure()
    tools, call = await Person().switched_on("prog"), ToolCall("functions.prog_crash", "")
    crash = tools.toolbox.tool(call)
    assert crash is not None
    result = await asyncio.wait_for(crash.run(call, print), 120)
    assert result.error
    assert "out of cheese" in mcp_log("prog").read_text()
    await tools.close()


async def test_what_is_said_of_a_server_and_what_it_leaves_behind() -> None:
    configure(tools=["where", "draw", "fly"])
    kit = McpKit(read_servers({}).servers["prog"], work_folder("talk"))
    assert (kit.instructions, kit.notes, kit.tokens, kit.trouble) == ("", (), 0, "")
    await kit.prepare()
    assert kit.instructions == "Of its functions, the server prog says: Echo first."
    assert kit.notes == ("it has no tool 'fly'",) and kit.tokens > 10
    assert (await kit.wish(ToolCall("functions.prog_where", ""))).why == (
        "the server prog says that it only reads, which nobody has checked"
    )
    work_folder("talk").mkdir(parents=True)
    await kit.close()
    assert not work_folder("talk").exists()
    await kit.prepare()
    drawn = await kit.tools[1].run(ToolCall("functions.prog_draw", ""), print)
    assert drawn.files == (work_folder("talk") / "draw-1.png",) and drawn.outcome == "1 line, 1 file"
    await kit.close()
    assert drawn.files[0].exists()


async def test_a_server_without_tools_to_call_has_nothing_to_say_and_trouble_may_end(tmp_path: Path) -> None:
    configure(tools=["fly"], command=str(tmp_path / "later"), args=["-I", mcp_program.__file__])
    kit = McpKit(read_servers({}).servers["prog"], work_folder("talk"))
    await kit.prepare()
    assert kit.trouble == f"'{tmp_path}/later' can't be started: No such file or directory"
    (tmp_path / "later").symlink_to(sys.executable)
    await kit.prepare()
    assert (kit.trouble, kit.instructions, kit.tools) == ("", "", ())
    await kit.close()
