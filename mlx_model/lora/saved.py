"""What a run keeps in its folder: the adapter, the state that it goes on from, and the losses so far."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from safetensors.numpy import save

from metal.files import parse_json, read_small, replace_file
from mlx_model.errors import CheckpointError, RequestError
from mlx_model.transformer.adapters import Adapters
from mlx_model.weights.adapter_files import CONFIG, WEIGHTS, write_adapter
from mlx_model.weights.checkpoint import metadata_of

_STATE, _LOG, _LOCK = "state.safetensors", "log.jsonl", "lock"
_MOST_LOG = 1 << 30
_ANEW = "--restart begins anew"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is: `step` steps done. `best` is the lowest held-out loss so far, after `best_step` steps.

    `run` is the digest of all that its losses follow from.
    """

    run: str
    step: int = 0
    best: float | None = None
    best_step: int = 0
    done: bool = False


class Folder:
    """The folder of one run: the adapter in it, and what belongs to the training below `training`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inside = path / "training"

    @property
    def picture(self) -> Path:
        """Where the picture of the losses goes."""
        return self._inside / "loss.png"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within it no other process trains into this folder. Raises RequestError if one does."""
        self._inside.mkdir(parents=True, exist_ok=True)
        with (self._inside / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RequestError(f"another gptoss-chat is training into {self.path}") from None
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Takes away what kills have left half written."""
        for folder, names in ((self._inside, (_STATE, _LOG)), (self.path, (WEIGHTS, CONFIG))):
            for half in (half for name in names for half in folder.glob(f".{name}.*")):
                half.unlink(missing_ok=True)

    def standing(self) -> Standing | None:
        """That of the run that is kept here. Raises CheckpointError if its file can't be read."""
        path = self._inside / _STATE
        if not path.exists():
            return None
        try:
            return Standing(**parse_json(metadata_of(path, _ANEW)["standing"].encode()))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} can't be read ({error}); {_ANEW}") from None

    def state(self) -> dict[str, mx.array]:
        """The arrays that are kept beside it. Raises CheckpointError."""
        path = self._inside / _STATE
        try:
            loaded = mx.load(str(path))
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} can't be read ({error}); {_ANEW}") from None
        assert isinstance(loaded, dict)
        return loaded

    def keep(self, standing: Standing, state: Mapping[str, mx.array]) -> None:
        """Replaces both in one step. Raises OSError; what was kept before is then still there."""
        content = save(
            {name: np.array(array, order="C") for name, array in state.items()},  # `save` writes memory as it lies
            {"standing": json.dumps(asdict(standing))},
        )
        replace_file(self._inside / _STATE, content, durable=True)

    def keep_adapter(self, adapters: Adapters, base: str, layers: int, facts: Mapping[str, str]) -> None:
        """Writes the adapter. Raises OSError, likewise."""
        write_adapter(self.path, adapters, base, layers, facts)

    def log(self, entry: Mapping[str, Any]) -> None:
        """Adds a line to the losses."""
        with (self._inside / _LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """Every line of the losses that is whole."""
        entries = []
        with suppress(OSError):
            for line in read_small(self._inside / _LOG, _MOST_LOG).splitlines():
                with suppress(ValueError):
                    entries.append(parse_json(line))
        return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("step"), int)]

    def cut_history(self, step: int) -> None:
        """Forgets what came after so many steps: it comes again."""
        kept: Sequence[dict[str, Any]] = [entry for entry in self.history() if entry["step"] <= step]
        content = "".join(json.dumps(entry) + "\n" for entry in kept)
        replace_file(self._inside / _LOG, content.encode(), durable=True)

    def forget(self) -> None:
        """Takes away what another run left here, but for its adapter, which the new one replaces."""
        for name in (_STATE, _LOG):
            (self._inside / name).unlink(missing_ok=True)

    def free(self) -> int:
        """Bytes that are free on its disk."""
        found = os.statvfs(self._inside)
        return found.f_bavail * found.f_frsize
