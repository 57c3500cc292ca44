"""NVRTC through ctypes: CUDA C++ against the shim to machine code, on any machine, with or without a GPU."""

import ctypes
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

SHIM = Path(__file__).parent / "shim"

_OPTIONS = (
    "--std=c++17",
    "--device-as-default-execution-space",  # no function of a kernel's text is marked as the GPU's
    "--ftz=true",  # float denormals are flushed, as on Apple's GPUs
    "--disable-warnings",
    "--ptxas-options=-v",
    "--generate-line-info",  # for what compute-sanitizer finds
)


class NoNvrtcError(Exception):
    """This machine has no NVRTC."""


class CompileError(Exception):
    """The compiler refuses the text; the message is what it says."""


@dataclass(frozen=True, slots=True)
class Built:
    """Machine code, and what the compiler says of it.

    `loads` are the loads of global memory in the code, by their bytes; `generic_loads` those whose address space the
    compiler doesn't know, which are slower. `stack` and `spills` are bytes a thread, `shared` bytes a block.
    """

    cubin: bytes
    registers: int
    stack: int
    spills: int
    shared: int
    loads: dict[int, int]
    generic_loads: int


@cache
def library() -> ctypes.CDLL:
    """Of the package nvidia-cuda-nvrtc, else the machine's. Raises NoNvrtcError where there is none."""
    candidates = ["libnvrtc.so"]
    # A namespace package, as others of NVIDIA's are installed beside it.
    if (package := find_spec("nvidia")) and package.submodule_search_locations:
        for place in package.submodule_search_locations:
            for folder in Path(place).glob("cu*/lib"):
                # NVRTC opens its builtins by name, which finds them once they are loaded.
                for builtins in folder.glob("libnvrtc-builtins.so.*"):
                    ctypes.CDLL(str(builtins))
                candidates[:0] = [str(path) for path in folder.glob("libnvrtc.so.*")]
    for path in candidates:
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    raise NoNvrtcError("there is no NVRTC here (`pip install nvidia-cuda-nvrtc`)")


def version() -> str:
    """As "13.0"."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def headers() -> dict[str, bytes]:
    """The shim for a GPU, by the names that it includes."""
    texts = {path.name: path.read_bytes() for path in sorted(SHIM.glob("*.h"))}
    texts.pop("primitives_cpu.h")
    texts["primitives.h"] = texts.pop("primitives_gpu.h")
    return texts


def build(text: str, architecture: str) -> Built:
    """The machine code of a text for GPUs of `architecture` ("sm_90"). Raises CompileError and NoNvrtcError."""
    lib, program, known = library(), ctypes.c_void_p(), headers()
    strings = ctypes.c_char_p * len(known)
    code = lib.nvrtcCreateProgram(
        ctypes.byref(program), text.encode(), b"kernel.cu", len(known),
        strings(*known.values()), strings(*(name.encode() for name in known)),
    )  # fmt: skip
    if code != 0:
        raise CompileError(f"nvrtcCreateProgram: error {code}")
    options = [option.encode() for option in (*_OPTIONS, f"--gpu-architecture={architecture}")]
    try:
        code = lib.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        log = _result(program, "ProgramLog").decode(errors="replace").strip("\0\n")
        if code != 0:
            raise CompileError(log or f"nvrtcCompileProgram: error {code}")
        return _described(_result(program, "CUBIN"), _result(program, "PTX").decode(), log)
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


def _result(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    if getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)) != 0:
        return b""
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library(), f"nvrtcGet{what}")(program, buffer)
    return buffer.raw[: size.value]


def _described(cubin: bytes, ptx: str, log: str) -> Built:
    spills = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    registers = re.search(r"Used (\d+) registers", log)
    if not spills or not registers:
        raise CompileError(f"the assembler's report is none that is known here: {log[:500]}")
    shared = re.search(r"(\d+) bytes smem", log)
    loads: Counter[int] = Counter()
    for vector, bits in re.findall(r"\bld\.global(?:\.\w+)*?(?:\.v([24]))?\.[bufs](\d+)", ptx):
        loads[int(bits) // 8 * int(vector or 1)] += 1
    return Built(
        cubin=cubin,
        registers=int(registers[1]),
        stack=int(spills[1]),
        spills=int(spills[2]) + int(spills[3]),
        shared=int(shared[1]) if shared else 0,
        loads=dict(sorted(loads.items())),
        generic_loads=len(re.findall(r"\bld\.(?!global|shared|local|param|const)[\w.]+", ptx)),
    )
