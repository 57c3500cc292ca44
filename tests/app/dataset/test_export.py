"""A set in the forms of other programs; tests/peers lets those programs read them."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.dataset.export import FORMATS, how_to_use, lines_of, task_of
from tests.app.dataset.made import ITEMS

DATA = Path("/sets/heat.jsonl")


def lines(kind: str, form: str, *, with_text: bool = True) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(ITEMS[kind], form, with_text=with_text).splitlines()]


def test_our_own_lines_have_everything() -> None:
    (item,) = lines("choice", "jsonl")
    expected = {
        "question",
        "answer",
        "choices",
        "file",
        "page",
        "where",
        "span",
        "quote",
        "kind",
        "difficulty",
        "context",
    }
    assert expected <= item.keys() and item["page"] == 2 and item["span"] == [10, 30]
    assert "choices" not in lines("qa", "jsonl")[0] and "asked_alone" not in item


@pytest.mark.parametrize("form", FORMATS[1:])
@pytest.mark.parametrize(("kind", "target"), [("qa", "41 kW"), ("choice", "B"), ("boolean", "yes")])
def test_prompts_and_targets(form: str, kind: str, target: str) -> None:
    for with_text in (True, False):
        line = lines(kind, form, with_text=with_text)[0]
        match form:
            case "inspect":
                asked, right = line["input"], line["target"]
                assert line.get("choices") == (["1 kW", "41 kW", "2 kW", "3 kW"] if kind == "choice" else None)
            case "lm-eval":
                asked, right = line["prompt"], "ABCD"[line["right"]] if kind == "choice" else line["answer"]
            case _:
                asked, right = line["input"][0]["content"], line["ideal"]
        assert right == target
        assert asked.startswith("Hall 2 had a pump of 41 kW.\n\n") == with_text
        assert ("\nB. 41 kW\n" in asked) == (kind == "choice" and form != "inspect")
        assert "context" in line or line["metadata"]["quote"]


def test_files_beside_the_lines() -> None:
    task = json.loads(task_of(ITEMS["choice"], "lm-eval", DATA))
    assert task["task"] == "heat" and task["output_type"] == "multiple_choice"
    assert task["dataset_kwargs"] == {"data_files": {"test": str(DATA)}}
    assert json.loads(task_of(ITEMS["qa"], "lm-eval", DATA))["output_type"] == "generate_until"
    registry = json.loads(task_of(ITEMS["qa"], "openai-evals", DATA))
    assert registry[registry["heat"]["id"]]["args"]["samples_jsonl"] == str(DATA)
    assert task_of(ITEMS["qa"], "jsonl", DATA) == task_of(ITEMS["qa"], "inspect", DATA) == ""
    assert all(how_to_use(form, DATA, DATA.with_suffix(".yaml")) for form in FORMATS)
