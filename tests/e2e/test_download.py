"""`download` and `models` as a person runs them: killed at random points, interrupted, in a terminal and out of one."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from mlx_model.hub.names import needed_files
from tests.fixtures import ROOT
from tests.fixtures.hub_server import HubServer, gpt_oss, serving
from tests.fixtures.terminal import Terminal, needs_tmux

COMMAND = [sys.executable, "-m", "app"]
REPO = "openai/gpt-oss-20b"
KILLS = 8


@pytest.fixture
def server() -> Iterator[HubServer]:
    with serving({REPO: gpt_oss()}) as server:
        yield server


@pytest.fixture
def environment(server: HubServer, tmp_path: Path) -> dict[str, str]:
    """What points the command at the local Hub and at folders of its own."""
    return {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path), "HF_TOKEN": ""}


def run(*arguments: str, environment: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=os.environ | environment,
    )
    assert "Traceback" not in done.stderr
    return done


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    """A download on its way, with pipes."""
    return subprocess.Popen(
        [*COMMAND, "download"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
    )


def wait_until_sent(server: HubServer, size: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while server.sent < size and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_killed_at_any_point_it_goes_on_each_time(server: HubServer, environment: dict[str, str]) -> None:
    files = gpt_oss(shard_bytes=4_000_000)
    server.repos[REPO].publish(files)
    total = sum(
        len(data) for name, data in files.items() if name.startswith(("model", "tokenizer")) or "config" in name
    )
    server.pause = 0.002
    chance = random.Random(20)
    points = sorted(chance.randrange(total * 85 // 100) for _ in range(KILLS))
    for before, point in pairwise([0, *points]):
        process = start(environment)
        wait_until_sent(server, server.sent + point - before, process)
        process.kill()
        output, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL and output == ""
    server.pause = 0
    done = run("download", environment=environment)
    folder = Path(done.stdout.strip())
    names = needed_files(folder)
    assert len(names) == 8 and all((folder / name).read_bytes() == files[name] for name in names)
    assert "complete and verified" in done.stderr
    assert server.sent <= 1.2 * total, f"{server.sent} bytes were sent for {total}"
    _, listed = json.loads(run("models", "--json", environment=environment).stdout)
    assert listed["complete"] and listed["verified"] and listed["name"] == "gpt-oss-20b"


def test_what_is_said_without_a_terminal(server: HubServer, environment: dict[str, str]) -> None:
    done = run("download", environment=environment)
    assert done.returncode == 0
    assert re.fullmatch(r"/.*/snapshots/[0-9a-f]{40}\n", done.stdout)
    assert sum("/api/" in request for request in server.requests) == 1  # and nothing that counts users or agents
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"openai/gpt-oss-20b at [0-9a-f]{12}, licence apache-2.0", lines[0])
    assert lines[1].startswith("0.3 MB in 8 files; to /") and lines[1].endswith("/hf/hub")
    assert re.fullmatch(r"0\.3 MB to download, [\d.]+ GB free on the disk", lines[2])
    assert lines[3].startswith("in this computer's memory: ")
    assert sum("safetensors verified" in line for line in lines) == 3
    assert any(line.startswith("downloading: 100%, 0.3 MB of 0.3 MB") for line in lines)
    assert lines[-1] == "complete and verified; open the chat with: gptoss-chat --model gpt-oss-20b"
    assert all(line.isprintable() for line in lines) and len(lines) < 20
    server.requests.clear()
    again = run("download", environment=environment)
    assert again.stdout == done.stdout and server.requests == []
    assert "all of them here already" in again.stderr


def test_options(server: HubServer, environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "my models" / "gpt"
    done = run("download", f"{REPO}@main", "--dest", str(folder), environment=environment)
    assert done.stdout == f"{folder}\n" and (folder / "config.json").is_file()
    assert done.stderr.endswith(f"gptoss-chat --model '{folder}'\n")
    server.requests.clear()
    verified = run("download", "--dest", str(folder), "--verify", environment=environment)
    assert "checking what is here: 100%" in verified.stderr and server.requests == []
    server.repos[REPO].publish(gpt_oss() | {"generation_config.json": b"{}"})
    updated = run("download", "--dest", str(folder), "--update", environment=environment)
    assert updated.returncode == 0 and (folder / "generation_config.json").read_bytes() == b"{}"


def test_interrupted_and_resumed(server: HubServer, environment: dict[str, str]) -> None:
    server.hold(150_000)
    process = start(environment)
    wait_until_sent(server, 150_000, process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (130, "")
    assert re.search(r"interrupted; [\d.]+ MB of 0.3 MB are kept: the same command goes on", errors)
    assert "Traceback" not in errors
    listing = run("models", environment=environment).stdout
    assert re.search(r"^gpt-oss-20b +[\d.]+ MB( of 0.3 MB)? +partial +Hub cache$", listing, re.MULTILINE)
    server.release()
    done = run("download", environment=environment)
    assert done.returncode == 0 and "are here already" in done.stderr


def test_a_failure_is_one_line_and_tells_what_to_do(environment: dict[str, str]) -> None:
    done = run("download", environment=environment | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"gptoss-chat: the Hub at http://127.0.0.1:9 can't be reached .*: check the network.*\n", done.stderr
    )


def test_models_are_listed_and_removed(server: HubServer, environment: dict[str, str], tmp_path: Path) -> None:
    empty = run("models", environment=environment)
    assert re.search(
        r"^demo +[\d.]+ MB +complete, verified +this program\n\nto download gpt-oss-20b, 13.8 GB: ", empty.stdout, re.M
    )
    [demo] = json.loads(run("models", "--json", environment=environment).stdout)
    assert (demo["name"], demo["complete"]) == ("demo", True)
    run("download", environment=environment)
    listing = run("models", environment=environment).stdout.splitlines()
    assert [line.split() for line in listing] == [
        ["NAME", "SIZE", "STATE", "IN"],
        ["demo", "3.1", "MB", "complete,", "verified", "this", "program"],
        ["gpt-oss-20b", "0.3", "MB", "complete,", "verified", "Hub", "cache"],
    ]
    refused = run("models", "remove", "gpt-oss-20b", environment=environment, stdin="y\n")
    assert refused.returncode == 1 and "--yes" in refused.stderr
    removed = run("models", "remove", "gpt-oss-20b", "--yes", environment=environment)
    assert re.fullmatch(r"removed gpt-oss-20b; 0\.3 MB freed\n", removed.stdout)
    assert not list((tmp_path / "hf" / "hub").glob("models--*"))
    again = run("models", "remove", "gpt-oss-20b", "--yes", environment=environment)
    assert again.returncode == 1 and "is not in the Hub's cache" in again.stderr


@needs_tmux
def test_the_bar_in_a_terminal(server: HubServer, environment: dict[str, str]) -> None:
    server.hold(150_000)
    with Terminal([*COMMAND, "download"], width=100, environment=environment) as terminal:
        screen = terminal.wait_for(lambda screen: re.search(r"downloading .* [45]\d%", screen))
        assert "licence apache-2.0" in screen
        terminal.keys("C-c")
        assert terminal.exit_code() == 130
        assert "are kept: the same command goes on from there" in terminal.screen()
    server.release()
    with Terminal([*COMMAND, "download"], width=100, environment=environment) as terminal:
        assert terminal.exit_code() == 0
        screen = terminal.screen()
        assert re.search(r"downloading ━+ 100% 305\.2/305\.2 kB", screen) and "are here already" in screen
    with Terminal([*COMMAND, "models", "remove", "gpt-oss-20b"], environment=environment) as terminal:
        terminal.wait_for("Remove gpt-oss-20b, 0.3 MB, from this computer? [y/N]")
        terminal.keys("n", "Enter")
        assert terminal.exit_code() == 1 and "nothing was removed" in terminal.screen()
    with Terminal([*COMMAND, "models", "remove", "gpt-oss-20b"], environment=environment) as terminal:
        terminal.wait_for("[y/N]")
        terminal.keys("y", "Enter")
        assert terminal.exit_code() == 0 and "MB freed" in terminal.screen()
