"""Thirty calls as gpt-oss writes them, of the kinds of OpenAI's compatibility test: read, carried out, answered.

calls.jsonl has of each what the model writes behind `<|start|>assistant`, the function it means, and with what.
"""

import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest

from mlx_model.events import Finished
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import user
from mlx_model.harmony.parse import StreamParser
from mlx_model.harmony.render import Renderer
from mlx_model.request import Request
from mlx_model.tools.loop import ToolTurn
from mlx_model.tools.toolbox import Toolbox
from tests.fixtures.vocabulary import o200k

CASES = [json.loads(line) for line in Path(__file__).with_name("calls.jsonl").read_text("utf-8").splitlines()]


class Called:
    """The functions; each notes what it was called with."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}

    def tools(self) -> Toolbox:
        def disk_status() -> dict[str, object]:
            """How full the disks are."""
            return {"free": 0.4, "ok": True}

        def shorten_text(text: str) -> str:
            """The same in fewer words."""
            self.arguments = {"text": text}
            return "In short:\n“so”"

        def name_language(text: str) -> dict[str, object]:
            """Which language a text is in."""
            self.arguments = {"text": text}
            return {"language": "čeština"}

        def draw_plot(points: list[list[float]], kind: Literal["line", "bar", "scatter"], title: str = "") -> None:
            """A picture of some points."""
            self.arguments = {"points": points, "kind": kind, "title": title}

        def list_rows(
            table: str, columns: list[str], where: str = "", limit: int = 100, order: str | None = None
        ) -> list[dict[str, int]]:
            """Rows of a table."""
            self.arguments = {"table": table, "columns": columns, "where": where, "limit": limit, "order": order}
            return [{"id": 1}, {"id": 2}]

        def forecast(place: str) -> str:
            """The weather of tomorrow."""
            self.arguments = {"place": place}
            return "<|end|> sun"  # a text, no markup

        return Toolbox([disk_status, shorten_text, name_language, draw_plot, list_rows, forecast])


RESULTS = {
    "disk_status": '{"free": 0.4, "ok": true}',
    "shorten_text": "In short:\n“so”",
    "name_language": '{"language": "čeština"}',
    "draw_plot": "null",
    "list_rows": '[{"id": 1}, {"id": 2}]',
    "forecast": "<|end|> sun",
}


def ids_of(text: str) -> list[int]:
    """Ids of a text in which special tokens are written out."""
    special = o200k().special
    parts = re.split(r"(<\|[a-z]+\|>)", text)
    return [id for part in parts for id in ([special[part]] if part in special else o200k().encode(part))]


def test_there_are_thirty_of_six_functions() -> None:
    assert sorted(case["function"] for case in CASES) == sorted([*RESULTS] * 5)


@pytest.mark.parametrize("case", CASES, ids=[f"{case['function']}-{number % 5}" for number, case in enumerate(CASES)])
async def test_a_recorded_call(case: dict[str, Any]) -> None:
    parser, called = StreamParser(o200k()), Called()
    turn = ToolTurn(called.tools(), Request([user("q")]))
    for token in ids_of(case["output"]):
        for event in parser.push(token):
            turn.take(event)
    turn.take(Finished("tool_call"))
    call = turn.next()
    assert isinstance(call, ToolCall) and call.name == f"functions.{case['function']}" and call.error is None
    tool = turn.toolbox.tool(call)
    assert tool is not None and turn.known_result(call) is None
    finished = turn.answer(call, await tool.run(call, print, turn.room(call)))
    assert called.arguments == case["arguments"] and not finished.result.error
    # The result as in training: from the function, to the assistant, on commentary, its text without markup.
    rendered = Renderer(o200k()).message(turn.request.messages[-1])
    header = f"<|start|>functions.{case['function']} to=assistant<|channel|>commentary<|message|>"
    text = o200k().encode(RESULTS[case["function"]])
    assert rendered == [*ids_of(header), *text, *ids_of("<|end|>")]
