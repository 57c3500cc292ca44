"""Constraints: what may be sampled, on the CPU's way and on the GPU's, where the next step is under way meanwhile."""

from collections.abc import Callable, Iterator, Sequence

import mlx.core as mx
import pytest

from mlx_model import Model, Options, Session
from mlx_model.cpu.transformer import CompiledTransformer
from mlx_model.events import Finished, MessageEnd
from mlx_model.generation.runner import Runner
from mlx_model.generation.sampling import Sampler
from mlx_model.harmony.message import user
from mlx_model.request import Request
from tests.fixtures.gpu_way import step_ahead

QUESTION = user("How many r's are in strawberry?")
OPTIONS = [
    Options(temperature=0, max_tokens=16),
    Options(seed=3, max_tokens=16),
    Options(seed=4, max_tokens=16, temperature=1.5, top_k=40, top_p=0.9, repetition_penalty=1.2),
]


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def way(quick: Model, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to decode."""
    if request.param == "as on a GPU":
        step_ahead(monkeypatch, quick)
    yield request.param


class Recorded:
    """Notes what it is asked and told, in order. Allows everything."""

    def __init__(self, vocab: int, mask: Callable[[int], mx.array | None] | None = None) -> None:
        self.calls: list[str | int] = []
        self._vocab = vocab
        self._mask = mask

    @property
    def accepted(self) -> list[int]:
        return [call for call in self.calls if isinstance(call, int)]

    def mask(self) -> mx.array | None:
        self.calls.append("mask")
        return mx.ones(self._vocab, mx.bool_) if self._mask is None else self._mask(len(self.accepted))

    def accept(self, token: int) -> bool:
        self.calls.append(token)
        return True

    def forced(self) -> Sequence[int]:
        return ()


def only(vocab: int, *ids: int) -> mx.array:
    mask = mx.zeros(vocab, mx.bool_)
    mask[mx.array(ids)] = True
    return mask


def run(model: Model, options: Options, constraint: Recorded | None = None) -> list[int]:
    items = Runner(model).run(list(range(40, 60)), options, constraint=constraint)
    return [item for item in items if isinstance(item, int)]


@pytest.mark.parametrize("options", OPTIONS, ids=["greedy", "sampled", "filtered"])
@pytest.mark.parametrize("kind", ["all true", "none"])
def test_a_constraint_that_allows_all_changes_nothing(quick: Model, way: str, options: Options, kind: str) -> None:
    vocab = quick.config.vocab_size
    constraint = Recorded(vocab) if kind == "all true" else Recorded(vocab, lambda position: None)
    tokens = run(quick, options)
    assert run(quick, options, constraint) == tokens
    assert constraint.calls[: 2 * len(tokens)] == [call for token in tokens for call in ("mask", token)]


def test_nothing_else_is_sampled(quick: Model, way: str) -> None:
    """A script of single ids, then a choice of three."""
    vocab, script = quick.config.vocab_size, [5, 9, 300, 5]
    masks = [only(vocab, token) for token in script]
    constraint = Recorded(vocab, lambda position: masks[position] if position < 4 else only(vocab, 7, 8, 9))
    tokens = run(quick, Options(temperature=2.0, seed=1, max_tokens=40), constraint)
    assert tokens[:4] == script
    assert set(tokens[4:]) == {7, 8, 9}


def test_both_ways_draw_the_same(quick: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    even = mx.arange(quick.config.vocab_size) % 2 == 0
    options = Options(seed=5, max_tokens=30, top_p=0.95)
    tokens = run(quick, options, Recorded(quick.config.vocab_size, lambda position: even))
    step_ahead(monkeypatch, quick)
    assert run(quick, options, Recorded(quick.config.vocab_size, lambda position: even)) == tokens
    assert all(token % 2 == 0 for token in tokens)


def test_a_mask_acts_before_the_filters() -> None:
    """The likeliest token is forbidden; of two candidates two are left, not one."""
    logits = mx.array([9.0, 3.0, 2.9, -5.0])
    sampler = Sampler(Options(top_k=2, seed=1), 4, [])
    mask = mx.array([False, True, True, True])
    assert {int(sampler(logits, mask).item()) for _ in range(40)} == {1, 2}  # type: ignore[arg-type]
    assert int(Sampler(Options(temperature=0), 4, [])(logits, mask).item()) == 1  # type: ignore[arg-type]


def test_the_next_step_is_under_way_when_a_token_is_accepted(quick: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for a GPU: the forward pass behind a token begins before its id is looked at, and the mask for the
    next comes after it, while the device computes."""
    step_ahead(monkeypatch, quick)
    constraint = Recorded(quick.config.vocab_size)
    forward = CompiledTransformer.__call__

    def noted(self: CompiledTransformer, tokens: mx.array, *more: object) -> mx.array:
        if tokens.shape == (1, 1):
            constraint.calls.append("forward")
        return forward(self, tokens, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(CompiledTransformer, "__call__", noted)
    tokens = run(quick, Options(temperature=0, max_tokens=5), constraint)
    assert constraint.calls == [call for token in tokens for call in ("mask", "forward", token)]


def test_a_session_hands_it_on(quick: Model, way: str) -> None:
    """The constraint sees everything behind the prompt, markup and stop token included."""
    tokenizer = quick.tokenizer
    assert tokenizer is not None
    special = tokenizer.special
    script = [special["<|channel|>"], *tokenizer.encode("final"), special["<|message|>"], *tokenizer.encode("Three.")]
    script.append(special["<|return|>"])
    masks = [only(quick.config.vocab_size, token) for token in script]
    constraint = Recorded(quick.config.vocab_size, lambda position: masks[position])
    *events, last = Session(quick).stream(Request([QUESTION]), constraint=constraint)
    assert [event.message.text for event in events if isinstance(event, MessageEnd)] == ["Three."]
    assert isinstance(last, Finished)
    assert last.reason == "stop"
    assert constraint.accepted == script


def test_a_constraint_that_fails_leaves_a_usable_session(quick: Model, way: str) -> None:
    def fail(position: int) -> mx.array | None:
        if position == 2:
            raise RuntimeError("no such rule")
        return None

    session = Session(quick)
    options = OPTIONS[0]
    with pytest.raises(RuntimeError, match="no such rule"):
        list(session.stream(Request([QUESTION], options), constraint=Recorded(quick.config.vocab_size, fail)))
    again = list(session.stream(Request([QUESTION], options)))
    expected = list(Session(quick).stream(Request([QUESTION], options)))
    assert [e for e in again if isinstance(e, MessageEnd)] == [e for e in expected if isinstance(e, MessageEnd)]
