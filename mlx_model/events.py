"""What happens during one answer, as small typed events.

Defined once and used by `stream_generate`, by the pipe between the engine process and the app, and by the
terminal UI. Texts are untrusted model output: code that shows them must keep control characters away from the
terminal.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mlx_model.harmony.message import Message


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts and times of one answer. Times in seconds, speeds in tokens per second, memory in bytes.

    `prefill_tokens` were computed for this prompt, `reused_tokens` came from a KV cache; their sum is the
    length of the prompt. `ttft_s` runs from the request to the first sampled token. `seed` is the one used: the
    caller's, or one that was drawn. `analysis_tokens` are those of thoughts among the decoded ones, with headers.
    `guessed_tokens` were computed beforehand (Options.prompt_lookup), `accepted_tokens` of them were right.
    Where experts are read from the disk, `experts_asked` is how many were asked for, each step and layer for itself,
    `experts_read` of them from the disk, `experts_bytes` in all, and `experts_wait_s` how long the answer waited.
    Of `decode_s`, where other computers hold layers, `there_s` was computed by them, and `wire_s` spent on the way.
    `first_prompt_tokens` is the length of the prompt of a turn's first round where more followed, else 0.
    """

    prefill_tokens: int = 0
    reused_tokens: int = 0
    decode_tokens: int = 0
    ttft_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    peak_memory_bytes: int = 0
    seed: int = 0
    analysis_tokens: int = 0
    guessed_tokens: int = 0
    accepted_tokens: int = 0
    experts_asked: int = 0
    experts_read: int = 0
    experts_bytes: int = 0
    experts_wait_s: float = 0.0
    there_s: float = 0.0
    wire_s: float = 0.0
    first_prompt_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """The length of the prompt, of a turn's first round."""
        return self.first_prompt_tokens or self.prefill_tokens + self.reused_tokens

    @property
    def experts_in_memory(self) -> float:
        """The share of the experts asked for that were in memory; 1 where nobody counted."""
        return 1 - self.experts_read / self.experts_asked if self.experts_asked else 1.0

    @property
    def prefill_tok_s(self) -> float:
        """Prompt tokens computed a second; 0 before the first."""
        return self.prefill_tokens / self.prefill_s if self.prefill_s else 0.0

    @property
    def decode_tok_s(self) -> float:
        """Tokens decoded a second, the first (which prefill yields) not counted; 0 before the second."""
        return (self.decode_tokens - 1) / self.decode_s if self.decode_s and self.decode_tokens > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """All figures, the speeds included, as a JSON object."""
        return {**asdict(self), "prefill_tok_s": self.prefill_tok_s, "decode_tok_s": self.decode_tok_s}

    def followed_by(self, more: Stats) -> Stats:
        """Statistics of an answer that was cut off and continued: its own prompt and first token, all tokens."""
        begin = self if self.decode_tokens else more
        return replace(
            begin,
            decode_tokens=self.decode_tokens + more.decode_tokens,
            decode_s=self.decode_s + more.decode_s,
            analysis_tokens=self.analysis_tokens + more.analysis_tokens,
            guessed_tokens=self.guessed_tokens + more.guessed_tokens,
            accepted_tokens=self.accepted_tokens + more.accepted_tokens,
            there_s=self.there_s + more.there_s,
            wire_s=self.wire_s + more.wire_s,
            peak_memory_bytes=max(self.peak_memory_bytes, more.peak_memory_bytes),
            experts_asked=self.experts_asked + more.experts_asked,
            experts_read=self.experts_read + more.experts_read,
            experts_bytes=self.experts_bytes + more.experts_bytes,
            experts_wait_s=self.experts_wait_s + more.experts_wait_s,
            first_prompt_tokens=begin.prompt_tokens if self.first_prompt_tokens or more.first_prompt_tokens else 0,
        )

    def and_then(self, more: Stats) -> Stats:
        """Statistics of a turn whose next round, after a tool's result, took `more`.

        Tokens computed and decoded, and their times, are of all rounds. What this turn itself had brought into the
        cache doesn't count as reused: the sum of all tokens is that of the conversation after the last round, or more
        where results had to be left out on the way.
        """
        own = self.prefill_tokens + self.decode_tokens
        return replace(
            self.followed_by(more),
            prefill_tokens=self.prefill_tokens + more.prefill_tokens,
            reused_tokens=max(more.reused_tokens - own, 0),
            prefill_s=self.prefill_s + more.prefill_s,
            first_prompt_tokens=self.prompt_tokens,
        )


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits: so many are answered before it. Said again whenever that number changes, never by a model."""

    before: int


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """`done` of `total` prompt tokens are in the cache (reused ones counted)."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that was asked for is kept to in part only; `text` says what. Comes before the first message."""

    text: str


@dataclass(frozen=True, slots=True)
class MessageStart:
    """The header of a message is known. `channel` is "analysis", "commentary" or "final", whatever the model wrote.

    `recipient` is the tool a call goes to, e.g. "python" or "functions.get_weather"; None when it is for the user.
    `role` is the assistant's unless the model goes on to write another role's message, which is no part of its answer.
    """

    channel: str
    recipient: str | None = None
    content_type: str | None = None
    role: str = "assistant"


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could stand at a place: its bytes, which need not be whole characters, and its log probability."""

    token: bytes
    logprob: float

    @property
    def text(self) -> str:
        """The token as text."""
        return self.token.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """A token that was sampled, and the likeliest at its place, the likeliest first."""

    sampled: Alternative
    top: tuple[Alternative, ...] = ()

    def to_json(self) -> list[list[Any]]:
        """JSON: bytes and log probability of each, the sampled one first."""
        return [[list(each.token), each.logprob] for each in (self.sampled, *self.top)]

    @staticmethod
    def from_json(fields: list[list[Any]]) -> TokenLogprobs:
        """The inverse of `to_json`. Raises TypeError or ValueError for anything else."""
        sampled, *top = [Alternative(bytes([*token]), float(logprob)) for token, logprob in fields]
        return TokenLogprobs(sampled, tuple(top))


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the message that last started. Deltas concatenate exactly to the message's text.

    `logprobs` are those of the tokens that have ended in it, where Options.logprobs asks for them.
    """

    channel: str
    text: str
    recipient: str | None = None
    logprobs: tuple[TokenLogprobs, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """The message that last started is complete (or was cut off: see Finished.reason)."""

    message: Message


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer has ended.

    `reason`: "stop" (the model has answered), "no_answer" (it ended its turn without a final message that has text, and
    without a call), "tool_call" (it waits for a tool's result), "length" (max_tokens or the context is used up),
    "stop_string" (a stop string of the caller's), "tool_limit" (it has called tools as often as it may in one turn, or
    the same one again and again; its last call was not run), "cancelled".
    """

    reason: str
    stats: Stats = field(default_factory=Stats)


Event = Queued | PrefillProgress | Warned | MessageStart | TextDelta | MessageEnd | Finished
