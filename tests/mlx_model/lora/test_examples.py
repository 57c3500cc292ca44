"""What is learnt of an answer, beside what a chat has as a prompt; how examples become batches and rows."""

import numpy as np
import pytest

from mlx_model.generation.session import Session
from mlx_model.harmony.message import Effort, Message, Role, assistant, user
from mlx_model.harmony.prompt import developer_message
from mlx_model.harmony.render import Renderer
from mlx_model.harmony.tokenizer import Tokenizer
from mlx_model.hub.names import resolve
from mlx_model.lora.batches import batch_of, packed, split
from mlx_model.lora.dialogues import Dialogue
from mlx_model.lora.examples import Example, Weights, examples_of, opening
from mlx_model.model import load
from mlx_model.options import Options
from mlx_model.request import Request

THOUGHT, ANSWER = assistant("Count.", "analysis"), assistant("Three.")
LEARNT = "<|channel|>analysis<|message|>Count.<|end|><|start|>assistant<|channel|>final<|message|>Three.<|return|>"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(resolve("demo"))


def made(tokenizer: Tokenizer, *messages: Message, weights: Weights = Weights()) -> list[Example]:  # noqa: B008
    dialogue = Dialogue("data.jsonl:1", messages, "reasoning language: German", Effort.HIGH)
    return list(examples_of(dialogue, Renderer(tokenizer), weights))


def learnt(tokenizer: Tokenizer, example: Example) -> str:
    return tokenizer.decode(token for token, weight in zip(example.ids, example.weights, strict=True) if weight)


def test_what_the_model_writes_is_learnt(tokenizer: Tokenizer) -> None:
    (example,) = made(tokenizer, user("How many?"), THOUGHT, ANSWER)
    assert learnt(tokenizer, example) == LEARNT
    assert (example.language, example.has_thought) == ("German", True)


def test_before_it_stands_the_prompt_of_a_chat(tokenizer: Tokenizer) -> None:
    """Of the second answer of a conversation: without the thoughts of the first."""
    messages = (user("How many?"), THOUGHT, ANSWER, user("And l?"), THOUGHT, assistant("One."))
    first, second = made(tokenizer, *messages)
    (given,) = {tuple(second.ids[: second.weights.index(1.0)])}
    dialogue = Dialogue("data.jsonl:1", messages, "reasoning language: German", Effort.HIGH)
    model = load("demo")
    session = Session(model)
    request = Request(messages[:4], Options(effort=Effort.HIGH), dialogue.instructions)
    dated = Renderer(tokenizer).conversation(opening(dialogue, Effort.HIGH)[:1])
    prompt = session.prompt(request)
    end = prompt.index(tokenizer.special["<|end|>"]) + 1
    assert list(given) == dated + prompt[end:]
    assert learnt(tokenizer, first) == LEARNT


def test_an_answer_without_a_thought_does_not_teach_not_to_think(tokenizer: Tokenizer) -> None:
    (example,) = made(tokenizer, user("How many?"), ANSWER)
    assert learnt(tokenizer, example) == "Three.<|return|>"
    assert not example.has_thought


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (Weights(1, 0), "<|channel|>analysis<|message|>Count.<|end|>"),
        (Weights(0, 0.5), "<|start|>assistant<|channel|>final<|message|>Three.<|return|>"),
    ],
)
def test_weights_by_channel(tokenizer: Tokenizer, weights: Weights, expected: str) -> None:
    (example,) = made(tokenizer, user("How many?"), THOUGHT, ANSWER, weights=weights)
    assert learnt(tokenizer, example) == expected
    assert set(example.weights) == {0, weights.analysis or weights.final}


def test_a_call_is_learnt_and_its_result_is_not(tokenizer: Tokenizer) -> None:
    call = Message(Role.ASSISTANT, "{}", channel="commentary", recipient="functions.f", content_type="json")
    result = Message(Role.TOOL, "5", name="functions.f", channel="commentary", recipient="assistant")
    (example,) = made(tokenizer, user("How many?"), THOUGHT, call, result, ANSWER)
    assert learnt(tokenizer, example) == (
        "<|channel|>analysis<|message|>Count.<|end|><|start|>assistant to=functions.f<|channel|>commentary json"
        "<|message|>{}<|call|><|channel|>final<|message|>Three.<|return|>"
    )


def test_an_answer_ends_with_the_model_s_last_message(tokenizer: Tokenizer) -> None:
    """Whatever stands between it and the next prompt: else the model would learn not to end its turn."""
    told = developer_message("In capitals.")
    first, second = made(tokenizer, user("How many?"), THOUGHT, ANSWER, told, user("And l?"), THOUGHT, ANSWER)
    assert learnt(tokenizer, first) == learnt(tokenizer, second) == LEARNT
    assert tokenizer.decode(first.ids).endswith("Three.<|return|>") and "In capitals." in tokenizer.decode(second.ids)
    assert (first.end, second.end) == (3, 7)


def test_an_epoch_has_each_example_once(examples: list[Example]) -> None:
    epochs = [
        [each.where for step in steps for each in batch_of(examples, 4, 7, step)] for steps in ((0, 1, 2), (3, 4, 5))
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(each.where for each in examples)
    assert epochs[0] != epochs[1]
    assert [each.where for each in batch_of(examples, 4, 7, 0)] == epochs[0][:4]


def test_rows_hold_every_example_and_are_no_longer_than_asked(examples: list[Example]) -> None:
    rows = packed(examples, 30)
    assert all(sum(row.lengths) == len(row.tokens) <= 30 for row in rows)
    assert sorted(length for row in rows for length in row.lengths) == [len(each.ids) for each in examples]
    assert len(rows) == 5
    for row in rows:
        assert np.array_equal(row.targets, row.tokens[row.at + 1])
        ends = set(np.cumsum(row.lengths) - 1)
        assert not ends & {*row.at.tolist()}, "the last token of an example would predict the next one's first"


def test_what_is_held_out_is_never_learnt(examples: list[Example]) -> None:
    """All answers of a conversation go one way."""
    doubled = [example for example in examples for _ in range(2)]
    learnt, held_out = split(doubled, 0.3, 1)
    assert len(held_out) == 6 and len(learnt) == 14
    assert not {each.where for each in learnt} & {each.where for each in held_out}
    assert split(doubled, 0.3, 1) == (learnt, held_out)
    assert split(doubled, 0, 1) == (doubled, [])
    assert split(examples[:1], 0.5, 1) == (examples[:1], [])
