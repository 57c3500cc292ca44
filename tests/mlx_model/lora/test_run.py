"""A run that is stopped, killed or out of disk goes on to the losses of one that wasn't."""

import errno
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from metal.files import replace_file
from mlx_model.errors import CheckpointError, RequestError
from mlx_model.lora import saved
from mlx_model.lora.examples import Example
from mlx_model.lora.forward import Row
from mlx_model.lora.recipe import Recipe
from mlx_model.lora.run import Done, HeldOut, Resumed, Run, Stepped, Stopped, TrainingError
from mlx_model.lora.saved import Folder, Standing
from mlx_model.lora.trainer import Trainer
from mlx_model.model import Model
from mlx_model.transformer.adapters import Adapters
from mlx_model.weights.adapter_files import read_adapter
from mlx_model.weights.checkpoint import metadata_of

RECIPE = Recipe(rank=2, batch=3, steps=4, learning_rate=0.02, length=40)

Made = Callable[..., Run]


@pytest.fixture
def made(trainable: Model, examples: list[Example], tmp_path: Path) -> Made:
    """A run into the test's folder, saved after each step."""

    def make(recipe: Recipe = RECIPE, saving: float = math.inf, held_out: int = 1) -> Run:
        rest = examples[held_out:]
        return Run(trainable, recipe, rest, examples[:held_out], Folder(tmp_path / "a"), saving=saving)

    return make


def never() -> bool:
    return False


def losses(events: Iterator[object]) -> list[tuple[str, int, float]]:
    return [(type(each).__name__, each.step, each.loss) for each in events if isinstance(each, Stepped | HeldOut)]


@pytest.fixture(scope="module")
def whole(
    trainable: Model, examples: list[Example], tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[str, int, float]]:
    """The losses of a run that nothing interrupts."""
    folder = Folder(tmp_path_factory.mktemp("whole"))
    return losses(Run(trainable, RECIPE, examples[1:], examples[:1], folder).events(never))


def test_a_run(made: Made, tmp_path: Path, trainable: Model) -> None:
    *events, done = made().events(never)
    steps = [each for each in events if isinstance(each, Stepped)]
    held_out = [each for each in events if isinstance(each, HeldOut)]
    assert [step.step for step in steps] == [1, 2, 3, 4]
    assert steps[-1].loss < steps[0].loss and steps[0].rate < steps[1].rate > steps[-1].rate
    assert [each.step for each in held_out] == [0, 1, 2, 3, 4]
    assert held_out[0].loss > held_out[-1].loss
    best = min(held_out, key=lambda each: each.loss)
    assert done == Done(best.step)
    file = read_adapter(tmp_path / "a", trainable.config)
    assert len(file.adapters.scales) == 4 and file.base == trainable.name
    assert file.facts["steps"] == str(best.step) and file.facts["held_out_loss"] == f"{best.loss:.4f}"
    assert list(made().events(never)) == [Done(best.step)], "the run is over"
    assert Folder(tmp_path / "a").state() == {}, "moments are of no use any more"


def test_an_adapter_names_its_model_as_the_hub_does(
    made: Made, trainable: Model, examples: list[Example], tmp_path: Path
) -> None:
    """Other programs look for it there, and know no "gpt-oss-20b"."""
    for name, base in (("gpt-oss-20b", "openai/gpt-oss-20b"), ("org/mine", "org/mine")):
        folder = Folder(tmp_path / name)
        run = Run(replace(trainable, name=name), replace(RECIPE, steps=1), examples[1:], examples[:1], folder)
        assert list(run.events(never))
        assert json.loads((folder.path / "adapter_config.json").read_text())["base_model_name_or_path"] == base


@pytest.mark.parametrize(("after", "saving"), [(0, math.inf), (2, math.inf), (2, 0.0)])
def test_a_killed_run_goes_on_to_the_same_losses(
    made: Made, whole: list[tuple[str, int, float]], after: int, saving: float, tmp_path: Path
) -> None:
    """What was saved last counts; everything after it comes again, to the last bit."""
    killed = made(saving=saving).events(never)
    for event in killed:
        if isinstance(event, Stepped) and event.step > after:
            break
    del killed  # what this step has changed is not saved
    first, *events = made().events(never)
    begins = after if saving else 0
    assert isinstance(first, Resumed) == bool(begins)
    assert (
        losses(iter(events))
        == [each for each in whole if each[1] > begins or (not begins and each[1] == 0)][0 if begins else 1 :]
    )
    history = Folder(tmp_path / "a").history()
    assert [entry["step"] for entry in history if "held_out" in entry] == [0, 1, 2, 3, 4]
    assert [entry["step"] for entry in history if "loss" in entry] == [1, 2, 3, 4]


def test_a_stopped_run_keeps_its_adapter(made: Made, whole: list[tuple[str, int, float]], tmp_path: Path) -> None:
    events, seen = made(saving=0.0), list[object]()
    for event in events.events(lambda: sum(isinstance(each, Stepped) for each in seen) >= 2):
        seen.append(event)
    assert isinstance(seen[-1], Stopped) and seen[-1].step == 2
    assert (tmp_path / "a" / "adapter_model.safetensors").is_file()
    first, *events_after = made().events(never)
    assert first == Resumed(2, 4)
    assert losses(iter(events_after)) == [each for each in whole if each[1] > 2]
    steps = [entry["step"] for entry in Folder(tmp_path / "a").history() if "loss" in entry]
    assert steps == [1, 2, 3, 4], "no step is there twice"


