"""The runner step by step, over a small model whose every answer depends on every key that it should see."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from threading import Thread
from typing import Any, cast

import mlx.core as mx
import pytest

from mlx_model.errors import ContextError, RequestError
from mlx_model.events import PrefillProgress, Stats
from mlx_model.generation import runner as runner_module
from mlx_model.generation.prefixes import Prefix
from mlx_model.generation.runner import Runner
from mlx_model.memory import device
from mlx_model.model import Model
from mlx_model.options import Options
from tests.fixtures.small_model import VOCAB, Small, Transformer, answer, following

GREEDY = Options(temperature=0, max_tokens=8)


def small(**changes: Any) -> tuple[Runner, Small]:
    model = Small(Transformer(steps_ahead=changes.pop("steps_ahead", False)), **changes)
    return Runner(cast(Model, model)), model


def ids(items: Iterable[object]) -> list[int]:
    return [item for item in items if isinstance(item, int)]


PROMPT = [(7 * i * i + 3 * i) % VOCAB for i in range(30)]


def consistent(runner: Runner) -> bool:
    """Whether ids and keys of every cache are equal, one for one."""
    for prefix in runner.scheduler.prefixes._prefixes:
        full = prefix.cache.layers[1].present()
        keys = full[0].flatten()[: prefix.cache.offset].tolist() if full else []
        if keys != prefix.ids or prefix.cache.offset != len(prefix.ids):
            return False
    return True


@pytest.mark.parametrize("steps_ahead", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_any_history_gives_the_answers_of_an_empty_cache(seed: int, steps_ahead: bool) -> None:
    """Turns, edits, second answers, cancelled and abandoned ones, in any order, long past the window."""
    dice = random.Random(seed)
    runner, model = small(steps_ahead=steps_ahead)
    known = [PROMPT]
    for _ in range(25):
        before = dice.choice(known)
        prompt = [*before[: dice.choice([len(before), dice.randint(1, len(before))])], dice.randrange(VOCAB)]
        prompt += [dice.randrange(VOCAB) for _ in range(dice.choice([0, 0, 3, 20]))]
        prompt = prompt[:200]
        boundaries = sorted(dice.sample(range(len(prompt)), min(len(prompt), 3)))
        model.chunk = dice.choice([1, 3, 7, 64])
        count = dice.choice([1, 4, 12])
        options = Options(temperature=0, max_tokens=count)
        seen: list[int] = []
        stop_after = dice.choice([None, None, 0, 2])
        match dice.choice(["run", "run", "cancel", "abandon", "settle"]):
            case "run":
                seen = ids(runner.run(prompt, options, boundaries=boundaries))
                assert seen == answer(prompt, count)
                assert runner.stats.reused_tokens + runner.stats.prefill_tokens == len(prompt)
                assert (runner.finish_reason, runner.stats.decode_tokens) == ("length", count)
            case "cancel":
                after = stop_after or 1
                for item in runner.run(prompt, options, cancelled=lambda s=seen, n=after: len(s) >= n):  # type: ignore[misc]
                    seen += [item] if isinstance(item, int) else []
                assert seen == answer(prompt, min(count, after))
                assert runner.finish_reason == ("length" if count <= after else "cancelled")
            case "abandon":
                stream = runner.run(prompt, options, boundaries=boundaries)
                for _ in range(dice.randint(1, 6)):
                    next(stream, None)
                stream.close()
            case "settle":
                done = list(runner.settle(prompt, boundaries=boundaries))
                assert done == sorted(set(done))
                assert not done or done[-1] == len(prompt)
                ids(runner.run([*prompt, 1], options))
                assert runner.stats.prefill_tokens == 1
        assert consistent(runner)
        known.append(prompt + seen)


def test_what_each_step_asks_of_the_model() -> None:
    """Logits for the prompt's last token alone: they cost a third of the weights a token reads."""
    runner, model = small()
    items = list(runner.run(PROMPT, GREEDY))
    assert model.transformer.calls[:5] == [(7, "none")] * 4 + [(2, "last")]
    assert set(model.transformer.calls[5:]) == {(1, "all")}
    assert len(model.transformer.calls) == 5 + 7, "behind the last token nothing is computed"
    assert model.positions == [0, 7, 14, 21, 28]
    assert [item for item in items if isinstance(item, PrefillProgress)] == [
        PrefillProgress(done, 30) for done in (0, 7, 14, 21, 28, 30)
    ]


