"""The command line as scripts use it: what goes to which stream, exit codes, bad input, closed pipes, Ctrl-C."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from mlx_model.hub import names as hub
from tests.fixtures import FIXTURES, ROOT
from tests.fixtures.pdf import pdf

COMMAND = [sys.executable, "-m", "app"]
SCRIPTED = [sys.executable, str(FIXTURES / "scripted_ask.py")]


def run(
    *arguments: str, stdin: str | bytes = "", command: Sequence[str] = COMMAND, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run to the end, as text; no traceback may ever show."""
    data = stdin if isinstance(stdin, bytes) else stdin.encode("utf-8", "surrogateescape")
    ended = subprocess.run(
        [*command, *arguments],
        input=data,
        capture_output=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    done = subprocess.CompletedProcess(ended.args, ended.returncode, ended.stdout.decode(), ended.stderr.decode())
    assert "Traceback" not in done.stderr
    return done


def test_help_is_complete_and_for_every_command() -> None:
    text = run("--help").stdout
    for word in ("ask", "download", "--effort", "--instructions", "exit codes", "130", "141", "13.8 GB"):
        assert word in text
    assert "--show-analysis" in run("ask", "--help").stdout
    assert "13.8 GB" in run("download", "--help").stdout


def test_version() -> None:
    assert run("--version").stdout == f"gptoss-chat {version('gptoss-chat')}\n"


def test_the_demo_answers() -> None:
    done = run("ask", "--model", "demo", "--temperature", "0", "How many r's are in strawberry?")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.strip() and done.stdout.endswith("\n") and "<|" not in done.stdout


def test_output_options_stand_before_ask_too_and_without_it() -> None:
    shared = ["--model", "demo", "--temperature", "0", "--json"]
    for arguments, stdin in (([*shared, "ask", "hi"], ""), (shared, "hi"), (shared, b"\xef\xbb\xbfhi")):
        assert json.loads(run(*arguments, stdin=stdin, command=SCRIPTED).stdout)["text"] == "hi"


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        ("<&-", ""),
        ("2>&-", ""),
        (">&-", "standard output is closed; the rest of the output is lost"),
        (">/dev/full", "No space left on device; the rest of the output is lost"),
    ],
)
@pytest.mark.parametrize("arguments", ["ask --model demo hi", "models", "doctor --json", "--version", "ask --help"])
def test_missing_and_full_streams(closed: str, said: str, arguments: str) -> None:
    if "full" in closed and not Path("/dev/full").exists():
        pytest.skip("this system has no full device")
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *SCRIPTED, *arguments.split()]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=120, cwd=ROOT, stdin=subprocess.DEVNULL)
    assert done.returncode == bool(said)
    assert "Traceback" not in done.stderr and "bug" not in done.stderr
    assert done.stderr.endswith(f"gptoss-chat: {said}\n") if said else "lost" not in done.stderr


@pytest.mark.parametrize("model", ["", "nope"])
def test_no_other_model_answers_for_one_that_is_not_there(model: str) -> None:
    done = run("ask", "--model", model, "hi")
    assert (done.returncode, done.stdout) == (1, "")
    assert f'there is no model "{model}"' in done.stderr


