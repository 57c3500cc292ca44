"""Runs the dumped cases on an NVIDIA GPU: right or wrong, the same bits, how fast. `python3 kernels-cuda.pyz OUT`

Needs the archive that `make kernels-cuda` writes, numpy and NVIDIA's driver. The cases run in a process of their own,
which is started again behind a case that has ended it: after a kernel's failure the driver refuses all that follows.
What is known so far always is in OUT/table.md and OUT/results.json.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

from tests.msl.cuda.driver import NoGpuError
from tests.msl.cuda.dump import Dump
from tests.msl.cuda.manifest import Case
from tests.msl.cuda.results import Result, all_well, summary, table
from tests.msl.cuda.worker import work

SILENT = 90.0
"""Seconds without a word after which a case is taken for one that hangs."""

_TIMED = {"1x": "gpt-oss-20b's sizes", "4x": "four times the rows"}
_UNTIMED = "small"
_TOOLS = {"memcheck": ".", "racecheck": "^down|^attend"}
"""Tools of compute-sanitizer, and the cases that they watch: few use threadgroup memory."""


class Report:
    """What is known so far, on the disk after each case."""

    def __init__(self, folder: Path, dump: Dump) -> None:
        self._folder, self._dump = folder, dump
        self.gpu: dict[str, Any] = {}
        self.results: dict[str, list[Result]] = {}
        self.notes: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, result: Result) -> None:
        """Of a case of a set of sizes."""
        self.results.setdefault(name, []).append(result)
        self.write()

    def note(self, text: str) -> None:
        """A sentence for the end of the report."""
        print(text, flush=True)
        self.notes.append(text)
        self.write()

    def write(self) -> None:
        """Both files."""
        facts = {key: value for key, value in self.gpu.items() if key != "ceilings"}
        ceilings = self.gpu.get("ceilings", {})
        parts = [", ".join(f"{key} {value}" for key, value in {**facts, **self._dump.facts}.items())]
        if ceilings:
            parts.append(
                f"A copy reaches {ceilings['copy_gbps']:.0f} GB/s, a read {ceilings['read_gbps']:.0f} GB/s;"
                f" an empty launch in a graph takes {ceilings['empty_us']:.2f} us."
            )
        for name, results in self.results.items():
            parts += [f"## {_TIMED[name]}", table(results, ceilings), summary(results)]
        (self._folder / "table.md").write_text("\n\n".join([*parts, *self.notes]) + "\n")
        data = {
            "gpu": self.gpu,
            "dump": self._dump.facts,
            "results": {name: [each.as_json() for each in results] for name, results in self.results.items()},
            "notes": self.notes,
        }
        (self._folder / "results.json").write_text(json.dumps(data, indent=1))


def run_set(report: Report, name: str, cases: Sequence[Case], command: Sequence[str], seconds: float) -> None:
    """All cases of a set of sizes, as far as they can begin within that time."""
    began, first = time.monotonic(), 0
    while first < len(cases) and (left := seconds - (time.monotonic() - began)) > 0:
        process = subprocess.Popen(
            [*command, "--work", name, "--first", str(first), "--seconds", str(left)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        finished = False
        for said in _lines(process.stdout):
            if "gpu" in said:
                report.gpu = said["gpu"] if said["gpu"]["ceilings"] else {**report.gpu, **said["gpu"]}
            elif "begins" in said:
                first, finished = said["begins"], False
            elif "result" in said:
                result, finished = Result(**said["result"]), True
                report.add(name, result)
                print(f"{name} {_line(result)}", flush=True)
            elif "refused" in said:
                raise NoGpuError(said["refused"])
            else:
                print(said.get("trace", said), flush=True)
        code = _ended(process)
        if code == 0:
            break
        if not finished:
            case = cases[first]
            ended = f"ended with exit code {code}" if code > 0 else f"hung or died (signal {-code})"
            report.add(name, Result(case.group, case.name, case.side, error=f"the process {ended}"))
            if first == 0 and code == 1:
                raise NoGpuError("the process that runs the cases did not begin; see above")
        first += 1
    missing = len(cases) - len(report.results.get(name, []))
    if missing:
        report.note(f"{missing} cases of {_TIMED[name]} did not begin within {seconds:.0f} s.")


def _lines(stream: IO[str]) -> Iterator[dict[str, Any]]:
    """Until the stream ends, or says nothing for SILENT seconds."""
    queue: Queue[str | None] = Queue()

    def read() -> None:
        for line in stream:
            queue.put(line)
        queue.put(None)

    Thread(target=read, daemon=True).start()
    while True:
        try:
            line = queue.get(timeout=SILENT)
        except Empty:
            return
        if line is None:
            return
        if line.startswith("{"):
            yield json.loads(line)
        else:
            print(line, end="", flush=True)


def _ended(process: subprocess.Popen[str]) -> int:
    """The exit code of a process that says nothing more."""
    try:
        return process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _line(result: Result) -> str:
    worst = "" if result.worst is None else f"{result.worst:.2f} of what is allowed"
    time_ = "" if result.us is None else f"{result.us:.1f} us, {result.gbps:.0f} GB/s"
    return f"{result.group}: {result.name}: {', '.join(filter(None, (time_, worst, result.error)))}"


def watch(report: Report, folder: Path, tool: str, count: int, command: Sequence[str], seconds: float) -> bool:
    """The `count` small cases under a tool of compute-sanitizer: whether it found nothing, or is not here."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        report.note(f"compute-sanitizer is not here, so {tool} was not tried.")
        return True
    log = folder / f"{tool}.log"
    watched = [program, "--tool", tool, "--log-file", str(log), *command, "--work", _UNTIMED, "--only", _TOOLS[tool]]
    right = 0
    process = subprocess.Popen([*watched, "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for said in _lines(process.stdout):
        if "result" in said:
            right += Result(**said["result"]).right
    _ended(process)
    text = log.read_text(errors="replace") if log.exists() else ""
    [found] = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", text)[-1:] or ["no summary"]
    report.note(f"compute-sanitizer {tool}: {found}; {right} of {count} small cases are right.")
    return found.startswith("0 ") and right == count


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="kernels-cuda", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("kernels-cuda"), help="folder for what it finds")
    parser.add_argument("--seconds", type=float, default=300, help="about how long it may take in all")
    parser.add_argument("--only", default="", metavar="REGEX", help='cases whose "group: name" matches')
    parser.add_argument("--archive", type=Path, default=_archive(), help="what `make kernels-cuda` has written")
    parser.add_argument("--no-tools", action="store_true", help="without compute-sanitizer")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    dump = Dump(given.archive)

    def cases(name: str, only: str = given.only) -> list[Case]:
        return [case for case in dump.cases(name) if re.search(only, case.title)]

    try:
        if given.work:
            timed = given.work in _TIMED
            return work(dump, cases(given.work), first=given.first, timed=timed, seconds=given.seconds)
        began = time.monotonic()
        report = Report(given.out, dump)
        command = [*_command(), "--archive", str(given.archive)]
        # What one leaves over, the next may take.
        for name, until in (("1x", 0.45), ("4x", 0.7)):
            left = until * given.seconds - (time.monotonic() - began)
            run_set(report, name, cases(name), [*command, "--only", given.only], left)
        clean = True
        for tool, until in () if given.no_tools else (("memcheck", 0.9), ("racecheck", 1.0)):
            left = until * given.seconds - (time.monotonic() - began)
            clean = watch(report, given.out, tool, len(cases(_UNTIMED, _TOOLS[tool])), command, left) and clean
    except NoGpuError as error:
        print(error, file=sys.stderr)
        return 1
    print((given.out / "table.md").read_text())
    return 0 if clean and all(map(all_well, report.results.values())) else 1


def _archive() -> Path:
    """The one that is run, or the checkout's."""
    return Path(sys.argv[0]) if sys.argv[0].endswith(".pyz") else Path("build") / "kernels-cuda.pyz"


def _command() -> list[str]:
    """What starts this program again."""
    if sys.argv[0].endswith(".pyz"):
        return [sys.executable, sys.argv[0]]
    return [sys.executable, "-m", "tests.msl.cuda.on_gpu"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
