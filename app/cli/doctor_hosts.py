"""`gptoss-chat doctor --with`: whether other computers can share a model with this one, how, and how fast."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from app.cli.printing import say
from mlx_model.distributed.hosts import plain
from mlx_model.distributed.load import meet, why_not
from mlx_model.distributed.machine import Files, Machine
from mlx_model.distributed.split import Split, split
from mlx_model.errors import BudgetError, GptossError
from mlx_model.memory.plan import plan
from mlx_model.memory.sizes import fit, memory_size
from mlx_model.text import clean
from mlx_model.transformer.config import ModelConfig

_ROUND_TRIPS = 50
_SLOW_S = 0.005
"""A round trip from which a token notices it: Thunderbolt and Ethernet take less than 1 ms, Wi-Fi 5 to 50."""


def show_hosts(hosts: Sequence[str], name: str, config: ModelConfig, memory: int | None, *, as_json: bool) -> int:
    """Print the report, and say what is wrong; returns 0, or 1 if a computer can't be used. `memory` is a budget for
    this one."""
    report = examine_hosts(hosts, name, config, memory)
    if as_json:
        print(json.dumps(report), flush=True)
    else:
        for line in render_hosts(report):
            print(clean(line), flush=True)
        for problem in problems(report):
            say(problem)
    return 0 if report["split"] is not None else 1


def examine_hosts(hosts: Sequence[str], name: str, config: ModelConfig, memory: int | None) -> dict[str, Any]:
    """What each computer is, or its "problem"; how the model would be split, "alone" if no other is needed."""
    here = Machine.here(memory)
    found = [_examined(host, name, config, here) for host in hosts]
    report: dict[str, Any] = {"model": name, "here": asdict(here), "hosts": found, "split": None, "problem": None}
    report["alone"] = _fits_alone(config, here)
    if any(each["problem"] for each in found):
        return report
    try:
        chosen = split(config, [here, *(Machine(**each["machine"]) for each in found)])
    except BudgetError as error:
        report["problem"] = str(error)
    else:
        report["split"] = _described(chosen, [each["round_trip_s"] for each in found])
    return report


def _examined(host: str, name: str, config: ModelConfig, here: Machine) -> dict[str, Any]:
    found: dict[str, Any] = {"host": host, "machine": None, "layers": [], "round_trip_s": None, "problem": None}
    try:
        (met,) = meet([host], name)
        try:
            found["machine"] = asdict(met.machine)
            found["layers"] = list(met.files.layers) if isinstance(met.files, Files) else []
            found["round_trip_s"] = met.remote.round_trip(config.hidden_size * here.item, _ROUND_TRIPS)
            found["problem"] = why_not(here, met.machine, met.remote.name)
        finally:
            met.remote.close()
    except GptossError as error:
        found["problem"] = str(error)
    return found


def _described(chosen: Split, round_trips: Sequence[float]) -> dict[str, Any]:
    way = sum(round_trips)
    return {
        "parts": [
            {"part": str(part), "start": part.start, "stop": part.stop, "bytes": held.total, "budget": held.budget}
            for part, held in zip(chosen.parts, chosen.plans, strict=True)
        ],
        "context": chosen.context,
        "dense_bits": chosen.dense_bits,
        "on_the_way_s": way,
        "token_s": chosen.token_s + way if chosen.is_estimated else None,
    }


def _fits_alone(config: ModelConfig, here: Machine) -> bool:
    try:
        plan(config, here.budget, on_gpu=here.on_gpu, by_mlx=here.way == "mlx")
    except GptossError:
        return False
    return True


def render_hosts(report: dict[str, Any]) -> Iterator[str]:
    """The report for a person, without what is wrong."""
    for each in report["hosts"]:
        yield from _host_lines(each, report["model"])
    names = ["here", *(f"on {plain(each['host'])}" for each in report["hosts"])]
    chosen = report["split"]
    if chosen is None:
        return
    yield f"{report['model']}: {fit(chosen['dense_bits'], chosen['context'])}"
    for part, name in zip(chosen["parts"], names, strict=True):
        size, budget = memory_size(part["bytes"]), memory_size(part["budget"])
        yield f"  {part['part']} {name}: {size} of the {budget} that are free"
    way = f"{1000 * chosen['on_the_way_s']:.2f} ms on the way"
    if chosen["token_s"] is None:
        yield f"  a token: {way}; how fast is not estimated, since the speed of a memory is not known"
    else:
        yield f"  about {1 / chosen['token_s']:.0f} tokens a second, by the memories' bandwidths, with {way}"
    if report["alone"]:
        yield "  It fits on this computer alone, which is faster: leave out --with."


def problems(report: dict[str, Any]) -> list[str]:
    """Why the model can't be shared, a line for each reason."""
    return [each["problem"] for each in (*report["hosts"], report) if each["problem"]]


def _host_lines(found: dict[str, Any], model: str) -> Iterator[str]:
    name, machine = plain(found["host"]), found["machine"]
    if machine is not None:
        memory, free = memory_size(machine["memory"]), memory_size(machine["budget"])
        yield f"{name}: {machine['chip']}, {machine['system']}, {memory}, of which a model can have {free} now"
        yield f"  gptoss-chat {machine['program'] or '?'}, MLX {machine['mlx'] or '?'}"
        yield f"  of {model} it has {_shown(found['layers'])}"
    if found["round_trip_s"] is not None:
        yield f"  a token's numbers there and back: {1000 * found['round_trip_s']:.2f} ms"
        if found["round_trip_s"] > _SLOW_S:
            yield "  That slows each token down; a cable (Thunderbolt, Ethernet) takes less than 1 ms."


def _shown(layers: Sequence[int]) -> str:
    """Layers in words: all that are there are mostly one range."""
    if not layers:
        return "nothing yet"
    ranges, start = [], layers[0]
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if following != layer + 1:
            ranges.append(f"{start} to {layer}" if start < layer else f"{layer}")
            start = following if following is not None else start
    return f"layers {', '.join(ranges)}"
