"""Tests a sandbox by probes from the inside, and remembers what came of it until anything about it changes."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from metal.files import parse_json, read_small, replace_file
from mlx_model.tools.python.sandbox import Confinement, Interpreter, Sandbox, candidates, why_not_here

_TEST_S = 60
_MOST_SUBJECTS = 16
# Set by the system or by bubblewrap.
_VARIABLES_ALSO = ("PWD", "LC_CTYPE", "__CF_USER_TEXT_ENCODING")


class Verdicts:
    """What tests of sandboxes said, by a hash of all that decides it; kept in a JSON file if there is one.

    A file that is damaged counts as empty; one that can't be written costs a test at the next start.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._own: dict[str, str] = {}

    def read(self, sandbox: Sandbox) -> str | None:
        """The complaint of the last test, empty if it passed; None: it was not tested so far."""
        return (self._stored() | self._own).get(_hash(sandbox))

    def write(self, sandbox: Sandbox, complaint: str) -> None:
        """Keeps what a test said."""
        key = _hash(sandbox)
        self._own[key] = complaint
        if self._path is None:
            return
        kept = {name: said for name, said in self._stored().items() if name != key}
        content = dict(list(kept.items())[-(_MOST_SUBJECTS - 1) :]) | {key: complaint}
        with suppress(OSError):
            replace_file(self._path, json.dumps(content, indent=1).encode())

    def _stored(self) -> dict[str, str]:
        if self._path is None:
            return {}
        try:
            found = parse_json(read_small(self._path))
        except (OSError, ValueError):
            return {}
        is_sound = isinstance(found, dict) and all(isinstance(said, str) for said in found.values())
        return found if is_sound else {}


def choose(
    confinement: Confinement, interpreter: Interpreter, memory: int, verdicts: Verdicts
) -> tuple[Confinement, str]:
    """The way to confine that holds here, NONE if none does; and why not, in words, for those that do not.

    Ways that were not tested, or failed when they were, are tested now; that takes half a second each.
    """
    complaints: dict[Confinement, str] = {}
    for way in candidates() if confinement is Confinement.AUTO else (confinement,):
        complaint = why_not_here(way, interpreter)
        if complaint is None:
            with _temporary_folders() as (folder, scratch):
                sandbox = Sandbox(way, interpreter, folder, scratch, memory)
                complaint = verdicts.read(sandbox)
                if complaint != "":
                    complaint = probe(sandbox)
                    verdicts.write(sandbox, complaint)
        if not complaint:
            return way, ""
        complaints[way] = complaint
    return Confinement.NONE, _in_words(complaints)


def remembered(interpreter: Interpreter, memory: int, verdicts: Verdicts) -> tuple[Confinement, str] | None:
    """What `choose` found for AUTO the last time, tried nothing now; None: it was not tried so far."""
    complaints: dict[Confinement, str] = {}
    for way in candidates():
        complaint = why_not_here(way, interpreter)
        if complaint is None:
            complaint = verdicts.read(Sandbox(way, interpreter, Path("/folder"), Path("/scratch"), memory))
        if complaint is None:
            return None
        if not complaint:
            return way, ""
        complaints[way] = complaint
    return Confinement.NONE, _in_words(complaints)


def probe(sandbox: Sandbox) -> str:
    """Runs the probes; returns what they complain about, empty if the sandbox holds and work is possible in it."""
    with ExitStack() as open_things, tempfile.TemporaryDirectory(prefix="gptoss-probe-") as outside:
        secret = Path(outside, "secret")
        secret.write_bytes(b"secret")
        secret.chmod(0o600)
        listener = open_things.enter_context(socket.create_server(("127.0.0.1", 0)))
        config: dict[str, Any] = {
            "secret": str(secret),
            "port": listener.getsockname()[1],
            "socket": _listen(open_things, str(Path(outside, "socket"))),
            "abstract": "",
            "process": os.getpid(),
            "variables": [*sandbox.environment(), *_VARIABLES_ALSO],
            "locks": sandbox.way is not Confinement.LANDLOCK,
        }
        if sys.platform == "linux":
            config["abstract"] = _listen(open_things, f"\0gptoss-{secrets.token_hex(8)}").removeprefix("\0")
        return _complaints(sandbox.command("probe.py", json.dumps(config)), sandbox)


def _in_words(complaints: dict[Confinement, str]) -> str:
    """Why each way is not taken; what is said of all of them once."""
    if not complaints:
        return f"there is no sandbox for {sys.platform}"
    if len(complaints) > 1 and len(set(complaints.values())) == 1:
        return next(iter(complaints.values()))
    return "; ".join(f"{way}: {complaint}" for way, complaint in complaints.items())


def _listen(open_things: ExitStack, address: str) -> str:
    listener = open_things.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    listener.bind(address)
    listener.listen()
    return address


def _complaints(command: list[str], sandbox: Sandbox) -> str:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=sandbox.environment(),
            cwd=sandbox.folder,
            start_new_session=True,
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror or error}"
    try:
        output, _ = process.communicate(timeout=_TEST_S)
    except subprocess.TimeoutExpired:
        return f"its test did not end within {_TEST_S} s"
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait(timeout=_TEST_S)
    last = output.decode(errors="replace").strip().rpartition("\n")[2]
    try:
        complaints = json.loads(last)
    except ValueError:
        return last[:300] or f"its test ended with code {process.returncode}"
    return ", ".join(str(complaint) for complaint in complaints)


@contextmanager
def _temporary_folders() -> Iterator[tuple[Path, Path]]:
    folders = [Path(tempfile.mkdtemp(prefix="gptoss-probe-")) for _ in range(2)]
    try:
        yield folders[0], folders[1]
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _hash(sandbox: Sandbox) -> str:
    return hashlib.sha256(sandbox.fingerprint().encode()).hexdigest()[:16]