def test_settling_asks_for_no_logits_and_takes_small_steps() -> None:
    runner, model = small()
    assert list(runner.settle(PROMPT[:12])) == [5, 10, 12]
    assert model.transformer.calls == [(5, "none"), (5, "none"), (2, "none")]
    assert model.positions == [0, 5, 10]
    model.chunk = 2  # memory has become short
    assert list(runner.settle(PROMPT[:15])) == [14, 15]
    assert list(runner.settle(PROMPT[:15])) == []


@pytest.mark.parametrize(("position", "reused"), [(12, 12), (11, 9), (9, 9), (8, 4), (3, 0)])
def test_what_was_settled_is_restorable_at_its_end_and_where_messages_start(position: int, reused: int) -> None:
    runner, _ = small()
    list(runner.settle(PROMPT[:12], boundaries=[0, 4, 9]))
    ids(runner.run([*PROMPT[:12], *range(20)], GREEDY))
    prompt = [*PROMPT[:position], 49, 49]
    assert ids(runner.run(prompt, GREEDY)) == answer(prompt, 8)
    assert runner.stats.reused_tokens == reused


@pytest.mark.parametrize(("length", "settled"), [(298, True), (299, True), (300, False), (301, False)])
def test_what_fills_the_context_is_not_settled(length: int, settled: bool) -> None:
    runner, model = small(chunk=100)
    model.transformer.compute.settle_chunk = 400
    assert bool(list(runner.settle([1] * length))) == settled


@pytest.mark.parametrize(
    ("boundaries", "answer_start"), [((), 29), ((5, 20), 20), ((5, 29), 29), ((5, 30), 5), ((30, 31), 29)]
)
def test_the_answer_starts_behind_the_last_boundary(boundaries: tuple[int, ...], answer_start: int) -> None:
    """What lies behind is sampled: it may be given up for the next prompt. What lies before it gets a fork."""
    runner, _ = small()
    ids(runner.run(PROMPT, GREEDY, boundaries=boundaries))
    assert runner.scheduler.prefixes._prefixes[-1].answer_start == answer_start


def test_a_settled_answer_starts_at_the_last_message() -> None:
    runner, _ = small()
    list(runner.settle(PROMPT, boundaries=[3, 20]))
    assert runner.scheduler.prefixes._prefixes[-1].answer_start == 20
    list(runner.settle(PROMPT))
    assert runner.scheduler.prefixes._prefixes[-1].answer_start == 30


@pytest.mark.parametrize("steps_ahead", [False, True])
@pytest.mark.parametrize("end", ["whole", "abandoned", "cancelled", "settled"])
def test_what_one_thread_leaves_another_goes_on_with(end: str, steps_ahead: bool) -> None:
    """Nothing lazy stays: that would belong to the thread it was made in."""
    runner, _ = small(steps_ahead=steps_ahead)

    def first() -> None:
        if end == "settled":
            list(runner.settle(PROMPT))
            return
        stream = runner.run(PROMPT, GREEDY, cancelled=lambda: end == "cancelled" and runner.stats.decode_tokens > 1)
        for item in stream:
            if end == "abandoned" and isinstance(item, int):
                stream.close()

    thread = Thread(target=first)
    thread.start()
    thread.join()
    prompt = [*PROMPT, *answer(PROMPT, 1), 3]
    assert ids(runner.run(prompt, GREEDY)) == answer(prompt, 8)
    assert runner.stats.reused_tokens >= (30 if end == "settled" else 0)


@pytest.mark.parametrize("steps_ahead", [False, True])
def test_each_step_may_be_taken_in_another_thread(steps_ahead: bool) -> None:
    """What crosses a yield has been computed, or handed to the device."""
    runner, _ = small(steps_ahead=steps_ahead)
    for prompt in (PROMPT, [*PROMPT[:20], 1, 2]):
        stream, items = runner.run(prompt, GREEDY, boundaries=[20]), list[PrefillProgress | int]()
        ended = False
        while not ended:
            before = len(items)
            thread = Thread(target=lambda s=stream, i=items: i.extend(islice(s, 1)))
            thread.start()
            thread.join()
            ended = len(items) == before
        assert ids(items) == answer(prompt, 8)


