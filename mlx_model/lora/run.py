"""A run of training: step by step, saved on the way, the same whether or not it was interrupted."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mlx_model.errors import GptossError, RequestError
from mlx_model.lora.batches import batch_of, packed
from mlx_model.lora.examples import Example
from mlx_model.lora.recipe import Recipe
from mlx_model.lora.saved import Folder, Standing
from mlx_model.lora.trainer import Trainer
from mlx_model.memory import device
from mlx_model.memory.sizes import disk_size
from mlx_model.model import Model
from mlx_model.weights.adapter_files import BASE_WEIGHTS
from mlx_model.weights.fingerprint import fingerprint

SAVING = 0.05
"""Share of the time that may go into saving. Steps take so much longer than that that nearly every one is saved."""
EVALUATIONS = 10
"""Times that the held-out loss is taken in a run, beside once before it."""
MOST_HELD_OUT = 64
"""Examples that it is taken of."""

_NAMED = 5
"""Examples of a batch that an error names."""


class TrainingError(GptossError):
    """A run that can't go on; the text says what is kept."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The run goes on after so many steps."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step is done, the first of which is 1. `tokens` is how many it has computed, `learnt` those of them that count;
    `seconds` what it took, `memory` the most bytes held so far."""

    step: int
    steps: int
    loss: float
    norm: float
    rate: float
    tokens: int
    learnt: int
    seconds: float
    memory: int


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The loss of the held-out examples after so many steps. `best`: it is the lowest so far; that adapter is kept."""

    step: int
    loss: float
    best: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run was asked to stop, and did so after so many steps. All of it is kept, and the adapter of `adapter_step`
    can be used."""

    step: int
    adapter_step: int


@dataclass(frozen=True, slots=True)
class Done:
    """The run is over. The adapter that is kept is that after so many steps."""

    adapter_step: int


Event = Resumed | Stepped | HeldOut | Stopped | Done


class Run:
    """Training of one adapter, from `examples`, into a folder.

    Which examples a step takes, and how they are packed, follows from the seed and the step alone, and so do all losses
    from what the digest is of: a run that was killed goes on to the same ones.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        examples: Sequence[Example],
        held_out: Sequence[Example],
        folder: Folder,
        *,
        saving: float = SAVING,
    ) -> None:
        self._model = model
        self._recipe = recipe
        self._examples = examples
        self._held_out = packed(held_out[:MOST_HELD_OUT], recipe.length)
        self._folder = folder
        self._saving_share = saving
        self._saving_s = 0.0  # what saving took the last time
        self.steps = recipe.total_steps(len(examples))
        self._base = fingerprint(model.folder)
        self.digest = _digest(self._base, model.plan.dense_bits, recipe, examples)
        self._trainer = Trainer(model.mlx_transformer, recipe.adapters(model.config))
        self._standing = Standing(self.digest)

    def events(self, stop: Callable[[], bool], *, restart: bool = False) -> Iterator[Event]:
        """Trains, or goes on with what the folder holds of this run; the last event is Stopped or Done.

        `stop` is asked after each step. Raises TrainingError for a loss that is no number and for a full disk,
        RequestError where the folder holds another run and `restart` doesn't say that it may go.
        """
        with self._folder.locked():
            kept = None if restart else self._folder.standing()
            if kept is not None and kept.run != self.digest:
                raise RequestError(
                    f"{self._folder.path} holds a run with another model, other data or other settings; give another "
                    "--out, or --restart to begin anew"
                )
            if kept is None:
                self._folder.forget()
                self._check_space()
            elif kept.done:
                yield Done(kept.best_step)
                return
            else:
                self._standing = kept
                self._trainer.restore(self._folder.state(), kept.step)
                self._folder.cut_history(kept.step or -1)  # before the first step the held-out loss is taken again
                if kept.step:
                    yield Resumed(kept.step, self.steps)
            yield from self._train(stop)

    def _train(self, stop: Callable[[], bool]) -> Iterator[Event]:
        schedule, saved_at = self._recipe.schedule(len(self._examples)), time.monotonic()
        if not self._standing.step:
            self._keep()
            yield from self._evaluated()
        while self._standing.step < self.steps:
            step = self._standing.step
            yield self._stepped(step, schedule.rate(step))
            is_last = step + 1 == self.steps
            if is_last or _is_due(step + 1, self.steps):
                yield from self._evaluated()
            wants_stop = stop() and not is_last
            if wants_stop and not self._held_out:
                yield from self._evaluated()
            if wants_stop or self._saving_s <= self._saving_share * (time.monotonic() - saved_at):
                self._keep()
                saved_at = time.monotonic()
            if wants_stop:
                yield Stopped(self._standing.step, self._standing.best_step)
                return
        self._standing = replace(self._standing, done=True)
        with self._saving():
            self._folder.keep(self._standing, {})
        yield Done(self._standing.best_step)

    def _stepped(self, step: int, rate: float) -> Stepped:
        begun = time.monotonic()
        batch = batch_of(self._examples, self._recipe.batch, self._recipe.seed, step)
        rows = packed(batch, self._recipe.length)
        with device.memory_errors():
            result = self._trainer.step(rows, rate)
        if not result.is_finite:
            raise self._not_finite(step, batch)
        self._standing = replace(self._standing, step=step + 1)
        self._logged({"step": step + 1, "loss": result.loss, "norm": result.norm, "rate": rate})
        tokens, learnt = sum(len(row.tokens) for row in rows), sum(len(row.at) for row in rows)
        seconds, memory = time.monotonic() - begun, device.peak_memory_bytes()
        return Stepped(step + 1, self.steps, result.loss, result.norm, rate, tokens, learnt, seconds, memory)

    def _evaluated(self) -> Iterator[HeldOut]:
        """Takes the held-out loss, if anything is held out; the best adapter so far is kept, else the newest."""
        standing = self._standing
        if not self._held_out:
            self._standing = replace(standing, best_step=standing.step)
        else:
            with device.memory_errors():
                loss = self._trainer.held_out(self._held_out)
            if not math.isfinite(loss):
                kept = f"the adapter of step {standing.best_step:,} is kept" if standing.step else "nothing was learnt"
                raise TrainingError(f"the held-out loss after step {standing.step:,} is no number; {kept}")
            is_best = standing.best is None or loss < standing.best
            self._logged({"step": standing.step, "held_out": loss})
            if is_best:
                self._standing = replace(standing, best=loss, best_step=standing.step)
            yield HeldOut(standing.step, loss, is_best)
            if not is_best:
                return
        with self._saving():
            self._keep_adapter()

    def _keep(self) -> None:
        begun = time.monotonic()
        with self._saving():
            self._folder.keep(self._standing, self._trainer.state)
        self._saving_s = time.monotonic() - begun

    def _keep_adapter(self) -> None:
        standing = self._standing
        recipe = json.dumps(self._recipe.to_json())
        facts = {"program": "gptoss-chat", BASE_WEIGHTS: self._base, "steps": str(standing.step), "recipe": recipe}
        if standing.best is not None:
            facts["held_out_loss"] = f"{standing.best:.4f}"
        model = self._model
        self._folder.keep_adapter(self._trainer.adapters, model.full_name, model.config.num_hidden_layers, facts)

    def _logged(self, entry: dict[str, float]) -> None:
        with self._saving():
            self._folder.log(entry)

    @contextmanager
    def _saving(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"{self._folder.path} can't be written: {error.strerror or error}. The run stopped at step "
                f"{self._standing.step:,} of {self.steps:,}; the same command goes on from what was saved last"
            ) from None

    def _check_space(self) -> None:
        """Raises TrainingError unless there is room for the state and its replacement, and the adapter."""
        need = 2 * 12 * self._recipe.parameters(self._model.config) + 8 * self._recipe.parameters(self._model.config)
        if (free := self._folder.free()) < need:
            raise TrainingError(
                f"training into {self._folder.path} takes {disk_size(need)}; {disk_size(free)} are free on its disk"
            )

    def _not_finite(self, step: int, batch: Sequence[Example]) -> TrainingError:
        places = list(dict.fromkeys(example.where for example in batch))
        named = ", ".join(places[:_NAMED]) + (f" and {len(places) - _NAMED} more" if len(places) > _NAMED else "")
        return TrainingError(
            f"the loss of step {step + 1:,} is no number; it has changed nothing, and the adapter of step "
            f"{self._standing.best_step:,} is kept. The step was to learn from {named}; "
            f"a learning rate below {self._recipe.learning_rate:g} may do"
        )


def _is_due(step: int, steps: int) -> bool:
    """Whether the held-out loss is taken after this step."""
    return step * EVALUATIONS // steps > (step - 1) * EVALUATIONS // steps


def _digest(base: str, dense_bits: int, recipe: Recipe, examples: Sequence[Example]) -> str:
    """Of all that a run's losses follow from."""
    digest = hashlib.sha256(json.dumps([base, dense_bits, recipe.to_json()], sort_keys=True).encode())
    for example in examples:
        digest.update(json.dumps([example.ids, example.weights]).encode())
    return digest.hexdigest()
