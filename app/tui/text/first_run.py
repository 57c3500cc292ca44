"""The greeting while the demo model answers: what this computer is, whether gpt-oss-20b fits, how to get it."""

from dataclasses import dataclass
from typing import Any

from mlx_model.hub.names import DEFAULT, SIZES
from mlx_model.memory.sizes import disk_size, memory_size

SIZE = disk_size(SIZES[DEFAULT])

WELCOME = "Ask anything. Your messages and the answers stay on this computer."
DEMO_GREETING = (
    f"{WELCOME}\n\n"
    "You are talking to the demo model, a tiny model trained on facts about this program. It shows how the chat "
    "works; it is not gpt-oss."
)


@dataclass(frozen=True, slots=True)
class ComputerFacts:
    """What the greeting says of this computer. Sizes in bytes; `present` bytes of gpt-oss-20b are on its disk."""

    chip: str
    memory: int
    free: int
    fits: bool
    fit: str
    """How it would be held in memory, or why it can't."""
    missing: str
    """What keeps it from a GPU, "" if nothing does."""
    present: int
    complete: bool
    verified: bool

    @classmethod
    def of(cls, report: dict[str, Any]) -> "ComputerFacts":
        """Read from the report of `gptoss-chat doctor`. Raises LookupError if something is missing there."""
        plan, machine = report["plans"][DEFAULT], report["machine"]
        here = next((model for model in report["models"] if model["name"] == DEFAULT), None)
        return cls(
            chip=machine["chip"],
            memory=machine["memory"],
            free=report["disk"]["free"],
            fits=plan["fits"],
            fit=plan["summary"] if plan["fits"] else plan["problem"],
            missing=report["metal"]["missing"] or "",
            present=here["bytes"] if here else 0,
            complete=bool(here and here["complete"]),
            verified=bool(here and here["verified"]),
        )


def welcome(computer: ComputerFacts | None, *, downloading: bool) -> str:
    """The greeting while the demo answers. `downloading`: a download has been started, and its panel says the rest."""
    parts = [DEMO_GREETING]
    if computer is not None:
        parts.append(_facts(computer))
    if not downloading:
        parts.append(_offer(computer))
    return "\n\n".join(parts)


def _facts(computer: ComputerFacts) -> str:
    # Memory is sold in powers of two: the owner of a "16 GB" Mac has 17.18 billion bytes.
    memory = f"{memory_size(computer.memory)} of memory"
    lines = [f"This computer: {computer.chip}, {memory}, {disk_size(computer.free)} free on the disk."]
    lines += [computer.missing] if computer.missing else []
    lines.append(f"{DEFAULT} fits: {computer.fit}." if computer.fits else f"{DEFAULT} does not fit: {computer.fit}")
    missing = max(0, SIZES[DEFAULT] - computer.present)
    if not computer.complete and computer.free < missing:
        lines.append(f"The download needs {disk_size(missing)} on the disk. Free some space first.")
    return "\n".join(lines)


def _offer(computer: ComputerFacts | None) -> str:
    if computer is not None and computer.verified:
        return f"{DEFAULT} is on this computer: ^L or /model {DEFAULT} switches to it."
    if computer is not None and computer.complete:
        return f"{DEFAULT} is on this computer but not verified yet: ^L or /download verifies it, without fetching."
    if computer is not None and computer.present:
        here = f"{disk_size(computer.present)} of its {SIZE} are already on this computer"
        return f"{here}: ^L or /download fetches the rest in the background."
    return f"^L or /download fetches {DEFAULT} ({SIZE}) in the background; the demo keeps answering."
