"""What is read of twelve documents, by this program and by others: facts kept, in order, on their page; time, memory.

    python -m tests.benchmarks.documents [--peers PYTHON]

PYTHON is one that has pypdf, pdfplumber and markitdown[pdf,docx,pptx,xlsx], in an environment of its own; what it lacks
is skipped with a line. Each file is read in a process of its own.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.document_readers import READERS
from tests.benchmarks.document_set import Made, documents
from tests.fixtures import ROOT

OF_PDF_ALONE = ("pypdf", "pdfplumber")
LONG = "long.pdf"


@dataclass(slots=True)
class Score:
    """Of the facts of one or several documents, in numbers; CPU seconds, and the most memory in MB."""

    facts: int = 0
    kept: int = 0
    ordered: int = 0
    on_page: int = 0
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    errors: list[str] = field(default_factory=list)

    def add(self, other: "Score") -> None:
        """Add those of another document."""
        self.facts += other.facts
        self.kept += other.kept
        self.ordered += other.ordered
        self.on_page += other.on_page
        self.cpu_s += other.cpu_s
        self.peak_mb = max(self.peak_mb, other.peak_mb)
        self.errors += other.errors

    def row(self) -> str:
        """As a row of a table."""
        shares = " | ".join(f"{count}" for count in (self.kept, self.ordered, self.on_page))
        return f"{self.facts} | {shares} | {self.cpu_s:.2f} | {self.peak_mb:.0f} |"


def score(made: Made, pages: list[tuple[int, str]]) -> Score:
    """Which facts stand in the text, how many of them in the right order, and how many on the right page."""
    texts = [(number, plain(text)) for number, text in pages]
    whole = "\n".join(text for _, text in texts)
    places = [whole.find(plain(fact)) for fact, _ in made.facts]
    found = [place for place in places if place >= 0]
    on_page = sum(
        any(number == page and plain(fact) in text for number, text in texts) for fact, page in made.facts if page
    )
    return Score(len(made.facts), len(found), _longest_run(found), on_page)


def plain(text: str) -> str:
    """Text in which spaces, and what stands between the cells of a table, don't count."""
    return re.sub(r"[\s|]+|\\(?=\|)", "", text)


def _longest_run(places: list[int]) -> int:
    """The length of the longest ascending subsequence."""
    ends: list[int] = []
    for place in places:
        at = bisect_right(ends, place)
        ends[at : at + 1] = [place]
    return len(ends)


def measured(reader: str, python: str, made: Made, folder: Path) -> Score | None:
    """How a reader does with a document; None if it isn't installed."""
    path = folder / made.name
    path.write_bytes(made.data)
    program = str(ROOT / "tests" / "benchmarks" / "document_readers.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT)} if reader == "ours" else os.environ
    result = subprocess.run(
        [python, program, reader, str(path)], capture_output=True, text=True, timeout=600, env=environment, check=False
    )
    answer: dict[str, Any] = json.loads(result.stdout) if result.returncode == 0 else {"error": result.stderr[-200:]}
    if "missing" in answer:
        return None
    found = score(made, [(number, text) for number, text in answer.get("pages", [])])
    found.cpu_s, found.peak_mb = answer.get("cpu_s", 0.0), answer.get("peak_mb", 0.0)
    if "error" in answer:
        found.errors.append(f"{made.name}: {answer['error']}")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--peers", default=sys.executable, metavar="PYTHON", help="a Python that has the other programs"
    )
    parser.add_argument("--each", action="store_true", help="a row for each document, too")
    arguments = parser.parse_args()
    made = documents()
    print("| documents | reader | facts | kept | in order | on page | CPU s | peak MB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        groups = {
            "PDF": [each for each in made if each.name.endswith(".pdf") and each.name != LONG],
            "others": [each for each in made if not each.name.endswith(".pdf")],
            "PDF of 300 pages": [each for each in made if each.name == LONG],
        }
        for group, members in groups.items():
            for reader in READERS:
                if reader in OF_PDF_ALONE and group == "others":
                    continue
                total, python = Score(), sys.executable if reader == "ours" else arguments.peers
                for each in members:
                    if (one := measured(reader, python, each, Path(folder))) is None:
                        print(f"{reader} is not installed in {python}: skipped", file=sys.stderr)
                        break
                    total.add(one)
                    if arguments.each:
                        print(f"| {each.name} | {reader} | {one.row()}")
                if total.facts:
                    print(f"| {group} | {reader} | {total.row()}")
                for error in total.errors:
                    print(f"{reader}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
