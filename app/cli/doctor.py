"""`gptoss-chat doctor`: what this computer is, which weights it has, and how a model would be held in its memory."""

import argparse
import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from app import paths
from app.adapters import adapter_names
from app.cli.arguments import size
from app.cli.completion import completed_by, model_names
from app.cli.doctor_report import render
from app.cli.this_computer import Computer, capacity, left_to_others, missing_for_metal, this_computer, versions
from app.lines import sentence
from mlx_model.distributed.hosts import hosts_of
from mlx_model.errors import CheckpointError, GptossError, RequestError
from mlx_model.hub.names import Repository
from mlx_model.hub.published import DEFAULT, DEMO, KNOWN, LARGEST
from mlx_model.memory.plan import COMFORTABLE, MemoryPlan, least, plan_within
from mlx_model.memory.sizes import memory_size
from mlx_model.memory.wishes import Budget, Wishes
from mlx_model.text import clean
from mlx_model.transformer.config import PUBLISHED, ModelConfig

_MIB = 2**20
_NOTHING = Wishes()
"""Where nothing is asked of a model."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "doctor",
        argument_default=argparse.SUPPRESS,
        help="say what this computer is, and how a model would fit into its memory",
        description="Say what this computer is, which weights it has, and how a model would fit into its memory.",
    )
    name = parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="plan for this model alone: gpt-oss-120b, org/name or a folder (default: gpt-oss-20b, and what is loaded)",
    )
    completed_by(name, model_names)
    parser.add_argument(
        "--memory", type=size, metavar="SIZE", help='plan for this much memory, as in "10GB", instead of what is free'
    )
    parser.add_argument(
        "--dense-bits", type=int, choices=[16, 8, 6, 4], help="plan with all weights but the experts at this many bits"
    )
    parser.add_argument(
        "--experts", type=int, metavar="N", help="plan with N experts of each layer in memory, the others on the disk"
    )
    parser.add_argument(
        "--with",
        dest="hosts",
        metavar="HOSTS",
        help=f"say whether and how these computers could share MODEL (default: {LARGEST}) with this one, as in "
        "user@mini.local",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object; sizes are in bytes")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report that is asked for; returns the exit code. Raises CheckpointError and RequestError."""
    memory, model = getattr(arguments, "memory", None), getattr(arguments, "model", None)
    as_json = getattr(arguments, "json", False)
    asked = Wishes(dense_bits=getattr(arguments, "dense_bits", None), slots=getattr(arguments, "experts", None))
    if not hasattr(arguments, "hosts"):
        return show(memory, as_json=as_json, model=model, asked=asked)
    if asked != _NOTHING:
        raise RequestError("--dense-bits and --experts are for a model on one computer: leave them out, or --with")
    from app.cli.doctor_hosts import show_hosts

    hosts, model = hosts_of(arguments.hosts), model or LARGEST
    return show_hosts(hosts, model, _shape(_short(model))[0], memory, as_json=as_json)


def show(memory: int | None, *, as_json: bool, model: str | None = None, asked: Wishes = _NOTHING) -> int:
    """Print the report; returns 0. `memory` is a budget in bytes, None for the computer's own. The plan is that of
    `model`, None: of gpt-oss-20b and of what is loaded by default, or of the first where something is `asked` of it.
    Raises CheckpointError where there is no `model`, RequestError for what can't be asked of it."""
    report = examine(memory, model, asked)
    if as_json:
        print(json.dumps(report), flush=True)
    else:
        print(clean(render(report)), flush=True)
    return 0


