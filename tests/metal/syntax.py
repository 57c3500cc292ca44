"""`make metal-syntax`: Apple's own compiler reads every kernel, in the text that MLX would have it compile.

    python -m tests.metal.syntax [FOLDER]

The texts are those of tests.msl.texts; they stay in FOLDER. Nothing is run, so no GPU is needed. Off macOS nothing is
checked, and that is said.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import mlx.core as mx

from tests.fixtures import ROOT
from tests.msl.texts import kernel_texts, write

FOLDER = ROOT / "build" / "metal"
METAL = ("xcrun", "-sdk", "macosx", "metal")
_TOLD = 10
_INCLUDE = Path(mx.__file__).parent / "include"
# The language of macOS 14, the oldest that MLX runs on (backend/metal/device.cpp), and what MLX puts before each text
# (backend/metal/custom_kernel.cpp).
COMPILER = (
    *(*METAL, "-std=metal3.1", "-fsyntax-only", "-I", str(_INCLUDE)),
    *("-include", str(_INCLUDE / "mlx" / "backend" / "metal" / "kernels" / "utils.h")),
)


def refused(files: Sequence[Path], compiler: Sequence[str] = COMPILER) -> dict[Path, str]:
    """The files that the compiler refuses, with what it says."""

    def complaint(file: Path) -> str | None:
        result = subprocess.run([*compiler, str(file)], capture_output=True, text=True, check=False)
        return (result.stdout + result.stderr or "no word") if result.returncode else None

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return {file: said for file, said in zip(files, threads.map(complaint, files), strict=True) if said}


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    if sys.platform != "darwin":
        print("Apple's compiler runs on macOS alone, so nothing was checked. `make test` takes clang in its place.")
        return 0
    if subprocess.run([*METAL, "--version"], check=False).returncode:
        print("Apple's Metal compiler is missing: install Xcode, then `xcodebuild -downloadComponent MetalToolchain`.")
        return 1
    files = write(kernel_texts(), Path(arguments[0]) if arguments else FOLDER)
    wrong = refused(files)
    for file, said in islice(wrong.items(), _TOLD):  # a mistake in a header is one of hundreds of texts
        print(file, said, sep="\n", file=sys.stderr)
    print(f"Apple's compiler takes {len(files) - len(wrong)} of {len(files)} texts.", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
