"""How long a model has thought."""

import pytest

from app.chat.thinking import Thinking
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Stats, TextDelta
from mlx_model.harmony.message import assistant

THOUGHT = TextDelta("analysis", "so")
CASES: tuple[tuple[str, list[Event], float, int], ...] = (
    ("one thought", [MessageStart("analysis"), THOUGHT, THOUGHT, MessageEnd(assistant("soso", "analysis"))], 3.0, 2),
    ("two in a row", [MessageStart("analysis"), THOUGHT, MessageStart("analysis"), THOUGHT], 4.0, 2),
    ("under way", [MessageStart("analysis"), THOUGHT], 2.0, 1),
    ("inside one begun before", [THOUGHT, MessageStart("final"), TextDelta("final", "yes")], 1.0, 1),
    ("cut off", [MessageStart("analysis"), THOUGHT, Finished("length", Stats())], 2.0, 1),
    ("a call, which is none", [MessageStart("analysis", "python"), TextDelta("analysis", "1+1", "python")], 0.0, 0),
    ("an answer at once", [MessageStart("final"), TextDelta("final", "yes")], 0.0, 0),
)


@pytest.mark.parametrize(("what", "events", "seconds", "tokens"), CASES, ids=[case[0] for case in CASES])
def test_seconds_and_tokens(what: str, events: list[Event], seconds: float, tokens: int) -> None:
    """One event a second."""
    thought = Thinking(10.0, 5)
    for now, event in enumerate(events):
        thought.take(event, now)
    assert (thought.seconds(len(events)), thought.tokens) == (10.0 + seconds, 5 + tokens)


def test_text_of_several_tokens_counts_as_such() -> None:
    thought = Thinking()
    assert (thought.seconds(9.0), thought.tokens, thought.under_way) == (0.0, 0, False)
    thought.take(THOUGHT, 0.0, 7)
    assert thought.tokens == 7 and thought.under_way
