"""A model whose layers are cut gives the same bits as the whole one, in whatever way its cache is used."""

import gc
import random
import threading
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_model.distributed.frames import Frame
from mlx_model.generation.scheduler import Scheduler
from mlx_model.generation.session import Session
from mlx_model.harmony.message import user
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.request import Request
from tests.fixtures.direct_stages import DirectRemote, staged
from tests.mlx_model.conftest import REFERENCES

CUTS = {"two": [2], "three": [2, 5]}


@pytest.fixture(scope="module")
def whole() -> Model:
    return load("demo")


@pytest.fixture(scope="module", params=CUTS)
def cut(request: pytest.FixtureRequest) -> tuple[Model, list[DirectRemote]]:
    return staged("demo", CUTS[request.param])


def step(model: Model, cache: Any, ids: list[int], logits: str = "last") -> Any:
    return np.array(model.transformer(mx.array([ids]), cache, logits))  # type: ignore[arg-type]


def test_whatever_is_done_with_a_cache(whole: Model, cut: tuple[Model, list[DirectRemote]]) -> None:
    """Chunks, tokens, marks, snapshots, rewinds, forks, a token taken back: in the same order on both, at random."""
    model, numbers = cut[0], random.Random(5)
    caches = [(whole.make_cache(), model.make_cache())]
    for turn in range(60):
        ours, theirs = numbers.choice(caches)
        match numbers.choice(["chunk", "chunk", "token", "mark", "snapshot", "restore", "fork", "take_back"]):
            case "chunk" | "token" as kind:
                ids = [numbers.randrange(900) for _ in range(numbers.randint(2, 90) if kind == "chunk" else 1)]
                wanted = numbers.choice(["last", "all", "none"])
                one, other = step(whole, ours, ids, wanted), step(model, theirs, ids, wanted)
                assert wanted == "none" or (one == other).all(), turn
            case "mark":
                places = [ours.offset + numbers.randint(1, 100) for _ in range(4)]
                ours.mark(places), theirs.mark(places)
            case "snapshot":
                assert ours.snapshot() == theirs.snapshot()
            case "restore":
                place = numbers.randint(0, ours.offset)
                assert ours.restorable(place) == theirs.restorable(place)
                assert ours.restore(place) == theirs.restore(place)
            case "fork":
                place = ours.restorable(numbers.randint(0, ours.offset))
                caches.append((ours.fork(place), theirs.fork(place)))
            case "take_back":
                for cache in (ours, theirs):
                    step(whole if cache is ours else model, cache, [7], "none")
                    cache.take_back()
        assert (ours.offset, ours.windows, ours.capacity) == (theirs.offset, theirs.windows, theirs.capacity)
    for ours, theirs in caches:
        assert (step(whole, ours, [1, 2, 3]) == step(model, theirs, [1, 2, 3])).all()


def test_rows_that_are_computed_together(whole: Model, cut: tuple[Model, list[DirectRemote]]) -> None:
    found = []
    for model in (whole, cut[0]):
        caches = [model.make_cache() for _ in range(3)]
        for index, cache in enumerate(caches):
            step(model, cache, list(range(index + 3)), "none")
        found.append(np.array(model.transformer(mx.array([[5, 6, 7]]), caches, "all")))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)  # sums of several rows are rounded in another order


