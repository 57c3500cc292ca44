"""Which small bugs do the tests miss? Puts them into a copy of the program one by one and runs the tests of that area.

    python -m tests.tools.mutate cache runner --sample 40 --seed 1
    python -m tests.tools.mutate --file app/chat/footer.py --function footer --tests tests/app/chat/test_footer.py

An area of mutations.toml has files, the tests that should notice, and mutations chosen by hand; further ones are made
by the operators of operators.py, of which a sample is drawn. A mutation is killed if a test fails, crashes or takes far
too long. A survivor is a missing test, needless code, or equivalent: a person decides.
"""

import argparse
import importlib
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.tools.operators import Change, changes

ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "__pycache__")
_PYTEST = ("-x", "-q", "-n0", "-p", "no:cacheprovider")
# Before the forks, since each would import them anew. Not MLX on a Mac, whose GPU does not outlive a fork.
_IMPORTED_ONCE = [
    *("anyio.pytest_plugin", "hypothesis", "numpy", "openai_harmony", "platformdirs", "pytest_asyncio.plugin"),
    *("safetensors", "slipcover", "tiktoken", "xdist.plugin"),
    *(["mlx.core"] if sys.platform == "linux" else []),
]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change to a file; None where the text it was to change isn't there, or is there twice."""

    file: str
    change: Change | None
    text: str

    @staticmethod
    def chosen(fields: dict[str, str]) -> "Mutation":
        """One of mutations.toml: the text `old` of `file` becomes `new`."""
        source, old = (ROOT / fields["file"]).read_bytes(), fields["old"].encode()
        start = source.find(old)
        change = Change(start, start + len(old), fields["new"].encode()) if source.count(old) == 1 else None
        return Mutation(fields["file"], change, _in_words(source, change) if change else fields["old"])


@dataclass(frozen=True, slots=True)
class Area:
    """What belongs together: files, the tests that should notice, mutations chosen by hand."""

    name: str
    files: list[str]
    tests: list[str]
    mutations: list[dict[str, str]] = field(default_factory=list)
    function: str | None = None

    def sample(self, count: int, seed: int) -> list[Mutation]:
        """Those chosen by hand, and `count` automatic ones."""
        made = []
        for file in self.files:
            source = (ROOT / file).read_bytes()
            made += [Mutation(file, each, _in_words(source, each)) for each in changes(source, self.function)]
        drawn = random.Random(seed).sample(made, min(count, len(made)))
        return [*map(Mutation.chosen, self.mutations), *drawn]


def _in_words(source: bytes, change: Change) -> str:
    """Its line, with what is left out and what comes in."""
    line = source.count(b"\n", 0, change.start) + 1
    before = source[source.rfind(b"\n", 0, change.start) + 1 : change.start].lstrip()
    after = source[change.end :].partition(b"\n")[0]
    old = source[change.start : change.end]
    return f"{line}: {before.decode()}[-{old.decode()}-]{{+{change.new.decode()}+}}{after.decode()}"


class Scratch:
    """A copy of the program, in which one file at a time is mutated."""

    def __init__(self, folder: Path, tests: list[str]) -> None:
        self._folder = folder / "program"
        self._tests = tests
        self._limit_s = 600.0
        shutil.copytree(ROOT, self._folder, ignore=_LEFT_OUT)

    def measure(self) -> float:
        """Seconds that the tests take on the program as it is. Exits where they don't pass."""
        start = time.monotonic()
        if self._fails():
            sys.exit(f"the tests fail without a mutation: {' '.join(self._tests)}")
        took = time.monotonic() - start
        self._limit_s = 20 + 4 * took
        # Bytecode is told from stale by seconds and size, which two mutants may share.
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        return took

    def result(self, mutation: Mutation) -> str:
        """ "killed", "survived" or "invalid"."""
        if mutation.change is None:
            return "invalid"
        path = self._folder / mutation.file
        source = path.read_bytes()
        for stale in path.parent.glob(f"__pycache__/{path.stem}.*"):
            stale.unlink()
        path.write_bytes(mutation.change.applied(source))
        try:
            return "killed" if self._fails() else "survived"
        finally:
            path.write_bytes(source)

    def _fails(self) -> bool:
        """In a fork of this process, where what the tests import is there already."""
        child = os.fork()
        if not child:
            self._run()
        _, status = os.waitpid(child, 0)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what the tests started and left behind
        return status != 0

    def _run(self) -> NoReturn:
        os.setsid()
        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # a shell's background jobs ignore it, and what they start
        signal.alarm(math.ceil(self._limit_s))  # which ends this process
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        os.chdir(self._folder)
        sys.path.insert(0, str(self._folder))
        os.environ["PYTHONPATH"] = str(self._folder)
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(silence, stream)
        code: int = 1
        try:
            code = pytest.main([*_PYTEST, *self._tests])
        finally:
            os._exit(code)


def try_area(area: Area, mutations: list[tuple[int, Mutation]]) -> Counter[str]:
    """Tries mutations, given with their numbers; prints each survivor, and the score."""
    results: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        scratch = Scratch(Path(folder), area.tests)
        print(f"{area.name}: {len(mutations)} mutations, the tests take {scratch.measure():.1f} s", flush=True)
        for number, mutation in mutations:
            result = scratch.result(mutation)
            results[result] += 1
            if result != "killed":
                print(f"  {number} {result} {mutation.file}:{mutation.text}", flush=True)
    valid = results["killed"] + results["survived"]
    print(
        f"{area.name}: {results['killed']} of {valid} valid mutations killed ({results['killed'] / (valid or 1):.0%})"
    )
    return results


def _areas(arguments: argparse.Namespace) -> Iterator[Area]:
    if arguments.file:
        yield Area(arguments.file, [arguments.file], arguments.tests, function=arguments.function)
    known: dict[str, Any] = tomllib.loads(Path(__file__).with_name("mutations.toml").read_text(encoding="utf-8"))
    for name in arguments.areas:
        if name not in known:
            sys.exit(f"there is no area {name!r}; there are {', '.join(known)}")
        yield Area(name, **known[name])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.mutate", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("areas", nargs="*", help="areas of mutations.toml")
    parser.add_argument("--file", help="mutate this file instead, with --tests")
    parser.add_argument("--function", help="only functions and classes of this name in it")
    parser.add_argument("--tests", nargs="+", default=[], help="what pytest is to run")
    parser.add_argument("--sample", type=int, default=40, help="automatic mutations an area (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default: 1)")
    parser.add_argument("--only", type=int, nargs="+", help="only those of these numbers, to try survivors again")
    arguments = parser.parse_args()
    for name in _IMPORTED_ONCE:
        with suppress(ImportError):
            importlib.import_module(name)
    for area in _areas(arguments):
        numbered = list(enumerate(area.sample(arguments.sample, arguments.seed)))
        try_area(area, [numbered[number] for number in arguments.only] if arguments.only else numbered)


if __name__ == "__main__":
    main()
