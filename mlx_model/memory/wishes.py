"""The input of a memory plan: what it must keep to, and the bytes that it may use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the plan must keep to: a context of so many tokens, a dense part at so many bits (plan.DENSE_BITS).

    `stored_bits` are those at which the files hold the dense part already, which no choice can change. With `streams`
    experts may stay in their files if the model does not fit otherwise; `slots` of each layer's are then in memory, or
    as many as fit, and where a number is stated the model is streamed in any case.
    """

    context: int | None = None
    dense_bits: int | None = None
    stored_bits: int | None = None
    streams: bool = False
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes to plan with. Up to `limit` the plan may go if a model does not fit otherwise. `reason` is one sentence.

    `cached` of the limit are left to the page cache where experts are read from their files.
    """

    nbytes: int
    limit: int
    reason: str
    cached: int = 0
