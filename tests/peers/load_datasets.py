"""Test sets in the programs that they are made for: loaded, and run with a model that says nothing of use.

Runs by any Python that has a program: `python load_datasets.py inspect|lm-eval DATA`. Prints what it has read as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any


def inspect(data: Path) -> dict[str, Any]:
    """By inspect_ai: the samples, and what its own scorer makes of a model that always says the first target."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import json_dataset
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import choice, includes
    from inspect_ai.solver import generate, multiple_choice

    dataset = json_dataset(str(data))
    first = dataset[0]
    is_choice = bool(first.choices)
    said = f"ANSWER: {first.target}" if is_choice else str(first.target)
    output = ModelOutput.from_content("mockllm/model", said)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else it fetches a vocabulary
    outputs = [output] * len(dataset)
    solver, scorer = (multiple_choice(), choice()) if is_choice else (generate(), includes())
    task = Task(dataset=dataset, solver=solver, scorer=scorer)
    model = get_model("mockllm/model", custom_outputs=outputs)
    log = eval(task, model=model, log_dir=str(data.parent / "logs"), display="none")[0]
    assert log.status == "success", log.error.message
    right = [sample.scores[scorer_name(sample)].value == "C" for sample in log.samples]
    samples = [{"input": each.input, "target": each.target, "metadata": each.metadata} for each in dataset]
    return {"samples": samples, "right": sum(right), "expected": sum(each.target == first.target for each in dataset)}


def scorer_name(sample: Any) -> str:
    """The one scorer of a sample."""
    (name,) = sample.scores
    return str(name)


def lm_eval(data: Path) -> dict[str, Any]:
    """By lm-evaluation-harness: each prompt and target, and a run with its dummy model."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(data.parent))
    name = data.stem
    result = simple_evaluate(model="dummy", tasks=[name], task_manager=manager, bootstrap_iters=0, log_samples=True)
    samples = [
        {"input": sample["arguments"][0][0], "target": sample["target"], "metadata": sample["doc"]}
        for sample in result["samples"][name]
    ]
    return {"samples": samples, "metrics": sorted(key for key in result["results"][name] if "," in key)}


def main() -> None:
    """See above."""
    program, data = sys.argv[1], Path(sys.argv[2])
    try:
        answer = {"inspect": inspect, "lm-eval": lm_eval}[program](data)
    except ImportError as error:
        answer = {"missing": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