def test_the_default_model_is_announced_on_standard_error(tmp_path: Path) -> None:
    done = run("ask", "hi", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 0
    assert "demo model" in done.stderr and "gptoss-chat download gpt-oss-20b" in done.stderr


def test_json_is_one_object_with_everything() -> None:
    done = run("ask", "--model", "demo", "--json", "--seed", "1", "--effort", "low", "hi")
    answer = json.loads(done.stdout)
    assert answer.keys() == {"text", "commentary", "analysis", "finish_reason", "stats"}
    assert answer["finish_reason"] == "stop" and answer["stats"]["seed"] == 1
    assert answer["stats"]["decode_tokens"] > 0 and answer["stats"]["resident_bytes"] > 0


def test_a_cut_off_answer_says_so_on_standard_error() -> None:
    done = run("ask", "--model", "demo", "--max-tokens", "3", "hi")
    assert done.returncode == 1 and "the token limit, after 3 tokens" in done.stderr


@pytest.mark.parametrize(
    ("prompt", "errors"),
    [
        ("nothing", ["gptoss-chat: no answer: the model ended its turn without one"]),
        ("only analysis", ["gptoss-chat: no answer: the model ended its turn without one", "some analysis"]),
        ("only commentary", ["some commentary", "gptoss-chat: no answer: the model ended its turn without one"]),
    ],
)
def test_an_answer_without_a_final_message_is_a_failure_that_shows_what_there_was(
    prompt: str, errors: list[str]
) -> None:
    done = run("ask", "--model", "demo", prompt, command=SCRIPTED)
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (1, "", errors)
    done = run("ask", "--model", "demo", "--json", prompt, command=SCRIPTED)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    answer = json.loads(done.stdout)
    assert (answer["text"], answer["finish_reason"]) == ("", "no_answer")
    written = answer["commentary"] + answer["analysis"]
    assert written == (prompt.replace("only", "some") if prompt != "nothing" else "")


@pytest.mark.parametrize(
    ("arguments", "stdin", "prompt"),
    [
        (["ask", "what", "is", "this"], "", "what is this"),
        (["ask"], "piped", "piped"),
        (["ask", "-"], "piped\n", "piped"),
        (["ask", "Review this"], "line 1\nline 2\n", "Review this\n\nline 1\nline 2"),
        (["ask", "Review this", "-"], "code\n", "Review this\n\ncode"),
        ([], "no command at all\n", "no command at all"),
        (["--effort", "high", "ask", "--seed", "1", "both sides"], "", "both sides"),
        (["ask", "--instructions", "> ", "quoted"], "", "> quoted"),
        (["ask", "näive 数"], "", "näive 数"),
    ],
)
def test_where_the_prompt_comes_from(arguments: list[str], stdin: str | bytes, prompt: str) -> None:
    done = run(*arguments, "--model", "demo", stdin=stdin, command=SCRIPTED)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{prompt}\n", "")


def test_a_document_is_read_from_standard_input_as_from_a_file() -> None:
    done = run("--model", "demo", stdin=pdf("Bill"), command=SCRIPTED)
    assert (done.returncode, done.stdout) == (
        0,
        '[file "standard input"; 1 page; cite as [p. 1]]\n```\n[page 1]\nBill\n```\n',
    )
    assert done.stderr.endswith("standard input: 1 page\n")


def test_an_output_that_is_not_utf_8_shows_what_it_cannot_hold() -> None:
    done = run("ask", "--model", "demo", "näive 数", command=SCRIPTED, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, "n\\xe4ive \\u6570\n", "")


def test_options_on_either_side_of_the_command_count() -> None:
    done = run("--effort", "high", "--model", "demo", "ask", "--show-analysis", "x", command=SCRIPTED)
    assert done.stdout == "x\n" and "high " in done.stderr


def test_nothing_written_can_command_a_terminal() -> None:
    hostile = "\x1b]52;c;ZXZpbA==\x07 \x1b[2J \x9b2J \u202eevil\u202c\r\ttab\nline"
    done = run("ask", "--show-analysis", "--model", "demo", hostile, command=SCRIPTED)
    for text in (done.stdout, done.stderr):
        assert not {c for c in text if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u202c"} - {"\n", "\t"}
    assert "\ttab\nline" in done.stdout and "\u241b[31mthought" in done.stderr
    exact = run("ask", "--json", "--model", "demo", hostile, command=SCRIPTED).stdout
    assert exact.isascii() and json.loads(exact)["text"] == hostile


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ask", "--model", "gpt-oss-7b", "hi"], 1, "gpt-oss-7b"),
        (["ask", "--model", "demo", "  "], 1, "the prompt is empty"),
        (["ask", "--model", "demo", "-"], 1, "the prompt is empty"),
        (["ask", "--model", "demo", "hi", "--temperature", "-1"], 2, "see gptoss-chat ask --help"),
        (["--temperature", "-1"], 2, "see gptoss-chat --help"),
        (["ask", "--model", "demo", "hi", "--effort", "extreme"], 2, "extreme"),
        (["ask", "--model", "demo", "hi", "--top-k", "many"], 2, "many"),
        (["searches", "hi"], 2, "did you mean search?"),
        (["download", "nonsense"], 1, "nonsense"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], code: int, said: str) -> None:
    done = run(*arguments)
    assert done.returncode == code and said in done.stderr and done.stdout == ""
    if code == 1:
        assert done.stderr.startswith("gptoss-chat: ") and done.stderr.count("\n") == 1


def test_a_prompt_longer_than_the_context() -> None:
    done = run("ask", "--model", "demo", "-", stdin="many words " * 90_000)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "131,072" in done.stderr


@pytest.mark.parametrize("damage", ["truncated", "no config", "garbage config"])
def test_a_damaged_checkpoint(tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(hub.resolve("demo"), tmp_path / "model")
    if damage == "truncated":
        weights = folder / "model.safetensors"
        os.truncate(weights, weights.stat().st_size // 2)
    elif damage == "no config":
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text("{")
    done = run("ask", "--model", str(folder), "hi")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and done.stdout == ""


def test_a_closed_pipe_ends_the_program_quietly() -> None:
    asking = subprocess.Popen(
        [*SCRIPTED, "ask", "--model", "demo", "forever"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert asking.stdout and asking.stderr and asking.stdout.readline() == b"on and \n"
    asking.stdout.close()
    assert asking.wait(timeout=120) == 141
    assert asking.stderr.read() == b""
    asking.stderr.close()


def test_ctrl_c_ends_the_program_cleanly() -> None:
    asking = subprocess.Popen(
        [*SCRIPTED, "ask", "--model", "demo", "forever"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert asking.stdout and asking.stdout.readline() == b"on and \n"
    asking.send_signal(signal.SIGINT)
    _, errors = asking.communicate(timeout=120)
    assert asking.returncode == 130 and errors == b""


@pytest.mark.parametrize("term", ["dumb", "", None])
def test_a_dumb_terminal_gets_a_chat_in_plain_lines(term: str | None) -> None:
    """Byte for byte: nothing is sent that such a terminal would print as garbage."""
    master, slave = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "TERM"}
    chatting = subprocess.Popen(
        [*SCRIPTED, "--model", "demo"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment if term is None else {**environment, "TERM": term},
    )
    os.close(slave)
    seen = read_until(master, b"> ")
    for _ in range(2):
        os.write(master, b"hello\n")
        seen += read_until(master, b"\r\nhello\r\nmedium\r\n\r\n> ")
    os.write(master, b"\x04")
    assert chatting.wait(timeout=120) == 0
    os.close(master)
    assert seen.count(b"Plain chat: TERM") == 1
    assert not {byte for byte in seen if byte < 32} - set(b"\r\n")


def test_a_dumb_terminal_whose_output_is_piped_gets_one_answer() -> None:
    """What a script may have relied on: the prompt to the end of standard input, the answer alone in the pipe."""
    master, slave = pty.openpty()
    asking = subprocess.Popen(
        [*SCRIPTED, "--model", "demo", "--plain"], stdin=slave, stdout=subprocess.PIPE, stderr=slave
    )
    os.close(slave)
    read_until(master, b"Ctrl-D")
    os.write(master, b"hello\n\x04")
    assert asking.stdout is not None and asking.stdout.read() == b"hello\n"
    assert asking.wait(timeout=120) == 0
    asking.stdout.close()
    os.close(master)


IMPORTING = """
import os, signal, sys, time

wanted = sys.argv.pop(1)

class Finder:
    def find_spec(name, path, target=None):
        if name == wanted:
            os.write(1, b".")
            if name != "app.cli.main":
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(60)
                except KeyboardInterrupt:
                    raise ImportError("half imported")

sys.meta_path.insert(0, Finder)
from app.__main__ import main
sys.exit(main())
"""
"""The console script, which prints a dot when it begins to import the module it is told. Any but the program's own is
interrupted in that moment, and does with it what extension modules do."""


def test_ctrl_c_at_any_moment_shows_no_traceback() -> None:
    for delay in (0.0, 0.005, 0.02, 0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4):
        asking = subprocess.Popen(
            [sys.executable, "-c", IMPORTING, "app.cli.main", "ask", "--model", "demo", "hi"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        assert asking.stdout and asking.stdout.read(1) == b"."
        time.sleep(delay)
        asking.send_signal(signal.SIGINT)
        _, errors = asking.communicate(timeout=120)
        assert (asking.returncode, errors) in ((130, b""), (0, b"")), delay


@pytest.mark.parametrize("module", ["numpy", "mlx.core"])
def test_ctrl_c_within_the_import_of_an_extension_module(module: str) -> None:
    done = run(module, "ask", "--model", "demo", "hi", command=[sys.executable, "-c", IMPORTING])
    assert (done.returncode, done.stdout, done.stderr) == (130, ".", "")


def test_a_polite_kill_ends_it_without_a_word() -> None:
    asking = subprocess.Popen(
        [*SCRIPTED, "ask", "--model", "demo", "forever"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert asking.stdout and asking.stdout.readline() == b"on and \n"
    asking.terminate()
    _, errors = asking.communicate(timeout=120)
    assert (asking.returncode, errors) == (-signal.SIGTERM, b"")


def read_until(descriptor: int, wanted: bytes) -> bytes:
    """Read from a terminal until something shows."""
    seen = b""
    while wanted not in seen:
        ready, _, _ = select.select([descriptor], [], [], 120)
        assert ready, f"waited in vain for {wanted!r} after {seen!r}"
        seen += os.read(descriptor, 4096)
    return seen
