"""Loads a model over this computer and others: connects, compares, splits, and has each load its part."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import mlx.core as mx

from mlx_model.distributed.machine import Files, Machine
from mlx_model.distributed.pipeline import Pipeline
from mlx_model.distributed.remote import Remote, StageLost
from mlx_model.distributed.split import Split, split
from mlx_model.errors import BudgetError, CheckpointError
from mlx_model.hub import names as hub
from mlx_model.memory.sizes import parse_memory
from mlx_model.memory.wishes import Wishes
from mlx_model.model import Model, load_layers, tokenizer_in
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.staged import StagedTransformer
from mlx_model.weights.residence import Progress

T = TypeVar("T")

_REPORT_S = 0.25


@dataclass(frozen=True, slots=True)
class Met:
    """A computer that has answered: its stage, what it is, and its files of the model or why it has none."""

    remote: Remote
    machine: Machine
    files: Files | str


def meet(hosts: Sequence[str], model: str) -> list[Met]:
    """Starts a stage on each of these computers, all at once. Raises StageLost, and leaves none running then."""
    remotes = list[Remote]()
    try:
        for host in hosts:
            remotes.append(Remote(host))
        with ThreadPoolExecutor(len(remotes)) as pool:
            answers = [pool.submit(remote.hello, model) for remote in remotes]
            _settled(answers, remotes)
        return [Met(remote, *answer.result()) for remote, answer in zip(remotes, answers, strict=True)]
    except BaseException:
        for remote in remotes:
            remote.close()
        raise


def why_not(here: Machine, there: Machine, name: str) -> str | None:
    """Why two computers can't share a model; None if nothing is against it."""
    for what, ours, theirs in (
        ("gptoss-chat", here.program, there.program),
        ("MLX", here.mlx, there.mlx),
    ):
        if ours != theirs:
            return f"{name} has {what} {theirs or '?'}, this computer {ours or '?'}: install the same on both"
    if here.item != there.item:
        on = {True: "a GPU", False: "a CPU"}
        return f"{name} computes on {on[there.on_gpu]}, this computer on {on[here.on_gpu]}: their numbers differ"
    return None


def load_across(
    name_or_path: str | Path,
    hosts: Sequence[str],
    *,
    dense_bits: int | None = None,
    memory: int | str | None = None,
    context: int | None = None,
    map: str = "auto",
    progress: Progress = lambda done, total: None,
    preparing: Progress = lambda done, total: None,
) -> Model:
    """As model.load, with the last layers on these computers, "user@mini.local", each of which has gptoss-chat.

    `memory` is the budget here; the others use what is free there. `progress` counts the bytes of all. Raises what
    model.load does, and StageLost, which names the computer.
    """
    start = time.perf_counter()
    folder = hub.resolve(name_or_path)
    config, files = ModelConfig.load(folder), Files.in_folder(folder)
    mx.clear_cache()  # what an earlier model left there is free memory
    here = Machine.here(None if memory is None else parse_memory(memory))
    met = meet(hosts, str(name_or_path))
    remotes = [each.remote for each in met]
    try:
        for each in met:
            _check(here, files, each)
        chosen = _split(str(name_or_path), config, here, files, met, Wishes(context, dense_bits))
        tokenizer = tokenizer_in(folder)
        progress_of_all = _Sum(progress, len(hosts) + 1)
        with ThreadPoolExecutor(len(remotes)) as pool:
            loads = [
                pool.submit(_load, remote, chosen, index, progress_of_all) for index, remote in enumerate(remotes, 1)
            ]
            try:
                layers = load_layers(
                    *(folder, config.of_part(chosen.parts[0]), here.to_plan_with()),
                    Wishes(chosen.context, chosen.plans[0].dense_bits),
                    map=map,
                    progress=progress_of_all.of(0),
                    preparing=preparing,
                )
            except BaseException:
                _close(remotes)
                raise
            _settled(loads, remotes, progress_of_all.report)
    except BaseException:
        _close(remotes)
        raise
    compute = replace(layers.transformer.compute, steps_ahead=False)  # type: ignore[type-var]
    pipeline = Pipeline(remotes, lambda: _again(hosts, str(name_or_path), here, files, chosen), compute.dtype)
    return Model(
        name=str(name_or_path),
        folder=folder,
        config=config,
        transformer=StagedTransformer(config, compute, layers.transformer, pipeline),
        tokenizer=tokenizer,
        load_s=time.perf_counter() - start,
        residence=layers.residence,
        plan=chosen.kept_to(layers.plan),
        kernels=layers.kernels,
    )


