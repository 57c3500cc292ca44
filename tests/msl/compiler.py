"""Finds a compiler that can read the shim, and builds kernels and the run-time with it, once each.

Kernels need clang 19 or newer (extended vectors, address spaces, bfloat16 without excess precision): the command in
$MSL_CXX, or the newest on the machine. Where it has none, the PyPI package `ziglang` brings one. Everything is linked,
and the run-time built, by the host's C++ compiler: zig would first spend a minute on a C++ library of its own.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Mode = Literal["fast", "nofma", "trace"]

SOURCE_NAME = "kernel.cpp"
"""The file that lines in the compiler's messages belong to."""

_HERE = Path(__file__).parent
_OLDEST_CLANG = 19


class CompileError(Exception):
    """The compiler refuses a kernel's text; the message is what it says."""


class BenchUnavailable(Exception):
    """This machine can't run kernels on its CPU."""


class NoCompilerError(BenchUnavailable):
    """All it lacks is a compiler."""


_LANGUAGE = [
    *("-std=c++17", "-fPIC", "-fno-exceptions", "-fno-rtti", "-fno-strict-aliasing"),
    # Half and bfloat16 are rounded after each operation, as on a GPU; clang keeps expressions in float by default.
    *("-Xclang", "-ffloat16-excess-precision=none", "-Xclang", "-fbfloat16-excess-precision=none"),
    # 1.0 is a float in MSL.
    *("-Xclang", "-cl-single-precision-constant"),
    # All but one warning concern code that is right in MSL. That one is searched for _FORBIDDEN.
    *("-Wno-everything", "-Wimplicit-float-conversion"),
]

# Metal has no implicit conversion from float to bfloat.
_FORBIDDEN = re.compile(r"implicit conversion.*to '(bfloat|bfloat16_t|__bf16)\b.*")

_UNDEFINED_NOT_CHECKED = (
    "alignment,bool,builtin,enum,function,nonnull-attribute,null,object-size,pointer-overflow,return,"
    "returns-nonnull-attribute,unreachable,vla-bound,vptr"
)
_MODES: dict[Mode, list[str]] = {
    # Without debug information, which takes up to half of a compilation.
    "fast": ["-O3", "-g0", "-ffp-contract=fast", "-fno-sanitize=undefined"],
    "nofma": ["-O2", "-g0", "-ffp-contract=off", "-fno-sanitize=undefined"],
    "trace": [
        *("-O1", "-g1", "-ffp-contract=fast"),
        # Without vectorisers, and without the pass that splits vector loads whose elements are used one by one, the
        # widths of accesses are those of the source.
        *("-fno-vectorize", "-fno-slp-vectorize", "-mllvm", "-disable-vector-combine"),
        # All of UBSan but what has no meaning here.
        *("-fsanitize=thread,undefined", "-fno-sanitize-trap=all", f"-fno-sanitize={_UNDEFINED_NOT_CHECKED}"),
        # y[i] += v reads y[i] too.
        *("-mllvm", "-tsan-instrument-read-before-write=1", "-mllvm", "-tsan-instrument-func-entry-exit=0"),
    ],
}


def check_available() -> None:
    """Raises BenchUnavailable where kernels can't be built and run."""
    kernel_compiler()
    host_compiler()


@cache
def kernel_compiler() -> tuple[str, ...]:
    """The command of the compiler for kernels. Raises BenchUnavailable where there is none."""
    _check_machine()
    if named := os.environ.get("MSL_CXX"):
        return tuple(named.split())
    for name in ("clang++-22", "clang++-21", "clang++-20", "clang++-19", "clang++"):
        if (path := shutil.which(name)) and _clang_version(path) >= _OLDEST_CLANG:
            return (path,)
    # Its program itself: with `python -m ziglang` each kernel would wait for a Python to start.
    if (found := find_spec("ziglang")) and found.origin:
        return (str(Path(found.origin).with_name("zig")), "c++")
    raise NoCompilerError("kernels need clang 19 or newer, or the package ziglang (`pip install ziglang`)")


