"""What a run of the cases gives, as data and as a table."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.msl.cuda.arrays import nbytes
from tests.msl.cuda.manifest import Case


@dataclass(frozen=True, slots=True)
class Result:
    """Of one case. `worst` is its error as a share of what is allowed; `error` says why there is none.

    `variants` is the same for cases that must give the same `bits`. `us` is one pass, `gbps` the bytes that it must
    move at least, in that time.
    """

    group: str
    name: str
    side: str
    worst: float | None = None
    variants: str = ""
    bits: str = ""
    us: float | None = None
    gbps: float | None = None
    error: str = ""

    @property
    def right(self) -> bool:
        """Whether it ran and is within what is allowed."""
        return self.worst is not None and self.worst <= 1

    def as_json(self) -> dict[str, Any]:
        """For `Result(**...)`."""
        return asdict(self)


def bytes_moved(case: Case) -> float:
    """The least that one pass must read and write."""
    return sum(nbytes(array) * array.fraction for array in case.arrays.values() if array.role != "temporary")


def table(results: Sequence[Result], ceilings: Mapping[str, float]) -> str:
    """As Markdown."""
    fastest: dict[str, float] = defaultdict(lambda: math.inf)
    for each in results:
        if each.side == "MLX" and each.us:
            fastest[each.group] = min(fastest[each.group], each.us)
    lines = [
        "| case | us | GB/s | of copy | of read | MLX's time / its | error / allowed |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in results:
        cells = [f"{each.group}: {each.name}", *[""] * 5, _verdict(each)]
        if each.us and each.gbps:
            cells[1:3] = f"{each.us:.1f}", f"{each.gbps:.0f}"
            cells[3:5] = (f"{each.gbps / ceilings[key]:.0%}" for key in ("copy_gbps", "read_gbps"))
            if each.group in fastest:
                cells[5] = f"{fastest[each.group] / each.us:.2f}"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _verdict(result: Result) -> str:
    if result.worst is None:
        return result.error.replace("|", "/").replace("\n", " ")[:120]
    return f"{result.worst:.2f}{'' if result.right else ' WRONG'}"


def summary(results: Sequence[Result]) -> str:
    """How many are right, and which variants differ in bits."""
    ours = [each for each in results if each.side == "ours"]
    right = sum(each.right for each in results)
    groups = _variants(ours)
    different = [names for names in groups if len(names) > 1]
    lines = [
        f"{right} of {len(results)} cases are right ({len(ours)} ours, {len(results) - len(ours)} MLX's).",
        f"{len(groups) - len(different)} of {len(groups)} groups of variants give the same bits.",
        *(f"Different bits: {'; '.join(names)}" for names in different),
        *(f"Not right: {each.group}: {each.name}: {_verdict(each)}" for each in results if not each.right),
    ]
    return "\n".join(lines)


def all_well(results: Sequence[Result]) -> bool:
    """Whether all cases are right and all variants agree."""
    return all(each.right for each in results) and all(len(names) == 1 for names in _variants(results))


def _variants(results: Iterable[Result]) -> list[list[str]]:
    """Of each group of more than one variant a name for each of the different outputs."""
    bits: dict[str, dict[str, str]] = defaultdict(dict)
    counts: dict[str, int] = defaultdict(int)
    for each in results:
        if each.side == "ours" and each.bits:
            bits[each.variants].setdefault(each.bits, f"{each.group}: {each.name}")
            counts[each.variants] += 1
    return [list(names.values()) for key, names in bits.items() if counts[key] > 1]
