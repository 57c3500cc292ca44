"""Answers bound to a form, by a model that has learnt nothing: on the CPU's way and on the GPU's."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import jsonschema
import mlx.core as mx
import numpy as np
import pydantic
import pytest

from mlx_model import (
    Form,
    FunctionTool,
    Model,
    Options,
    Request,
    ResponseFormat,
    Session,
    generate,
    stream_generate,
    user,
)
from mlx_model.errors import RequestError
from mlx_model.events import Finished, MessageEnd, TextDelta, Warned
from mlx_model.generation import grammars
from mlx_model.generation.bound import Bound
from mlx_model.generation.grammars import grammars_of
from mlx_model.generation.sampling import Sampler
from mlx_model.harmony.grammar import bind
from mlx_model.harmony.message import assistant
from mlx_model.transformer.cache import Cache
from tests.fixtures.gpu_way import step_ahead
from tests.fixtures.random_schemas import RandomSchemas, random_text

QUESTION = user("How many r's?")
THINKING = [QUESTION, assistant("Hm", "analysis")]
"""A thought goes on until its budget is used up; then comes what is bound, whatever the model would rather say."""
PARTS = {"word": {"enum": ["straw", "berry"]}, "count": {"type": "integer", "minimum": 0, "maximum": 20}}
SCHEMA = {"type": "object", "properties": PARTS, "required": ["word", "count"], "additionalProperties": False}
COUNT = FunctionTool("count", "Counts.", SCHEMA, strict=True)
FREE = Options(seed=1, max_tokens=60, max_thinking=4)


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def way(quick: Model, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to decode."""
    if request.param == "as on a GPU":
        step_ahead(monkeypatch, quick)
    yield request.param


def answer(session: Session, request: Request, **more: Any) -> tuple[str, str]:
    """Why the answer ended, and the text of its last message."""
    *events, last = session.stream(request, **more)
    assert isinstance(last, Finished)
    texts = [event.message.text for event in events if isinstance(event, MessageEnd)]
    return last.reason, texts[-1] if texts else ""


def plain(session: Session) -> str:
    tokenizer = session.model.tokenizer
    assert tokenizer is not None
    return tokenizer.decode(session.tokens)


def test_answers_keep_to_their_schema(quick: Model, way: str) -> None:
    session = Session(quick)
    for seed in range(4):
        options = Options(seed=seed, temperature=1.5, max_tokens=80, max_thinking=seed)
        reason, text = answer(session, Request(THINKING, options, form=Form(SCHEMA)))
        jsonschema.validate(json.loads(text), SCHEMA)
        assert reason == "stop" and json.dumps(json.loads(text)) == text


@pytest.mark.parametrize(
    "options",
    [replace(FREE, max_thinking=9), replace(FREE, max_thinking=9, temperature=0.7, repetition_penalty=1.1)],
    ids=["plain", "penalty"],
)
def test_no_way_changes_the_draws(quick: Model, monkeypatch: pytest.MonkeyPatch, options: Options) -> None:
    """Forced runs as one prefill or token by token, masks at once or only after a refusal, on either way: one answer.

    The model is made to want markup inside its thought, so that tokens are refused."""
    refused: list[int] = []
    accept, forced, draw = Bound.accept, Bound.forced, Sampler.__call__
    wanted = mx.where((mx.arange(1024) >= 1017) & (mx.arange(1024) != 1021), 6.0, 0.0)  # all but <|end|>
    monkeypatch.setattr(Sampler, "__call__", lambda self, logits, mask=None: draw(self, logits + wanted, mask))

    def noted(self: Bound, token: int) -> bool:
        is_allowed = accept(self, token)
        refused.extend([] if is_allowed else [token])
        return is_allowed

    monkeypatch.setattr(Bound, "accept", noted)
    request = Request(THINKING, options, form=Form(SCHEMA), functions=[COUNT])
    found = []
    ways = [(False, True, True), (False, False, False), (True, True, True), (True, True, False), (True, False, True)]
    for ahead, guesses, runs in ways:
        if ahead:
            step_ahead(monkeypatch, quick)
        monkeypatch.setattr(Bound, "forced", forced if runs else lambda self: ())
        session, before = Session(quick), len(refused)
        build = session._bound

        def bound(request: Request, build: Any = build, guesses: bool = guesses) -> Bound:
            made: Bound = build(request)
            made._may_guess = guesses
            return made

        monkeypatch.setattr(session, "_bound", bound)
        found.append((answer(session, request), session.tokens))
        assert (len(refused) > before) == guesses
    assert all(each == found[0] for each in found)


