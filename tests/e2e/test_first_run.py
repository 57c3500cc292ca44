"""The first run in a real terminal: fetch the model beside the demo, quit, go on at the next start, switch to it."""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.tui.text.grace import GRACE_S
from mlx_model.hub.names import resolve
from mlx_model.hub.published import DEMO
from tests.fixtures.hub_server import HubServer, serving
from tests.fixtures.terminal import Terminal, needs_tmux

pytestmark = needs_tmux

FILES = {path.name: path.read_bytes() for path in resolve(DEMO).iterdir()}
CHAT = [sys.executable, "-m", "app", "--temperature", "0"]


@pytest.fixture
def server() -> Iterator[HubServer]:
    """A Hub whose gpt-oss-20b is the demo model, so that it can answer."""
    with serving({"openai/gpt-oss-20b": FILES}) as server:
        yield server


def test_download_quit_go_on_and_switch(server: HubServer, tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": ""}
    server.hold(1_500_000)
    with Terminal(CHAT, environment=environment) as terminal:
        terminal.wait_for("F6 Get gpt-oss-20b, 13.8 GB")
        terminal.keys("F6")
        terminal.wait_for("Free disk")
        time.sleep(GRACE_S)
        terminal.keys("Enter")
        terminal.wait_for(lambda screen: re.search(r"━+─+ +\d\d%  1\.\d of 3\.\d MB", screen))
        terminal.type("How many r's are in strawberry?")
        terminal.keys("Enter")
        terminal.wait_for(re.compile(r"tok/s · \d+ tokens").search)
        terminal.keys("C-q")
        assert terminal.exit_code() == 0
        assert "The download of gpt-oss-20b stopped at" in terminal.screen()
    server.release()
    with Terminal(CHAT, environment=environment) as terminal:
        terminal.wait_for(re.compile(r"F6 Resume gpt-oss-20b, 1\.\d MB of 13\.8 GB here").search)
        terminal.type("/download")
        terminal.keys("Enter")
        terminal.wait_for("Free disk")
        time.sleep(GRACE_S)
        terminal.keys("Enter")
        terminal.wait_for("F6 switch to this model")
        terminal.keys("F6")
        terminal.wait_for("Switched to gpt-oss-20b")
        terminal.type("How many r's are in strawberry?")
        terminal.keys("Enter")
        screen = terminal.wait_for(re.compile(r"tok/s · \d+ tokens").search)
        assert "gpt-oss-20b" in screen.splitlines()[0] and "F6" not in screen
        terminal.keys("C-q")
        assert terminal.exit_code() == 0
        assert "The download" not in terminal.screen()
    assert server.asked < 2 * sum(map(len, FILES.values()))  # what was there was not asked for again