def test_two_threads_take_their_steps_in_turn(
    whole: Model, cut: tuple[Model, list[DirectRemote]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with a cache of its own. The rows of one are on their way back when the other one comes."""
    model, receive = cut[0], DirectRemote.receive
    on_their_way, other_is_done = threading.Event(), threading.Event()

    def slowly(self: DirectRemote, kinds: str, patience_s: float, most_rows: int = 0) -> Frame:
        if threading.current_thread() is one and not on_their_way.is_set():
            on_their_way.set()
            other_is_done.wait(0.5)
        return receive(self, kinds, patience_s, most_rows)

    monkeypatch.setattr(DirectRemote, "receive", slowly)
    prompts, found = ([1, 2, 3], [7, 8, 9]), dict[int, Any]()
    caches = [model.make_cache() for _ in prompts]

    def take(number: int) -> None:
        found[number] = step(model, caches[number], prompts[number])

    one = threading.Thread(target=take, args=(0,))
    one.start()
    on_their_way.wait()
    take(1)
    other_is_done.set()
    one.join()
    for number, prompt in enumerate(prompts):
        assert (found[number] == step(whole, whole.make_cache(), prompt)).all()


def test_a_cache_that_nobody_has_is_dropped_elsewhere(cut: tuple[Model, list[DirectRemote]]) -> None:
    model, remotes = cut
    cache = model.make_cache()
    held = [len(remote.stage._caches) for remote in remotes]
    del cache
    model.make_cache()
    assert [len(remote.stage._caches) for remote in remotes] == held


def test_a_conversation_and_its_next_turn(whole: Model, cut: tuple[Model, list[DirectRemote]]) -> None:
    """The same answers, of as many tokens that were computed and reused."""
    answers = []
    for model in (whole, cut[0]):
        session, request = Session(model), Request((user("Spell cat."),), Options(seed=3, max_tokens=40))
        events = list(session.stream(request))
        messages = [event.message for event in events if hasattr(event, "message")]
        more = list(session.stream(Request((*request.messages, *messages, user("And dog?")), request.options)))
        answers.append([(type(event).__name__, getattr(event, "text", "")) for event in events + more])
        stats = more[-1].stats  # type: ignore[union-attr]
        answers[-1].append((str(stats.reused_tokens), str(stats.prefill_tokens)))
        assert stats.reused_tokens > 50
        assert (stats.there_s > 0) == (model is not whole)
    assert answers[0] == answers[1]


def test_only_hidden_states_cross(cut: tuple[Model, list[DirectRemote]]) -> None:
    """Of a prompt rows, and no ids; behind all but its last chunk nothing is waited for."""
    model, remotes = cut
    for remote in remotes:
        remote.frames.clear()
    cache = model.make_cache()
    step(model, cache, list(range(40)), "none")
    step(model, cache, list(range(40)))
    for remote in remotes:
        kinds = [(frame.kind, len(frame.rows)) for frame in remote.frames if frame.kind == "forward"]
        assert kinds == [("forward", 40 * model.config.hidden_size * 4)] * 2
    assert [frame.fields["wanted"] for frame in remotes[-1].frames if frame.kind == "forward"] == [0, 1]
    assert all("token" not in name for frame in remotes[0].frames for name in frame.fields if name != "tokens")


@pytest.mark.usefixtures("by_mlx")
def test_by_mlx(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As on a Mac, whose layers are MLX's."""
    reference = next(iter(REFERENCES.values()))
    folder = reference.write_checkpoint(tmp_path_factory.mktemp("staged"))
    whole, (model, _) = load(folder), staged(folder, [2])
    ids, caches = list(range(50)), [whole.make_cache(), model.make_cache()]
    for part in (ids[:20], ids[20:49], ids[49:]):
        one, other = (step(each, cache, part) for each, cache in zip((whole, model), caches, strict=True))
        assert (one == other).all()
    for cache in caches:
        assert cache.restore(caches[0].restorable(10)) == cache.offset
    one, other = (step(each, cache, ids[:5]) for each, cache in zip((whole, model), caches, strict=True))
    assert (one == other).all()


def test_a_scheduler_starts_anew_after_a_loss(
    whole: Model, cut: tuple[Model, list[DirectRemote]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cache of before answers: what it held elsewhere is gone."""
    model, remotes = staged("demo", [2])
    pool = Scheduler(model).prefixes
    prefix = pool.take([1, 2, 3])
    step(model, prefix.cache, [1, 2, 3], "none")
    prefix.ids += [1, 2, 3]
    assert prefix.reusable([1, 2, 3, 4]) == 3
    again: Callable[[], list[DirectRemote]] = lambda: staged("demo", [2])[1]  # noqa: E731
    pipeline: Any = model.transformer.further  # type: ignore[union-attr]
    pipeline._connect = again
    pipeline.lose()
    assert remotes[0].closed
    assert prefix.reusable([1, 2, 3, 4]) == 0
    assert (step(model, pool.take([1, 2, 3]).cache, [4, 5]) == step(whole, whole.make_cache(), [4, 5])).all()


def test_a_step_that_is_interrupted_ends_all_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of an answer may have been read: what came next would be taken for another."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    model, remotes = staged("demo", [2])
    cache = model.make_cache()
    monkeypatch.setattr(DirectRemote, "receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        step(model, cache, [1])
    assert remotes[0].closed and cache.restorable(1) == 0


def test_a_model_that_is_no_longer_used_ends_its_stages() -> None:
    model, remotes = staged("demo", [2])
    del model
    gc.collect()
    assert remotes[0].closed
