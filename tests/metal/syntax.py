"""`make metal-syntax`: Apple's own compiler reads every kernel, in the text that MLX would have it compile.

    python -m tests.metal.syntax [FOLDER]

The texts are those of the trial of each kernel (metal/trust) in every variant, for each format of weights and dtype of
activations; they stay in FOLDER.
Nothing is run, so no GPU is needed. Off macOS nothing is checked, and that is said.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import mlx.core as mx

from metal.launch import Call, executed_by
from metal.operation import Operation
from metal.trust.candidates import attend_operation, dense_operations, expert_operations
from metal.trust.selftest import decodes_fp4
from tests.fixtures import ROOT
from tests.fixtures.dense_models import FORMATS, Random, aligned
from tests.fixtures.reference import aligned_mixture, random_mixture
from tests.msl.source import generated_text

FOLDER = ROOT / "build" / "metal"
DTYPES = (mx.bfloat16, mx.float16, mx.float32)
ALIGNMENTS = (4, 8, 16)  # of mapped files (the Hub's lie 8 bytes past a multiple of 16), and of MLX's own buffers
# MLX puts these before the text it prints (backend/metal/custom_kernel.cpp).
PRELUDE = '#include "mlx/backend/metal/kernels/utils.h"\n'
COMPILER = ("xcrun", "-sdk", "macosx", "metal", "-fsyntax-only", "-I", str(Path(mx.__file__).parent / "include"))


class Recorder:
    """Takes calls in the GPU's place: keeps the text of each and returns zeros."""

    def __init__(self) -> None:
        self.texts: dict[str, set[str]] = {}

    def __call__(self, call: Call) -> list[mx.array]:
        self.texts.setdefault(call.kernel.name, set()).add(generated_text(call))
        return [mx.zeros(*output) for output in zip(call.output_shapes, call.output_dtypes, strict=True)]


def kernel_texts() -> dict[str, set[str]]:
    """The texts of each kernel, by its name."""
    recorder = Recorder()
    with executed_by(recorder):
        decodes_fp4()
        for operation in _operations():
            for variant in operation.variants:
                operation.run(*operation.arguments(0), variant)
    return recorder.texts


def _operations() -> Iterator[Operation]:
    """Small ones: a text depends on formats and dtypes, not on how many heads or experts there are."""
    random = Random()
    for dtype in DTYPES:
        yield attend_operation(heads=4, kv_heads=2, window=128, dtype=dtype)
        for table, alignment in product((False, True), ALIGNMENTS):
            yield from expert_operations(aligned_mixture(random_mixture(128, 64, 8, 2), alignment), dtype, table=table)
        for form in FORMATS:
            layer, head = random.projections(128, 4, 2, form), random.head(128, 64, form)
            for alignment in ALIGNMENTS:
                mapped = replace(head, matrix=replace(head.matrix, alignment=alignment))
                yield from dense_operations([aligned(layer, alignment)], mapped, dtype)


def write(folder: Path) -> list[Path]:
    """Writes each text to a file of its own; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, texts in sorted(kernel_texts().items()):
        for number, text in enumerate(sorted(texts)):
            files.append(folder / f"{name}-{number}.metal")
            files[-1].write_text(PRELUDE + text, "ascii")
    return files


def refused(files: Sequence[Path], compiler: Sequence[str] = COMPILER) -> list[Path]:
    """The files that the compiler refuses; what it says of them goes to standard error."""
    return [file for file in files if subprocess.run([*compiler, str(file)], check=False).returncode]


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    if sys.platform != "darwin":
        print("Apple's compiler runs on macOS alone, so nothing was checked. `make test` takes clang in its place.")
        return 0
    files = write(Path(arguments[0]) if arguments else FOLDER)
    wrong = refused(files)
    print(f"Apple's compiler takes {len(files) - len(wrong)} of {len(files)} texts.", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
