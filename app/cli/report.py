"""The file of `gptoss-chat bench --report`: what a developer needs of this computer, and nothing private."""

import os
import time
import traceback
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.private import Private
from metal.files import expanded
from mlx_model.errors import RequestError

if TYPE_CHECKING:
    from app.cli.measurements import Measurements
    from metal.trust.select import Verdict
    from mlx_model.model import Model

TEMPLATE = "Report from a Mac"
"""The name of the form in .github/ISSUE_TEMPLATE that asks for the file."""

_VERSION = 1
"""Of the JSON object's form."""

_PUBLISHERS = ("openai", "mlx-community", "lmstudio-community", "unsloth")
"""Whose repositories of the Hub are named. Any other might be the person's own."""

_OURS = ("app", "mlx_model", "metal")


class Evidence:
    """What was found out, until it is written; `failures` are those of a developer's making, one object each."""

    def __init__(self, folder: str) -> None:
        from mlx_model.memory import device

        self.folder = folder
        self.failures: list[dict[str, Any]] = []
        self._swap_before = device.swap_bytes()

    @classmethod
    def for_folder(cls, folder: str) -> "Evidence":
        """To be written into a folder, "" for the current one. Raises RequestError if that can't be done."""
        path = expanded(folder or ".")
        if not path.is_dir():
            raise RequestError(f"{folder} is no folder; the report needs one that is there")
        if not os.access(path, os.W_OK | os.X_OK):
            raise RequestError(f"the report can't be written into {folder or 'this folder'}: name another folder")
        return cls(folder)

    def add(self, step: str, error: Exception) -> None:
        """A failure: of which step, and where in this program."""
        from metal.trust.check import first_line, whole_text

        frames = traceback.extract_tb(error.__traceback__)
        where = [
            f"{file}:{frame.lineno} {frame.name}" for frame in frames if (file := _own(frame.filename)) is not None
        ]
        self.failures.append({"step": step, "error": first_line(error), "message": whole_text(error), "where": where})

    def write(self, model: "Model | None", measured: "Measurements | None") -> Path:
        """Writes a file that wasn't there before, in one go; returns its path. `model` and `measured` are None if
        it could not be loaded. Raises ExportError, after it has printed what was to be written."""
        from app.cli.report_text import render
        from app.store.exchange.export import ExportError, write_new

        text = render(self.contents(model, measured))
        folder = self.folder and f"{self.folder}/"
        try:
            return write_new(text, folder, f"gptoss-chat-report-{time.strftime('%Y-%m-%d')}", "md")
        except ExportError:
            print(text, flush=True)
            raise

    def contents(self, model: "Model | None", measured: "Measurements | None") -> dict[str, Any]:
        """All of it, fit for JSON; keys name the units, bytes where none is named. Free text is without private."""
        private = Private(() if model is None else (model.folder,))
        found: dict[str, Any] = {
            "report": _VERSION,
            "date": time.strftime("%Y-%m-%d"),
            "machine": _machine(),
            "versions": _versions(),
            "settings": _settings(),
            "failures": private.without(self.failures),
        }
        if model is None:
            return found
        found |= {
            "model": _model(model),
            "loading": {"load_s": model.load_s} | private.without(asdict(model.residence)),
            "memory": self._memory(model, measured),
            "kernels": private.without(_kernels(model)),
        }
        if measured is not None:
            figures = asdict(measured)
            kept = ("speeds", "next_turn", "bandwidth_gigabytes_s", "weights_gigabytes_s", "kernels", "launches")
            found["measured"] = {key: figures[key] for key in kept}
            found["missing"] = private.without(measured.missing)
        return found

    def _memory(self, model: "Model", measured: "Measurements | None") -> dict[str, Any]:
        from mlx_model.memory import device

        plan, mapped = model.plan, model.transformer.embedding.mapped_bytes
        peaks = [speed.peak_memory_bytes for speed in measured.speeds] if measured is not None else []
        return {
            "planned": asdict(plan) | {"weights": plan.weights, "total": plan.total},
            "measured": {
                "weights": model.resident_bytes,
                "peak": max(peaks, default=None),
                "held_at_the_end": device.active_bytes(mapped),
                "swap_before": self._swap_before,
                "swap_after": device.swap_bytes(),
            },
        }


def _machine() -> dict[str, Any]:
    from app.cli.this_computer import missing_for_metal, this_computer
    from metal.trust.machine import this_gpu, this_power

    computer, gpu = this_computer(), this_gpu()
    return asdict(computer) | {
        "cores": os.cpu_count(),
        "gpu": None if gpu is None else gpu.chip,
        "gpu_cores": None if gpu is None else gpu.gpu_cores,
        "missing_for_metal": missing_for_metal(computer),
        "power": this_power(),
    }


def _versions() -> dict[str, str]:
    """Of packages; of MLX's kernels also for which macOS they were built, which decides what they hold."""
    from app.cli.this_computer import versions

    found = versions()
    try:
        kernels = distribution("mlx-metal")
    except PackageNotFoundError:
        return found
    tags = [line.partition(": ")[2] for line in (kernels.read_text("WHEEL") or "").splitlines() if line[:4] == "Tag:"]
    return found | {"mlx-metal": " ".join([kernels.version, *tags])}


def _settings() -> dict[str, str]:
    """Variables of the environment that change what is computed, and how."""
    from metal.trust.select import requested_mode

    numbers = {name: text for name, text in sorted(os.environ.items()) if name.startswith("MLX_") and text.isdecimal()}
    return {"GPTOSS_KERNELS": requested_mode()} | numbers


def _model(model: "Model") -> dict[str, Any]:
    config = model.config
    return {
        "name": _public_name(model.name),
        "dense_bits": model.plan.dense_bits,
        "has_tokenizer": model.tokenizer is not None,
        "hidden": config.hidden_size,
        "intermediate": config.intermediate_size,
        "layers": config.num_hidden_layers,
        "experts": config.num_local_experts,
        "experts_a_token": config.num_experts_per_tok,
        "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "window": config.sliding_window,
        "vocabulary": config.vocab_size,
    }


def _public_name(name: str) -> str:
    from mlx_model.hub.names import Repository
    from mlx_model.hub.published import DEMO, KNOWN

    if Path(name).expanduser().is_dir():
        return "a folder"
    repository = Repository.parse(name)
    if name == DEMO or repository is None:
        return name if name == DEMO else "another model"
    short = Repository(repository.name).short
    return short if short in KNOWN or short.partition("/")[0] in _PUBLISHERS else "another model"


def _kernels(model: "Model") -> dict[str, Any]:
    from metal.trust.remember import kernel_text

    findings = model.kernels
    return {
        "text": kernel_text(),
        "refusal": findings.refusal,
        "table": findings.table,
        "operations": [_operation(verdict) for verdict in findings.verdicts],
    }


def _operation(verdict: "Verdict") -> dict[str, Any]:
    from metal.trust.check import named

    found = asdict(verdict) | {"runs": named(verdict.variant), "gigabytes_s": verdict.gigabytes_s}
    found["trials"] = [asdict(trial) | {"variant": named(trial.variant)} for trial in verdict.trials]
    return found


def _own(file: str) -> str | None:
    """The name of one of our own files from its package on, None for any other's."""
    parts = Path(file).parts
    root = Path(__file__).parents[2].parts
    inside = parts[: len(root)] == root and len(parts) > len(root) and parts[len(root)] in _OURS
    return "/".join(parts[len(root) :]) if inside else None
