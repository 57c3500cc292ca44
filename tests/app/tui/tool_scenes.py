"""Scenes of test_screens.py in which tools are at work."""

from dataclasses import replace

from PIL import Image
from textual.pilot import Pilot

from app.chat.conversation import CallFacts, Conversation
from app.paths import work_folder
from app.tui.screens.tools import ToolScreen
from app.tui.text.tool_rows import ToolRow
from mlx_model.harmony.message import Message, Role, assistant
from tests.fixtures.fake_kit import CALL
from tests.fixtures.fakes import FakeEngine, app_of, desk_of, text_on, wait_until
from tests.fixtures.trees import TURN, keep

SWITCHES = (
    ToolRow(
        "python",
        "runs the model's Python code, in a sandbox without network where there is one",
        True,
        "confined by bubblewrap",
        "runs without asking",
        137,
    ),
    ToolRow(
        "browser",
        "searches the web, opens pages, finds text in them",
        True,
        "searches Wikipedia",
        "asks before a page that nobody has named",
        400,
        "en.wikipedia.org did not answer within 15 s",
    ),
    ToolRow("github", "the MCP server github", False, "connected, 12 tools", "asks each time", 3100, counted=False),
    ToolRow("sql", "the MCP server sql", False, "mcp is missing: pip install 'gptoss-chat[mcp]'", usable=False),
)


async def figures(pilot: Pilot[None], engine: FakeEngine) -> None:
    """Files that a call has written, one of them a figure."""
    folder = work_folder("c1")
    folder.mkdir(parents=True)
    bars = Image.new("RGB", (40, 24), "white")
    for at, height in enumerate((4, 9, 15, 11, 20)):
        bars.paste("steelblue", (3 + 7 * at, 23 - height, 8 + 7 * at, 23))
    bars.save(folder / "bars.png")
    (folder / "bars.csv").write_bytes(b"height\n" * 2_000)
    files = tuple(str(folder / name) for name in ("bars.png", "bars.csv", "page.html"))
    tree = Conversation()
    prompt = tree.add_prompt("Draw five bars.", None)
    facts = replace(TURN, calls=(CallFacts(0.8, allowed="needs no permission", files=files),))
    result = Message(Role.TOOL, "Drawn.", "python", "analysis", "assistant")
    tree.add_answer(prompt.id, facts, [replace(CALL, text="draw(5)"), result, assistant("There they are.")])
    keep(tree)
    await app_of(pilot).conversations.open(tree.id)
    await desk_of(pilot).saved()
    await wait_until(pilot, lambda: "There they are" in text_on(pilot))
    await wait_until(pilot, lambda: "it is gone" in text_on(pilot))
    await pilot.press("shift+tab", "f")
    await wait_until(pilot, lambda: "3 page.html" in text_on(pilot))


async def switches(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The tools, one of which can't be used."""
    desk_of(pilot).ask(ToolScreen(SWITCHES), lambda names: None)
    await pilot.press("down")
    await wait_until(pilot, lambda: "What is on takes 537 tokens" in text_on(pilot))