def examine(memory: int | None = None, model: str | None = None, asked: Wishes = _NOTHING) -> dict[str, Any]:
    """Everything the report says, fit for JSON: sizes in bytes, names as they are found. "plans" are those of the
    published models, of all on this computer, and of `model`; "shown" names those that a person is to see. The bits
    and the slots that are `asked` are those of what is shown, which is one model then.

    Raises CheckpointError where there is no `model`, RequestError for what can't be asked of it.
    """
    from mlx_model.hub import names as hub
    from mlx_model.hub.environment import missing_disk
    from mlx_model.hub.inventory import local_models
    from mlx_model.memory import device

    computer = this_computer()
    budget, on_gpu = device.budget(memory), device.on_gpu()
    try:
        default, models, problem = hub.default_model(), local_models(), missing_disk()
    except CheckpointError as error:  # the rest of the report may tell why
        default, models, problem = DEMO, [], str(error)
    shown = [_short(model or DEFAULT)]
    if model is None and asked == _NOTHING:
        shown = list(dict.fromkeys((DEFAULT, default)))
    plans = {}
    for name in dict.fromkeys((*shown, *KNOWN, default, *(each.name for each in models))):
        try:
            config, wishes = _shape(name)
        except GptossError:
            if name == model:
                raise
            continue  # what is wrong with it stands in its own line
        if name in shown:
            wishes = replace(wishes, dense_bits=asked.dense_bits, slots=asked.slots)
        plans[name] = describe(config, budget, wishes, on_gpu=on_gpu) | {
            "needs": least(config, wishes, on_gpu=on_gpu),
            "at_best": _at_best(config, max(budget.nbytes, capacity(computer)), wishes, on_gpu=on_gpu),
        }
        if name in shown and plans[name].get("streamed_layers"):
            plans[name]["speed_estimate"] = _speed_estimate(name, config, plans[name])
    return {
        "machine": asdict(computer),
        "metal": {"missing": missing_for_metal(computer), "raise": raised_limit(computer)},
        "disk": _disk() | {"problem": problem},
        "terminal": _terminal(),
        "versions": versions(),
        "models": [
            {
                "name": each.name,
                "source": each.source,
                "folder": str(each.folder),
                "bytes": each.size,
                "complete": each.complete,
                "verified": each.verified,
                "problem": each.problem,
            }
            for each in models
        ],
        "default_model": default,
        "shown": shown,
        "plans": plans,
        "loading": _loading(hub.resolve(default)),
        "adapters": _adapters(),
        "kernels": _kernels(computer),
        "python_tool": _python_tool(),
    }


def raised_limit(computer: Computer) -> dict[str, Any] | None:
    """How this Mac could let its GPU hold more: the command, its risks, and what 20b would gain; None without Metal.

    3 GiB, or an eighth of the memory, are left to macOS and all other programs.
    """
    if computer.working_set is None:
        return None
    megabytes = (computer.memory - left_to_others(computer)) // _MIB
    if megabytes * _MIB <= computer.working_set:
        return None
    nbytes = megabytes * _MIB
    most = Budget(nbytes, nbytes, f"Budget: {memory_size(nbytes)}.")
    gain = describe(PUBLISHED[DEFAULT], most, Wishes(streams=True), on_gpu=True)
    return {
        "command": f"sudo sysctl iogpu.wired_limit_mb={megabytes}",
        "bytes": nbytes,
        "risks": "The limit lasts until the Mac restarts; 0 restores the default. Memory that the GPU holds can't be "
        "swapped: if macOS and all other programs need more than the remaining "
        f"{memory_size(computer.memory - nbytes)}, the whole Mac may stall.",
        "gain": gain,
    }


def _short(name: str) -> str:
    """The name of a published model as the plans have it; any other as it is."""
    repository = Repository.parse(name)
    return repository.short if repository is not None and repository.short in PUBLISHED else name


def _shape(name: str) -> tuple[ModelConfig, Wishes]:
    """What the plan of a model depends on. Raises CheckpointError where it is neither published nor here."""
    from mlx_model.hub import names as hub
    from mlx_model.weights.loader import stored_dense_bits

    if name in PUBLISHED:
        return PUBLISHED[name], Wishes(streams=True)
    folder = hub.resolve(name)
    config, stored = ModelConfig.load(folder), None
    with suppress(GptossError):  # not all of it is here: planned as published
        stored = stored_dense_bits(folder, config)
    return config, Wishes(stored_bits=stored, streams=True)


def describe(config: ModelConfig, budget: Budget, wishes: Wishes | None = None, *, on_gpu: bool) -> dict[str, Any]:
    """A model's plan, or why there is none."""
    try:
        found = plan_within(config, budget, wishes, on_gpu=on_gpu)
    except RequestError:  # what is asked for can't be, with any memory
        raise
    except GptossError as error:
        problem = sentence(f"it does not fit: {error}")
        return {"fits": False, "problem": f"{budget.reason} {problem}"}
    return {"fits": True, "total": found.total, "weights": found.weights, **asdict(found), "summary": _summary(found)}


def _at_best(config: ModelConfig, capacity: int, wishes: Wishes, *, on_gpu: bool) -> dict[str, int] | None:
    """How the model would be held if it had all that this computer can give; None: not at all."""
    try:
        found = plan_within(config, Budget(capacity, capacity, ""), wishes, on_gpu=on_gpu)
    except GptossError:
        return None
    return {
        "dense_bits": found.dense_bits,
        # Experts on the disk take all the memory that the usual context leaves: what is over is chance.
        "context": min(found.context, COMFORTABLE) if found.streamed_layers else found.context,
        "streamed_layers": found.streamed_layers,
        "slots": found.slots,
    }