def clang() -> tuple[str, ...]:
    """The command of the same compiler for any language, which has to be named. zig's clang goes by that name; its c++
    looks first for what it has built before, which is a quarter of the time of a kernel."""
    *command, name = kernel_compiler()
    return (*command, "clang" if name == "c++" and "zig" in "".join(command) else name)


def _check_machine() -> None:
    """Raises BenchUnavailable on a machine that the run-time isn't written for."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise BenchUnavailable("the bench for Metal kernels runs on Linux, on x86-64 and aarch64")


def kernel_library(text: str, mode: Mode) -> Path:
    """The shared library built from the C++ `text`. Raises CompileError if the compiler refuses it."""
    command = [*clang(), "-x", "c++", *_LANGUAGE, *_MODES[mode], *_processor(), f"-I{_HERE / 'shim'}"]
    return _built(
        (*command, text, _compiler_identity(), _sources("shim/**/*")),
        ".so",
        lambda target: _compile_kernel(command, text, target),
    )


def runner() -> Path:
    """The program that runs one launch."""
    sources = sorted((_HERE / "runtime").glob("*.cpp"))
    command = [host_compiler(), "-std=c++17", "-O2", "-rdynamic", *map(str, sources), "-ldl"]
    key = (*command, _sources("runtime/*"), _sources("shim/msl/abi.h"))
    return _built(key, "", lambda target: _run([*command, "-o", str(target)], target.parent))


def source_line(library: Path, address: int) -> int | None:
    """The line in the kernel's text of the instruction before `address` in a library built for tracing, if known."""
    if not shutil.which("addr2line"):
        return None
    command = ["addr2line", "--inlines", "-e", str(library), hex(address - 1)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    line = re.search(rf"\b{re.escape(SOURCE_NAME)}:(\d+)", found)
    return int(line[1]) if line else None


def _clang_version(command: str) -> int:
    printed = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"clang version (\d+)", printed)
    return int(match[1]) if match else 0


@cache
def _compiler_identity() -> str:
    return subprocess.run([*kernel_compiler(), "--version"], capture_output=True, text=True, check=True).stdout


@cache
def host_compiler() -> str:
    for name in (os.environ.get("CXX", ""), "g++", "c++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    raise NoCompilerError("the bench for Metal kernels needs a C++ compiler of the host (g++ or clang++)")


def _processor() -> list[str]:
    """On x86-64 fma and half conversions in hardware (since 2013). In software they are slow, and the same."""
    return ["-mavx2", "-mfma", "-mf16c"] if platform.machine() == "x86_64" else []


@cache
def _sources(pattern: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob(pattern)):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _compile_kernel(command: list[str], text: str, target: Path) -> None:
    source, built = target.with_name(SOURCE_NAME), target.with_suffix(".o")
    source.write_text(text)
    output = _run([*command, "-c", str(source), "-o", str(built)], target.parent)
    if refused := [line for line in output.splitlines() if _FORBIDDEN.search(line)]:
        raise CompileError("\n".join(refused))
    _run([host_compiler(), "-shared", str(built), "-o", str(target), "-lm"], target.parent)


def _run(command: list[str], folder: Path) -> str:
    # Zig would keep a copy of everything it builds in the user's home.
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(folder), "ZIG_LOCAL_CACHE_DIR": str(folder)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode != 0:
        raise CompileError(result.stderr)
    return result.stderr


def _built(key: tuple[str, ...], suffix: str, build: Callable[[Path], object]) -> Path:
    """The file for `key`, from the cache or by `build(path)`. Two processes may build it at once: one file stays."""
    folder = _cache_folder()
    path = folder / (hashlib.sha256("\0".join(key).encode()).hexdigest()[:32] + suffix)
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            target = Path(temporary) / ("built" + suffix)
            build(target)
            target.replace(path)
    return path


@cache
def _cache_folder() -> Path:
    """A folder of the checkout that git ignores."""
    folder = _HERE.parents[1] / "build" / "metal-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
