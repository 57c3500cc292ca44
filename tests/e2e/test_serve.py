"""`gptoss-chat serve` as a process: what it prints, that it answers, and how it ends."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import ROOT
from tests.fixtures.quick_model import write_quick_model

LONG = {"type": "json_schema", "name": "long", "strict": True, "schema": {"type": "string", "minLength": 20_000}}
SERVE = [sys.executable, "-m", "app", "serve"]


def post(url: str, token: str, **body: Any) -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    return urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=120)


def test_it_answers_until_a_signal_and_then_ends_each_stream(tmp_path: Path, home: Path) -> None:
    model = write_quick_model(tmp_path / "quick")
    command = [*SERVE, "--model", str(model), "--port", "0", "--token", "--memory", "2GB"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None and process.stderr is not None
        token = process.stderr.readline().split()[-1]
        found = re.search(r"answers at (http://127\.0\.0\.1:\d+/v1)", process.stderr.readline())
        assert found is not None and token == (home / "server-token").read_text().strip()
        printed = "".join(iter(process.stdout.readline, f"TOKEN is what stands in {home / 'server-token'}\n"))
        for word in ("Codex", "openai (Python)", "llm", "Open WebUI", "LangChain", found[1], 'wire_api = "responses"'):
            assert word in printed
        assert token not in printed
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(f"{found[1]}/responses", "wrong", input="Hi")
        assert refused.value.code == 401
        with post(f"{found[1]}/responses", token, input="Hi", stream=True, text={"format": LONG}) as stream:
            while b"response.output_text.delta" not in stream.readline():
                pass
            greedy = {"max_output_tokens": 4, "temperature": 0}  # a drawn token may be the last
            with post(f"{found[1]}/responses", token, input="Hi", **greedy) as response:  # meanwhile
                assert json.load(response)["usage"]["output_tokens"] == 4
            process.send_signal(signal.SIGTERM)
            *_, last = [line for line in stream.read().splitlines() if line.startswith(b"data: ")]
        assert json.loads(last.removeprefix(b"data: "))["type"] == "response.failed"
        assert process.wait(120) == 0 and "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--tools", f"files={ROOT / 'tests'}"], "files needs a person at the screen"),
        (["--tools", "python,files"], "files needs a person at the screen"),
        (["--socket", "/tmp/gptoss-chat-test.sock"], "others can enter /tmp"),
    ],
)
def test_what_it_can_not_do_is_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    from app.cli.main import main

    assert main(["serve", *arguments]) == 1
    printed = capsys.readouterr().err
    assert line in printed and printed.count("\n") == 1


def test_without_the_extra_it_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.cli.main import main

    monkeypatch.setattr("app.server.listening.find_spec", lambda name: None)
    assert main(["serve"]) == 1
    assert "gptoss-chat[server]" in capsys.readouterr().err
