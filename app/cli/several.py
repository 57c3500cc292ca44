"""`ask --samples`: several answers at once, and the one that is made of them."""

import argparse
import json
import sys
from contextlib import aclosing
from time import monotonic
from typing import Any

from app.chat.answer import AnswerRecord
from app.chat.plan import Plan
from app.chat.pro import Pro, is_whole
from app.cli.arguments import Start
from app.cli.form import parsed
from app.cli.printing import DIM, PLAIN, TerminalLine, say, shows_styles
from app.cli.usage import UsageError, of_arguments
from app.documents.attachments import split
from app.documents.citations import FileCitations, flaws
from app.engine.engine import Engine
from app.engine.protocol import Ready
from mlx_model.errors import GptossError
from mlx_model.events import Finished
from mlx_model.harmony.message import Effort
from mlx_model.pro.samples import COMBINE, MOST, check_samples, total
from mlx_model.request import Request
from mlx_model.text import clean

PROGRESS_S = 0.2
"""Seconds between two looks at the line of progress."""
_EVIDENCE = (
    "What is known of it: where answers can be compared (a number, a choice, a short fact), the majority is right more "
    "often than one answer: gpt-oss-120b, with a python tool, went from 96.5% to 100% of the 30 questions of AIME 2024 "
    "by a vote of 16. It gains little where one answer is nearly always right or nearly always wrong, and nothing "
    "where the model makes the same mistake each time. No study known to us shows that a free text of gpt-oss gets "
    "better when it is written from several. A higher --effort or the larger model often does more. By the bytes that "
    "are read, eight answers at once take a Mac the time of 2.5 to 4 (not measured there)."
)


def add_samples(parser: argparse.ArgumentParser) -> None:
    """The arguments that ask for several answers."""
    group = parser.add_argument_group("several answers", _EVIDENCE)
    group.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help=f"compute N answers at once, from 2 to {MOST}, with different seeds and without tools, and make one of "
        'them; a last line "Answer: ..." in what you ask for lets longer ones be counted',
    )
    group.add_argument(
        "--combine",
        choices=COMBINE,
        help="how one is made of them: vote (default) counts what can be compared, stops once the leader is 95%% sure "
        "to stay ahead, and synthesises the rest; select: the model chooses one; synthesise: it writes one from all; "
        "all: prints all",
    )


def plan_of(arguments: argparse.Namespace, setup: Start) -> Plan | None:
    """How several answers are asked for, None where one is. Raises UsageError."""
    count: int | None = getattr(arguments, "samples", None)
    if count is None:
        if getattr(arguments, "combine", None) is not None:
            raise UsageError("--combine is for several answers: add --samples N")
        return None
    if setup.tools:
        raise UsageError("several answers can't use tools: leave out --tools or --samples")
    plan = Plan(count, arguments.combine or "vote")
    with of_arguments():
        check_samples(setup.options, plan.count, plan.combine)
    return plan