def _speed_estimate(name: str, config: ModelConfig, plan: dict[str, Any]) -> dict[str, Any]:
    """How fast a model decodes whose experts are read from this disk, which is measured if its files are here."""
    from app.cli.speed import bandwidth
    from mlx_model.checkpoint_files import weight_files
    from mlx_model.hub import names as hub
    from mlx_model.memory.parts import Split
    from mlx_model.memory.streaming import ASSUMED, Speeds, estimated_speed
    from mlx_model.weights.disk_speed import disk_speed

    disk = None
    with suppress(GptossError):
        folder = hub.resolve(name)
        disk = disk_speed([folder / file for file in weight_files(folder)])
    # What MLX reads on a CPU, by one thread, is not what the compiled layers do.
    speeds = Speeds(disk or ASSUMED.disk, bandwidth().best * 1e9 if plan["on_gpu"] else ASSUMED.memory / 2)
    found = estimated_speed(config, plan["dense_bits"], Split(plan["streamed_layers"], plan["slots"]), speeds)
    return {**asdict(found), "range": found.range, "disk": speeds.disk, "measured": disk is not None}


def _summary(plan: MemoryPlan) -> str:
    dense = "" if plan.dense_bits == 16 else f" (all but the experts at {plan.dense_bits} bits)"
    return (
        f"{memory_size(plan.weights)} of weights{dense}, a context of {plan.context:,} tokens, "
        f"at most {memory_size(plan.total)} in all"
    )


def _disk() -> dict[str, Any]:
    """Free space where the Hub's cache is, or would be."""
    from mlx_model.hub.environment import cache_folder, free_space

    try:
        cache = cache_folder()
    except CheckpointError:
        cache = Path.home()
    return {"folder": str(cache), "free": free_space(cache)}


def _terminal() -> dict[str, Any]:
    """What the terminal says it can do."""
    name, colour = os.environ.get("TERM", ""), os.environ.get("COLORTERM", "")
    columns, rows = shutil.get_terminal_size()
    many = "256" if "256color" in name else "16"
    return {
        "name": os.environ.get("TERM_PROGRAM", "") or name or "none",
        "is_terminal": sys.stdin.isatty() and sys.stdout.isatty(),
        "columns": columns,
        "rows": rows,
        "colours": "0" if "NO_COLOR" in os.environ else "16 million" if colour in ("truecolor", "24bit") else many,
        "encoding": sys.stdout.encoding,
        "inside": [what for what, variable in (("tmux", "TMUX"), ("ssh", "SSH_TTY")) if os.environ.get(variable)],
    }


def _loading(folder: Path) -> str:
    """How the weights in a folder come into memory, and why."""
    from mlx_model.cpu.available import why_not
    from mlx_model.memory import device
    from mlx_model.weights.reader import why_not_mapped

    if not device.on_gpu() and why_not() is None:
        return "read where they lie in their files (mapped): pages that the system drops when it needs their memory"
    try:
        refusal = why_not_mapped(folder, adopts_memory=device.on_gpu())
    except GptossError as error:
        return str(error)
    return "used where they lie in their files (mapped)" if refusal is None else f"copied into memory: {refusal}"


def _kernels(computer: Computer) -> list[str]:
    """The table of kernels chosen on this GPU, a line each; empty without one."""
    if computer.working_set is None:
        return []
    from metal.trust.select import report

    try:
        return report().splitlines()
    except ValueError as error:
        return [str(error)]


def _adapters() -> list[dict[str, Any]]:
    """The LoRA adapters that this program has made: for which model, and which operations have no kernel with one."""
    from mlx_model.weights.adapter_files import adapter_facts

    found = list[dict[str, Any]]()
    for name in adapter_names():
        try:
            facts = adapter_facts(paths.adapter_folder(name))
            found.append({"name": name, "base": facts.base, "bytes": facts.nbytes, "operations": facts.operations})
        except GptossError as error:
            found.append({"name": name, "problem": str(error)})
    return found


def _python_tool() -> dict[str, str | None]:
    """What confines the python tool, or the problem, as its test said the last time; neither if there was no test."""
    from app.tools import managed_python
    from mlx_model.tools.python.sandbox import Confinement, Interpreter
    from mlx_model.tools.python.selftest import Verdicts, remembered
    from mlx_model.tools.python.tool import MEMORY

    try:
        interpreter = Interpreter.ask(managed_python.find() or Path(sys.executable))
        found = remembered(interpreter, MEMORY, Verdicts(paths.verdicts_file()))
    except (GptossError, OSError) as error:
        found = Confinement.NONE, str(error)
    way, why_not = found or (None, None)
    return {"confined_by": None if way is Confinement.NONE else way, "problem": why_not or None}
