"""Several answers of one model, computed together, and one that is made of them."""

from collections.abc import Iterator
from typing import Any

import pytest

from mlx_model import Model, Request, Session, generate, load
from mlx_model.errors import ContextError, RequestError
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Stats, TextDelta
from mlx_model.harmony.message import assistant

STRAWBERRY = "How many r's are in strawberry?"


@pytest.fixture(scope="module")
def demo() -> Model:
    return load("demo")


def test_samples_are_the_answers_of_their_seeds_from_one_prefill(demo: Model) -> None:
    result = generate(demo, STRAWBERRY, effort="low", samples=3, combine="all", seed=3)
    alone = [generate(demo, STRAWBERRY, effort="low", seed=seed) for seed in (3, 4, 5)]
    assert [each.tokens for each in result.samples] == [each.tokens for each in alone]
    assert [each.messages for each in result.samples] == [each.messages for each in alone]
    prompt = alone[0].stats.prefill_tokens
    assert [each.stats.prefill_tokens for each in result.samples] == [prompt, 1, 1]  # only the last has to be computed
    assert result.outcome is not None and result.outcome.how == "the first of 3 answers"
    assert (result.text, result.stats.seed) == (alone[0].text, 3)
    assert result.stats.decode_tokens == sum(len(each.tokens) for each in alone)


def test_a_vote_stops_the_samples_that_can_not_change_it(demo: Model) -> None:
    counted = generate(demo, STRAWBERRY, effort="low", samples=8, seed=3)
    assert counted.outcome is not None and counted.outcome.chosen == 0
    assert (counted.outcome.how, counted.outcome.votes[0].answer) == ("votes 5 of 6, 2 stopped", "2")
    reasons = [each.finish_reason for each in counted.samples]
    assert reasons == ["stop"] * 6 + ["cancelled"] * 2
    assert all(each.stats.decode_tokens and each.text for each in counted.samples)  # what they had is kept


def scripted(monkeypatch: pytest.MonkeyPatch, *answers: str | Exception) -> list[Request]:
    """Answers in the order in which they are asked for; returns the requests."""
    asked, left = list[Request](), iter(answers)

    def steps(self: Session, request: Request, *_: object) -> Iterator[Event | None]:
        asked.append(request)
        text = next(left)
        if isinstance(text, Exception):
            raise text
        self.tokens = [len(asked)]
        yield None
        yield from (MessageStart("final"), TextDelta("final", text), MessageEnd(assistant(text)))
        yield Finished("stop", Stats(decode_tokens=2, seed=request.options.seed or 0))

    monkeypatch.setattr(Session, "steps", steps)
    return asked


PROSE = ("One,\n\nlong.", "Two,\n\nlonger still.", "Three,\n\nlong.")


@pytest.mark.parametrize(
    ("combine", "further", "text", "how"),
    [
        ("vote", ["All."], "All.", "written from 3 answers"),
        ("synthesise", [ContextError("too long"), "Two of them."], "Two of them.", "written from 2 answers"),
        ("select", ["1"], None, "chosen by the model from 3 answers"),
        ("select", [ContextError("")] * 2, None, "one of 3 answers: together they are too long"),
    ],
)
def test_answers_that_can_not_be_counted(
    demo: Model, monkeypatch: pytest.MonkeyPatch, combine: Any, further: list[str | Exception], text: str, how: str
) -> None:
    asked = scripted(monkeypatch, *PROSE, *further)
    result = generate(demo, "Tell me.", samples=3, combine=combine, seed=1)
    assert result.outcome is not None and result.outcome.how == how
    assert result.text in ([text] if text else PROSE)
    assert len(asked) == 3 + len(further)
    assert result.stats.decode_tokens == 2 * (3 + sum(isinstance(each, str) for each in further))
    assert [each.text for each in result.samples] == [*PROSE]


def test_several_answers_have_no_tools(demo: Model) -> None:
    def roll() -> int:
        """Rolls a die."""
        return 6

    with pytest.raises(RequestError, match="can't use tools"):
        generate(demo, "Roll.", samples=2, tools=[roll])


def test_a_way_that_is_none_is_refused_for_one_answer_too(demo: Model) -> None:
    with pytest.raises(RequestError, match="vote, select, synthesise, all"):
        generate(demo, STRAWBERRY, combine="mix")  # type: ignore[arg-type]
