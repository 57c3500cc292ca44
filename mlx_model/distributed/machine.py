"""What a computer that holds a part of a model says of itself: versions, memory, how it computes, its files."""

import hashlib
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mlx.core as mx

from metal.files import read_small
from mlx_model.checkpoint_files import CONFIG, INDEX, WEIGHTS, weight_files
from mlx_model.cpu.available import why_not
from mlx_model.distributed.frames import PROTOCOL, Frame, FrameError
from mlx_model.errors import CheckpointError
from mlx_model.hub.folder import ModelFolder
from mlx_model.memory import device
from mlx_model.memory.wishes import Budget
from mlx_model.part import Part
from mlx_model.text import clean
from mlx_model.transformer.config import ModelConfig

_BANDWIDTH = {
    "M1": 68, "M1 Pro": 200, "M1 Max": 400, "M1 Ultra": 800,
    "M2": 100, "M2 Pro": 200, "M2 Max": 400, "M2 Ultra": 800,
    "M3": 100, "M3 Pro": 150, "M3 Max": 300, "M3 Ultra": 819,
    "M4": 120, "M4 Pro": 273, "M4 Max": 410,
    "M5": 153, "M5 Pro": 307, "M5 Max": 460,
}  # fmt: skip
"""GB/s of a chip's memory as Apple states them; of a chip that is sold with two, the lower."""

_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_FILES = 1000
_MOST_HEADER = 1 << 24
WAYS = ("gpu", "compiled", "mlx")
"""How layers are computed: by MLX on a GPU, by the compiled layers of a CPU, by MLX on a CPU."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`way` is one of WAYS. Memory in bytes: `budget` is free now, `limit` what the computer could give at best.

    `gigabytes_s` is what its memory is read with, 0 where that is not known.
    """

    program: str
    mlx: str
    system: str
    chip: str
    way: str
    memory: int
    budget: int
    limit: int
    reason: str
    gigabytes_s: int = 0

    @property
    def on_gpu(self) -> bool:
        return self.way == "gpu"

    @property
    def item(self) -> int:
        """Bytes of a number of a hidden state: bfloat16 on a GPU, else float32."""
        return 2 if self.on_gpu else 4

    def to_plan_with(self, *, at_best: bool = False) -> Budget:
        """What a plan takes; `at_best`: what does not depend on what is free now."""
        return Budget(self.limit if at_best else self.budget, self.limit, self.reason)

    @staticmethod
    def here(memory: int | None = None) -> "Machine":
        """This computer; `memory` is a budget of the person's own, in bytes."""
        total, _ = device.memory()
        budget, on_gpu = device.budget(memory), device.on_gpu()
        chip = str(mx.device_info().get("device_name", "")) or platform.machine()
        return Machine(
            program=_version("gptoss-chat"),
            mlx=_version("mlx"),
            system=f"{platform.system()} {platform.release()}",
            chip=chip,
            way="gpu" if on_gpu else "mlx" if why_not() else "compiled",
            memory=total,
            budget=budget.nbytes,
            limit=budget.limit,
            reason=budget.reason,
            gigabytes_s=_BANDWIDTH.get(chip.removeprefix("Apple ").strip(), 0),
        )

    def frame(self) -> Frame:
        """What a stage says of its computer."""
        return Frame("machine", {"protocol": PROTOCOL, **asdict(self)})

    @staticmethod
    def of(frame: Frame) -> "Machine":
        """Raises FrameError."""
        if (way := frame.text("way", 20)) not in WAYS:
            raise FrameError(f"it computes in a way that is not known here: {way!r}")
        program, mlx, system, chip, reason = (
            clean(frame.text(name, 300)) for name in ("program", "mlx", "system", "chip", "reason")
        )
        memory, budget, limit, speed = (frame.number(name) for name in ("memory", "budget", "limit", "gigabytes_s"))
        return Machine(program, mlx, system, chip, way, memory, budget, limit, reason, speed)


@dataclass(frozen=True, slots=True)
class Files:
    """A checkpoint as far as it is on a computer.

    `config`, `index` are digests of its small files, `commit` that of the Hub's cache, "" elsewhere; `digests` has
    those of shards, where a download has verified them; `layers` are those whose tensors are all there.
    """

    config: str
    index: str
    commit: str
    digests: Mapping[str, str]
    layers: tuple[int, ...]

    @staticmethod
    def in_folder(folder: Path) -> "Files":
        """Raises CheckpointError where the folder has no configuration that can be read, or no index."""
        config, model = ModelConfig.load(folder), ModelFolder.of(folder)
        found = {name: model.found(name) for name in weight_files(folder)}
        layers = (Part(layer, layer + 1, ends=False) for layer in range(config.num_hidden_layers))
        there = (part.start for part in layers if all((folder / name).is_file() for name in weight_files(folder, part)))
        return Files(
            config=_digest(folder / CONFIG),
            index=_digest(folder / INDEX) if (folder / INDEX).exists() else _header_digest(folder / WEIGHTS),
            commit=folder.name if model.in_cache else "",
            digests={name: file.digest for name, file in found.items() if file is not None},
            layers=tuple(there),
        )

    def why_not_with(self, other: "Files") -> str | None:
        """What tells that the two are not of the same model; None if nothing does."""
        if self.config != other.config:
            return "their config.json differ"
        if self.index != other.index or (self.commit and other.commit and self.commit != other.commit):
            return "they are different revisions"
        shared = self.digests.keys() & other.digests.keys()
        name = next((name for name in sorted(shared) if self.digests[name] != other.digests[name]), None)
        return None if name is None else f"their {name} differ"

    def frame(self) -> Frame:
        """What a stage says of its files."""
        return Frame("files", {**asdict(self), "digests": dict(self.digests), "layers": list(self.layers)})

    @staticmethod
    def of(frame: Frame) -> "Files":
        """Raises FrameError."""
        digests = frame.fields.get("digests")
        if not isinstance(digests, dict) or len(digests) > _MOST_FILES:
            raise FrameError("its digests are none")
        for digest in digests.values():
            if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                raise FrameError("its digests are none")
        layers = tuple(frame.numbers("layers", 1000, 1000))
        return Files(frame.text("config", 64), frame.text("index", 64), frame.text("commit", 64), digests, layers)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_small(path)).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} can't be read ({error.strerror or error}); download it again") from None


def _header_digest(path: Path) -> str:
    """Of the header of a checkpoint that is one file: names, shapes and places of all tensors."""
    try:
        with path.open("rb") as file:
            length = file.read(8)
            return hashlib.sha256(length + file.read(min(int.from_bytes(length, "little"), _MOST_HEADER))).hexdigest()
    except OSError:
        return ""


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return version(package)
    return ""
