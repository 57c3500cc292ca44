"""What confines the kernel: which of the ways there are works here, and the command that starts a program in it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mlx_model.tools.python import bubblewrap, seatbelt

INSIDE = Path(__file__).parent / "inside"
SEATBELT = Path("/usr/bin/sandbox-exec")
_ASK_S = 30
_ABOUT = """
import json, platform, sys
print(json.dumps([platform.python_version(), sys.prefix, sys.base_prefix, sys.exec_prefix]))
"""
_PROCESSES = 64
_LIMITS = {"RLIMIT_FSIZE": 200_000_000, "RLIMIT_NOFILE": 256, "RLIMIT_CORE": 0}
# Everything else that a program needs of /etc is in the interpreter.
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/fonts", "/etc/localtime")
_DEVICES = ("/dev/urandom", "/dev/random", "/dev/zero")


class Confinement(StrEnum):
    """How the kernel is kept from the rest of the computer. AUTO is the best way that passes its test here."""

    AUTO = "auto"
    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    SEATBELT = "seatbelt"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python: the program, its version, and the folders that it needs to run."""

    executable: Path
    version: str
    folders: tuple[Path, ...]

    @staticmethod
    def ask(executable: Path) -> Interpreter:
        """Finds out about a Python. Raises OSError, with the reason in its text, for what is none."""
        if executable == Path(sys.executable):
            return _interpreter(executable, platform.python_version(), [sys.prefix, sys.base_prefix, sys.exec_prefix])
        try:
            command = [str(executable), "-I", "-c", _ABOUT]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=True).stdout
            version, *prefixes = json.loads(answer)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise OSError(f"{executable} is no Python that can be started ({error})") from None
        return _interpreter(executable, str(version), [str(prefix) for prefix in prefixes])


def _interpreter(executable: Path, version: str, prefixes: list[str]) -> Interpreter:
    real = Path(os.path.realpath(executable))
    folders = [*(Path(prefix) for prefix in prefixes), real.parent.parent]
    folders += [Path(os.path.realpath(folder)) for folder in folders]
    return Interpreter(executable, version, tuple(dict.fromkeys(folders)))


def candidates() -> tuple[Confinement, ...]:
    """The ways there are on this system, the best first."""
    if sys.platform == "darwin":
        return (Confinement.SEATBELT,)
    return (Confinement.BUBBLEWRAP, Confinement.LANDLOCK) if sys.platform == "linux" else ()


def why_not_here(way: Confinement, interpreter: Interpreter) -> str | None:
    """What rules a way out before it is tried, None if nothing does."""
    if os.geteuid() == 0:
        return "the program runs as root, whom a sandbox does not hold"
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  # which never raises
    if wide := [folder for folder in interpreter.folders if folder == Path("/") or home.is_relative_to(folder)]:
        return f"{interpreter.executable} lies in {wide[0]}, which would have to be readable"
    if way is Confinement.BUBBLEWRAP and not shutil.which("bwrap"):
        return "bwrap is not installed (the package is called bubblewrap)"
    if way is Confinement.SEATBELT and not SEATBELT.exists():
        return f"{SEATBELT} is missing"
    return None


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A way to confine, for one interpreter. `folder` is the only one that programs in it keep anything in, `scratch`
    is for temporary files where they can't have a /tmp of their own; `memory` is in bytes for each process."""

    way: Confinement
    interpreter: Interpreter
    folder: Path
    scratch: Path
    memory: int

    @property
    def data(self) -> str:
        """What programs inside call the folder."""
        return bubblewrap.DATA if self.way is Confinement.BUBBLEWRAP else str(self.folder)

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command that runs a program of the folder `inside`. It looks at all processes: some 30 ms."""
        inside = bubblewrap.INSIDE if self.way is Confinement.BUBBLEWRAP else str(INSIDE)
        processes = 0 if self.way is Confinement.BUBBLEWRAP else _own_processes()
        python = str(self.interpreter.executable)
        confined = [python, "-I", "-S", f"{inside}/confine.py", json.dumps(self._config(processes))]
        run = [python, "-I", "-u", "-X", "utf8", f"{inside}/{program}", *arguments]
        return [*self._around(), *confined, *run]

    def environment(self) -> dict[str, str]:
        """All variables that programs inside have."""
        own = bubblewrap.VARIABLES if self.way is Confinement.BUBBLEWRAP else self._variables()
        threads = {f"{library}_NUM_THREADS": "4" for library in ("OMP", "OPENBLAS", "MKL")}
        folders = dict.fromkeys([str(self.interpreter.executable.parent), "/usr/bin", "/bin"])
        return {"PATH": ":".join(folders), "LANG": "C.UTF-8", "MPLBACKEND": "Agg", **threads, **own}

    def fingerprint(self) -> str:
        """Everything that decides what the sandbox holds, as text: after a change it has to be tested again."""
        programs = [(INSIDE / name).read_text("utf-8") for name in ("confine.py", "probe.py")]
        here = f"{platform.platform()} {self.interpreter} {os.geteuid()} {_version_of_bubblewrap()}"
        fixed = Sandbox(self.way, self.interpreter, Path("/folder"), Path("/scratch"), self.memory)
        return "\n".join([here, *fixed._around(), json.dumps(fixed._config(processes=0)), *programs])

    def _around(self) -> list[str]:
        folders = [*self.interpreter.folders]
        if self.way is Confinement.BUBBLEWRAP:
            return bubblewrap.command(
                shutil.which("bwrap") or "bwrap", folders, INSIDE, self.folder, self.environment()
            )
        if self.way is Confinement.SEATBELT:
            return seatbelt.command(SEATBELT, [*folders, INSIDE], self.folder, self.scratch)
        return []

    def _variables(self) -> dict[str, str]:
        scratch = str(self.scratch)
        return {"HOME": scratch, "TMPDIR": scratch, "MPLCONFIGDIR": scratch, "IPYTHONDIR": scratch}

    def _config(self, processes: int) -> dict[str, object]:
        alone = self.way is Confinement.LANDLOCK
        limits = {**_LIMITS, "RLIMIT_AS": self.memory, "RLIMIT_NPROC": _PROCESSES + processes}
        readable = [str(path) for path in (*_SYSTEM, *_DEVICES, *self.interpreter.folders, INSIDE)]
        writable = [str(self.folder), str(self.scratch), os.devnull]
        return {
            "limits": limits,
            "landlock": {"read": readable, "write": writable} if alone else None,
            "seccomp": "alone" if alone else "inside" if self.way is Confinement.BUBBLEWRAP else "",
        }


def _version_of_bubblewrap() -> str:
    """Changes when another one is installed."""
    program = shutil.which("bwrap")
    if program is None:
        return ""
    status = os.stat(program)  # noqa: PTH116
    return f"{status.st_size} {status.st_mtime_ns}"


def _own_processes() -> int:
    """Processes of this user, on Linux their threads: a limit counts them wherever there are no namespaces."""
    import psutil

    count = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == os.getuid():
                count += process.num_threads() if sys.platform == "linux" else 1
    return count
