"""The runner: what it reuses, what it prefills, when it stops, and that none of it changes an answer."""

import itertools
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Thread

import mlx.core as mx
import pytest

from mlx_model.cpu.threads import Team
from mlx_model.errors import ContextError, RequestError
from mlx_model.events import PrefillProgress
from mlx_model.generation.runner import Runner
from mlx_model.model import Model, load
from mlx_model.options import Options
from tests.fixtures.checkpoints import tiny_config, write_checkpoint

GREEDY = Options(temperature=0, max_tokens=12)
PROMPT = [(7 * i * i + 3 * i) % 500 for i in range(90)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A sliding layer and a full one; a window of 16, so that all that follows happens long after it has wrapped."""
    return load(write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config(num_hidden_layers=2)))


def ids(items: Iterable[object]) -> list[int]:
    return [item for item in items if isinstance(item, int)]


def fresh(model: Model, prompt: list[int], options: Options = GREEDY) -> list[int]:
    return ids(Runner(model).run(prompt, options))


def test_greedy_is_what_the_logits_say(model: Model) -> None:
    tokens = fresh(model, PROMPT)
    logits = model.forward([*PROMPT, *tokens])[0]
    assert [int(row.argmax().item()) for row in logits[len(PROMPT) - 1 : -1]] == tokens  # type: ignore[arg-type]


def test_extending_the_last_answer_prefills_only_what_is_new(model: Model) -> None:
    runner = Runner(model)
    first = ids(runner.run(PROMPT, GREEDY))
    longer = [*PROMPT, *first, 5, 6, 7]
    assert ids(runner.run(longer, GREEDY)) == fresh(model, longer)
    # The answer's last token was sampled, but its keys were never needed.
    assert runner.stats.reused_tokens == len(PROMPT) + len(first) - 1
    assert runner.stats.prefill_tokens == len(longer) - runner.stats.reused_tokens == 4


def test_the_same_prompt_again_prefills_from_its_last_boundary(model: Model) -> None:
    runner = Runner(model)
    first = ids(runner.run(PROMPT, GREEDY, boundaries=[40, 88]))
    assert ids(runner.run(PROMPT, GREEDY, boundaries=[40, 88])) == first
    assert (runner.stats.reused_tokens, runner.stats.prefill_tokens) == (88, 2)


@pytest.mark.parametrize(("parts_at", "reused"), [(89, 88), (88, 88), (87, 40), (41, 40), (40, 40), (39, 10), (3, 0)])
def test_a_prompt_that_parts_from_the_last_one(model: Model, parts_at: int, reused: int) -> None:
    runner = Runner(model)
    ids(runner.run(PROMPT, GREEDY, boundaries=[10, 40, 88]))
    other = PROMPT[:parts_at] + [(token + 1) % 500 for token in PROMPT[parts_at:]] + [9]
    assert ids(runner.run(other, GREEDY)) == fresh(model, other)
    assert runner.stats.reused_tokens == reused
    assert runner.stats.prefill_tokens == len(other) - reused


def test_boundaries_inside_a_chunk_and_across_chunks(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in (1, 7, 16, 33, 1000):
        monkeypatch.setattr(Model, "prefill_chunk", lambda model, position, chunk=chunk: chunk)
        runner = Runner(model)
        ids(runner.run(PROMPT, GREEDY, boundaries=[20, 60]))
        other = [*PROMPT[:61], 1, 2, 3]
        assert ids(runner.run(other, GREEDY)) == fresh(model, other)
        assert runner.stats.reused_tokens == 60


def test_progress_counts_up_from_what_is_reused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "prefill_chunk", lambda model, position: 40)
    runner = Runner(model)
    items = list(runner.run(PROMPT, GREEDY, boundaries=[30]))
    assert items[:4] == [PrefillProgress(done, 90) for done in (0, 40, 80, 90)]
    assert next(iter(runner.run([*PROMPT[:35], 1], GREEDY))) == PrefillProgress(30, 36)


def test_max_tokens(model: Model) -> None:
    runner = Runner(model)
    assert len(ids(runner.run(PROMPT, Options(temperature=0, max_tokens=3)))) == 3
    assert runner.finish_reason == "length"
    assert runner.stats.decode_tokens == 3


def test_stop_ids_end_the_answer_and_are_part_of_it(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = fresh(model, PROMPT)
    monkeypatch.setattr(Model, "stop_ids", frozenset({tokens[4]}))
    runner = Runner(model)
    assert ids(runner.run(PROMPT, GREEDY)) == tokens[: tokens.index(tokens[4]) + 1]
    assert runner.finish_reason == "stop"


def test_a_full_context_ends_the_answer(tmp_path: Path) -> None:
    config = tiny_config(num_hidden_layers=2)
    config["max_position_embeddings"] = 96
    runner = Runner(load(write_checkpoint(tmp_path, config)))
    assert len(ids(runner.run(PROMPT, Options(temperature=0)))) == 6
    assert runner.finish_reason == "length"
    with pytest.raises(ContextError, match="the prompt has 96 tokens, but the context holds 96"):
        list(runner.run([1] * 96, GREEDY))


@pytest.mark.parametrize("after", [0, 1, 5])
def test_cancelling_takes_effect_within_one_token(model: Model, after: int) -> None:
    runner = Runner(model)
    seen: list[int] = []
    for item in runner.run(PROMPT, GREEDY, cancelled=lambda: len(seen) >= after and bool(seen or not after)):
        if isinstance(item, int):
            seen.append(item)
    assert runner.finish_reason == "cancelled"
    assert seen == fresh(model, PROMPT)[:after]
    # What was computed is not lost, and the next answer is right.
    assert ids(runner.run(PROMPT, GREEDY)) == fresh(model, PROMPT)


def test_an_abandoned_answer_leaves_a_usable_cache(model: Model) -> None:
    runner = Runner(model)
    stream = runner.run(PROMPT, GREEDY)
    for _ in range(5):
        next(stream)
    stream.close()
    other = [*PROMPT[:50], 3, 4]
    assert ids(runner.run(other, GREEDY)) == fresh(model, other)


@pytest.mark.parametrize("failure", [RuntimeError("out of memory"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["building", "computing"])
def test_a_failure_leaves_no_keys_that_were_never_computed(
    model: Model, monkeypatch: pytest.MonkeyPatch, failure: BaseException, where: str
) -> None:
    """Errors come up while the graph is built or, on a GPU, only when it is computed."""
    runner = Runner(model)
    ids(runner.run(PROMPT, GREEDY))

    def fail(*_: object) -> None:
        monkeypatch.undo()
        raise failure

    with monkeypatch.context() as broken:
        if where == "building":
            broken.setattr(Team, "run", fail)
        else:
            broken.setattr(mx, "eval", fail)
        with pytest.raises(type(failure)):
            list(runner.run([*PROMPT[:3], 9, 8, 7], GREEDY))
    assert ids(runner.run(PROMPT, GREEDY)) == fresh(model, PROMPT)
    assert runner.stats.reused_tokens == 0


def test_a_refused_prompt_costs_no_cache(model: Model) -> None:
    runner = Runner(model)
    ids(runner.run(PROMPT, GREEDY, boundaries=[88]))
    with pytest.raises(RequestError):
        list(runner.run([], GREEDY))
    ids(runner.run(PROMPT, GREEDY, boundaries=[88]))
    assert runner.stats.reused_tokens == 88


def test_prompts_may_come_in_any_thread(model: Model) -> None:
    """MLX' streams belong to threads, and so does what is still lazy on them."""
    runner = Runner(model)
    prompts = [PROMPT, [*PROMPT[:61], 1, 2], [*PROMPT[:61], 1, 2, 3, 4]]
    answers: list[list[int]] = []
    for prompt in prompts:
        thread = Thread(target=lambda prompt=prompt: answers.append(ids(runner.run(prompt, GREEDY, boundaries=[60]))))
        thread.start()
        thread.join()
    assert answers == [fresh(model, prompt) for prompt in prompts]
    assert runner.stats.reused_tokens >= 60


@pytest.mark.parametrize(
    ("prompt", "message"), [([], "empty"), ([512], "id 512"), ([1, -1], "id -1"), ([2**40], "ends at 511")]
)
def test_unusable_prompts(model: Model, prompt: list[int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        list(Runner(model).run(prompt, GREEDY))


def test_equal_seeds_give_equal_answers(model: Model) -> None:
    def sample(seed: int) -> list[int]:
        return fresh(model, PROMPT, Options(max_tokens=20, seed=seed))

    assert sample(3) == sample(3) != sample(4)


def test_an_answer_ends_with_the_context_whatever_max_tokens_says(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "context_length", 94)
    runner = Runner(model)
    assert len(ids(runner.run(PROMPT, Options(temperature=0, max_tokens=50)))) == 4
    assert runner.finish_reason == "length"


def test_decoding_is_timed_from_the_first_token(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a clock that counts how often it was asked: once at the start, once for each token."""
    clock = itertools.count(100)
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    runner = Runner(model)
    ids(runner.run(PROMPT, Options(temperature=0, max_tokens=5)))
    stats = runner.stats
    assert (stats.ttft_s, stats.prefill_s, stats.decode_s) == (1, 1, 4)
    assert (stats.prefill_tok_s, stats.decode_tok_s) == (90, 1)
