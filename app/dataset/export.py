"""A set in the forms that test programs read: each line an item, for some with a file beside it that tells of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.dataset.item import Item
from app.dataset.kinds import letter, with_letters

FORMATS = ("jsonl", "inspect", "lm-eval", "openai-evals")
_ONE_LETTER = "Answer with the letter of the right choice alone."
_YES_OR_NO = "Answer with yes or no alone."
_SHORT = "Answer in a few words."


def lines_of(items: Sequence[Item], form: str, *, with_text: bool) -> str:
    """The items in one of FORMATS. `with_text` puts the passage before each question of those that have a prompt."""
    line = _LINES[form]
    return "".join(json.dumps(line(item, with_text), ensure_ascii=False) + "\n" for item in items)


def task_of(items: Sequence[Item], form: str, data: Path) -> str:
    """The file in YAML that a program wants beside the lines, "" if it wants none. JSON is YAML, too."""
    if form == "lm-eval":
        return json.dumps(_lm_eval_task(items, data), indent=2, ensure_ascii=False) + "\n"
    if form == "openai-evals":
        return json.dumps(_openai_registry(items, data), indent=2, ensure_ascii=False) + "\n"
    return ""


def how_to_use(form: str, data: Path, task: Path) -> str:
    """How the set is run, as Markdown."""
    name = json.dumps(str(data))
    match form:
        case "inspect":
            choice = f"task = Task(dataset=json_dataset({name}), solver=multiple_choice(), scorer=choice())"
            free = f"task = Task(dataset=json_dataset({name}), solver=generate(), scorer=includes())"
            return (
                "```python\nfrom inspect_ai import Task\nfrom inspect_ai.dataset import json_dataset\n"
                "from inspect_ai.scorer import choice, includes\n"
                "from inspect_ai.solver import generate, multiple_choice\n"
                f"\n{free}\n# with choices:\n{choice}\n```"
            )
        case "lm-eval":
            return f"```sh\nlm_eval --include_path {data.parent} --tasks {data.stem} --model ...\n```"
        case "openai-evals":
            return (
                f"Copy `{task.name}` to `registry/evals/`, then `oaieval MODEL {data.stem}`; the lines are read from "
                f"`{data}`."
            )
    return "Each line is a JSON object; `question` and `answer` are what is asked and what is right."


def prompt_of(item: Item, *, with_text: bool) -> str:
    """What a tested model is asked, its choices included."""
    asked = with_letters(item.question, item.choices)
    how = _ONE_LETTER if item.choices else _YES_OR_NO if item.kind == "boolean" else _SHORT
    return f"{_text(item, with_text)}{asked}\n\n{how}"


def target_of(item: Item) -> str:
    """What is right: the letter of a choice, else the answer."""
    return letter(item.choices, item.answer) if item.choices else item.answer


def _text(item: Item, with_text: bool) -> str:
    return f"{item.context}\n\n" if with_text else ""


def _own(item: Item, with_text: bool) -> Mapping[str, Any]:
    values = item.to_json()
    return {name: value for name, value in values.items() if value != ()}


def _about(item: Item) -> Mapping[str, Any]:
    """What a program keeps beside an item."""
    values = _own(item, True)
    return {name: value for name, value in values.items() if name not in ("id", "question", "answer", "choices")}


def _inspect(item: Item, with_text: bool) -> Mapping[str, Any]:
    """A Sample of inspect_ai. It writes the choices itself."""
    how = "" if item.choices else f"\n\n{_YES_OR_NO if item.kind == 'boolean' else _SHORT}"
    asked = f"{_text(item, with_text)}{item.question}{how}"
    choices = {"choices": list(item.choices)} if item.choices else {}
    return {"id": item.id, "input": asked, **choices, "target": target_of(item), "metadata": _about(item)}


def _lm_eval(item: Item, with_text: bool) -> Mapping[str, Any]:
    """A document of lm-evaluation-harness, whose task has the templates."""
    choices = {"choices": list(item.choices), "right": item.choices.index(item.answer)} if item.choices else {}
    asked = {"prompt": prompt_of(item, with_text=with_text), "answer": item.answer}
    return {"id": item.id, "question": item.question, **asked, **choices, **_about(item)}


def _openai(item: Item, with_text: bool) -> Mapping[str, Any]:
    """A sample of OpenAI's evals."""
    asked = [{"role": "user", "content": prompt_of(item, with_text=with_text)}]
    return {"id": item.id, "input": asked, "ideal": target_of(item), "metadata": _about(item)}


_LINES: Mapping[str, Callable[[Item, bool], Mapping[str, Any]]] = {
    "jsonl": _own,
    "inspect": _inspect,
    "lm-eval": _lm_eval,
    "openai-evals": _openai,
}


def _lm_eval_task(items: Sequence[Item], data: Path) -> Mapping[str, Any]:
    is_choice = any(item.choices for item in items)
    task = {
        "task": data.stem,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.absolute())}},
        "test_split": "test",
        "doc_to_text": "{{prompt}}\nAnswer:",
        "metadata": {"version": 1},
    }
    mean = {"aggregation": "mean", "higher_is_better": True}
    if is_choice:  # the likeliest of the four letters
        scored: dict[str, Any] = {"metric_list": [{"metric": "acc", **mean}], "output_type": "multiple_choice"}
        return task | scored | {"doc_to_choice": ["A", "B", "C", "D"], "doc_to_target": "right"}
    exact = {"metric": "exact_match", **mean, "ignore_case": True, "ignore_punctuation": True}
    how = {"until": ["\n"], "max_gen_toks": 128}
    scored = {"metric_list": [exact], "output_type": "generate_until", "generation_kwargs": how}
    return task | scored | {"doc_to_target": "{{answer}}"}


def _openai_registry(items: Sequence[Item], data: Path) -> Mapping[str, Any]:
    is_free = any(item.kind == "qa" for item in items)
    scored = "includes:Includes" if is_free else "match:Match"
    arguments = {"samples_jsonl": str(data.absolute())} | ({"ignore_case": True} if is_free else {})
    metric = "accuracy"
    return {
        data.stem: {"id": f"{data.stem}.test.v1", "metrics": [metric], "description": "Made by gptoss-chat dataset"},
        f"{data.stem}.test.v1": {"class": f"evals.elsuite.basic.{scored}", "args": arguments},
    }
