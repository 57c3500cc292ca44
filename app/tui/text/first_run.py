"""What the chat says where the demo answers: what this computer is, whether gpt-oss-20b fits, how to get it."""

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from typing import Any

from mlx_model.hub.names import KNOWN, SIZES
from mlx_model.memory.sizes import gigabytes, parse_size

MODEL = "gpt-oss-20b"
SIZE = SIZES[KNOWN[MODEL]]

# In a process of its own, for the plan needs MLX; -P: a folder named "app" must not be taken for this package.
DOCTOR = (sys.executable, "-P", "-m", "app", "doctor", "--json")
_PATIENCE_S = 60.0

WELCOME = "Ask anything. What you type and what is answered stays on this computer."
DEMO = (
    f"{WELCOME}\n\n"
    "The demo model answers: tiny, trained on this program's own facts, to show how the chat works. It is not gpt-oss."
)


@dataclass(frozen=True, slots=True)
class Found:
    """What the first run needs to know. Bytes; `present` are those of gpt-oss-20b that are on this computer."""

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
    def of(cls, report: dict[str, Any]) -> "Found":
        """What the report of `gptoss-chat doctor` says of it. Raises LookupError where it says nothing."""
        plan, machine = report["plans"][MODEL], report["machine"]
        here = next((model for model in report["models"] if model["name"] == MODEL), None)
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


async def examine() -> Found | None:
    """Ask `gptoss-chat doctor`; None if it doesn't say: the offer stands without it."""
    try:
        process = await asyncio.create_subprocess_exec(
            *DOCTOR,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _PATIENCE_S)
        return Found.of(json.loads(output))
    except (TimeoutError, ValueError, LookupError):
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None:
                process.kill()


def welcome(found: Found | None, *, on_its_way: bool) -> str:
    """The greeting where the demo answers. `on_its_way`: a download has been started, and its panel says the rest."""
    parts = [DEMO]
    if found is not None:
        parts.append(_facts(found))
    if not on_its_way:
        parts.append(_offer(found))
    return "\n\n".join(parts)


def _facts(found: Found) -> str:
    # Memory is sold in powers of two: the owner of a "16 GB" Mac has 17.18 billion bytes.
    memory = f"{found.memory / 2**30:.0f} GB of memory"
    lines = [f"This computer: {found.chip}, {memory}, {gigabytes(found.free)} free on the disk."]
    lines += [found.missing] if found.missing else []
    lines.append(f"{MODEL} fits: {found.fit}." if found.fits else f"{MODEL} does not fit: {found.fit}")
    missing = max(0, parse_size(SIZE) - found.present)
    if not found.complete and found.free < missing:
        lines.append(f"The download needs {gigabytes(missing)} on the disk: free some space first.")
    return "\n".join(lines)


def _offer(found: Found | None) -> str:
    if found is not None and found.verified:
        return f"{MODEL} is on this computer: ^L or /model {MODEL} switches to it."
    if found is not None and found.complete:
        return f"{MODEL} is on this computer, not verified yet: ^L or /download reads it once, and fetches nothing."
    if found is not None and found.present:
        here = f"{gigabytes(found.present)} of its {SIZE} are here from before"
        return f"{here}: ^L or /download goes on with the rest, while the demo answers."
    return f"^L or /download fetches {MODEL} ({SIZE}) in the background, while the demo answers."
