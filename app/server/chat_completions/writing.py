"""What the engine brings, as the chunks of a chat completion and the completion itself. Pure: no clock, no wire."""

import secrets
from collections.abc import Iterator
from typing import Any

from app.chat.loop import TurnEvent
from app.engine.protocol import Answer
from app.server.chat_completions.reading import AskedChat
from app.server.declared import CalledTool
from app.server.responses.output import custom_input, new_id
from app.server.sampling import logprobs_json
from app.server.thoughts import GAP
from mlx_model.events import Finished, MessageStart, Stats, TextDelta
from mlx_model.harmony.message import NO_TOOL, Role

Chunks = list[dict[str, Any]]

_REASONS = {"tool_call": "tool_calls", "length": "length", "tool_limit": "length"}
"""How an answer ended, as this API has it; all else is "stop"."""


class ChatWriter:
    """One completion: `opening`, then what comes to `take`; behind the end of a choice stands the next one's opening.

    `usage_chunk` follows the last one of a stream, where it was asked for.
    """

    def __init__(self, asked: AskedChat, created: int, *, withholds_reasoning: bool = False) -> None:
        self._asked = asked
        self._common = {"id": f"chatcmpl-{secrets.token_hex(16)}", "created": created, "model": asked.model}
        self._withholds_reasoning = withholds_reasoning
        self._choices: list[_Choice] = []
        self._stats: list[Stats] = []

    @property
    def id(self) -> str:
        """The completion's id."""
        return str(self._common["id"])

    @property
    def call_id(self) -> str | None:
        """The id of the call that the choice ends with which has ended last, None if it doesn't."""
        last = self._choices[len(self._stats) - 1]
        return last.call_id if last.finish_reason == "tool_calls" else None

    @property
    def completion(self) -> dict[str, Any]:
        """The whole completion, for a client that does not stream."""
        choices = [choice.json(index) for index, choice in enumerate(self._choices)]
        return {**self._common, "object": "chat.completion", "choices": choices, "usage": self._usage}

    def opening(self) -> Chunks:
        """A choice begins: what a client hears before anything is computed."""
        self._choices.append(_Choice(self._asked, self._withholds_reasoning))
        return [self._chunk({"role": "assistant", "content": ""})]

    def waiting(self) -> Chunks:
        """A sign of life."""
        return [self._chunk({})]

    def take(self, event: TurnEvent) -> Chunks:
        """The chunks for one of the engine's events; those of tools that the server runs stay inside."""
        if not isinstance(event, Answer):
            return []
        choice = self._choices[-1]
        match event.event:
            case MessageStart() as start:
                return [self._chunk(each) for each in choice.begin(start)]
            case TextDelta() as delta:
                logprobs = choice.keep(delta)
                return [self._chunk(each, logprobs=logprobs) for each in choice.grow(delta)]
            case Finished(reason, stats):
                self._stats.append(stats)
                chunks = [*map(self._chunk, choice.finish(reason)), self._chunk({}, choice.finish_reason)]
                return [*chunks, *(self.opening() if len(self._choices) < self._asked.choices else [])]
        return []

    def usage_chunk(self) -> dict[str, Any]:
        """The chunk that has no choice."""
        return {**self._common, "object": "chat.completion.chunk", "choices": [], "usage": self._usage}

    def _chunk(
        self, delta: dict[str, Any], finish_reason: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        fields = {"delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
        choice = {"index": len(self._choices) - 1, **fields}
        return {**self._common, "object": "chat.completion.chunk", "choices": [choice]}

    @property
    def _usage(self) -> dict[str, Any]:
        """The tokens: the prompt counts once, however many answers it has."""
        first = self._stats[0] if self._stats else Stats()
        prompt, decoded = first.prefill_tokens + first.reused_tokens, sum(each.decode_tokens for each in self._stats)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": decoded,
            "total_tokens": prompt + decoded,
            "prompt_tokens_details": {"cached_tokens": first.reused_tokens},
            "completion_tokens_details": {"reasoning_tokens": sum(each.analysis_tokens for each in self._stats)},
        }


class _Choice:
    """One answer."""

    def __init__(self, asked: AskedChat, withholds_reasoning: bool) -> None:
        self.call_id: str | None = None
        self.finish_reason: str | None = None
        self._declared = asked.declared
        self._withholds_reasoning = withholds_reasoning
        self._reasoning = ""
        self._content = ""
        self._tool: CalledTool | None = None
        self._arguments = ""
        self._has_logprobs = asked.request.options.logprobs is not None
        self._logprobs: list[dict[str, Any]] = []
        self._shows = "content"  # where the message's text goes: content, reasoning, arguments, or nowhere

    def json(self, index: int) -> dict[str, Any]:
        """The choice of a completion."""
        message: dict[str, Any] = {"role": "assistant", "content": self._content, "refusal": None}
        if self._reasoning:
            message |= {"reasoning": self._reasoning, "reasoning_content": self._reasoning}
        if self._tool is not None:
            message["content"] = self._content or None
            message["tool_calls"] = [self._call]
        logprobs = {"content": self._logprobs, "refusal": None} if self._has_logprobs else None
        return {"index": index, "message": message, "finish_reason": self.finish_reason, "logprobs": logprobs}

    def begin(self, start: MessageStart) -> Iterator[dict[str, Any]]:
        """A message starts; two of one kind have a blank line between."""
        self._shows = self._place_of(start)
        if self._shows == "arguments":
            self._tool, self._arguments = self._declared.called(start.recipient or ""), ""
            self.call_id = new_id("call")
            if not self._tool.is_custom:
                yield {"tool_calls": [{"index": 0, **self._call}]}
        elif (self._shows == "content" and self._content) or (self._shows == "reasoning" and self._reasoning):
            yield from self._add(GAP)

    def keep(self, delta: TextDelta) -> dict[str, Any] | None:
        """The log probabilities of a delta's tokens, None where there are none."""
        if not delta.logprobs:
            return None
        logprobs = logprobs_json(delta.logprobs)
        self._logprobs += logprobs
        return {"content": logprobs, "refusal": None}

    def grow(self, delta: TextDelta) -> Iterator[dict[str, Any]]:
        """More of the message's text."""
        if self._shows != "arguments":
            yield from self._add(delta.text)
            return
        self._arguments += delta.text
        if self._tool is not None and not self._tool.is_custom:
            yield {"tool_calls": [{"index": 0, "function": {"arguments": delta.text}}]}

    def finish(self, reason: str) -> Iterator[dict[str, Any]]:
        """The answer is over. A custom tool's text is known only now."""
        self.finish_reason = _REASONS.get(reason, "stop")
        if self._tool is not None and self._tool.is_custom:
            yield {"tool_calls": [{"index": 0, **self._call}]}

    def _place_of(self, start: MessageStart) -> str:
        if start.role != Role.ASSISTANT:
            return ""
        if start.recipient not in NO_TOOL:
            hosted = self._declared.is_hosted(self._declared.called(start.recipient or ""))
            return "" if hosted else "arguments"
        if start.channel == "analysis":
            return "" if self._withholds_reasoning else "reasoning"
        return "content"

    def _add(self, text: str) -> Iterator[dict[str, Any]]:
        if self._shows == "content":
            self._content += text
            yield {"content": text}
        elif self._shows == "reasoning":
            self._reasoning += text
            yield {"reasoning": text, "reasoning_content": text}

    @property
    def _call(self) -> dict[str, Any]:
        assert self._tool is not None
        if self._tool.is_custom:
            inner = {"name": self._tool.name, "input": custom_input(self._arguments)}
            return {"id": self.call_id, "type": "custom", "custom": inner}
        inner = {"name": self._tool.name, "arguments": self._arguments}
        return {"id": self.call_id, "type": "function", "function": inner}