def test_a_stop_without_held_out_examples_keeps_the_newest_adapter(made: Made, tmp_path: Path) -> None:
    seen = list[object]()
    recipe = replace(RECIPE, steps=200)
    for event in made(recipe, held_out=0).events(lambda: len(seen) >= 1):
        seen.append(event)
    assert seen[-1] == Stopped(1, 1)
    assert metadata_of(tmp_path / "a" / "adapter_model.safetensors")["steps"] == "1"


def test_another_run_in_the_folder_is_refused(made: Made) -> None:
    list(made().events(never))
    other = replace(RECIPE, seed=1)
    with pytest.raises(RequestError, match="holds a run with another model, other data or other settings"):
        list(made(other).events(never))
    assert isinstance(list(made(other).events(never, restart=True))[-1], Done)


def test_a_state_that_is_cut_off_says_how_to_begin_anew(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a")
    with folder.locked():
        folder.keep(Standing("run"), {"moment": mx.zeros((8,))})
    path = tmp_path / "a" / "training" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"state\.safetensors is damaged: .*; --restart begins anew$"):
        folder.standing()


def test_two_runs_into_one_folder(made: Made) -> None:
    first = made().events(never)
    next(first)
    with pytest.raises(RequestError, match="another gptoss-chat is training into"):
        next(made().events(never))


def test_a_loss_that_is_no_number(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends; it has changed nothing, and says of which lines the step was."""
    run = made()
    events = run.events(never)
    for event in events:
        if isinstance(event, Stepped) and event.step == 2:
            break
    before = {name: np.array(array) for name, array in run._trainer.adapters.arrays.items()}
    loss = Trainer._loss
    monkeypatch.setattr(Trainer, "_loss", lambda *arguments: loss(*arguments) * mx.array(math.nan))
    with pytest.raises(TrainingError, match=r"the loss of step 3 is no number; .* learn from data\.jsonl:\d") as error:
        list(events)
    assert "the adapter of step 2 is kept" in str(error.value)
    assert all(np.array_equal(before[name], array) for name, array in run._trainer.adapters.arrays.items())


@pytest.mark.parametrize(("step", "kept"), [(0, "nothing was learnt"), (2, "the adapter of step 1 is kept")])
def test_a_held_out_loss_that_is_no_number(made: Made, step: int, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No adapter is the best by it, and what is saved can be read again."""
    run, held_out, taken = made(), Trainer.held_out, list[float]()

    def broken(trainer: Trainer, rows: Sequence[Row]) -> float:
        taken.append(held_out(trainer, rows))
        return math.nan if len(taken) == step + 1 else taken[-1]

    monkeypatch.setattr(Trainer, "held_out", broken)
    with pytest.raises(TrainingError, match=f"the held-out loss after step {step} is no number.*{kept}"):
        list(run.events(never))
    assert isinstance(list(made().events(never))[-1], Done)


def test_a_full_disk(
    made: Made, whole: list[tuple[str, int, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was saved before it is still there, and the run goes on from it."""
    write, written = replace_file, list[Path]()

    def full(path: Path, content: bytes, **options: bool) -> None:
        written.append(path)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content, **options)

    with monkeypatch.context() as patch:
        patch.setattr(saved, "replace_file", full)
        with pytest.raises(TrainingError, match=r"No space left on device\. The run stopped at step 3 of 4"):
            list(made().events(never))
    first, *events = made().events(never)
    assert isinstance(first, Resumed)
    assert losses(iter(events)) == [each for each in whole if each[1] > first.step]


def test_too_little_space_is_said_before_anything_is_computed(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Folder, "free", lambda folder: 1000)
    with pytest.raises(TrainingError, match="takes 0 MB; 0 MB are free"):
        next(made().events(never))


def test_what_a_kill_has_left_half_written_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, inside = Folder(tmp_path), tmp_path / "training"
    arrays = {"0.q_proj.a": mx.zeros((1, 4)), "0.q_proj.b": mx.zeros((4, 1))}
    adapters = Adapters(arrays, {"0.q_proj": 1.0})
    with folder.locked():
        folder.keep(Standing("a run"), {})
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", lambda *_: 1 / 0)  # a kill would not have the rest taken away either
            patch.setattr(Path, "unlink", lambda *_, **__: None)
            with pytest.raises(ZeroDivisionError):
                folder.keep(Standing("a run", 1), {})
            with pytest.raises(ZeroDivisionError):
                folder.keep_adapter(adapters, "a model", 1, {})
    (tmp_path / ".mine").touch()
    assert len(list(inside.iterdir())) == 3
    with folder.locked():
        assert {each.name for each in inside.iterdir()} == {"lock", "state.safetensors"}
        assert {each.name for each in tmp_path.iterdir()} == {"training", ".mine"}


def test_a_transposed_array_is_kept_by_its_numbers(tmp_path: Path) -> None:
    array = mx.arange(6.0).reshape(2, 3).T
    folder = Folder(tmp_path)
    with folder.locked():
        folder.keep(Standing("a run"), {"x": array})
    assert mx.array_equal(folder.state()["x"], array)
