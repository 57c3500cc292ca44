"""Tries from the inside whether the sandbox holds and whether work is possible in it; prints a JSON list of complaints.

Run as `python -I probe.py CONFIG`; CONFIG is a JSON object:

secret    a file outside, which the person can read; nothing may be able to read it
port      of a listener on 127.0.0.1
socket    the path of a Unix socket outside
abstract  the name of an abstract one, empty where the system has none
process   the number of the program's process
variables names that the environment may have
locks     whether locks between processes have to work
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WAIT_S = 2.0


def main() -> None:
    """Runs every probe; a complaint names what was possible, or what was not."""
    config = json.loads(sys.argv[1])
    complaints = [what for what, probe in forbidden(config).items() if _works(probe) is None]
    for what, probe in needed(config).items():
        problem = _works(probe)
        if problem is not None:
            complaints.append(f"{what} does not work ({problem})")
    print("\n" + json.dumps(complaints))


def forbidden(config: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """What must fail, by the complaint if it doesn't."""
    return {
        "a file of yours can be read": lambda: Path(config["secret"]).read_bytes(),
        "a file of yours can be reached through /proc": lambda: Path("/proc/1/root", config["secret"][1:]).read_bytes(),
        "a file of yours can be changed": lambda: Path(config["secret"]).open("ab"),
        "a link in the folder leads out of it": lambda: _read_through_link(config["secret"]),
        "a file beside yours can be written": lambda: Path(config["secret"] + ".new").write_bytes(b""),
        "the interpreter can be changed": lambda: Path(os.__file__ + ".new").write_bytes(b""),
        "a program of this computer can be reached over the network": lambda: _connect(
            socket.AF_INET, ("127.0.0.1", config["port"])
        ),
        "the network can be reached": lambda: _send(("192.0.2.1", 53)),
        "a socket outside can be reached": lambda: _connect(socket.AF_UNIX, config["socket"]),
        "an abstract socket outside can be reached": lambda: (
            _connect(socket.AF_UNIX, "\0" + config["abstract"]) if config["abstract"] else _fail()
        ),
        "the program can be killed": lambda: os.kill(config["process"], 0),
        "the program's environment can be read": lambda: Path(f"/proc/{config['process']}/environ").read_bytes(),
        "variables of the environment are there": lambda: _expect(set(os.environ) - set(config["variables"])),
        "a file outside can get another mode": lambda: _change_mode(config["secret"]),
        "another process can be traced": lambda: _expect(sys.platform == "linux" and _ptrace(1) == 0),
        "the system's settings can be changed": lambda: Path("/proc/sys/kernel/core_pattern").open("ab"),
    }


def needed(config: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """What must succeed, by name."""
    probes: dict[str, Callable[[], object]] = {
        "writing into the folder": _write_here,
        "a temporary file": lambda: tempfile.TemporaryFile().close(),
        "another process": lambda: subprocess.run(["/bin/echo"], stdout=subprocess.DEVNULL, check=True),
        "this Python, once more": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    }
    if config["locks"]:
        lock = "import multiprocessing; multiprocessing.Lock()"
        probes["a lock"] = lambda: subprocess.run([sys.executable, "-c", lock], check=True)
    if importlib.util.find_spec("numpy"):
        probes["numpy"] = lambda: importlib.import_module("numpy")
    return probes


def _works(probe: Callable[[], object]) -> str | None:
    """None if it works, else what went wrong."""
    try:
        probe()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return None


def _fail() -> None:
    raise OSError


def _expect(condition: object) -> None:
    if not condition:
        raise OSError


def _read_through_link(secret: str) -> None:
    link = Path(f".probe-{os.getpid()}")
    link.symlink_to(secret)
    try:
        link.read_bytes()
    finally:
        link.unlink()


def _connect(family: int, address: Any) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as found:
        found.settimeout(_WAIT_S)
        found.connect(address)


def _send(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.sendto(b"\0", address)


def _change_mode(path: str) -> None:
    """Raises OSError unless the mode has changed: the call may do nothing and report success."""
    wanted = 0o640
    Path(path).chmod(wanted)
    _expect(Path(path).stat().st_mode & 0o777 == wanted)


def _ptrace(process: int) -> int:
    seize = 0x4206
    return int(ctypes.CDLL(None).ptrace(seize, process, None, None))


def _write_here() -> None:
    path = Path(f".probe-{os.getpid()}")
    path.write_bytes(b"probe")
    path.unlink()


if __name__ == "__main__":
    main()