async def print_several(
    engine: Engine, ready: Ready, request: Request, setup: Start, plan: Plan, *, as_json: bool
) -> int:
    """Ask, and print the answer that is made of them, all of it at the end; returns the exit code. If the engine fails
    on the way, what has come by then is printed.

    Raises EngineError and EngineDied where that is no answer.
    """
    effort = setup.options.effort
    pro, failed = Pro(request, [AnswerRecord(effort) for _ in range(plan.count)], plan.combine), False
    try:
        await _ask(pro, engine, effort)
    except GptossError as error:
        if not pro.break_off():
            raise
        say(str(error))
        failed = True
    for warning in pro.warnings:
        print(clean(warning), file=sys.stderr)
    answer = pro.answer
    attachments = split(request.messages[-1].text)[1]
    printed = [answer] if answer is not None and is_whole(answer) else []
    texts = [record.text for record in (pro.records if plan.combine == "all" else printed)]
    files = FileCitations(lambda: attachments)
    if as_json:
        finished = (answer and answer.finished) or Finished("cancelled")
        fields = to_json(pro, plan, ready)
        if attachments:
            fields["citations"] = [each.to_json() for each in files.of(str(fields["text"]))]
            for sample, record in zip(fields["samples"], pro.records, strict=True):
                sample["citations"] = [each.to_json() for each in files.of(record.text)]
        print(json.dumps(fields | parsed(setup.form, str(fields["text"]), finished)), flush=True)
    elif plan.combine == "all":
        print_all(pro)
    elif answer is not None and is_whole(answer):
        if setup.show_analysis and answer.analysis:
            dims = shows_styles(sys.stderr)
            print(f"{DIM if dims else ''}{clean(answer.analysis)}{PLAIN if dims else ''}", file=sys.stderr)
        print(clean(answer.text).rstrip("\n"), flush=True)
    for flaw in [] if as_json else dict.fromkeys(flaw for text in texts for flaw in flaws(files.of(text))):
        say(flaw)
    say(result_line(pro))
    return 0 if answer is not None and is_whole(answer) and not failed else 1


async def _ask(pro: Pro, engine: Engine, effort: Effort) -> None:
    """To the end, and says in a terminal how far it is."""
    line, due = TerminalLine(sys.stderr), 0.0
    try:
        async with aclosing(pro.events(engine, lambda: AnswerRecord(effort), lambda: False)) as events:
            async for _ in events:
                if line.is_shown and monotonic() >= due:
                    due = monotonic() + PROGRESS_S
                    line.show(progress(pro))
    finally:
        line.end()


def print_all(pro: Pro) -> None:
    """Every answer that has a text, under its number."""
    count = len(pro.records)
    for number, record in enumerate(pro.records, 1):
        if record.text.strip():
            cut = "" if is_whole(record) else ", cut off"
            print(f"[{number} of {count}{cut}]\n{clean(record.text).strip()}\n", flush=True)


def progress(pro: Pro) -> str:
    """How far they are, in a line."""
    work = pro.doing or f"{len(pro.ended)} of {len(pro.records)} answers"
    return ", ".join(filter(None, [work, *pro.cost(0.0), pro.votes]))


def result_line(pro: Pro) -> str:
    """What came of them, with the votes and what it took."""
    assert pro.outcome is not None
    how = pro.outcome.how
    if not pro.samples.answers:
        reasons = {record.finished.reason for record in pro.records if record.finished is not None}
        how = f"no answer: {how}"
        if "length" in reasons:
            how += " within the token limit; allow more with --max-tokens, or less thinking with --effort low"
    counted = f" ({pro.votes})" if how.startswith("votes") else ""
    return "; ".join([f"{how}{counted}", *pro.cost(0.0)])


def to_json(pro: Pro, plan: Plan, ready: Ready) -> dict[str, Any]:
    """The answer as `ask --json` has it, with what it was made of; `chosen` is a place in `samples`."""
    assert pro.outcome is not None
    answer, further = pro.answer, [pro.further.stats] if pro.further is not None else []
    stats = total([record.stats for record in pro.records], further, pro.seconds, pro.samples.seed)
    load = {"load_s": ready.load_s, "resident_bytes": ready.resident_bytes}
    return {
        **(_fields(answer) if answer is not None else _fields(pro.records[0])),
        "stats": {**load, **stats.to_json()},
        "combine": plan.combine,
        "outcome": pro.outcome.how,
        "chosen": pro.outcome.chosen,
        "votes": [{"answer": count.answer, "samples": [*count.voters]} for count in pro.outcome.votes],
        "samples": [_fields(record) for record in pro.records],
    }


def _fields(record: AnswerRecord) -> dict[str, object]:
    finished = record.finished or Finished("died")
    return {
        "text": record.text,
        "commentary": record.commentary,
        "analysis": record.analysis,
        "finish_reason": finished.reason,
        "stats": finished.stats.to_json(),
    }
