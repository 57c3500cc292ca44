"""One answer for a script: `generate`, `stream_generate`, and `python -m mlx_model.generate`."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlx_model.errors import GptossError, RequestError
from mlx_model.events import Event, Finished, MessageEnd, PrefillProgress, Stats
from mlx_model.harmony.message import Message, user
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.runner import Runner
from mlx_model.session import Session


@dataclass(frozen=True, slots=True)
class Result:
    """One answer. `text` is what is meant for the user, `analysis` the chain of thought, `tokens` the sampled ids.

    `finish_reason` is "stop", "tool_call", "length" or "stop_string" (see events.Finished). Cut off while thinking, an
    answer has an empty `text`: analysis is never passed off as the answer.
    """

    text: str
    analysis: str
    messages: tuple[Message, ...]
    tokens: tuple[int, ...]
    finish_reason: str
    stats: Stats


def stream_generate(
    model: Model,
    prompt: str | Sequence[Message],
    *,
    instructions: str | None = None,
    tools: Sequence[str] = (),
    **options: Any,
) -> Iterator[Event]:
    """Answers one prompt or conversation event by event; the last is Finished. Parameters as for `generate`."""
    messages = [user(prompt)] if isinstance(prompt, str) else list(prompt)
    return Session(model, instructions=instructions, tools=tools).stream(messages, Options(**options))


def generate(
    model: Model,
    prompt: str | Sequence[Message],
    *,
    instructions: str | None = None,
    tools: Sequence[str] = (),
    **options: Any,
) -> Result:
    """Answers one prompt or conversation.

    `instructions` becomes the developer message, `tools` names builtin tools the model may call ("python", "browser";
    the caller runs them), the other keywords are the fields of `Options`: effort, max_tokens, temperature, top_p,
    top_k, min_p, repetition_penalty, seed, stop. Raises RequestError, ContextError or TokenizerError. For several
    turns keep a `Session`: it reuses what the last turn computed.
    """
    messages = [user(prompt)] if isinstance(prompt, str) else list(prompt)
    session = Session(model, instructions=instructions, tools=tools)
    return collect(session.stream(messages, Options(**options)), session)


def collect(events: Iterator[Event], session: Session) -> Result:
    """Runs an answer of `session` to its end."""
    messages: list[Message] = []
    finished = Finished("cancelled")
    for event in events:
        if isinstance(event, MessageEnd):
            messages.append(event.message)
        elif isinstance(event, Finished):
            finished = event

    def on(channel: str) -> str:
        texts = [m.text for m in messages if m.channel == channel and m.recipient is None]
        return "\n\n".join(text for text in texts if text)

    return Result(
        text=on("final"),
        analysis=on("analysis"),
        messages=tuple(messages),
        tokens=tuple(session.tokens),
        finish_reason=finished.reason,
        stats=finished.stats,
    )


def stats_json(model: Model, stats: Stats) -> dict[str, Any]:
    """The figures of one answer and of its model: seconds, tokens, tokens a second, bytes."""
    return {
        "load_s": model.load_s,
        "resident_bytes": model.resident_bytes,
        **asdict(stats),
        "prefill_tok_s": stats.prefill_tok_s,
        "decode_tok_s": stats.decode_tok_s,
    }


def _run_ids(model: Model, prompt: list[int], options: Options) -> Result:
    """Feeds ids without Harmony."""
    runner = Runner(model)
    tokens = [item for item in runner.run(prompt, options) if not isinstance(item, PrefillProgress)]
    text = model.tokenizer.decode(tokens) if model.tokenizer else ""
    return Result(text, "", (), tuple(tokens), runner.finish_reason, runner.stats)


def _ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise RequestError(f'--raw-tokens wants ids with commas between, like "1,2,3", not {text!r}') from None


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m mlx_model.generate`; returns the exit code, 1 for a failure that it explains on standard error."""
    parser = argparse.ArgumentParser(prog="python -m mlx_model.generate", description="One answer of a model.")
    parser.add_argument("--model", required=True, help="demo, gpt-oss-20b, gpt-oss-120b, org/repo or a folder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prompt", help="the question")
    source.add_argument("--raw-tokens", metavar="IDS", help='ids to continue, without Harmony: "1,2,3"')
    parser.add_argument("--effort", choices=["low", "medium", "high"], default="medium")
    parser.add_argument("--max-tokens", type=int, metavar="N")
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help="0 is greedy (default: 1.0)")
    parser.add_argument("--seed", type=int, metavar="S")
    parser.add_argument("--dense-bits", type=int, choices=[8, 6, 4], help="quantise attention and output matrix")
    parser.add_argument("--json", action="store_true", help="print one object with text, analysis, tokens and stats")
    given = parser.parse_args(arguments)
    try:
        options = Options(
            effort=given.effort, max_tokens=given.max_tokens, temperature=given.temperature, seed=given.seed
        )
        model = load(given.model, dense_bits=given.dense_bits)
        if given.raw_tokens is not None:
            result = _run_ids(model, _ids(given.raw_tokens), options)
        else:
            result = generate(model, given.prompt, **options.to_json())
    except GptossError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if given.json:
        fields = asdict(result) | {"stats": stats_json(model, result.stats)}
        del fields["messages"]
        print(json.dumps(fields, ensure_ascii=False))
    else:
        print(result.text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
