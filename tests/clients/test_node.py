"""Programs from npm: OpenAI's client for Node, Vercel's AI SDK, and Codex, each in a loop of three calls.

`make test-clients` installs them into build/clients.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlx_model.events import Event
from mlx_model.request import Request
from tests.clients.scripts import ANSWER, CITIES, THOUGHTS, check_loop, configuration, results, three_calls
from tests.fixtures import ROOT
from tests.fixtures.running_server import RunningServer
from tests.fixtures.scripted_engine import calls, says

MODULES = Path(os.environ.get("CLIENTS_NODE", ROOT / "build" / "clients")) / "node_modules"
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not MODULES.is_dir(), reason="node's programs come with `make test-clients`"
)
SCRIPTS = Path(__file__).parent / "node"


def said_by(command: Sequence[str | Path], **environment: str) -> str:
    """What a program prints, which has to end well."""
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("script", ["openai_loop.cjs", "ai_sdk_loop.cjs"])
def test_a_streamed_loop(server: RunningServer, script: str, api: str) -> None:
    server.engine.script = three_calls
    found = json.loads(said_by(["node", SCRIPTS / script, api, server.url], NODE_PATH=str(MODULES)))
    assert found["said"] == ANSWER
    assert found["thought"] == "".join(THOUGHTS) + "I have all three."
    check_loop(server)


def shell_calls(request: Request) -> list[Event]:
    """Runs three commands, then answers. How soon they show is up to Codex, so it is not to wait for them."""
    done = len(results(request))
    if done == len(CITIES):
        return says(ANSWER, analysis="I have all three.")
    arguments = {"cmd": f"echo weather of {CITIES[done]}", "yield_time_ms": 250}
    return calls("functions.exec_command", json.dumps(arguments), analysis=THOUGHTS[done])


def test_codex(server: RunningServer, tmp_path: Path) -> None:
    server.engine.script = shell_calls
    home = tmp_path / "codex"
    home.mkdir()
    (home / "config.toml").write_text(configuration(server, "Codex"))
    # What the script has it run is echo; its sandbox needs more than some machines have.
    how: list[str | Path] = [
        "exec",
        "--json",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        "-C",
        tmp_path,
    ]
    printed = said_by([MODULES / ".bin" / "codex", *how, "The weather in Oslo, Rome and Lima?"], CODEX_HOME=str(home))
    events = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert events[-1]["type"] == "turn.completed" and events[-1]["usage"]["cached_input_tokens"] == 4 * 312
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    assert [item["text"] for item in items if item["type"] == "reasoning"] == [*THOUGHTS, "I have all three."]
    assert (items[-1]["type"], items[-1]["text"]) == ("agent_message", ANSWER)
    run = [event["item"]["command"] for event in events if event["type"] == "item.started"]
    assert [city in command for city, command in zip(CITIES, run, strict=True)] == [True] * 3
    check_loop(server, shows_results=False)
