"""The sandbox on Linux: namespaces made by bubblewrap, in which nothing of the host but the system is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

DATA = "/mnt/data"
"""What the folder is called inside: its name in the text the model was trained on."""
INSIDE = "/run/kernel"
"""Where the programs for the inside are."""
VARIABLES = {"HOME": "/home/user", "TMPDIR": "/tmp", "MPLCONFIGDIR": "/tmp/matplotlib", "IPYTHONDIR": "/tmp/ipython"}

_TEMPORARY = 256 << 20  # bytes of each file system in memory
_HOME = 64 << 20
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What the system's libraries look up; /nix/store is the system of NixOS.
_ALSO = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/nix/store")


def command(
    program: str, readable: Iterable[Path], inside: Path, folder: Path, environment: Mapping[str, str]
) -> list[str]:
    """The start of a command line; the program to confine follows it. `readable` are folders of the interpreter."""
    return [
        program,
        # --unshare-all alone would let --disable-userns fail.
        *("--unshare-user", "--unshare-all", "--disable-userns"),
        *("--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
        # No terminal to type into, and an end with the program, if by kill -9.
        *("--new-session", "--die-with-parent", "--clearenv"),
        *("--ro-bind", "/usr", "/usr", *_system()),
        *(word for path in _ALSO for word in ("--ro-bind-try", path, path)),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--size", str(_TEMPORARY), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
        *("--size", str(_TEMPORARY), "--tmpfs", "/tmp"),
        *("--size", str(_HOME), "--tmpfs", VARIABLES["HOME"]),
        *(word for path in _outside_usr(readable) for word in ("--ro-bind", str(path), str(path))),
        *("--ro-bind", str(inside), INSIDE),
        *("--bind", str(folder), DATA, "--chdir", DATA),
        *(word for name, value in environment.items() for word in ("--setenv", name, value)),
        *("--remount-ro", "/", "--"),
    ]


def _system() -> list[str]:
    """The system's folders beside /usr: links into it on most systems."""
    words = []
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]  # noqa: PTH115  # as it is written
        elif path.exists():
            words += ["--ro-bind", str(path), str(path)]
    return words


def _outside_usr(folders: Iterable[Path]) -> list[Path]:
    return [folder for folder in folders if not folder.is_relative_to("/usr")]
