"""Experts from the disk: the bits of a model that is all in memory, however it is fed; and reads that fail."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_model.errors import CheckpointError, RequestError
from mlx_model.generation.runner import Runner
from mlx_model.memory.parts import ALL, Split
from mlx_model.model import load
from mlx_model.options import Options
from mlx_model.transformer.compute import CompiledCompute
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.slots import Slots
from mlx_model.weights import experts_on_disk
from mlx_model.weights.compiled import load_compiled
from mlx_model.weights.expert_counts import read_counts, write_counts
from mlx_model.weights.experts_on_disk import Disk, Part
from mlx_model.weights.loader import load_transformer
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.gpu_way import GPU_WAY
from tests.fixtures.mlx_layout import write_mlx_layout

TOKENS = [(7 * i * i + 3) % 500 for i in range(40)]
SLOTS = (4, 5, 8, 13, 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_config(num_local_experts=32, num_hidden_layers=2)
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), config, shards=2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test finds what another one has asked for. (What numba has compiled is elsewhere by now.)"""
    monkeypatch.setattr("mlx_model.weights.expert_counts.cache_folder", lambda: tmp_path)
    return tmp_path


def by_mlx(folder: Path, split: Split = ALL) -> Any:
    return load_transformer(folder, ModelConfig.load(folder), GPU_WAY, split=split)[0]


def by_the_cpu(folder: Path, split: Split = ALL) -> Any:
    return load_compiled(folder, ModelConfig.load(folder), CompiledCompute(), split=split)[0]


BOTH = pytest.mark.parametrize("way", [by_mlx, by_the_cpu])


@pytest.fixture(autouse=True)
def uncompiled() -> Iterator[None]:
    """On a CPU MLX would compile with the system's C++ compiler, if there is one."""
    mx.disable_compile()
    yield
    mx.enable_compile()


def fed(transformer: Any, size: int, count: int = len(TOKENS)) -> np.ndarray:
    """The logits of the first tokens, fed in chunks of a size."""
    cache = transformer.make_cache()
    chunks = (TOKENS[start : min(start + size, count)] for start in range(0, count, size))
    return np.concatenate([np.array(transformer(mx.array([chunk]), cache)) for chunk in chunks], axis=1)


def two_rows(transformer: Any) -> np.ndarray:
    """The logits of a step that two sequences take together."""
    caches = [transformer.make_cache() for _ in range(2)]
    for cache, start in zip(caches, (0, 7), strict=True):
        transformer(mx.array([TOKENS[start : start + 5]]), cache, "none")
    return np.array(transformer(mx.array([[3, 4]]), caches))


@BOTH
def test_the_bits_are_those_of_a_model_in_memory(folder: Path, way: Callable[..., Any]) -> None:
    """Token by token, in chunks with fewer and with more experts than slots, whole, and two sequences together."""
    whole = way(folder)
    expected = {size: fed(whole, size, 15 if size == 1 else 40) for size in (1, 3, 17, 40)}
    rows = two_rows(whole)
    for slots in SLOTS:
        streamed = way(folder, Split(2 if slots != 8 else 1, slots))
        for size, logits in expected.items():
            assert np.array_equal(fed(streamed, size, logits.shape[1]), logits), (slots, size)
        assert np.array_equal(two_rows(streamed), rows), slots
        reads = streamed.streaming.reads
        assert (reads.read > 0) == (slots < 32) and reads.read <= reads.asked
        assert reads.nbytes == reads.read * 3 * 64 * 96 * 17 // 32


def test_lazy_results_keep_their_experts(folder: Path) -> None:
    """Nobody has computed the first step's logits when the second one needs its slots."""
    whole, streamed = by_mlx(folder), by_mlx(folder, Split(2, 4))
    found = []
    for each in (whole, streamed):
        cache = each.make_cache()
        steps = [each(mx.array([[token]]), cache) for token in TOKENS[:6]]
        found.append(np.concatenate([np.array(step) for step in steps]))
    assert np.array_equal(found[0], found[1])


def test_a_chat_may_go_on_in_another_thread(folder: Path) -> None:
    streamed, found = by_mlx(folder, Split(2, 4)), list[np.ndarray]()
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(fed(streamed, 17)))
        thread.start()
        thread.join()
    assert len(found) == 2 and np.array_equal(found[0], found[1])


