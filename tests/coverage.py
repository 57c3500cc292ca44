"""Prints what share of each room's lines the tests ran, and the files they cover least: the end of `make coverage`.

    python -m tests.coverage build/coverage.json

The file is slipcover's. Lines run in other processes (the engine, the command in a terminal) are not counted, so files
that only run there show less than is tested.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LEAST_COVERED = 10


@dataclass(frozen=True)
class Lines:
    """How many lines of code were run, of how many."""

    run: int = 0
    all: int = 0

    def __add__(self, other: "Lines") -> "Lines":
        return Lines(self.run + other.run, self.all + other.all)

    @property
    def percent(self) -> float:
        """100 where there is nothing to run."""
        return 100 * self.run / self.all if self.all else 100.0

    def __str__(self) -> str:
        return f"{self.percent:5.1f}%  {self.run:5,} of {self.all:5,} lines"


def read(report: Path) -> dict[str, Lines]:
    """Lines by file, from slipcover's JSON."""
    files: Mapping[str, Mapping[str, list[int]]] = json.loads(report.read_text("utf-8"))["files"]
    return {
        name: Lines(len(file["executed_lines"]), len(file["executed_lines"]) + len(file["missing_lines"]))
        for name, file in sorted(files.items())
    }


def by_room(files: Mapping[str, Lines]) -> dict[str, Lines]:
    """Lines by folder, with those of all files last."""
    rooms: dict[str, Lines] = {}
    for name, lines in files.items():
        room = str(Path(name).parent)
        rooms[room] = rooms.get(room, Lines()) + lines
    return rooms | {"all": sum(files.values(), Lines())}


def least_covered(files: Mapping[str, Lines]) -> dict[str, Lines]:
    """The files with the smallest share of lines run, the smallest first."""
    ranked = sorted(files.items(), key=lambda item: (item[1].percent, -item[1].all))
    return dict(ranked[:LEAST_COVERED])


def printed(title: str, rows: Mapping[str, Lines]) -> str:
    """A titled table."""
    width = max(map(len, rows))
    return "\n".join([title, *(f"  {name:{width}}  {lines}" for name, lines in rows.items())])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("report", type=Path, help="slipcover's JSON")
    files = read(parser.parse_args().report)
    print(printed("Lines run by the tests, in this process alone:", by_room(files)))
    print(printed(f"The {LEAST_COVERED} files with the least:", least_covered(files)))


if __name__ == "__main__":
    main()