def _check(here: Machine, files: Files, met: Met) -> None:
    """Raises CheckpointError where a computer can't share the model."""
    name = met.remote.name
    problem = why_not(here, met.machine, name)
    if problem is None and isinstance(met.files, Files) and (what := files.why_not_with(met.files)) is not None:
        problem = f"{name} has another copy of the model ({what}): download the same one on both"
    if problem is not None:
        raise CheckpointError(problem)


def _split(name: str, config: ModelConfig, here: Machine, files: Files, met: Sequence[Met], wishes: Wishes) -> Split:
    """The best split of what is on the computers' disks. Raises BudgetError, and CheckpointError with the command that
    downloads what is missing."""
    machines = [here, *(each.machine for each in met)]
    layers = [frozenset(each.layers if isinstance(each, Files) else ()) for each in (files, *(m.files for m in met))]
    try:
        return split(config, machines, wishes, layers=layers)
    except BudgetError:
        wanted = split(config, machines, wishes, at_best=True)
    for part, there, who in zip(wanted.parts[1:], layers[1:], met, strict=True):
        if not there.issuperset(range(part.start, part.stop)):
            hosts = ",".join(each.remote.host for each in met)
            command = f"gptoss-chat download {name} --with {hosts}"
            raise CheckpointError(f"{who.remote.name} does not have {part} of {name}; get them with: {command}")
    return split(config, machines, wishes, layers=layers)  # what is on the disks is not what is in the way


def _load(remote: Remote, chosen: Split, index: int, progress: "_Sum") -> None:
    remote.load(chosen.parts[index], replace(chosen.plans[index], context=chosen.context), progress.of(index))


def _again(hosts: Sequence[str], name: str, here: Machine, files: Files, chosen: Split) -> list[Remote]:
    """Stages in place of those that are lost, with the same layers. Raises StageLost and CheckpointError."""
    try:
        met = meet(hosts, name)
        remotes = [each.remote for each in met]
        try:
            for each in met:
                _check(here, files, each)
            progress = _Sum(lambda done, total: None, len(hosts) + 1)
            with ThreadPoolExecutor(len(remotes)) as pool:
                loads = [pool.submit(_load, remote, chosen, index, progress) for index, remote in enumerate(remotes, 1)]
                _settled(loads, remotes)
        except BaseException:
            _close(remotes)
            raise
    except StageLost as error:
        raise StageLost(
            f"{error}; ask again when it is back, or start with --with none and a model that fits on this computer"
        ) from None
    return remotes


class _Sum:
    """Progress on several computers as that of one load; reported in the thread that loads here."""

    def __init__(self, progress: Progress, machines: int) -> None:
        self._progress = progress
        self._each = [(0, 0)] * machines

    def of(self, index: int) -> Progress:
        """Takes the progress of one computer."""

        def take(done: int, total: int) -> None:
            self._each[index] = done, total
            if index == 0:
                self.report()

        return take

    def report(self) -> None:
        """Says how far all of them are, once all have begun."""
        if all(total for _, total in self._each):
            self._progress(sum(done for done, _ in self._each), sum(total for _, total in self._each))


def _settled(
    futures: Sequence["Future[T]"], remotes: Sequence[Remote], waiting: Callable[[], None] = lambda: None
) -> None:
    """Waits for all of them. If one fails, or this is interrupted, all stages are ended; raises what it failed with."""
    try:
        left: set[Future[T]] = {*futures}
        while left:
            done, left = wait(left, timeout=_REPORT_S)
            for each in done:
                each.result()
            waiting()
    except BaseException:
        _close(remotes)
        raise


def _close(remotes: Sequence[Remote]) -> None:
    for remote in remotes:
        remote.close()
