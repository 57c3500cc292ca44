"""A stage is killed or stopped at random moments of loading and answering: no text is lost, no process is left.

KILLS=100 says how often, with two and with three processes; SEED=7 plays one of them alone.
"""

import os
import random
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from mlx_model.distributed import remote
from mlx_model.distributed.load import load_across
from mlx_model.distributed.remote import StageLost
from mlx_model.errors import CheckpointError
from mlx_model.generation.session import Session
from mlx_model.harmony.message import user
from mlx_model.model import load
from mlx_model.options import Options
from mlx_model.request import Request
from tests.fixtures.stages import LocalStages

REQUEST = Request((user("Spell these words: strawberry, umbrella, table. " * 8),), Options(seed=1, max_tokens=60))
KILLS = int(os.environ.get("KILLS", "40"))
SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else [*range(KILLS)]
LONGEST_S = 1.5
"""After which a stage is hit, at the latest: longer than an answer takes on a quiet machine."""


def text_of(session: Session, kept: list[str]) -> str:
    """The text of an answer; what came of it before it failed is in `kept`."""
    for event in session.stream(REQUEST):
        kept.append(getattr(event, "text", ""))
    return "".join(kept)


@pytest.mark.parametrize("hosts", [["one"], ["one", "two"]], ids=len)
def test_kills_and_stalls(hosts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = LocalStages(tmp_path)
    for name, value in stages.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "_LEAST_S", 1.0)
    monkeypatch.setattr(remote, "_FIRST_S", 3.0)
    monkeypatch.setattr(remote, "START_S", 5.0)
    monkeypatch.setattr(remote, "LOAD_S", 5.0)
    whole = text_of(Session(load("demo")), [])
    model = load_across("demo", hosts)
    session, struck, lost = Session(model), 0, 0
    for seed in SEEDS:
        numbers = random.Random(seed)

        def strike(numbers: random.Random = numbers) -> None:
            nonlocal struck
            if alive := stages.alive:
                struck += 1
                with suppress(ProcessLookupError):
                    os.kill(numbers.choice(alive), numbers.choice([signal.SIGKILL, signal.SIGSTOP]))

        timer = threading.Timer(numbers.uniform(0, LONGEST_S), strike)
        timer.start()
        for _ in range(2):  # the next answer comes from new stages, which may be hit too
            kept: list[str] = []
            try:
                assert text_of(session, kept) == whole, seed
            except (StageLost, CheckpointError) as error:
                lost += 1
                assert any(host in str(error) for host in hosts), error
                assert whole.startswith("".join(kept)), seed
                assert not stages.alive, seed
        timer.join()
    try:
        assert text_of(session, []) == whole
    except StageLost:  # the last strike came after the last answer
        assert text_of(session, []) == whole
    assert len(stages.alive) == len(hosts)
    model.transformer.further.lose()  # type: ignore[union-attr]
    assert not stages.alive
    print(f"{struck} strikes, {lost} answers or loads cut off, {len(stages.processes)} stages started")
