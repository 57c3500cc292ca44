"""`make kernels-cuda`: compiles every kernel for an NVIDIA GPU, runs the text on the CPU, and on a GPU where one is.

    python -m tests.msl.cuda.kernels [--architecture sm_90] [--without-cpu] [--out FOLDER]

Compiling needs no GPU. Prints registers, spills and the widths of loads; leaves build/kernels-cuda.pyz, which runs on
any machine with such a GPU, Python and numpy (`on_gpu.py`).
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from tests.fixtures import ROOT
from tests.msl.cuda import dump, nvrtc, on_gpu
from tests.msl.cuda.cases import GPT_OSS_20B, SMALL, all_cases
from tests.msl.cuda.driver import Gpu, NoGpuError
from tests.msl.cuda.gpu import CEILINGS
from tests.msl.cuda.judge import Judge, comparable
from tests.msl.cuda.manifest import Case
from tests.msl.cuda.nvrtc import Built, CompileError, NoNvrtcError
from tests.msl.cuda.on_cpu import OnCpu
from tests.msl.cuda.recorded import Texts
from tests.msl.cuda.results import Result, all_well, summary

ARCHIVE = ROOT / "build" / "kernels-cuda.pyz"
SIZES = {"1x": GPT_OSS_20B, "4x": replace(GPT_OSS_20B, scale=4), "small": SMALL}

_CACHE = ROOT / "build" / "kernels-cuda"


def compiled(texts: Mapping[str, str], architecture: str) -> dict[str, Built | CompileError]:
    """Each text's machine code, or why there is none."""
    identity = json.dumps([nvrtc.version(), architecture, {k: v.decode() for k, v in nvrtc.headers().items()}])

    def build(text: str) -> Built | CompileError:
        key = hashlib.sha256(f"{identity}\0{text}".encode()).hexdigest()[:32]
        facts, code = _CACHE / f"{key}.json", _CACHE / f"{key}.cubin"
        if facts.exists() and code.exists():
            known = json.loads(facts.read_text())
            return Built(**{**known, "loads": {int(k): v for k, v in known["loads"].items()}}, cubin=code.read_bytes())
        try:
            built = nvrtc.build(text, architecture)
        except CompileError as error:
            return error
        code.write_bytes(built.cubin)
        facts.write_text(json.dumps({key: value for key, value in asdict(built).items() if key != "cubin"}))
        return built

    _CACHE.mkdir(parents=True, exist_ok=True)
    # One first: the library sets itself up. The compiler lets go of Python's lock.
    first = next(iter(texts))
    done = {first: build(texts[first])}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return done | dict(zip(texts, pool.map(build, texts.values()), strict=True))


def static_table(cases: Sequence[Case], built: Mapping[str, Built | CompileError]) -> str:
    """What the compiler says of each launch, as Markdown."""
    lines = [
        "| launch | registers | stack | spills | shared | loads: count x bytes |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for case in cases:
        for number, launch in enumerate(case.launches, 1):
            title = case.title + (f" ({number} of {len(case.launches)})" if len(case.launches) > 1 else "")
            code = built[launch.text]
            if isinstance(code, CompileError):
                lines.append(f"| {title} | does not compile |")
                continue
            loads = ", ".join(f"{count} x {size}" for size, count in code.loads.items())
            generic = f" and {code.generic_loads} of no known space" if code.generic_loads else ""
            lines.append(
                f"| {title} | {code.registers} | {code.stack} | {code.spills} | {code.shared} | {loads}{generic} |"
            )
    return "\n".join(lines)


def on_the_cpu(cases: Sequence[Case], texts: Texts) -> list[Result]:
    """Runs the CUDA text of each case on the CPU bench."""
    judge, backend, results = Judge(), OnCpu(texts), []
    for case in cases:
        try:
            worst, bits = judge.judged(backend, case)
            results.append(Result(case.group, case.name, case.side, worst, comparable(case), bits))
        except RuntimeError as error:
            results.append(Result(case.group, case.name, case.side, error=str(error)))
    return results


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="make kernels-cuda", description=__doc__.split("\n")[0])
    parser.add_argument("--architecture", help="of the GPU, as sm_90; that of the one here, else an H100's")
    parser.add_argument("--without-cpu", action="store_true", help="don't run the text on the CPU")
    parser.add_argument("--out", type=Path, default=_CACHE / "out", help="folder for what a GPU here finds")
    given = parser.parse_args(arguments)
    here = _gpu_here()
    architecture = given.architecture or here or "sm_90"
    texts = Texts()
    sizes = {name: all_cases(each, texts) for name, each in SIZES.items()}
    try:
        built = compiled({dump.CEILINGS: CEILINGS, **{name: text.cuda for name, text in texts.items()}}, architecture)
    except NoNvrtcError as error:
        print(error, file=sys.stderr)
        return 1
    print(static_table(sizes["1x"], built))
    refused = {name: each for name, each in built.items() if isinstance(each, CompileError)}
    codes = {name: each for name, each in built.items() if isinstance(each, Built)}
    print(
        f"\nNVRTC {nvrtc.version()}, {architecture}: {len(texts)} texts at {len(sizes)} sets of sizes,"
        f" {len(refused)} don't compile, {sum(each.spills > 0 for each in codes.values())} spill,"
        f" {sum(each.generic_loads > 0 for each in codes.values())} load through a pointer of no known space."
    )
    for name, message in refused.items():
        print(f"\n{name}:\n{message}"[:2000])
    facts = {"architecture": architecture, "NVRTC": nvrtc.version(), "MLX": version("mlx")}
    dump.write(ARCHIVE, facts, sizes, {name: each.cubin for name, each in codes.items()})
    print(f"\n{ARCHIVE.relative_to(ROOT)}: {ARCHIVE.stat().st_size / 1e6:.1f} MB")
    well = not refused
    if not given.without_cpu:
        results = on_the_cpu(sizes["small"], texts)
        print(f"\nThe CUDA text on the CPU, at small sizes: {summary(results)}")
        well = well and all_well(results)
    if here is None:
        print("\nThere is no NVIDIA GPU here, so nothing was run on one.")
    elif well:
        well = on_gpu.main([str(given.out), "--archive", str(ARCHIVE)]) == 0
    return 0 if well else 1


def _gpu_here() -> str | None:
    """The architecture of this machine's GPU, if it has one."""
    try:
        return Gpu().architecture
    except NoGpuError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
