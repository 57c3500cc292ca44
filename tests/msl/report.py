"""What one run of a kernel gives: outputs, findings, and the traffic of each buffer."""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx


@dataclass(frozen=True, slots=True)
class Accesses:
    """Loads or stores of one buffer, over all lanes.

    An instruction of a simdgroup is what its lanes do at one place in the code in one turn of a loop. `lines64` adds
    up, over the instructions, the lines of 64 bytes that the lanes touch together; `ideal64` the fewest lines that
    could hold the bytes they touch. The same for lines of 128 bytes.
    """

    bytes: int
    by_width: dict[int, int]
    lines64: int
    ideal64: int
    lines128: int
    ideal128: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a kernel did to one buffer, or to all threadgroup memory (where only loads, stores and atomics are counted).

    `distinct_bytes` were touched at all: the least that DRAM must carry. Of the lines that were read, `shared_lines64`
    were read by more than one simdgroup. Of an output's elements `unwritten`, `written_once` and `rewritten` count how
    often they were stored to.
    """

    loads: Accesses
    stores: Accesses
    atomics: int
    distinct_bytes: int = 0
    distinct_lines64: int = 0
    shared_lines64: int = 0
    distinct_lines128: int = 0
    shared_lines128: int = 0
    unwritten: int = 0
    written_once: int = 0
    rewritten: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """`findings` is empty for a clean run. `traffic` and `threadgroup_traffic` are there in trace mode alone.

    Traffic has the name of each input and output, and those of shapes and strides that MLX adds.
    """

    outputs: list[mx.array]
    findings: list[str]
    traffic: dict[str, Traffic]
    threadgroup_traffic: Traffic | None
    simd_operations: int
    threadgroup_barriers: int

    def line_bytes(self, *buffers: str) -> int:
        """Bytes of the 64-byte lines that the loads of these buffers ask of the first-level cache."""
        return sum(64 * self.traffic[name].loads.lines64 for name in buffers)


def traffic_from_json(values: dict[str, Any]) -> Traffic:
    """As the runner prints it."""
    accesses = {name: _accesses(values[name]) for name in ("loads", "stores")}
    return Traffic(**{**values, **accesses})


def _accesses(values: dict[str, Any]) -> Accesses:
    widths = {int(width): count for width, count in values["by_width"].items()}
    return Accesses(**{**values, "by_width": widths})
