"""The list of tools: its lines at several widths, and switching in it."""

import pytest
from textual.content import Content
from textual.widgets import OptionList

from app.tui.screens.tools import ToolScreen
from app.tui.text.tool_rows import MANY_TOKENS, ToolRow, declared, summary, tool_lines
from mlx_model.harmony.builtin import PYTHON
from mlx_model.harmony.tools import FunctionTool
from tests.fixtures.fakes import FakeEngine, chat, desk_of, idle, on_screen, text_on, wait_until

ROWS = [
    ToolRow("python", "runs Python code", True, "confined by bubblewrap", "runs without asking", 137),
    ToolRow("github", "the MCP server github", False, "connected, 12 tools", "asks", 3900, "timed out", counted=False),
    ToolRow(
        "sql",
        "the MCP server sql",
        True,
        "pip install 'gptoss-chat[mcp]' installs what it needs",
        "asks",
        10,
        usable=False,
    ),
]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            90,
            """\
[x] python  runs Python code
            confined by bubblewrap \u00b7 runs without asking \u00b7 137 tokens
[ ] github  the MCP server github
            connected, 12 tools \u00b7 asks \u00b7 about 3,900 tokens
            last error: timed out
[x] sql     the MCP server sql
            pip install 'gptoss-chat[mcp]' installs what it needs""",
        ),
        (
            50,
            """\
[x] python  runs Python code
            confined by bubblewrap
            runs without asking \u00b7 137 tokens
[ ] github  the MCP server github
            connected, 12 tools \u00b7 asks
            about 3,900 tokens
            last error: timed out
[x] sql     the MCP server sql
            pip install 'gptoss-chat[mcp]'
            installs what it needs""",
        ),
        (
            22,
            """\
[x] python
    runs Python code
    confined by
    bubblewrap
    runs without
    asking
    137 tokens
[ ] github
    the MCP server
    github
    connected, 12
    tools
    asks
    about 3,900 tokens
    last error: timed
    out
[x] sql
    the MCP server sql
    pip install
    'gptoss-chat[mcp]'
    installs what it\u2026""",
        ),
    ],
)
def test_the_list_at_a_width(width: int, lines: str) -> None:
    found = tool_lines(ROWS, {"python", "sql"}, width)
    assert "\n".join(line.plain for line in found) == lines


@pytest.mark.parametrize("width", [1, 12, 32, 60])
def test_no_line_is_wider_than_the_window(width: int) -> None:
    rows = [*ROWS, ToolRow("a-server-with-a-name-of-its-own", "\u6f22\u5b57" * 40, True, "x" * 100)]
    for line in tool_lines(rows, (), width):
        assert max(part.cell_length for part in line.split()[1:]) <= max(width, 6)


def test_facts_share_a_line_that_they_fill() -> None:
    row = ToolRow("a", "", True, "confined", "runs", 7)
    assert tool_lines([row], (), 33)[0].plain == "[ ] a  confined \u00b7 runs \u00b7 7 tokens"
    assert tool_lines([row], (), 32)[0].plain == "[ ] a  confined \u00b7 runs\n       7 tokens"
    assert tool_lines([ToolRow("", "", False, "")], (), 30)[0].plain == "[ ]"


def test_untrusted_text_is_clean_and_bounded() -> None:
    row = ToolRow("a\n\x1b[31mb", "[bold]\u202ex", False, "s" * 10_000, error="e\n" * 10_000)
    text = tool_lines([row], (), 80)[0].plain
    assert text.startswith("[ ] a \u241b[31mb  [bold]x\n") and text.count("\n") == 6
    assert text.endswith("\u2026")
    whole = tool_lines([ToolRow("a", "x " * 17 + "y", False, "")], (), 19)[0].plain
    assert whole.count("\n") == 2 and whole.endswith("x y")  # as many lines as are allowed


def styles(line: Content) -> list[tuple[str, object]]:
    """What of a line has a style."""
    return [(line.plain[span.start : span.end].strip(), span.style) for span in line.spans]


def test_what_is_on_what_failed_and_what_cannot_be_used_stand_out() -> None:
    on, failed, unusable = tool_lines(ROWS, {"python"}, 90)
    assert ("[x] python", "bold $primary") in styles(on) and "$warning" not in str(styles(on))
    assert styles(failed)[-1] == ("last error: timed out", "$error") and "$primary" not in str(styles(failed))
    assert styles(unusable) == [(ROWS[2].state, "$warning")]


def test_the_cost_of_what_is_on() -> None:
    assert summary(ROWS, {"sql"}) == ("No tool is on.", False)
    assert summary(ROWS, {"python", "sql"}) == ("What is on takes 137 tokens of every prompt.", False)
    new = ToolRow("new", "", True, "")
    assert summary([*ROWS, new], {"new"}) == ("What it takes of every prompt is counted once it is in use.", False)
    assert summary([*ROWS, new], {"python", "new"})[0] == "What is on takes at least 137 tokens of every prompt."
    text, much = summary(ROWS, {"python", "github"})
    assert text.startswith("What is on takes about 4,037 tokens of every prompt. That is a lot") and much
    assert not summary([ToolRow("a", "", True, "", tokens=MANY_TOKENS)], {"a"})[1]


def test_what_a_prompt_says_of_tools() -> None:
    weather = FunctionTool("weather", "Says how it is.", {"type": "object", "properties": {"city": {"type": "string"}}})
    broken = FunctionTool("broken", "", {"type": 7})
    text = declared(["python", weather, broken], "Be careful.")
    assert text == f"{PYTHON}\n\n{weather.text()}\n\n\n\nBe careful."


async def test_tools_are_switched_by_keys_and_mouse() -> None:
    ended: list[frozenset[str] | None] = []
    async with chat(FakeEngine(), (100, 30)) as pilot:
        await idle(pilot)
        screen = ToolScreen(ROWS)
        desk_of(pilot).ask(screen, ended.append)
        await on_screen(pilot, "takes 137 tokens")
        await pilot.press("down", "space")
        await on_screen(pilot, "[x] github")
        assert "about 4,037 tokens of every prompt. That is a lot" in text_on(pilot)
        await pilot.press("up", "enter")
        await on_screen(pilot, "[ ] python")
        await pilot.click(screen.query_one(OptionList), offset=(2, 5))
        await on_screen(pilot, "[ ] sql")
        more = ToolRow("files", "reads files", True, "no folder is open")
        screen.know([*ROWS[:1], ToolRow("github", "", False, "the server died"), *ROWS[2:], more])
        await on_screen(pilot, "the server died")
        assert "[x] github" in text_on(pilot) and "[x] files" in text_on(pilot) and "[ ] sql" in text_on(pilot)
        assert screen.query_one(OptionList).highlighted == 2
        await pilot.press("escape")
        await wait_until(pilot, lambda: ended)
        assert ended == [frozenset({"github", "files"})]
