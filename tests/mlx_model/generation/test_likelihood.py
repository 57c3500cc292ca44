"""Log probabilities: of the token that was drawn, whatever the way, and put to the text that the token has ended in."""

import mlx.core as mx
import pytest

from mlx_model import Model
from mlx_model.events import Alternative, Event, Finished, MessageEnd, MessageStart, TextDelta, TokenLogprobs
from mlx_model.generation.likelihood import Draw, Likelihoods, ended
from mlx_model.generation.runner import Runner
from mlx_model.generation.session import Session
from mlx_model.generation.stop import StopStrings
from mlx_model.harmony.message import assistant, user
from mlx_model.options import Options
from mlx_model.request import Request
from tests.fixtures.quick_model import Shaped
from tests.fixtures.small_model import VOCAB, Small, Transformer, following

PROMPT = [3, 1, 4, 1, 5]


class EvenOnly:
    """A constraint under which the likeliest token is often not allowed."""

    def mask(self) -> mx.array:
        return mx.arange(VOCAB) % 2 == 0

    def accept(self, token: int) -> bool:
        return True

    def forced(self) -> list[int]:
        return []


def logprobs_behind(ids: list[int]) -> mx.array:
    """What the small model says, by its definition."""
    logits = -mx.abs(mx.arange(VOCAB) - following(ids)).astype(mx.float32)
    return logits - mx.logsumexp(logits)


@pytest.mark.parametrize("steps_ahead", [False, True])
@pytest.mark.parametrize("constrained", [False, True])
def test_of_each_token_that_is_drawn(steps_ahead: bool, constrained: bool) -> None:
    runner = Runner(Small(Transformer(steps_ahead)))  # type: ignore[arg-type]
    options = Options(max_tokens=12, temperature=2.0, seed=4, logprobs=3)
    ids = list(PROMPT)
    for item in runner.run(PROMPT, options, constraint=EvenOnly() if constrained else None):
        if not isinstance(item, int):
            continue
        logprobs, draw = logprobs_behind(ids), runner.draw
        assert draw is not None and draw.of_token == pytest.approx(logprobs[item].item(), abs=1e-4)
        (likeliest, logprob), *others = draw.top()
        assert likeliest == following(ids) and logprob == pytest.approx(logprobs.max().item(), abs=1e-4)
        assert len(others) == 2
        ids.append(item)
        if len(ids) == 9:  # what is put in between was not drawn
            runner.insert([7, 8])
            ids += [7, 8]
    assert len(ids) > 12


def test_nobody_asks() -> None:
    runner = Runner(Small(Transformer()))  # type: ignore[arg-type]
    for item in runner.run(PROMPT, Options(max_tokens=2)):
        assert not isinstance(item, int) or runner.draw is None


def draw(logprob: float) -> Draw:
    return Draw(mx.array(logprob), mx.array([], mx.uint32), mx.array([]))


def test_a_token_waits_for_its_character(quick: Model) -> None:
    assert quick.tokenizer is not None
    first, second, plain = quick.tokenizer.encode("é")[:1], quick.tokenizer.encode("a"), quick.tokenizer.encode("b")
    likelihoods = Likelihoods(quick.tokenizer)
    assert likelihoods.put(first[0], draw(-1), [MessageStart("final")], inside_character=False)
    assert likelihoods.put(first[0], draw(-2), [], inside_character=True) == []
    (delta,) = likelihoods.put(second[0], draw(-3), [TextDelta("final", "xa")], inside_character=False)
    assert isinstance(delta, TextDelta) and [each.sampled.logprob for each in delta.logprobs] == [-2, -3]
    for channel, recipient in (("analysis", None), ("commentary", "functions.f")):
        (thought,) = likelihoods.put(plain[0], draw(-4), [TextDelta(channel, "b", recipient)], inside_character=False)
        assert isinstance(thought, TextDelta) and thought.logprobs == ()
    (delta,) = likelihoods.put(plain[0], None, [TextDelta("final", "b")], inside_character=False)
    assert isinstance(delta, TextDelta) and delta.logprobs == ()


def entry(text: str) -> TokenLogprobs:
    return TokenLogprobs(Alternative(text.encode(), -1.0))


@pytest.mark.parametrize(
    ("size", "expected"), [(0, (0, 0)), (1, (0, 1)), (2, (1, 0)), (4, (1, 2)), (5, (2, 0)), (9, (2, 0))]
)
def test_how_many_tokens_have_ended(size: int, expected: tuple[int, int]) -> None:
    assert ended([entry("ab"), entry("cde")], size) == expected


def test_stop_strings_hold_tokens_back_with_their_text() -> None:
    stop = StopStrings(["EIO"])
    pieces = ["ä ", "E", "Ix", "yE", "IO", "z"]
    events: list[Event] = [TextDelta("final", piece, logprobs=(entry(piece),)) for piece in pieces]
    shown = list(stop.filter(events))
    texts = [event.text for event in shown if isinstance(event, TextDelta)]
    tokens = [[each.sampled.text for each in event.logprobs] for event in shown if isinstance(event, TextDelta)]
    assert texts == ["ä ", "EIx", "y"] and tokens == [["ä "], ["E", "Ix"], []]
    assert shown[-1] == MessageEnd(assistant("ä EIxy"))


def test_an_answer_of_a_session(quick: Model) -> None:
    session = Session(quick)
    request = Request([user("Hi")], Options(seed=1, logprobs=2))
    events = list(session.stream(request, constraint=Shaped(quick, analysis=3, final=4)))
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert not any(delta.logprobs for delta in deltas if delta.channel == "analysis")
    final = [delta for delta in deltas if delta.channel == "final"]
    entries = [entry for delta in final for entry in delta.logprobs]
    assert b"".join(entry.sampled.token for entry in entries).decode() == "".join(delta.text for delta in final)
    assert [len(entry.top) for entry in entries] == [2] * 4
    assert all(entry.top[0].logprob >= max(entry.top[1].logprob, entry.sampled.logprob) for entry in entries)
    assert isinstance(events[-1], Finished) and events[-1].stats.analysis_tokens == 3 + 4
