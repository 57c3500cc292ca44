"""`gptoss-chat --server`: the process of the server that a chat starts, ends, and starts again; what it refuses."""

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cli.beside import SharedEngine
from app.cli.main import main
from app.engine.protocol import Load, Loading, Ready
from app.paths import server_log
from mlx_model.events import Finished
from mlx_model.harmony.message import user
from mlx_model.options import Options
from mlx_model.request import Request
from tests.fixtures.quick_model import write_quick_model

ODD = {"type": "json_schema", "name": "odd", "schema": {"type": "string", "not": {}}}


def post(url: str, **headers: str) -> Any:
    """The answer of another program's request, which has a schema that can't be enforced."""
    body = json.dumps({"input": "Hi", "max_output_tokens": 4, "temperature": 0, "text": {"format": ODD}}).encode()
    request = urllib.request.Request(f"{url}/responses", body, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


async def test_a_chat_and_another_program_use_one_model(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(write_quick_model(tmp_path / "quick"))
    engine = SharedEngine(0)
    try:
        replies = [reply async for reply in engine.load(Load(model, memory=2 << 30))]
        assert replies[0] == Loading(model, default=False) and isinstance(replies[-1], Ready)
        request = Request((user("Hi"),), Options(max_tokens=4, temperature=0))  # a drawn token may be the last
        assert isinstance([answer.event async for answer in engine.ask(request)][-1], Finished)
        async for answer in engine.ask(replace(request, options=Options(max_tokens=5000, temperature=0))):
            engine.stop()
            last = answer.event
        assert isinstance(last, Finished) and last.reason == "cancelled"
        assert (await asyncio.to_thread(post, engine.url))["usage"]["output_tokens"] == 4
        for headers in ({"Host": "attacker.example"}, {"Origin": "https://attacker.example"}):
            with pytest.raises(urllib.error.HTTPError) as refused:
                await asyncio.to_thread(post, engine.url, **headers)
            assert refused.value.code == 403
        assert engine._process is not None
        server = engine._process.pid
        assert os.getsid(server) == server  # no signal of the terminal reaches it
        os.kill(server, signal.SIGKILL)  # nobody has noticed when it is asked again
        waits = asyncio.create_task(asyncio.to_thread(post, engine.url))  # while nobody is there
        assert isinstance([answer.event async for answer in engine.ask(request)][-1], Finished)
        assert (await waits)["usage"]["output_tokens"] == 4
        assert "a request is kept to in part: " in server_log().read_text()
    finally:
        await engine.close()
    assert not engine.alive
    death = engine.death_of(-signal.SIGKILL, ["its last words"])
    assert (str(death), death.memory, death.last_lines) == ("the server was killed", False, ("its last words",))
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", int(engine.url.split(":")[2].removesuffix("/v1"))))


def test_what_it_can_not_do_is_one_line(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["--server", "--port", str(taken.getsockname()[1])]) == 1
        printed = capsys.readouterr().err
        assert "--port chooses another" in printed and printed.count("\n") == 1
    monkeypatch.setenv("GPTOSS_CHAT_TOKEN", "t" * 20)  # or the server would be asked whether it needs one
    with pytest.raises(SystemExit) as end:
        main(["--server", "--connect", "mini.local"])
    assert end.value.code == 2 and "--connect none changes that" in capsys.readouterr().err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert main(["--server"]) == 1 and "needs a terminal" in capsys.readouterr().err
