"""What `gptoss-chat bench` measures, as data."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second of a prompt of `tokens` and of the answer after it, medians of a few runs.

    `portable_decode_tok_s` is that of MLX's own operations alone, where Metal kernels took part in the other;
    `peak_memory_bytes` the most that was held so far.
    """

    tokens: int
    prefill_tok_s: float
    decode_tok_s: float
    portable_decode_tok_s: float | None
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class NextTurn:
    """A chat's second answer: milliseconds to its first token, and prompt tokens computed for it.

    With what the first turn left in the KV cache, of which `reused_tokens` were taken, and with nothing.
    """

    reused_ms: float
    reused_computed: int
    fresh_ms: float
    fresh_computed: int
    reused_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ExpertReads:
    """Decoding where `slots` of the `experts` of each of some `layers` are in memory: the share of those asked for that
    were there, and what a token read from the disk and waited for it."""

    slots: int
    experts: int
    layers: int
    in_memory: float
    bytes_a_token: float
    wait_s_a_token: float


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """What MLX reads and writes when it copies memory, and reads when it adds it up, in 10^9 bytes a second."""

    copy: float
    read: float

    @property
    def best(self) -> float:
        """The greater of the two: what a kernel may hope for."""
        return max(self.copy, self.read)


@dataclass(frozen=True, slots=True)
class KernelSpeed:
    """One operation of the decode step as it runs: microseconds, GB/s of weights, microseconds by MLX's operations.

    `rows` are computed at once, each of another sequence.
    """

    operation: str
    microseconds: float
    gigabytes_s: float
    portable_microseconds: float
    rows: int = 1


@dataclass(slots=True)
class Measurements:
    """What was measured, and on which machine. `missing` are sentences on what was not and why; `power` slows this Mac.

    `weights_gigabytes_s` is what decoding after the shortest prompt reads of the weights; None on a CPU. `launches` of
    a decoded token are counted by MLX's primitive.
    """

    program: str
    machine: str
    power: str | None
    model: str
    dense_bits: int
    load_s: float
    resident_bytes: int
    adapter: str = ""
    speeds: list[Speed] = field(default_factory=list)
    next_turn: NextTurn | None = None
    experts: ExpertReads | None = None
    weights_gigabytes_s: float | None = None
    kernels: list[KernelSpeed] = field(default_factory=list)
    bandwidth_gigabytes_s: Bandwidth | None = None
    launches: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The model with its adapter, if it has one."""
        return f"{self.model} + {self.adapter}" if self.adapter else self.model