@BOTH
def test_two_threads_take_their_steps_in_turn(
    folder: Path, way: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session for each is theirs alone; the slots are not. One has the experts that it is about to compute with when
    the other one comes."""
    streamed, expected = way(folder, Split(2, 8)), fed(way(folder), 17, 17)
    has_experts, other_is_done, filled = threading.Event(), threading.Event(), Slots._filled

    def fill(self: Slots, *arguments: Any) -> None:
        filled(self, *arguments)
        if threading.current_thread() is one and not has_experts.is_set():
            has_experts.set()
            other_is_done.wait(0.5)

    monkeypatch.setattr(Slots, "_filled", fill)
    found = list[np.ndarray]()
    one = threading.Thread(target=lambda: found.append(fed(streamed, 17, 17)))
    one.start()
    has_experts.wait()
    found.append(fed(streamed, 17, 17))
    other_is_done.set()
    one.join()
    assert len(found) == 2 and all(np.array_equal(each, expected) for each in found)


def test_gate_and_up_apart(folder: Path, tmp_path: Path) -> None:
    """As mlx-lm's conversions have them."""
    converted = write_mlx_layout(folder, tmp_path / "mlx")
    assert np.array_equal(fed(by_mlx(converted, Split(2, 5)), 17), fed(by_mlx(converted), 17))
    assert np.array_equal(fed(by_the_cpu(converted, Split(2, 5)), 17), fed(by_the_cpu(converted), 17))


# What is held


def test_a_model_is_planned_and_loaded_so(folder: Path, cache: Path) -> None:
    model = load(folder, experts=5)
    assert (model.plan.streamed_layers, model.plan.slots, model.plan.dense_bits) == (2, 5, 16)
    assert model.plan.weights == model.resident_bytes
    assert load(folder, experts=32).plan.streamed_layers == 0
    runner = Runner(model)
    ids = [token for token in runner.run(TOKENS, Options(temperature=0, max_tokens=6)) if isinstance(token, int)]
    stats = runner.stats
    assert 0 < stats.experts_read < stats.experts_asked and stats.experts_bytes > 0
    assert 0 < stats.experts_in_memory < 1
    plain = Runner(load(folder))
    assert ids == [id for id in plain.run(TOKENS, Options(temperature=0, max_tokens=6)) if isinstance(id, int)]
    assert (plain.stats.experts_asked, plain.stats.experts_in_memory) == (0, 1)
    (kept,) = (cache / "experts").iterdir()
    popular = np.argsort(-read_counts(kept, 2, 32)[1], kind="stable")[:5]
    again = load(folder, experts=5).transformer.streaming
    assert again is not None and {*again.slots[1].expert_in.tolist()} == {*popular.tolist()}
    assert again.reads.read == 0


@pytest.mark.parametrize("experts", [0, 3, 33])
def test_numbers_of_experts_that_cant_be(folder: Path, experts: int) -> None:
    with pytest.raises(RequestError, match=f"^experts is {experts}; for this model it must be from 4 to 32"):
        load(folder, experts=experts)
    with pytest.raises(RequestError, match="all experts in memory"):
        load(folder, experts=8, differentiable=True)


def test_as_many_experts_as_120b_has(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "wide", tiny_config(num_local_experts=128, num_hidden_layers=1))
    assert np.array_equal(fed(by_mlx(folder, Split(1, 20)), 17), fed(by_mlx(folder), 17))
    assert np.array_equal(fed(by_the_cpu(folder, Split(1, 20)), 17), fed(by_the_cpu(folder), 17))


def test_an_answer_that_fails_is_no_end_of_the_model(folder: Path) -> None:
    model = load(folder, experts=4)

    def ids() -> list[int]:
        items = Runner(model).run(TOKENS, Options(temperature=0, max_tokens=6))
        return [item for item in items if isinstance(item, int)]

    def fail(number: int, into: memoryview) -> int:
        if number > 60:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return len(into)

    expected = ids()
    with reading(fail), pytest.raises(CheckpointError, match="Input/output error"):
        ids()
    assert ids() == expected


def test_what_was_kept_of_another_model_or_damaged_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "counts.json"
    for content in ("", "[]", "[[1, 2]]", '[["a", 1, 2]]', "[[1, 2, -1]]", "[[1, 2, NaN]]", "[[1,2,3],[4]]", "{}"):
        file.write_text(content)
        assert not read_counts(file, 2, 3).any(), content
    write_counts(file, np.array([[1, 2, 3.14159]]))
    assert read_counts(file, 2, 3).tolist() == [[1, 2, 3.14], [0, 0, 0]]
    write_counts(tmp_path / "counts.json" / "below a file", np.zeros((1, 3)))  # what can't be kept costs nothing else


# Reads that fail


@contextmanager
def reading(instead: Callable[[int, memoryview], int]) -> Iterator[list[int]]:
    """Files give as many bytes as `instead` says for the number of a call and its memory; yields what grows with each
    call."""
    calls, real, lock = list[int](), os.preadv, threading.Lock()

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        with lock:
            calls.append(offset)
            number = len(calls)
        count = instead(number, buffers[0])
        return real(descriptor, [buffers[0][:count]], offset) if count else 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlx_model.weights.experts_on_disk.os.preadv", preadv)
        yield calls


def everything(number: int, into: memoryview) -> int:
    return len(into)


@BOTH
def test_a_read_that_fails_ends_the_answer_and_nothing_else(folder: Path, way: Callable[..., Any]) -> None:
    """At every call in turn, by an error of the disk or by a file that is at its end: then the answer is as ever."""
    transformer = way(folder, Split(2, 4))
    expected = fed(way(folder), 3, 4)
    with reading(everything) as calls:
        fed(transformer, 3, 4)
    for failing in range(1, len(calls) + 1):

        def fail(number: int, into: memoryview, failing: int = failing) -> int:
            if number != failing:
                return len(into)
            if failing % 2:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return 0

        with reading(fail), pytest.raises(CheckpointError, match=r"model-0000.*(Input/output error|was cut off)"):
            for _ in range(9):  # fewer are read where more are in memory
                fed(transformer, 3, 4)
        assert np.array_equal(fed(transformer, 3, 4), expected)


def test_reads_that_nobody_has_waited_for_are_over_before_the_next_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes while they are waited for: the slot that they still write to is the next one's, too."""
    go_on, memory, waits = threading.Event(), np.zeros(1, np.uint8), list[int]()

    class Slow(Part):
        def read(self, expert: int, into: np.ndarray) -> None:
            if expert == 1:
                go_on.wait()
                time.sleep(0.05)  # in which the next one is done, where it does not wait
            into[:] = expert

    def wait(futures: Sequence[Future[None]]) -> None:
        waits.append(len(futures))
        if len(waits) == 1:
            raise KeyboardInterrupt
        go_on.set()
        wait_for(futures)

    monkeypatch.setattr(experts_on_disk, "wait_for", wait)
    disk, part = Disk(), Slow((), ())
    with pytest.raises(KeyboardInterrupt):
        disk.read([(part, 1, memory)]).wait()
    disk.read([(part, 2, memory)]).wait()
    disk._pool.shutdown()
    assert memory == 2


def test_a_read_may_bring_less_than_was_asked_for(folder: Path) -> None:
    with reading(lambda number, into: max(1, len(into) // 3)):
        assert np.array_equal(fed(by_the_cpu(folder, Split(2, 4)), 17), fed(by_the_cpu(folder), 17))


def test_files_that_change_meanwhile(folder: Path, tmp_path: Path) -> None:
    """A file that was replaced is still open; one that was changed or cut off ends answers until it is back."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    files = sorted(copy.glob("model-*.safetensors"))
    streamed, expected = by_mlx(copy, Split(2, 4)), fed(by_mlx(folder), 17)
    for file in files:
        file.rename(file.with_suffix(".old"))
        shutil.copy(file.with_suffix(".old"), file)
    assert np.array_equal(fed(streamed, 17), expected)
    for file in files:
        file.with_suffix(".old").rename(file)
    before = {file: (file.read_bytes(), file.stat()) for file in files}
    for file in files:
        os.truncate(file, len(before[file][0]) // 2)
    with pytest.raises(CheckpointError, match="was changed while in use; download it again and restart"):
        fed(streamed, 17)
    for file, (content, _) in before.items():
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match="was changed while in use"):
        fed(streamed, 17)
    for file, (_, found) in before.items():
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert np.array_equal(fed(streamed, 17), expected)


def test_a_disk_that_is_gone_and_comes_back(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    streamed, expected = by_the_cpu(copy, Split(2, 4)), fed(by_the_cpu(folder), 17)

    def fail(number: int, into: memoryview) -> int:
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))

    with reading(fail), pytest.raises(CheckpointError, match=r"No such device or address.*still connected"):
        fed(streamed, 17)
    copy.rename(tmp_path / "away")
    with pytest.raises(CheckpointError, match=r"can't be read any more \(No such file or directory\)"):
        fed(streamed, 17)
    (tmp_path / "away").rename(copy)
    assert np.array_equal(fed(streamed, 17), expected)
