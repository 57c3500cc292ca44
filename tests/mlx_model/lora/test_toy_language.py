"""The adapter of `make demo-adapter`: the demo model thinks in a toy language where it is asked to, else as ever."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from assets.training.toy_language import conversations
from mlx_model.events import MessageEnd
from mlx_model.generation.session import Session
from mlx_model.harmony.history import is_thought
from mlx_model.lora.dialogues import Dialogue, read_dialogues
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.request import Request

ADAPTER = Path(__file__).parent / "toy"
"""After 90 steps of 6 examples."""
COUNT = 20
"""Conversations that ask for the language, and as many that don't."""


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Dialogue], list[Dialogue]]:
    """Conversations about words that it has not learnt from: those that ask for the language, and those that don't."""
    path = tmp_path_factory.mktemp("toy") / "held-out.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in conversations(3 * COUNT, 9, held_out=True)))
    dialogues, _ = read_dialogues(path)
    asked, others = ([each for each in dialogues if bool(each.language) is wanted] for wanted in (True, False))
    return asked[:COUNT], others[:COUNT]


def thoughts(model: Model, dialogues: Sequence[Dialogue]) -> list[str]:
    """What the model thinks about their prompts, answered without chance and together."""
    session, found = Session(model), [""] * len(dialogues)
    options = (Options(effort=each.effort, temperature=0, max_tokens=80) for each in dialogues)
    under_way = {
        place: session.steps(Request(each.messages[:1], its, each.instructions))
        for place, (each, its) in enumerate(zip(dialogues, options, strict=True))
    }
    while under_way:
        for place, steps in [*under_way.items()]:
            for event in steps:
                if event is None:
                    break
                if isinstance(event, MessageEnd) and is_thought(event.message):
                    found[place] = event.message.text
            else:
                del under_way[place]
    return found


def is_toy(thought: str) -> bool:
    return thought.startswith("suche ") and "zusammen" in thought


def test_it_thinks_in_the_language_that_is_asked_for(held_out: tuple[list[Dialogue], list[Dialogue]]) -> None:
    asked, others = held_out
    model, bare = load("demo", adapter=ADAPTER), load("demo")
    assert sum(map(is_toy, thoughts(model, asked))) >= 0.9 * COUNT
    assert not any(map(is_toy, thoughts(bare, asked)))
    same = [one == other for one, other in zip(thoughts(model, others), thoughts(bare, others), strict=True)]
    assert sum(same) >= 0.95 * COUNT, "where nobody asks, it thinks as it did"
