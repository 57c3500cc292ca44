"""What the chat knows of this computer and its models, from the report of `gptoss-chat doctor`, and how it says it."""

from dataclasses import dataclass
from math import ceil
from typing import Any

from app.lines import one_line
from mlx_model.hub.published import DEFAULT, DEMO, SIZES
from mlx_model.memory.sizes import fit, memory_size


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model: what of it is on this computer, and how it would be held in the memory. Sizes in bytes.

    `size` is that of the whole download, 0 if unknown; `needs` is the memory below which it does not fit, 0 if unknown.
    `dense_bits` and `context` (tokens) are the best that this computer can give; 0: it does not fit. With `streams`
    experts are read from the disk then.
    """

    name: str
    size: int = 0
    present: int = 0
    complete: bool = False
    verified: bool = False
    needs: int = 0
    dense_bits: int = 0
    context: int = 0
    streams: bool = False

    @property
    def fit(self) -> str:
        """Whether it fits, and how, in words that are the same at every start; "" if that is unknown."""
        if not self.needs:
            return ""
        if not self.dense_bits:
            return f"needs {memory_size(self.needs, ceil)} of memory"
        return fit(self.dense_bits, self.context, streams=self.streams)


@dataclass(frozen=True, slots=True)
class ComputerFacts:
    """This computer. Sizes in bytes; `free` are those of the disk with `folder`, where downloads go."""

    chip: str
    memory: int
    free: int
    folder: str
    has_gpu: bool
    models: tuple[ModelFacts, ...]

    @classmethod
    def of(cls, report: dict[str, Any]) -> "ComputerFacts":
        """Read it from the report. Raises LookupError or TypeError if something is missing there."""
        here = {model["name"]: model for model in report["models"]}
        names = dict.fromkeys((DEMO, *SIZES, *here))
        return cls(
            chip=one_line(report["machine"]["chip"]).replace("(R)", "").replace("(TM)", ""),
            memory=report["machine"]["memory"],
            free=report["disk"]["free"],
            folder=report["disk"]["folder"],
            has_gpu=report["metal"]["missing"] is None,
            models=tuple(_facts(name, here.get(name), report["plans"].get(name)) for name in names),
        )

    def model(self, name: str) -> ModelFacts:
        """What is known of a model; where that is nothing, its name."""
        return next((model for model in self.models if model.name == name), ModelFacts(name, SIZES.get(name, 0)))

    @property
    def default(self) -> ModelFacts:
        """gpt-oss-20b."""
        return self.model(DEFAULT)


def _facts(name: str, here: dict[str, Any] | None, plan: dict[str, Any] | None) -> ModelFacts:
    at_best = (plan or {}).get("at_best") or {}
    present = here["bytes"] if here else 0
    complete = name == DEMO or bool(here and here["complete"])
    return ModelFacts(
        name,
        size=present if complete else SIZES.get(name, 0),
        present=present,
        complete=complete,
        verified=name == DEMO or bool(here and here["verified"]),
        needs=plan["needs"] if plan else 0,
        dense_bits=at_best.get("dense_bits", 0),
        context=at_best.get("context", 0),
        streams=at_best.get("streamed_layers", 0) > 0,
    )
