"""What confined code can't do, tried from the inside; each way to confine is tried where this computer has it."""

import asyncio
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.python import Confinement, Python
from tests.fixtures.without_privileges import a_folder, a_python, without_privileges

CALL = "import ctypes, errno, os, socket, subprocess, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n"
CALL += "def call(*numbers):\n    if libc.syscall(*numbers) < 0: raise OSError(ctypes.get_errno(), 'refused')\n"

# What must not succeed. SECRET is a file of the person's, OUTSIDE its folder, PARENT the program.
ESCAPES = {
    "read a file": "open(SECRET).read()",
    "list a folder": "os.listdir(OUTSIDE)",
    "read through /proc/1/root": "open('/proc/1/root' + SECRET).read()",
    "read the program's environment": "open(f'/proc/{PARENT}/environ').read()",
    "read the program's memory": "open(f'/proc/{PARENT}/mem', 'rb').read(1)",
    "read through a symbolic link": "os.symlink(SECRET, 'a-link'); open('a-link').read()",
    "make a hard link": "os.link(SECRET, 'hard')",
    "move a file here": "os.rename(SECRET, 'moved')",
    "delete a file": "os.unlink(SECRET)",
    "write a file": "open(SECRET, 'r+')",
    "cut a file": "os.truncate(SECRET, 0)",
    "make a file": "open(OUTSIDE + '/new', 'w')",
    "make a folder": "os.mkdir(OUTSIDE + '/new-folder')",
    "give a file away": "os.chown(SECRET, os.getuid(), os.getgid())",
    "set an attribute": "os.setxattr(SECRET, 'user.x', b'1')",
    "see the disk's devices": "open('/dev/mem', 'rb')",
    "open the terminal": "open('/dev/tty', 'w')",
    "change /usr": "open('/usr/x', 'w')",
    "change the interpreter": "open(os.__file__ + 'x', 'w')",
    "change its own programs": "open(INSIDE, 'r+')",
    "change a setting of the system": "open('/proc/sys/kernel/core_pattern', 'w')",
    "reach a port of this computer": "socket.create_connection(('127.0.0.1', PORT), 2)",
    "listen on a port": "socket.create_server(('127.0.0.1', 0))",
    "send a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "use IPv6": "socket.socket(socket.AF_INET6)",
    "talk to the kernel by netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "look up a name": "socket.getaddrinfo('example.com', 80)",
    "reach a Unix socket": "socket.socket(socket.AF_UNIX).connect(SOCKET)",
    "reach an abstract socket": "socket.socket(socket.AF_UNIX).connect(ABSTRACT)",
    "signal the program": "os.kill(PARENT, 0)",
    "trace the program": "libc.ptrace(16, PARENT, 0, 0) == 0 or os.kill(-1, 99)",
    "trace the first process": "libc.ptrace(16, 1, 0, 0) == 0 or os.kill(-1, 99)",
    "limit the program": "import resource; resource.prlimit(PARENT, resource.RLIMIT_CPU)",
    "mount": "call(NUMBERS['mount'], 0, 0, 0, 0, 0)",
    "make a user's namespace": "call(NUMBERS['unshare'], 0x10000000)",
    "clone into a namespace": "call(NUMBERS['clone'], 0x10000000, 0, 0, 0, 0)",
    "use the keyring": "call(NUMBERS['keyctl'], 0, -3, 0)",
    "load a program into the kernel": "call(NUMBERS['bpf'], 0, 0, 0)",
    "queue system calls": "call(NUMBERS['io_uring_setup'], 1, 0)",
    "become root": "os.setuid(0)",
    "raise a limit": "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**12, 10**12))",
    "write a huge file": "open('huge', 'wb').truncate(10**9)",
}
# What must succeed in each, by its value.
WORK = {
    "write, read and copy": ("import shutil; open('a', 'w').write('1'); shutil.copy('a', 'b')", "'b'"),
    "run a program": ("subprocess.run(['/bin/echo', 'x'], capture_output=True).stdout", "b'x\\n'"),
    "use a temporary file": ("import tempfile; tempfile.TemporaryFile().write(b'1')", "1"),
    "run this Python": ("subprocess.run([sys.executable, '-c', 'print(1)'], capture_output=True).stdout", "b'1\\n'"),
    "use asyncio": ("import asyncio; asyncio.run(asyncio.sleep(0, 7))", "7"),
    "see no secrets": ("[name for name in os.environ if 'SECRET' in name]", "[]"),
}  # fmt: skip
FORKS = """
import time
children = 0
try:
    while children < 1000:
        if os.fork() == 0: time.sleep(60)
        children += 1
except OSError as error:
    print(children < 100, error.errno == errno.EAGAIN)
"""
NUMBERS = {
    "x86_64": {
        "mount": 165,
        "unshare": 272,
        "clone": 56,
        "keyctl": 250,
        "bpf": 321,
        "io_uring_setup": 425,
        "shmget": 29,
    },
    "aarch64": {
        "mount": 40,
        "unshare": 97,
        "clone": 220,
        "keyctl": 219,
        "bpf": 280,
        "io_uring_setup": 425,
        "shmget": 194,
    },
}


