"""`gptoss-chat ask`: one answer on standard output, streamed; everything about it goes to standard error."""

import json

from app.chat.answer import NO_ANSWER, AnswerRecord
from app.chat.loop import turn
from app.cli.loading import loaded
from app.cli.printing import AnswerPrinter, say
from app.engine.local import LocalEngine, drive
from app.engine.protocol import Load, Ready
from mlx_model.events import Finished
from mlx_model.harmony.message import user
from mlx_model.options import Options
from mlx_model.request import Request


def answer(
    prompt: str,
    load: Load,
    options: Options,
    instructions: str | None,
    *,
    as_json: bool = False,
    show_analysis: bool = False,
) -> int:
    """Load the model, answer, print; returns 0, or 1 if the answer has no final text.

    Raises GptossError, and BrokenPipeError when nobody reads on.

    Plain: the text of the final channel as it comes, without any control character but newline and tab. `as_json`: one
    ASCII object at the end, whose strings are exactly what the model wrote. `show_analysis` streams the analysis to
    standard error, dimmed on a terminal.
    """
    return drive(_answer(prompt, load, options, instructions, as_json=as_json, show_analysis=show_analysis))


async def _answer(
    prompt: str, load: Load, options: Options, instructions: str | None, *, as_json: bool, show_analysis: bool
) -> int:
    engine = LocalEngine()
    ready = await loaded(engine, load)
    record = AnswerRecord(options.effort)
    printer = AnswerPrinter(show_analysis=show_analysis)
    async for event in turn(engine, Request((user(prompt),), options, instructions), record):
        if not as_json:
            printer.show(event.event)
    finished = record.finished or Finished("cancelled")
    if as_json:
        print(json.dumps(_to_json(record, finished, ready)), flush=True)
    printer.end_line()
    if finished.reason == "length":
        say(f"cut off after {finished.stats.decode_tokens:,} tokens: the limit is reached")
    if record.text.strip():
        return 0
    say(_why_empty(record, finished.reason))
    if not as_json and not show_analysis and (rest := _unseen(record, finished.reason)):
        printer.print_aside(rest)
    return 1


def _to_json(record: AnswerRecord, finished: Finished, ready: Ready) -> dict[str, object]:
    return {
        "text": record.text,
        "commentary": record.commentary,
        "analysis": record.analysis,
        "finish_reason": finished.reason,
        "stats": {"load_s": ready.load_s, "resident_bytes": ready.resident_bytes, **finished.stats.to_json()},
    }


def _why_empty(record: AnswerRecord, reason: str) -> str:
    """Why an answer has no final text, and what to do about it where that is known."""
    match reason:
        case "length":
            return "that was before the answer began; allow more with --max-tokens, or less thinking with --effort low"
        case "tool_call" if record.calls:
            return f"no answer: the model called the tool {record.calls[-1].recipient}, which `ask` does not have"
        case "stop_string":
            return "no answer: a stop string ended it before its first word"
    return "no answer: the model ended its turn without one"


def _unseen(record: AnswerRecord, reason: str) -> str:
    """What the model wrote instead of an answer, unless it has been printed: its calls, else its analysis."""
    if record.calls:
        return "\n\n".join(call.text for call in record.calls)
    return record.analysis if reason == NO_ANSWER and not record.commentary else ""
