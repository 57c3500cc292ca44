"""The form of an answer on the command line: `--schema FILE` or `--regex TEXT`."""

import argparse
import json
import sys
from pathlib import Path

from app.cli.arguments import text_of
from metal.files import parse_json, read_small
from mlx_model.errors import RequestError
from mlx_model.events import Finished
from mlx_model.generation.formats import AnswerFormat, answer_format
from mlx_model.generation.grammars import check_installed

_MOST_BYTES = 4 << 20
"""Of a schema; the largest known have some hundred kilobytes."""


def add_form(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    group = parser.add_argument_group("form of the answer").add_mutually_exclusive_group()
    group.add_argument("--schema", metavar="FILE", help="answer with JSON that keeps to the JSON schema in this file")
    group.add_argument("--regex", metavar="TEXT", help="answer with what this regular expression matches")


def form_of(arguments: argparse.Namespace, *, is_bound_here: bool = True) -> AnswerFormat:
    """What the command line asks for. Raises RequestError for a file that is no JSON schema, and where the answer is to
    be bound by this program, which lacks llguidance: a server has its own."""
    schema, regex = getattr(arguments, "schema", None), getattr(arguments, "regex", None)
    if schema is None and regex is None:
        return AnswerFormat()
    if is_bound_here:
        check_installed()
    if schema is None:
        return answer_format(None, text_of(str(regex)))
    try:
        value = parse_json(read_small(Path(schema), _MOST_BYTES))
        if not isinstance(value, dict):
            raise ValueError("it is not an object")
        return answer_format(value)
    except OSError as error:
        raise RequestError(f"{schema} can't be read: {error.strerror or error}") from None
    except (ValueError, RequestError) as error:
        raise RequestError(f"{schema} is no JSON schema: {error}") from None


def parsed(form: AnswerFormat | None, text: str, finished: Finished) -> dict[str, object]:
    """What the JSON of an answer has besides, where a schema binds it: the value, None where it is not whole."""
    if form is None or form.read is None:
        return {}
    return {"parsed": json.loads(text, parse_float=_finite) if finished.reason == "stop" else None}


def _finite(digits: str) -> float:
    """A number that no float holds is the largest, as for jq: JSON has no infinity."""
    return max(-sys.float_info.max, min(float(digits), sys.float_info.max))
