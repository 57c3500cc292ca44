"""The adapter of `make demo-adapter`: the demo model thinks in a toy language where it is asked to, else as ever."""

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from assets.training.toy_language import conversations
from mlx_model.harmony.render import Renderer
from mlx_model.lora.dialogues import Dialogue, read_dialogues
from mlx_model.lora.examples import Weights, examples_of
from mlx_model.model import Model, load

ADAPTER = Path(__file__).parent / "toy"
"""After 90 steps of 6 examples."""


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> list[Dialogue]:
    """Conversations about words that it has not learnt from: eight that ask for the language, and four that don't."""
    path = tmp_path_factory.mktemp("toy") / "held-out.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in conversations(40, 9, held_out=True)))
    dialogues, _ = read_dialogues(path)
    asked, others = ([each for each in dialogues if bool(each.language) is wanted] for wanted in (True, False))
    return [*asked[:8], *others[:4]]


def thought(model: Model, dialogue: Dialogue) -> tuple[str, str]:
    """What the model thinks, each token the likeliest behind the right ones, and what is right."""
    assert model.tokenizer is not None
    (example,) = examples_of(dialogue, Renderer(model.tokenizer), Weights(final=0))
    at = np.flatnonzero(example.weights)
    cache = model.make_cache()
    model.transformer(mx.array([example.ids[: at[0] - 1]]), cache, "none")
    logits = model.forward(example.ids[at[0] - 1 : at[-1]], cache)[0]
    written, right = np.array(mx.argmax(logits, axis=-1)).tolist(), [example.ids[place] for place in at]
    return model.tokenizer.decode(written), model.tokenizer.decode(right)


def test_it_thinks_in_the_language_that_is_asked_for(held_out: list[Dialogue]) -> None:
    model = load("demo", adapter=ADAPTER)
    thoughts = [thought(model, dialogue) for dialogue in held_out]
    asked = [written for (written, _), dialogue in zip(thoughts, held_out, strict=True) if dialogue.language]
    assert sum(written.startswith("<|channel|>analysis<|message|>suche ") for written in asked) == len(asked) == 8
    assert sum("zusammen" in written for written in asked) == 8
    others = [(written, right) for (written, right), each in zip(thoughts, held_out, strict=True) if not each.language]
    assert all(written == right for written, right in others), "where nobody asks, it thinks as it did"
    bare = model.with_adapter(None)
    assert "suche" not in thought(bare, held_out[0])[0]