@pytest.mark.parametrize("settled", [PROMPT, [*PROMPT, 7]])
def test_a_prompt_that_is_in_the_cache_already_is_answered(settled: list[int]) -> None:
    """The logits of its last token are needed, and no cache has those."""
    runner, _ = small()
    list(runner.settle(settled, boundaries=[29, 30]))
    assert ids(runner.run(PROMPT, GREEDY)) == answer(PROMPT, 8)
    assert (runner.stats.reused_tokens, runner.stats.prefill_tokens) == (29, 1)


@pytest.mark.parametrize("boundaries", [(), (3,)])
def test_a_rewind_without_a_step_leaves_nothing_lazy_to_another_thread(boundaries: tuple[int, ...]) -> None:
    """Settling what is there already computes nothing, but goes back to it, or forks."""
    runner, _ = small()

    def settled() -> None:
        ids(runner.run([5, 6, 7, 8], Options(temperature=0, max_tokens=1), boundaries=boundaries))
        assert list(runner.settle([5, 6])) == []

    thread = Thread(target=settled)
    thread.start()
    thread.join()
    assert ids(runner.run([5, 6, 9], GREEDY)) == answer([5, 6, 9], 8)
    assert runner.stats.reused_tokens == 2


# How an answer ends


@pytest.mark.parametrize(
    ("max_tokens", "context", "stop", "count", "reason"),
    [
        (8, 300, None, 8, "length"),
        (1, 300, None, 1, "length"),
        (None, 300, 5, 6, "stop"),
        (6, 300, 5, 6, "stop"),  # both at once: it ended by itself
        (5, 300, 5, 5, "length"),
        (None, 300, 0, 1, "stop"),
        (None, 40, None, 10, "length"),
        (11, 40, None, 10, "length"),
        (10, 40, None, 10, "length"),
        (9, 40, None, 9, "length"),
        (8, 31, None, 1, "length"),
    ],
)
def test_how_an_answer_ends(max_tokens: int | None, context: int, stop: int | None, count: int, reason: str) -> None:
    expected = answer(PROMPT, 20)
    assert len(set(expected[:6])) == 6
    runner, _ = small(
        context_length=context, stop_ids=frozenset() if stop is None else frozenset({expected[stop], VOCAB + 1})
    )
    assert ids(runner.run(PROMPT, Options(temperature=0, max_tokens=max_tokens))) == expected[:count]
    assert (runner.finish_reason, runner.stats.decode_tokens) == (reason, count)


@pytest.mark.parametrize("length", [300, 301])
def test_a_prompt_without_room_for_an_answer(length: int) -> None:
    runner, model = small()
    with pytest.raises(ContextError, match=rf"the prompt has {length} tokens, but the context holds 300; shorten"):
        list(runner.run([1] * length, GREEDY))
    model.plan.context = 200
    with pytest.raises(ContextError, match=r"holds 300 \(the model's 300 don't fit into 953\.7 MB\); shorten"):
        list(runner.run([1] * length, GREEDY))
    assert ids(runner.run([1] * 299, GREEDY)) == answer([1] * 299, 1)


@pytest.mark.parametrize(("bad", "said"), [(-1, -1), (VOCAB, VOCAB)])
def test_ids_outside_the_vocabulary(bad: int, said: int) -> None:
    runner, _ = small()
    with pytest.raises(RequestError, match=rf"the prompt has the id {said}, but this model's vocabulary ends at 52"):
        list(runner.run([0, bad, 52], GREEDY))
    assert ids(runner.run([0, 52], GREEDY)) == answer([0, 52], 8)


def test_a_forked_process_computes_nothing() -> None:
    runner, model = small()
    model.usable = False
    for steps in (runner.run(PROMPT, GREEDY), runner.settle(PROMPT)):
        with pytest.raises(RequestError, match="forked"):
            list(cast(Iterator[object], steps))
    assert not model.transformer.calls


@pytest.mark.parametrize(("at", "computed", "asked"), [(0, 0, 1), (1, 7, 2), (4, 28, 5)])
def test_a_prefill_is_cancelled_between_chunks(at: int, computed: int, asked: int) -> None:
    runner, model = small()
    questions: list[int] = []

    def cancelled() -> bool:
        questions.append(len(model.transformer.calls))
        return len(model.transformer.calls) >= at

    assert ids(runner.run(PROMPT, GREEDY, cancelled=cancelled)) == []
    assert (runner.finish_reason, runner.stats.prefill_tokens) == ("cancelled", computed)
    assert (runner.stats.decode_tokens, len(questions)) == (0, asked)
    assert ids(runner.run(PROMPT, GREEDY)) == answer(PROMPT, 8)
    assert runner.stats.reused_tokens == computed