ON_LINUX = ("call(", "libc.", "setxattr", "prlimit", "AF_NETLINK", "ABSTRACT")


def is_here(attempt: str) -> bool:
    """Whether this system has what the attempt calls."""
    return sys.platform == "linux" or not any(word in ESCAPES[attempt] for word in ON_LINUX)


@dataclass
class Report:
    """What came of everything that was tried under one way to confine."""

    confined: bool
    why_not: str
    data: str
    results: dict[str, str]
    left: list[str]
    mode: int
    time: float


@pytest.fixture(scope="module")
def outside() -> Iterator[dict[str, Any]]:
    """What is outside: a secret, listeners, this process. Belongs to the user who runs the confined code."""
    with ExitStack() as stack:
        folder = stack.enter_context(a_folder())
        secret = folder / "secret"

        def write() -> None:
            secret.write_text("hush")
            secret.chmod(0o600)

        without_privileges(write)
        addresses: dict[str, Any] = {"SOCKET": str(folder / "socket")}
        if sys.platform == "linux":
            addresses["ABSTRACT"] = f"\0gptoss-test-{os.getpid()}"
        for address in addresses.values():
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        (folder / "socket").chmod(0o777)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        numbers = NUMBERS.get(os.uname().machine, {})
        facts = {"SECRET": str(secret), "OUTSIDE": str(folder), "PORT": server.getsockname()[1], "NUMBERS": numbers}
        yield facts | addresses


def report(way: Confinement, outside: dict[str, Any], attempts: dict[str, str]) -> Report:
    """Runs all attempts in one kernel, as a user without privileges."""
    python = a_python()

    async def tries() -> Report:
        outside["PARENT"] = os.getpid()
        tool = Python(Path(work), confinement=way, allow_unconfined=True, interpreter=python)
        await tool.prepare()
        results: dict[str, str] = {}
        processes: list[psutil.Process] = []
        if tool.confined or way is Confinement.NONE:
            await run(tool, CALL + "\n".join(f"{name} = {value!r}" for name, value in outside.items()))
            await run(tool, "main = sys.modules['asyncio']\nINSIDE = next(iter(sys.orig_argv[5:]), '')")
            for name, code in attempts.items():
                results[name] = await run(tool, f"try:\n    pass\nfinally:\n    pass\n{code}")
            assert tool._kernel is not None
            kernel = psutil.Process(tool._kernel._process.pid)
            processes = [kernel, *kernel.children(recursive=True)]
        await tool.close()
        _, left = psutil.wait_procs(processes, timeout=120)
        status = Path(outside["SECRET"]).stat()
        return Report(
            tool.confined,
            tool.why_not,
            tool.data,
            results,
            [f"{process}" for process in left],
            status.st_mode & 0o777,
            status.st_mtime,
        )

    async def load() -> None:
        tool = Python(confinement=Confinement.NONE, allow_unconfined=True)
        await run(tool, "1")
        await tool.close()

    def everything() -> Report:
        tempfile.tempdir = str(Path(work).parent)
        return asyncio.run(tries())

    with a_folder() as folder:
        work = str(folder / "work")
        return without_privileges(everything, lambda: asyncio.run(load()))


