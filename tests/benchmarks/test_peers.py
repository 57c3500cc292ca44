"""`make bench-peers`: what a child measures of an engine, what its tables make of that."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.cli.roofline import bytes_per_token
from tests.benchmarks.peers import child, machine
from tests.benchmarks.peers.child import Figures, Task, measure
from tests.benchmarks.peers.machine import forget, remember
from tests.benchmarks.peers.settings import Setting, subject
from tests.benchmarks.peers.tables import Run, report


@dataclass
class Clock:
    """A clock that only an engine moves."""

    now: float = 0.0

    def perf_counter(self) -> float:
        return self.now

    time = process_time = perf_counter


@dataclass
class Slow:
    """An engine that takes a second for each token of a prompt, and half of one to decode one."""

    clock: Clock
    asked: list[int] = field(default_factory=list)
    about: str = "slow 1.0"

    def answer(self, prompt: list[int], tokens: int) -> Iterator[int]:
        self.asked.append(len(prompt))
        self.clock.now += len(prompt)
        for token in range(tokens):
            yield token
            self.clock.now += 0.5


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    engine = Slow(Clock())
    monkeypatch.setattr(child, "time", engine.clock)
    monkeypatch.setattr(child, "loader", lambda name: lambda path, setting: engine)
    return engine


def task(prompts: tuple[int, ...], limit_s: float) -> Task:
    return Task("slow", "", "model", 100, prompts, tokens=4, limit_s=limit_s, begun=0.0)


def test_decoding_is_timed_after_128_tokens(slow: Slow) -> None:
    figures = measure(task((512, 8, 128), 1e6))
    assert slow.asked == [1, 8, 128, 512]
    assert figures.prefill_s == {8: 8, 128: 128, 512: 512}
    assert (figures.context, figures.token_s) == (128, [0.5] * 5)  # two seconds have to be over
    assert figures.tokens == [1, 2, 3, 4, 5]
    assert figures.first_s == 1


def test_a_prompt_that_takes_too_long_is_left_out(slow: Slow) -> None:
    figures = measure(task((8, 32, 128), 100.0))
    assert slow.asked == [1, 8, 32]
    assert (list(figures.prefill_s), figures.context) == ([8, 32], 32)


def test_without_prompts_there_is_a_first_token_alone(slow: Slow) -> None:
    figures = measure(task((), 0.0))
    assert slow.asked == [1]
    assert (figures.first_s, figures.prefill_s, figures.token_s) == (1, {}, [])


def test_bytes_that_a_prompt_needs() -> None:
    """Of one token those that `make roofline` has; of many all weights once."""
    demo = subject("demo", with_gguf=False)  # 2 of 8 experts
    one, two, many = (demo.needed_bytes(tokens, 16) for tokens in (1, 2, 1000))
    assert one == bytes_per_token(demo.config)
    experts = demo.config.num_hidden_layers * 8 * 3 * 128 * 128 * 17 / 32
    assert two - one == pytest.approx(experts * (2 / 8) * (6 / 8))
    assert many - one == pytest.approx(experts * 6 / 8)
    assert demo.needed_bytes(1, 8) == bytes_per_token(demo.config, 8)


def figures(token_s: list[float], tokens: list[int], **fields: object) -> Figures:
    return Figures("x 1.0", 2.0, 3.0, {8: 4.0}, 128, token_s, tokens, (0.5, 0.25), (0.6, 0.3), **fields)  # type: ignore[arg-type]


def test_the_tables() -> None:
    demo = subject("demo", with_gguf=False)
    ours, peer = Setting("gptoss-chat", "ours", "16"), Setting("llama.cpp", "llama_cpp", "repacked")
    gib, needed = 2**30, demo.needed_bytes(1, 16)
    cold = Figures("x 1.0", 7.0, 8.0)
    mine = figures([0.1, 0.2, 0.3], [1, 2, 3], peak=3 * gib, anonymous=gib, file=2 * gib, proportional=gib)
    runs = [
        Run(ours, 0, cold, mine, gib, 10 * needed, 0.5),
        Run(ours, 0, None, figures([0.125], [1, 2, 3]), gib, 8 * needed, 0.5),
        Run(peer, 0, None, figures([0.4], [1, 2, 9]), gib, 8 * needed, 2.0),
        Run(ours, 2, None, figures([1.0], [1, 2, 3]), gib, 8 * needed, 2.0),
    ]
    text = report(demo, runs, [8, 32])
    of_prompt = 2 / 8 * demo.needed_bytes(8, 16) / (10 * needed)
    assert (
        f"| gptoss-chat | 6.50 (8.00), 65% | 2.00 (2.00), {of_prompt:.0%} | - | 2 |" in text
    )  # of ten tokens a second
    assert "| llama.cpp | 2.50, 25% | 2.00" in text
    assert "| *gptoss-chat / llama.cpp* | 2.60 | 1.00 | - |" in text
    assert "busy loops / llama.cpp" not in text
    assert "| gptoss-chat, beside 2 busy loops | 1.00, 10% |" in text
    assert "| gptoss-chat | 7.0 / 8.0 | 2.0 / 3.0 | 1.50 | 1.00 | 1.00 | 2.00 | 1.00 |" in text
    assert "| gptoss-chat | 50% | 25% | 60% | 30% | 0.5 |" in text
    assert "llama.cpp: 2 of 3" in text


def test_cpu_time_of_this_process_and_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two spells of a second, of two cores: seconds by the clock, of this process, of everything."""
    times = iter([(10.0, 1.0, 50.0), (11.0, 1.5, 51.5), (20.0, 4.0, 60.0), (21.0, 4.5, 60.5)])
    monkeypatch.setattr(machine, "_times", lambda: next(times))
    monkeypatch.setattr(machine, "cores", lambda: 2)
    spell = machine.Spell()
    for _ in range(2):
        spell.start()
        spell.stop()
    assert spell.shares() == (0.25, 0.25)


def test_busy_loops_end_with_what_they_were_beside() -> None:
    with machine.busy_loops(1) as (loop,):
        assert loop.poll() is None
    assert loop.poll() is not None


def test_files_in_the_page_cache(tmp_path: Path) -> None:
    """Neither changes what is in them."""
    file = tmp_path / "weights"
    file.write_bytes(b"x" * 100_000)
    forget([file])
    remember([file])
    assert file.read_bytes() == b"x" * 100_000
