"""What this computer is: chip, memory, what keeps models from its GPU, which packages it has."""

import platform
import subprocess
from dataclasses import dataclass

_PACKAGES = ("gptoss-chat", "mlx", "numpy", "safetensors", "tiktoken", "huggingface_hub", "textual")
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Computer:
    """What the plan depends on. Memory in bytes; `working_set` is what Metal recommends, None without Metal.

    `wired_limit_mb` is macOS' setting iogpu.wired_limit_mb in MiB, 0 where it is the default, None where there is none.
    """

    system: str
    chip: str
    architecture: str
    memory: int
    available: int
    working_set: int | None
    wired_limit_mb: int | None


def this_computer() -> Computer:
    """The computer this runs on."""
    import mlx.core as mx

    from mlx_model.memory import device

    total, available = device.memory()
    is_mac = platform.system() == "Darwin"
    kernel = f"{platform.system()} {platform.release()}"
    limit = _ask("sysctl", "-n", "iogpu.wired_limit_mb") if is_mac else ""
    chip = _ask("sysctl", "-n", "machdep.cpu.brand_string") if is_mac else ""
    return Computer(
        system=f"macOS {platform.mac_ver()[0]}" if is_mac else kernel,
        chip=chip or str(mx.device_info().get("device_name", "unknown")),
        architecture=platform.machine(),
        memory=total,
        available=available,
        working_set=device.working_set(),
        wired_limit_mb=int(limit) if limit.isdecimal() else None,
    )


def missing_for_metal(computer: Computer) -> str | None:
    """What keeps the model from a GPU, None if nothing does."""
    if computer.working_set is not None:
        return None
    if not computer.system.startswith("macOS"):
        return "Metal needs a Mac with Apple Silicon and macOS 14 or newer; here gpt-oss runs on the CPU, slowly."
    if computer.architecture != "arm64":
        return (
            f"This Python is built for {computer.architecture}; Metal needs Apple Silicon and a Python for arm64. "
            "Here gpt-oss runs on the CPU, slowly."
        )
    return "MLX finds no Metal GPU, as in some virtual machines; here gpt-oss runs on the CPU, slowly."


def left_to_others(computer: Computer) -> int:
    """Bytes for macOS and all other programs: 3 GiB, or an eighth of the memory."""
    return max(3 * _GIB, computer.memory // 8)


def capacity(computer: Computer) -> int:
    """The most that a model could ever have here. It is the same at every start, what is free now is not."""
    most = computer.memory - left_to_others(computer)
    return most if computer.working_set is None else min(most, computer.working_set)


def versions() -> dict[str, str]:
    """Of Python and of the packages that matter."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _ask(*command: str) -> str:
    """What a program of the system prints, empty if it can't be asked."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
