"""Writes and reads the archive of cases and machine code, which also is a program: `python3 kernels-cuda.pyz`.

It runs where Python, numpy and NVIDIA's driver are, without MLX and without this checkout.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.msl.cuda.manifest import Case, from_json, to_json

CEILINGS = "ceilings"
"""The name of the machine code that is no case's."""

MODULES = (
    "__init__",
    "arrays",
    "driver",
    "dump",
    "gpu",
    "judge",
    "manifest",
    "on_gpu",
    "reference",
    "results",
    "worker",
)
_MAIN = """\
import os
import sys
# numpy's products run on threads of our own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
from tests.msl.cuda.on_gpu import main
sys.exit(main(sys.argv[1:]))
"""


class Dump:
    """An archive."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        self.facts: dict[str, Any] = json.loads(self._archive.read("facts.json"))

    def cases(self, name: str) -> list[Case]:
        """Those of one of the archive's sets of sizes."""
        return from_json(json.loads(self._archive.read(f"cases/{name}.json")))

    def code(self, name: str) -> bytes:
        """Machine code."""
        return self._archive.read(f"code/{name}.cubin")


def write(
    path: Path, facts: Mapping[str, Any], sizes: Mapping[str, Sequence[Case]], codes: Mapping[str, bytes]
) -> None:
    """The archive: `facts` of its making, the cases of each set of sizes, and machine code by name."""
    here = Path(__file__).parent
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", _MAIN)
        for package in ("tests", "tests/msl"):
            archive.writestr(f"{package}/__init__.py", "")
        for module in MODULES:
            archive.write(here / f"{module}.py", f"tests/msl/cuda/{module}.py")
        archive.writestr("facts.json", json.dumps(dict(facts)))
        for name, cases in sizes.items():
            archive.writestr(f"cases/{name}.json", json.dumps(to_json(cases)))
        for name, code in codes.items():
            archive.writestr(f"code/{name}.cubin", code)