@pytest.mark.parametrize("steps_ahead", [False, True])
def test_a_failure_in_a_step_empties_the_caches(steps_ahead: bool) -> None:
    runner, model = small(steps_ahead=steps_ahead)
    ids(runner.run(PROMPT, GREEDY))
    stream = runner.run([*PROMPT, 5], GREEDY)
    next(stream)
    next(stream)
    model.transformer.__class__ = type("Broken", (Transformer,), {"__call__": broken})
    with pytest.raises(RuntimeError, match="broken"):
        list(stream)
    model.transformer.__class__ = Transformer
    assert ids(runner.run(PROMPT, GREEDY)) == answer(PROMPT, 8)
    assert runner.stats.reused_tokens == 0


def broken(*_: object) -> mx.array:
    raise RuntimeError("broken")


class Multiples:
    """Allows the multiples of 7 behind an odd token, all else behind an even one; notes what it is asked and told."""

    def __init__(self) -> None:
        self.last, self.calls = PROMPT[-1], list[int | str]()

    def mask(self) -> mx.array | None:
        self.calls.append("mask")
        return mx.arange(VOCAB) % 7 == 0 if self.last % 2 else None

    def accept(self, token: int) -> bool:
        self.calls.append(token)
        self.last = token
        return True

    def forced(self) -> Sequence[int]:
        return ()


@pytest.mark.parametrize("steps_ahead", [False, True])
@pytest.mark.parametrize("stops", [False, True])
def test_a_constraint_is_asked_before_each_token_and_told_each(steps_ahead: bool, stops: bool) -> None:
    expected = list(PROMPT)
    for _ in range(12):
        likeliest = following(expected)
        allowed = range(0, VOCAB, 7) if expected[-1] % 2 else range(VOCAB)
        expected.append(min(allowed, key=lambda token, near=likeliest: abs(token - near)))  # type: ignore[misc]
    tokens = expected[len(PROMPT) :]
    assert tokens != answer(PROMPT, 12)
    count = tokens.index(tokens[5]) + 1 if stops else 12
    runner, _ = small(steps_ahead=steps_ahead, stop_ids=frozenset({tokens[5]} if stops else ()))
    constraint = Multiples()
    options = Options(temperature=0, max_tokens=12)
    assert ids(runner.run(PROMPT, options, constraint=constraint)) == tokens[:count]
    assert constraint.calls == [call for token in tokens[:count] for call in ("mask", token)]
    assert consistent(runner)


# What it says and what it costs


def test_figures_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "peak_memory_bytes", lambda mapped: 1000 - mapped)
    runner, _ = small()
    assert (runner.finish_reason, runner.stats) == ("stop", Stats())
    ids(runner.run(PROMPT, Options(max_tokens=3, seed=5)))
    stats = runner.stats
    assert (stats.prefill_tokens, stats.reused_tokens, stats.decode_tokens) == (30, 0, 3)
    assert (stats.seed, stats.peak_memory_bytes) == (5, 700)
    assert 0 < stats.prefill_s == stats.ttft_s
    assert stats.decode_s > 0


def test_buffers_that_were_outgrown_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each chunk of a prompt, and every so many tokens of an answer."""
    cleared: list[int] = []
    runner, model = small()
    monkeypatch.setattr(mx, "clear_cache", lambda: cleared.append(len(model.transformer.calls)))
    monkeypatch.setattr(runner_module, "_CLEAR_EVERY", 3)
    ids(runner.run(PROMPT, Options(temperature=0, max_tokens=10)))
    assert cleared == [1, 2, 3, 4, 5, 5 + 2, 5 + 5, 5 + 8]


def test_other_caches_give_way_to_the_one_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each chunk and each token is computed."""
    runner, model = small()
    asked: list[tuple[int, int]] = []
    make_room = runner.scheduler.prefixes.make_room

    def noted(growing: Mapping[Prefix, int]) -> bool:
        asked.extend((len(model.transformer.calls), tokens) for tokens in growing.values())
        return make_room(growing)

    monkeypatch.setattr(runner.scheduler.prefixes, "make_room", noted)
    ids(runner.run(PROMPT, Options(temperature=0, max_tokens=3)))
    assert asked == [(0, 7), (1, 7), (2, 7), (3, 7), (4, 2), (5, 1), (6, 1)]
