"""What the machine does beside a measurement: bandwidth, load, page cache, memory. Needs numpy alone."""

import os
import platform
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

GIB = 2**30
_READ_BYTES = GIB
"""Read at once to find the bandwidth: more than any CPU's caches."""
_PASSES = 6


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def description() -> str:
    """The CPU, the memory, the system."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
        of_cpu = {name.strip(): value.strip() for name, _, value in reversed(lines)}
        cpu = of_cpu.get("model name", cpu)
        if "model" in of_cpu:
            cpu += f" (family {of_cpu.get('cpu family')}, model {of_cpu['model']})"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    return f"{cpu}, {cores()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


# ---------------------------------------------------------------------------------------------------- bandwidth


def read_bandwidth() -> float:
    """Bytes a second at which all cores together read memory: the best of a few passes.

    Each core has a part of an array and numpy find its largest float32, which its vector units do faster than memory
    gives; numpy works without Python's lock there.
    """
    parts = np.array_split(np.ones(_READ_BYTES // 4, np.float32), cores())
    best = 0.0
    for _ in range(_PASSES):
        threads = [threading.Thread(target=np.max, args=(part,)) for part in parts]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        best = max(best, _READ_BYTES / (time.perf_counter() - start))
    return best


# ------------------------------------------------------------------------------------------------- the CPU's time


class Spell:
    """Adds up the CPU time of this process, and of everything else, while it is started."""

    def __init__(self) -> None:
        self._sums = [0.0, 0.0, 0.0]

    def start(self) -> None:
        """From here on."""
        self._begun = _times()

    def stop(self) -> None:
        """Up to here."""
        self._sums = [sum_ + now - then for sum_, now, then in zip(self._sums, _times(), self._begun, strict=True)]

    def shares(self) -> tuple[float, float]:
        """Of the time of all cores: this process' share, and that of everything else, 0 where that can't be told."""
        wall, own, all_ = self._sums
        return own / (wall * cores()), max(all_ - own, 0.0) / (wall * cores())


def _times() -> tuple[float, float, float]:
    """Seconds by the clock, of this process on all cores, of everything on all cores."""
    return time.perf_counter(), time.process_time(), _busy_s()


def _busy_s() -> float:
    """CPU seconds of all processes since the machine started, and those that its host took from it."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, stat.read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


@contextmanager
def busy_loops(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many processes beside this one that do nothing as fast as they can."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield loops
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


# --------------------------------------------------------------------------------------------------- page cache


def forget(files: Sequence[Path]) -> None:
    """Drops files from the page cache, so that what reads them waits for the disk. Nothing where the system can't."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())  # pages not yet written can't be dropped
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remember(files: Sequence[Path]) -> None:
    """Reads files, so that they are in the page cache as far as there is room."""
    for file in files:
        with file.open("rb", buffering=0) as opened:
            buffer = bytearray(1 << 24)
            while opened.readinto(buffer):
                pass


# ------------------------------------------------------------------------------------------------------- memory


def resident(pid: int) -> tuple[int, int] | None:
    """Bytes of a process that are in memory: its own (anonymous), and pages of files. None where it can't be told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    sizes = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    if "RssAnon" not in sizes:  # it has ended
        return None
    anonymous, file, shared = (int(sizes[name][0]) * 1024 for name in ("RssAnon", "RssFile", "RssShmem"))
    return anonymous + shared, file


def peak() -> int:
    """Bytes of this process in memory at most. (What its parent is told of it may be the parent's own.)"""
    if Path("/proc/self/status").exists():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on a Mac


def proportional(pid: int) -> int | None:
    """Bytes of a process, of pages that several have its part (PSS)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)
