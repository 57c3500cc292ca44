"""Limits this process, closes what the kernel of Linux can close for a process, then becomes another program.

Run as `python -I -S confine.py CONFIG PROGRAM...`; CONFIG is a JSON object:

limits      names of RLIMIT_... and their values
landlock    null, or {"read": [paths], "write": [paths]}: no other file can be opened (Linux 6.12, ABI 6)
seccomp     "": no filter; "inside": a second layer inside bubblewrap; "alone": the only one beside Landlock

Numbers are those of linux/landlock.h, linux/seccomp.h and the tables of system calls for x86-64 and arm64.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import struct
import sys

# Landlock: what the files' access rights are by ABI, in the order of their bits.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
_EXECUTE, _WRITE, _READ, _READ_FOLDER, _TRUNCATE, _IOCTL = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
LEAST_ABI = 6
"""The first with signals kept inside."""

# x86-64, arm64. None: that machine has no such call.
_CALLS = {
    "socket": (41, 198),
    "clone": (56, 220),
    "clone3": (435, 435),
    "prlimit64": (302, 261),
}
_DENIED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "open_by_handle_at": (304, 265),
}
# Without namespaces: memory and queues shared with the person's other programs; a session or group of its own, in which
# a process would outlive the kernel; owners and attributes of files outside, which Landlock leaves open.
_DENIED_ALONE = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
}
# Modes and times of files outside are open to Landlock too. These do nothing and report success, for shutil.copy needs
# them to succeed.
_IGNORED_ALONE = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_AF_UNIX = 1

_libc = ctypes.CDLL(None, use_errno=True)
if sys.platform == "linux":
    _libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ulong]


def limit(values: dict[str, int]) -> None:
    """Sets limits of this process and of those it starts; never raises one."""
    for name, value in values.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError):
            if name != "RLIMIT_AS":  # macOS has none for memory
                raise


def landlock(read: list[str], write: list[str]) -> None:
    """No file but those under `read` and `write` can be opened, no signal leaves. Raises OSError where it can't be."""
    abi = _libc.syscall(444, None, 0, 1)
    if abi < LEAST_ABI:
        raise OSError(errno.ENOSYS, f"Landlock is missing or too old here (ABI {max(abi, 0)}, {LEAST_ABI} is needed)")
    rights = (1 << max(bits for least, bits in _FILE_RIGHTS.items() if least <= abi)) - 1
    everything = struct.pack("=QQQ", rights, 0b11, 0b11)  # files; TCP bind, connect; abstract sockets, signals
    rules = _check(_libc.syscall(444, everything, len(everything), 0), "landlock_create_ruleset")
    allowed = [(path, _EXECUTE | _READ | _READ_FOLDER) for path in read]
    allowed += [(path, rights & ~_IOCTL) for path in write]
    for path, access in allowed:
        try:
            at = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if not os.path.isdir(path):  # noqa: PTH112
            access &= _EXECUTE | _WRITE | _READ | _TRUNCATE
        _check(_libc.syscall(445, rules, 1, struct.pack("=Qi", access, at), 0), "landlock_add_rule")
        os.close(at)
    _no_new_privileges()
    _check(_libc.syscall(446, rules, 0), "landlock_restrict_self")
    os.close(rules)


def seccomp(alone: bool) -> None:
    """System calls that no cell needs fail. `alone`: there are no namespaces around it. Raises OSError."""
    if platform.machine() not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"there is no filter of system calls for {platform.machine()}")
    column, architecture = _ARCHITECTURES[platform.machine()]
    allow, kill = 0x7FFF0000, 0x80000000
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    program: list[bytes] = []

    def fail(code: int) -> int:
        return 0x00050000 | code

    def add(code: int, value: int, then: int = 0, otherwise: int = 0) -> None:
        program.append(struct.pack("=HBBI", code, then, otherwise, value))

    def on(call: int | None, result: int) -> None:
        if call is not None:
            add(equal, call, 0, 1)
            add(give, result)

    def on_first_argument(call: int, test: int, value: int, hit: int, miss: int) -> None:
        # Its low half; the machines are little-endian.
        add(equal, call, 0, 4)
        add(load, 16)
        add(test, value, 0, 1)
        add(give, hit)
        add(give, miss)

    add(load, 4)
    add(equal, architecture, 1, 0)
    add(give, kill)
    add(load, 0)
    if column == 0:  # x32: the same calls by other numbers
        add(at_least, 0x40000000, 0, 1)
        add(give, fail(errno.EPERM))
    for numbers in _DENIED.values():
        on(numbers[column], fail(errno.EPERM))
    # Its flags are behind a pointer, where a filter can't look; libc then takes clone.
    on(_CALLS["clone3"][column], fail(errno.ENOSYS))
    on_first_argument(_CALLS["clone"][column], any_bit, _NEW_NAMESPACES, fail(errno.EPERM), allow)
    if alone:
        # Landlock leaves sockets in the file system open, as those of Docker and D-Bus. socketpair() stays.
        on(_CALLS["socket"][column], fail(errno.EACCES))
        on_first_argument(_CALLS["prlimit64"][column], equal, 0, allow, fail(errno.EPERM))
        for pair in _DENIED_ALONE.values():
            on(pair[column], fail(errno.EPERM))
        for pair in _IGNORED_ALONE.values():
            on(pair[column], fail(0))
    else:
        on_first_argument(_CALLS["socket"][column], equal, _AF_UNIX, allow, fail(errno.EACCES))
    add(give, allow)
    code = ctypes.create_string_buffer(b"".join(program))
    filter_ = struct.pack("@HP", len(program), ctypes.addressof(code))
    _no_new_privileges()
    _check(_libc.prctl(22, 2, filter_, 0, 0), "seccomp")


def _no_new_privileges() -> None:
    _check(_libc.prctl(38, 1, None, 0, 0), "no_new_privs")


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def main() -> None:
    """Confines this process and becomes the program; says in a line why it can't, and exits with 70."""
    config = json.loads(sys.argv[1])
    program = sys.argv[2:]
    try:
        limit(config["limits"])
        if config["landlock"] is not None:
            landlock(**config["landlock"])
        if config["seccomp"]:
            seccomp(alone=config["seccomp"] == "alone")
        os.execv(program[0], program)
    except (OSError, ValueError) as error:
        print(f"confine: {getattr(error, 'strerror', None) or error}", flush=True)
        sys.exit(70)


if __name__ == "__main__":
    main()
