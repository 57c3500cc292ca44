"""Runs of forced tokens and refused draws, step by step, over a small model that shows every wrong key."""

from collections.abc import Sequence
from typing import cast

import mlx.core as mx
import pytest

from mlx_model.generation.runner import Runner
from mlx_model.model import Model
from mlx_model.options import Options
from tests.fixtures.small_model import VOCAB, Small, Transformer, following

PROMPT = [(7 * i * i + 3 * i) % VOCAB for i in range(30)]
RUN = [3, 50, 8]


class Forcing:
    """Refuses the multiples of 4 and, behind a draw that is odd, forces a run. Of that it tells a part, and leaves the
    rest to its mask."""

    def __init__(self, parts: Sequence[int]) -> None:
        self.parts, self.told = parts, list[int]()
        self.refused, self.masks, self._drawn = 0, 0, False
        self._waiting: list[int] = []

    def mask(self) -> mx.array | None:
        if self._waiting:
            return mx.arange(VOCAB) == self._waiting[0]
        if not self._drawn:  # the first is drawn from all
            self._drawn = True
            return None
        self.masks += 1
        return mx.arange(VOCAB) % 4 != 0

    def accept(self, token: int) -> bool:
        if self._waiting:
            assert token == self._waiting.pop(0)
        elif token % 4 == 0:
            self.refused += 1
            return False
        elif token % 2:
            self._waiting = [*RUN]
        self.told.append(token)
        self._drawn = False
        return True

    def forced(self) -> Sequence[int]:
        return self._waiting[: self.parts[len(self.told) % len(self.parts)]]


def expected(count: int) -> tuple[list[int], int]:
    """So many tokens, and how many draws are refused on the way to them."""
    found, refused = list(PROMPT), 0
    while len(found) < len(PROMPT) + count:
        likeliest = following(found)
        refused += likeliest % 4 == 0
        token = min((t for t in range(VOCAB) if t % 4), key=lambda token, near=likeliest: abs(token - near))  # type: ignore[misc]
        found += [token, *(RUN if token % 2 else [])]
    return found[len(PROMPT) :][:count], refused


@pytest.mark.parametrize("steps_ahead", [False, True])
@pytest.mark.parametrize("parts", [[3], [1], [1, 2], [2, 1, 3]], ids=str)
@pytest.mark.parametrize("taken", [1, 2, 3, 4, 7, 24])
def test_runs_and_refusals_leave_ids_and_keys_equal(steps_ahead: bool, parts: list[int], taken: int) -> None:
    """Whole, or left behind any token; and the next prompt is answered as ever."""
    model = Small(Transformer(steps_ahead=steps_ahead))
    runner, constraint = Runner(cast(Model, model)), Forcing(parts)
    tokens: list[int] = []
    stream = runner.run(PROMPT, Options(temperature=0, max_tokens=24), constraint=constraint)
    for item in stream:
        tokens += [item] if isinstance(item, int) else []
        if len(tokens) == taken:
            break
    stream.close()
    whole, refused = expected(24)
    assert tokens == whole[:taken] and constraint.told[:taken] == tokens
    assert constraint.masks == constraint.refused
    if taken == 24:
        assert 0 < constraint.refused in (refused, refused - 1)  # the last run may be cut
    for prefix in runner.scheduler.prefixes._prefixes:
        keys = prefix.cache.layers[1].present()[0].flatten()[: prefix.cache.offset].tolist()
        assert keys == prefix.ids == [*PROMPT, *whole][: len(prefix.ids)]


@pytest.mark.parametrize("steps_ahead", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 5, 6])
def test_ids_may_be_put_behind_any_token_of_a_run(steps_ahead: bool, at: int) -> None:
    """They take the place of the rest of the run; what is computed is one prefill of both."""
    model = Small(Transformer(steps_ahead=steps_ahead))
    runner, constraint = Runner(cast(Model, model)), Forcing([3])
    tokens: list[int] = []
    for item in runner.run(PROMPT, Options(temperature=0, max_tokens=20), constraint=constraint):
        if not isinstance(item, int):
            continue
        tokens.append(item)
        if len(tokens) == at:
            constraint._waiting = [41, 42]
            runner.insert([41, 42])
            tokens += [41, 42]
    found = [*PROMPT, *expected(at)[0], 41, 42]
    while len(found) < len(PROMPT) + 20:
        likeliest = following(found)
        token = min((t for t in range(VOCAB) if t % 4), key=lambda token, near=likeliest: abs(token - near))  # type: ignore[misc]
        found += [token, *(RUN if token % 2 else [])]
    assert tokens == found[len(PROMPT) :][:20] == constraint.told[:20]