async def run(tool: Python, code: str) -> str:
    call = ToolCall("python", code, arguments={"code": code})
    return (await tool.run(call, lambda text: None)).text


@pytest.fixture(scope="module", params=[Confinement.BUBBLEWRAP, Confinement.LANDLOCK, Confinement.SEATBELT])
def confined(request: pytest.FixtureRequest, outside: dict[str, Any]) -> Report:
    """Everything, tried once a way; skipped where this computer has it not."""
    attempts = ESCAPES | {name: code for name, (code, _) in WORK.items()}
    attempts |= {"change a mode": "os.chmod(SECRET, 0o644)", "change a time": "os.utime(SECRET, (0, 0))"}
    attempts |= {"share memory": "call(NUMBERS['shmget'], 0, 4096, 0o1600)"}
    attempts |= {"leave a process behind": "subprocess.Popen(['sleep', '60'], start_new_session=True).pid"}
    found = report(request.param, outside, attempts | {"fork without end": FORKS, "afterwards": "1 + 1"})
    if not found.confined:
        # It may be missing; what is here must hold.
        absent = "is missing|not installed|ermission denied|not permitted|RTM_NEWADDR|No such file|there is no filter"
        assert re.search(absent, found.why_not), found.why_not
        pytest.skip(f"this computer can't confine a process: {found.why_not}")
    return found


@pytest.mark.parametrize("attempt", ESCAPES)
def test_confined_code_can_not(confined: Report, attempt: str) -> None:
    if not is_here(attempt):
        pytest.skip("this system has no such call")
    # Each failed as an error of the system's, not for a slip in the attempt.
    last = confined.results[attempt].rpartition("\n")[2]
    expected = ("PermissionError", "FileNotFoundError", "ProcessLookupError", "OSError", "ConnectionRefusedError")
    assert last.startswith((*expected, "socket.gaierror", "ValueError: not allowed to raise")), confined.results[
        attempt
    ]


@pytest.mark.parametrize("work", WORK)
def test_confined_code_can(confined: Report, work: str) -> None:
    assert confined.results[work] == WORK[work][1]


def test_modes_and_times_outside_stay_and_forks_are_limited(confined: Report) -> None:
    assert confined.mode == 0o600
    assert confined.time > 0
    assert confined.results["fork without end"] == "True True"
    assert confined.results["afterwards"] == "2"


def test_without_namespaces_nothing_is_shared(confined: Report) -> None:
    if confined.data != "/mnt/data" and sys.platform == "linux":
        assert "PermissionError" in confined.results["share memory"]
        assert "PermissionError" in confined.results["leave a process behind"]


def test_no_process_outlives_a_confined_kernel(confined: Report) -> None:
    assert confined.left == []


def test_the_attempts_succeed_where_nothing_confines(outside: dict[str, Any]) -> None:
    """So that a test above can fail. Those alone that do no harm here."""
    harmless = [
        *("read a file", "list a folder", "read through a symbolic link"),
        *("reach a port of this computer", "reach a Unix socket", "reach an abstract socket", "listen on a port"),
        *("signal the program", "limit the program", "use IPv6", "give a file away", "make a folder"),
    ]
    found = report(Confinement.NONE, outside, {name: ESCAPES[name] for name in harmless if is_here(name)})
    assert {name: text for name, text in found.results.items() if "Error" in text} == {}
