"""What a caller may ask of one answer: effort, length, sampling, stop strings. Free of MLX."""

import math
from dataclasses import asdict, dataclass
from types import UnionType
from typing import Any

from mlx_model.errors import RequestError
from mlx_model.harmony.message import Effort

MOST_LOGPROBS = 20
"""Alternatives of a token that may be asked for, as at OpenAI's."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to answer. The defaults are OpenAI's recommendation for gpt-oss: temperature 1.0, top-p 1.0.

    `temperature` 0 is greedy decoding. `top_p`, `min_p` are probabilities, `top_k` 0 keeps every token.
    `repetition_penalty` above 1 divides (multiplies, where negative) the logits of tokens already in the context
    (Keskar et al. 2019, CTRL). Equal `seed`s give equal answers; None draws one. `stop` strings end the answer when
    they appear in the final channel; they are not part of it. `max_tokens` None means: until the context is full.
    `max_thinking` tokens of analysis end the thought, and the answer begins; None lets the model decide. With
    `logprobs` each token of the final message comes with its log probability and those of so many alternatives, as the
    model gives them, before anything else in here acts. `prompt_lookup` guesses tokens from what stands in the prompt,
    which changes no answer, and may bring quotes and edits sooner.
    Raises RequestError for values outside their range.
    """

    effort: Effort = Effort.MEDIUM
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_thinking: int | None = None
    logprobs: int | None = None
    prompt_lookup: bool = False

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "effort", Effort(self.effort))
        except ValueError:
            raise RequestError(f'effort is "{self.effort}"; gpt-oss knows low, medium and high') from None
        for name in ("max_tokens", "top_k", "seed", "max_thinking", "logprobs"):
            self._check_type(name, int)
        for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
            self._check_type(name, int | float)
        if not isinstance(self.prompt_lookup, bool):
            raise RequestError(f"prompt_lookup is {self.prompt_lookup!r}; it must be true or false")
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        for name, fine, allowed in (
            ("max_tokens", self.max_tokens is None or self.max_tokens >= 1, "at least 1"),
            ("temperature", 0 <= self.temperature < math.inf, "0 (greedy) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k >= 0, "0 (off) or more"),
            ("min_p", 0 <= self.min_p < 1, "0 (off) or more, and below 1"),
            ("repetition_penalty", 0 < self.repetition_penalty < math.inf, "above 0 (1 is off)"),
            ("seed", self.seed is None or 0 <= self.seed < 2**64, "from 0 to 2^64 - 1"),
            ("max_thinking", self.max_thinking is None or self.max_thinking >= 0, "0 or more"),
            ("logprobs", self.logprobs is None or 0 <= self.logprobs <= MOST_LOGPROBS, f"from 0 to {MOST_LOGPROBS}"),
            ("stop", all(isinstance(text, str) and text for text in stop), "non-empty texts"),
        ):
            if not fine:
                raise RequestError(f"{name} is {getattr(self, name)!r}; it must be {allowed}")

    def _check_type(self, name: str, kind: type | UnionType) -> None:
        value = getattr(self, name)
        is_optional = name in ("max_tokens", "seed", "max_thinking", "logprobs")
        if (isinstance(value, bool) or not isinstance(value, kind)) and not (value is None and is_optional):
            raise RequestError(f"{name} is {value!r}; it must be a {'whole ' if kind is int else ''}number")

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `Options(**fields)` is the inverse."""
        return asdict(self)
