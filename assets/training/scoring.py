"""Judges answers: strictly well-formed Harmony, exact final texts, exact tool calls, length of the analysis."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .cases import NUMBERS, Case
from .examples import EFFORTS

_TEXT = r"((?:(?!<\|).)*)"
_ANALYSIS = rf"(?:<\|channel\|>analysis<\|message\|>{_TEXT}<\|end\|><\|start\|>assistant)"
_FINAL = re.compile(rf"{_ANALYSIS}?<\|channel\|>final<\|message\|>{_TEXT}<\|return\|>", re.S)
_CALL = re.compile(rf"{_ANALYSIS}?<\|channel\|>analysis to=python code<\|message\|>{_TEXT}<\|call\|>", re.S)


@dataclass(frozen=True)
class Reply:
    """What the model wrote after `<|start|>assistant`, special tokens spelt out, and again after python's result."""

    text: str
    after_result: str = ""
    analysis_tokens: int = 0


@dataclass(frozen=True)
class Verdict:
    """The judgement on one reply. `call` is None for questions that need none."""

    well_formed: bool
    correct: bool
    call: bool | None
    analysis_tokens: int


def call_of(text: str) -> str | None:
    """The code of a well-formed call of python."""
    match = _CALL.fullmatch(text)
    return match[2] if match else None


def judge(case: Case, reply: Reply) -> Verdict:
    """A final text counts only if it is the expected one to the letter, a call only if its code is."""
    expected_code = next((step.text for step in case.example.steps if step.kind == "call"), None)
    code, final = call_of(reply.text), _FINAL.fullmatch(reply.text)
    well_formed = code is not None or final is not None
    if code is not None:  # a call where none is expected leaves the question unanswered
        final = _FINAL.fullmatch(reply.after_result)
        well_formed = well_formed and (final is not None or not reply.after_result)
    correct = final is not None and final[2] == case.example.final
    call = None if expected_code is None else code == expected_code
    return Verdict(well_formed, correct and call is not False, call, reply.analysis_tokens)


def _percent(values: Sequence[bool]) -> str:
    return f"{100 * sum(values) / len(values):5.1f} ({len(values)})" if values else "-"


def table(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> str:
    """The figures as a Markdown table: percent right (number of cases) by task and effort."""
    cells: dict[tuple[str, str], list[bool]] = defaultdict(list)
    lengths: dict[str, list[int]] = defaultdict(list)
    for case, verdict in zip(cases, verdicts, strict=True):
        for column in (case.effort, "all"):
            cells["well-formed Harmony", column].append(verdict.well_formed)
            cells[case.group, column].append(verdict.correct)
            if case.group in ("first turn", "turns 2 to 5"):
                cells[case.example.task, column].append(verdict.correct)
            if verdict.call is not None:
                cells["exact python call", column].append(verdict.call)
        lengths[case.effort].append(verdict.analysis_tokens)
    rows = [
        "well-formed Harmony",
        *NUMBERS,
        "exact python call",
        "strawberry",
        "first turn",
        "turns 2 to 5",
        "long chats",
    ]
    lines = ["| % right (cases) | low | medium | high | all |", "|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row} | " + " | ".join(_percent(cells[row, column]) for column in (*EFFORTS, "all")) + " |")
    means = [f"{sum(lengths[effort]) / max(1, len(lengths[effort])):.1f}" for effort in EFFORTS]
    lines.append("| analysis, tokens | " + " | ".join(means) + " | |")
    return "\n".join(lines)
