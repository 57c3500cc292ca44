"""`gptoss-chat download --with`: each computer downloads the layers that it holds, all at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from app.cli.printing import say
from mlx_model.distributed.load import Met, meet, why_not
from mlx_model.distributed.machine import Machine
from mlx_model.distributed.split import split
from mlx_model.errors import CheckpointError
from mlx_model.hub.download import DownloadPlan, of_part, prepare
from mlx_model.memory.sizes import disk_size
from mlx_model.part import Part
from mlx_model.transformer.config import ModelConfig

_NO_LAYER = Part(0, 0, ends=False)
"""What is left are configuration, tokenizer and index."""


def download_parts(name: str, hosts: Sequence[str], fetched: Callable[[DownloadPlan], str]) -> str:
    """Fetch a model's parts; returns its folder here. `fetched` does and shows what a plan says.

    The split is that of the computers at their best, so that it is always the same. Raises CheckpointError, StageLost,
    which names the computer, and KeyboardInterrupt; what was fetched is kept, here and there.
    """
    plan, here, met = prepare(name), Machine.here(), meet(hosts, name)
    try:
        for each in met:
            if (problem := why_not(here, each.machine, each.remote.name)) is not None:
                raise CheckpointError(problem)
        of_part(plan, _NO_LAYER)
        config = ModelConfig.load(plan.target.folder)
        first, *parts = split(config, [here, *(each.machine for each in met)], at_best=True).parts
        ours = of_part(plan, first)
        say(f"here {first} with embedding and output matrix, {disk_size(ours.total)}, to {ours.target.root}")
        for each, part in zip(met, parts, strict=True):
            say(f"on {each.remote.name} {part}")
        ours.check_space()
        folder = _all_of_them(name, ours, met, parts, fetched)
    finally:
        for each in met:
            each.remote.close()
    say(f"complete and verified; open the chat with: gptoss-chat --model {name} --with {','.join(hosts)}")
    return folder


def _all_of_them(
    name: str, ours: DownloadPlan, met: Sequence[Met], parts: Sequence[Part], fetched: Callable[[DownloadPlan], str]
) -> str:
    """Has each computer fetch its part, and fetches that of this one; returns its folder."""
    with ThreadPoolExecutor(len(met)) as pool:
        others = [pool.submit(_there, each, name, part) for each, part in zip(met, parts, strict=True)]
        try:
            folder = fetched(ours)
            for other in others:
                other.result()
        except BaseException:
            for each in met:  # which ends what the threads wait for
                each.remote.close()
            raise
    return folder


def _there(met: Met, name: str, part: Part) -> None:
    """Says each tenth of what another computer has of its part."""
    tenth = -1

    def progress(done: int, total: int) -> None:
        nonlocal tenth
        if total and 10 * done // total > tenth:
            tenth = 10 * done // total
            say(f"{met.remote.name}: {10 * tenth}% of {disk_size(total)}")

    met.remote.fetch(name, part, progress)
    say(f"{met.remote.name}: complete and verified")