def test_a_forced_run_is_one_prefill(quick: Model, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    forward = type(quick.transformer).__call__

    def noted(self: Any, tokens: mx.array, *more: Any) -> Any:
        sizes.append(tokens.size)
        return forward(self, tokens, *more)

    monkeypatch.setattr(type(quick.transformer), "__call__", noted)
    session = Session(quick)
    answer(session, Request(THINKING, FREE, functions=[COUNT], tool_choice="count"))
    tokens = len(session.tokens)
    del sizes[: sizes.index(1)]
    assert max(sizes) > 10 and len(sizes) < tokens / 2 and sum(sizes) >= tokens - 3


def test_a_token_taken_back_leaves_the_cache_as_it_was() -> None:
    """Before and after the window of the sliding layer has filled."""
    cache, twin = Cache([4, None]), Cache([4, None])
    rows = mx.random.normal((12, 1, 1, 1, 8))
    for at, row in enumerate(rows):
        for each, taken_back in ((cache, at % 2), (twin, 0)):
            for again in range(1 + taken_back):
                for layer in range(2):
                    each.append(layer, row if again == taken_back else -row, row)
                each.advance(1)
                if again < taken_back:
                    each.take_back()
        assert cache.offset == twin.offset == at + 1
        assert all(mx.array_equal(a, b) for a, b in zip(cache.present(), twin.present(), strict=True))


def test_draws_have_the_grammars_share_of_the_models_probabilities(quick: Model) -> None:
    """Chi-square over all texts of a small grammar: of each token p(x) / Z, Z the sum over those allowed. Every other
    draw is made from all tokens first, as in free text."""
    tokenizer = quick.tokenizer
    assert tokenizer is not None
    known = grammars_of(tokenizer, 1024)
    binding = bind(Request([], form=Form(regex="(a|b|ab|bc)d?")), tokenizer)
    assert binding is not None
    end = tokenizer.special["<|return|>"]
    opening = [tokenizer.special["<|channel|>"], *tokenizer.encode("final"), tokenizer.special["<|message|>"]]
    logits = mx.array(np.random.default_rng(1).normal(size=1024), mx.float32)
    weights = np.exp(np.array(logits))

    def begun(path: Sequence[int] = ()) -> Bound:
        bound = Bound(binding, known, tokenizer, Options())
        bound.continue_from([*opening, *path])
        return bound

    def expected(path: list[int]) -> dict[str, float]:
        if path and path[-1] == end:
            return {tokenizer.decode(path): 1.0}
        bound = begun(path)
        mask = np.array(bound.mask())
        shares: dict[str, float] = {}
        for token in np.flatnonzero(mask).tolist():
            for text, share in expected([*path, token]).items():
                shares[text] = shares.get(text, 0.0) + share * float(weights[token] / weights[mask].sum())
        return shares

    shares, count = expected([]), 800
    counts, sampler = dict.fromkeys(shares, 0), Sampler(Options(seed=1), 1024, [])
    for number in range(count):
        bound, path = begun(), list[int]()
        bound._free = number % 2 == 1
        while end not in path:
            run = bound.forced()
            path += [token for token in run if bound.accept(token)]
            sampler.skip(run)
            if not run:
                token = int(sampler(logits, bound.mask()).item())  # type: ignore[arg-type]  # an integer scalar
                if bound.accept(token):
                    path.append(token)
                else:
                    sampler.take_back()
        counts[tokenizer.decode(path)] += 1
    chi_square = sum((counts[text] - count * share) ** 2 / (count * share) for text, share in shares.items())
    assert len(shares) == 8 and abs(sum(shares.values()) - 1) < 1e-6
    assert chi_square < 24.3, counts  # of 1,000 unbiased samplers, 1 has more with 7 degrees of freedom


def test_what_ends_an_answer_early_ends_a_bound_one(quick: Model, way: str) -> None:
    session, form = Session(quick), Form(SCHEMA)
    reason, text = answer(session, Request(THINKING, Options(seed=1, max_tokens=16, max_thinking=2), form=form))
    assert reason == "length" and not text.endswith("}")
    reason, text = answer(session, Request(THINKING, replace(FREE, stop=('"co',)), form=form))
    assert reason == "stop_string" and re.fullmatch(r'\{"word": "(straw|berry)", ', text)
    counted = iter(range(100))
    reason, _ = answer(session, Request(THINKING, FREE, form=form), cancelled=lambda: next(counted) > 12)
    assert reason == "cancelled"
    reason, text = answer(
        session, Request(THINKING, Options(seed=1, max_tokens=60), form=form), answer_now=lambda: True
    )
    assert reason == "stop" and json.loads(text)


def test_a_bound_answer_goes_on_where_it_was_cut_off(quick: Model, way: str) -> None:
    session = Session(quick)
    for begun in ("", '{"wor', '{"word": "straw", "count"', '{"word": "straw", "count": 1}'):
        request = Request(
            [QUESTION, assistant(begun)], FREE, form=Form(SCHEMA), response_format=ResponseFormat("a", SCHEMA)
        )
        reason, text = answer(session, request)
        jsonschema.validate(json.loads(text), SCHEMA)
        assert reason == "stop" and text.startswith(begun)
    reason, text = answer(session, Request([QUESTION, assistant("Hm", "analysis")], FREE, form=Form(SCHEMA)))
    assert reason == "stop" and json.loads(text)
    with pytest.raises(RequestError, match="does not keep to the form that is asked for"):
        answer(session, Request([QUESTION, assistant("Three.")], FREE, form=Form(SCHEMA)))


def test_a_required_call_is_told_of_and_made(quick: Model, way: str) -> None:
    session = Session(quick)
    for choice in ("required", "count"):
        request = Request([QUESTION], FREE, functions=[COUNT], tool_choice=choice)
        told = session.model.tokenizer.decode(session.prompt(request))  # type: ignore[union-attr]
        assert told.endswith("Call functions.count before you answer.<|end|><|start|>assistant")
        reason, text = answer(session, replace(request, messages=THINKING))
        assert reason == "tool_call" and json.loads(text)["word"]
        assert plain(session).count("<|message|>") == 1
    told = session.model.tokenizer.decode(session.prompt(Request([QUESTION], functions=[COUNT], tool_choice="none")))  # type: ignore[union-attr]
    assert "count" not in told


def test_required_calls_that_do_not_come_end_with_the_limit(quick: Model) -> None:
    request = Request([QUESTION], Options(seed=1, max_tokens=20), functions=[COUNT], tool_choice="required")
    assert answer(Session(quick), request)[0] == "length"


@dataclass
class Found:
    word: str
    sure: bool = True


class Pair(TypedDict):
    left: int
    right: list[int]


class Rating(pydantic.BaseModel):
    stars: int = pydantic.Field(ge=1, le=5)


@pytest.mark.parametrize(
    ("form", "kind"), [(Found, Found), (Pair, dict), (Rating, Rating), (SCHEMA, dict), (list[bool], list)], ids=str
)
def test_what_was_said_comes_as_what_was_asked_for(
    quick: Model, form: Any, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's part is played by a random text of the grammar, which always ends."""
    tokenizer, said = quick.tokenizer, list[str]()
    assert tokenizer is not None

    def scripted(self: Bound) -> list[int]:
        text = random_text(grammars_of(tokenizer, 1024), self._binding.parts[0].grammar, tokenizer, seed=3)
        said.append(str(text))
        special = tokenizer.special
        header = [special["<|channel|>"], *tokenizer.encode("final"), special["<|message|>"]]
        return [*header, *tokenizer.encode(said[0]), special["<|return|>"]]

    monkeypatch.setattr(Bound, "forced", scripted)
    result = generate(quick, "?", response_format=form)
    assert result.finish_reason == "stop" and result.text == said[0]
    assert isinstance(result.parsed, kind)


def test_nothing_is_parsed_of_an_answer_that_is_not_whole(quick: Model) -> None:
    assert generate(quick, THINKING, response_format=SCHEMA, max_tokens=12, max_thinking=1, seed=1).parsed is None
    result = generate(quick, THINKING, regex="[ab]{3}", max_tokens=40, max_thinking=1, seed=1)
    assert re.fullmatch("[ab]{3}", result.text) and result.parsed is None
    texts = [
        event.text
        for event in stream_generate(
            quick, THINKING, grammar='start: "yes" | "no"', max_thinking=1, max_tokens=40, seed=1
        )
        if isinstance(event, TextDelta) and event.channel == "final"
    ]
    assert "".join(texts) in ("yes", "no")


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"response_format": SCHEMA, "regex": "a"}, "give one of response_format, regex and grammar"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, r'response_format=that\["json_schema"\]'),
        ({"response_format": 7}, "response_format can't be used: .*; give a JSON schema, a pydantic model"),
        ({"response_format": {"type": "string", "not": {}}}, "the keyword 'not' can't be enforced"),
        ({"tool_choice": "f"}, "the tool choice is 'f', but there are no tools"),
    ],
)
def test_what_can_not_be_asked_for(quick: Model, keywords: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        generate(quick, "?", max_tokens=1, **keywords)


def test_samples_with_warnings_have_their_own_tokens(quick: Model) -> None:
    schema = {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True}
    keywords: Any = {"response_format": schema, "strict": False, "max_tokens": 40}
    result = generate(quick, "?", samples=2, combine="all", seed=3, **keywords)
    for sample, seed in zip(result.samples, (3, 4), strict=True):
        assert sample.warnings and sample.tokens
        assert sample.tokens == generate(quick, "?", seed=seed, **keywords).tokens


def test_warnings_come_first_and_once(quick: Model) -> None:
    schema = {"type": "array", "items": {"type": "null"}, "maxItems": 1, "uniqueItems": True}
    keywords: Any = {"response_format": schema, "strict": False, "max_thinking": 1, "max_tokens": 40, "seed": 1}
    assert isinstance(next(iter(stream_generate(quick, "?", **keywords))), Warned)
    assert generate(quick, "?", **keywords).warnings == ("the answer: the keyword 'uniqueItems' can't be enforced",)


def test_strict_functions_are_called_without_the_package_too(quick: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammars, "find_spec", lambda name: None)
    assert answer(Session(quick), Request([QUESTION], Options(seed=1, max_tokens=4), functions=[COUNT]))[0] == "length"
    with pytest.raises(RequestError, match="needs the package llguidance"):
        answer(Session(quick), Request([QUESTION], FREE, form=Form(SCHEMA)))


def test_random_schemas_are_kept_to_or_refused(quick: Model) -> None:
    """`python -m tests.benchmarks.constraint` does so with 1,000."""
    tokenizer = quick.tokenizer
    assert tokenizer is not None
    known, refused, endless = grammars_of(tokenizer, 1024), 0, 0
    for seed in range(60):
        schema = RandomSchemas(seed).draw()
        try:
            binding = bind(Request([], form=Form(schema)), tokenizer)
            assert binding is not None
            known.check(binding)
        except RequestError as error:
            refused += 1
            assert str(error).startswith("the answer can't be bound: ")
            continue
        text = random_text(known, binding.parts[0].grammar, tokenizer, seed)
        if text is None:
            endless += 1
        else:
            jsonschema.validate(json.loads(text), schema)
    assert 5 < refused < 25 and endless < 6
