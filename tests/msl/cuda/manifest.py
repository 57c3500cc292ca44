"""What a dump holds, as plain data: cases, their arrays, their launches. No MLX: a machine with a GPU reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

ENTRY = "msl_entry"
"""The kernel's name in every text."""


@dataclass(frozen=True, slots=True)
class Array:
    """An array of a case: what it is for, and how its values come about (`make`, see arrays.py).

    `cold`: decoding a token reads it from DRAM; the other inputs were just written. `fraction` of it is read or written
    by one pass. It lies `offset` bytes past a multiple of 256. Of `sets` different ones each launch takes the next.
    `rounded` is what an output's values were rounded to, if that is not its dtype.
    """

    role: Literal["input", "output", "temporary"]
    dtype: str
    shape: tuple[int, ...]
    make: Mapping[str, Any] = field(default_factory=dict)
    cold: bool = False
    fraction: float = 1.0
    offset: int = 0
    sets: int = 1
    rounded: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a text: threadgroups, threads of each, and the arrays that it takes, in their order."""

    text: str
    blocks: tuple[int, int, int]
    threads: tuple[int, int, int]
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Launches that compute `reference` of the arrays; `group` is what they are compared with: ours and MLX's together.

    `parameters` are what the reference asks for.
    """

    group: str
    name: str
    side: Literal["ours", "MLX"]
    reference: str
    parameters: Mapping[str, Any]
    arrays: Mapping[str, Array]
    launches: tuple[Launch, ...]

    @property
    def title(self) -> str:
        """Group and name."""
        return f"{self.group}: {self.name}"


def to_json(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """As `from_json` reads it."""
    return [asdict(case) for case in cases]


def from_json(cases: Sequence[Mapping[str, Any]]) -> list[Case]:
    """The cases of a dump."""
    return [
        Case(
            **{
                **case,
                "arrays": {name: Array(**{**a, "shape": tuple(a["shape"])}) for name, a in case["arrays"].items()},
                "launches": tuple(
                    Launch(each["text"], tuple(each["blocks"]), tuple(each["threads"]), tuple(each["arguments"]))
                    for each in case["launches"]
                ),
            }
        )
        for case in cases
    ]
