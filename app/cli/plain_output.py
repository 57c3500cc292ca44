"""What stands below an answer of the plain chat, on standard error: the conversation alone is on standard output."""

import sys
from collections.abc import Sequence

from app.chat.answer import AnswerRecord
from app.chat.footer import footer
from app.chat.sources import source_list
from mlx_model.tools.citations import Source


def print_sources(sources: Sequence[Source]) -> None:
    """What an answer cites."""
    if sources:
        print(source_list(sources), file=sys.stderr, flush=True)


def print_footer(record: AnswerRecord, unfinished: str) -> None:
    """What the answer has cost, with a blank line after it."""
    finished = record.finished
    line = (
        footer(record.effort, finished.reason, finished.stats) if finished else footer(record.effort, unfinished, None)
    )
    print(line, end="\n\n", file=sys.stderr, flush=True)
