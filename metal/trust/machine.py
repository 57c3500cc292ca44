"""Which GPU this is, as far as a choice of kernels depends on it."""

import platform
import re
import subprocess
from dataclasses import dataclass
from importlib.metadata import version

import mlx.core as mx

_ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class MetalGpu:
    """A Mac with Metal. `gpu_cores` is 0 where macOS doesn't tell."""

    chip: str
    gpu_cores: int
    system: str
    mlx: str

    def __str__(self) -> str:
        cores = f"{self.gpu_cores} GPU cores" if self.gpu_cores else "GPU cores unknown"
        return f"{self.chip}, {cores}, {self.system}, MLX {self.mlx}"


def this_gpu() -> MetalGpu | None:
    """The machine whose GPU MLX computes on, None if it computes on a CPU."""
    if not mx.metal.is_available() or mx.default_device().type != mx.DeviceType.gpu:
        return None
    return MetalGpu(
        chip=str(mx.device_info()["device_name"]),
        gpu_cores=gpu_cores(_ask("ioreg", "-r", "-d1", "-c", "AGXAccelerator")),
        system=f"macOS {platform.mac_ver()[0]}",
        mlx=version("mlx"),
    )


def gpu_cores(registry: str) -> int:
    """The number of GPU cores in what `ioreg` prints of the AGXAccelerator, 0 if it is not there."""
    found = re.search(r'"gpu-core-count"\s*=\s*(\d+)', registry)
    return int(found[1]) if found else 0


def power(batteries: str, settings: str) -> str | None:
    """What slows this Mac down, in words, from what `pmset -g batt` and `pmset -g` print; None if nothing does."""
    slow = []
    if re.search(r"^\s*lowpowermode\s+1\b", settings, re.M):
        slow.append("low power mode is on")
    if "Battery Power" in batteries:
        slow.append("it runs on battery")
    return " and ".join(slow) or None


def this_power() -> str | None:
    """What slows this Mac down, in words; None if nothing does, or if this is no Mac."""
    return power(_ask("pmset", "-g", "batt"), _ask("pmset", "-g")) if platform.system() == "Darwin" else None


def _ask(*command: str) -> str:
    """What a program of macOS prints, empty if it can't be asked."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
