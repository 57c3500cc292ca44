"""What `gptoss-chat doctor` has found, as lines for a person."""

from collections.abc import Iterator
from typing import Any

from app.lines import one_line
from mlx_model.hub.published import DEFAULT, SIZES
from mlx_model.memory.sizes import disk_size, fit, memory_size


def render(report: dict[str, Any]) -> str:
    """The report for a person, in plain lines."""
    lines = [
        *_computer_lines(report),
        "",
        "Weights on this computer",
        *_weights_lines(report["models"], report["disk"]),
    ]
    for name in report["shown"]:
        lines += ["", *_plan_lines(name, report["plans"][name], is_default=name == report["default_model"])]
        here = [model["name"] for model in report["models"]]
        if report["plans"][name]["fits"] and name in SIZES and name not in here and (here or name != DEFAULT):
            lines.append(f"  To download {disk_size(SIZES[name])}: gptoss-chat download {name}")
    if report["adapters"]:
        on_gpu = report["machine"]["working_set"] is not None
        lines += ["", "Adapters", *(_adapter_line(each, on_gpu=on_gpu) for each in report["adapters"])]
    if report["metal"]["raise"]:
        lines += ["", "To let the GPU hold more", *_raise_lines(report["metal"]["raise"])]
    if report["kernels"]:
        lines += ["", "Kernels", *(f"  {line}" for line in report["kernels"])]
    return "\n".join(lines)


def _computer_lines(report: dict[str, Any]) -> Iterator[str]:
    machine, disk, metal = report["machine"], report["disk"], report["metal"]
    yield f"Computer   {machine['chip']}, {machine['system']} ({machine['architecture']})"
    yield f"Memory     {memory_size(machine['memory'])}, of which {memory_size(machine['available'])} are free now"
    if machine["working_set"] is not None:
        setting = f", set to {machine['wired_limit_mb']} MiB" if machine["wired_limit_mb"] else ""
        yield f"GPU        may hold {memory_size(machine['working_set'])} (Metal's working set{setting})"
    if metal["missing"]:
        yield f"GPU        none. {metal['missing']}"
    yield f"Weights    {report['loading']}"
    yield f"Disk       {disk_size(disk['free'])} free for {disk['folder']}"
    yield f"Python     {_python_line(report['python_tool'])}"
    yield f"Terminal   {_terminal_line(report['terminal'])}"
    yield "Versions   " + ", ".join(f"{name} {number}" for name, number in report["versions"].items())


def _python_line(tool: dict[str, str | None]) -> str:
    if tool["confined_by"]:
        return f"the tool is confined by {tool['confined_by']}: no network, one folder"
    if tool["problem"]:
        return f"the tool is not confined, so it asks before every cell: {one_line(tool['problem'])}"
    return "the tool's sandbox was not tried yet: that happens when the model first gets python"


def _terminal_line(terminal: dict[str, Any]) -> str:
    if not terminal["is_terminal"]:
        return "none"
    inside = f", in {' and '.join(terminal['inside'])}" if terminal["inside"] else ""
    size = f"{terminal['columns']} x {terminal['rows']}"
    return f"{terminal['name']}{inside}, {size}, {terminal['colours']} colours, {terminal['encoding']}"


def _weights_lines(models: list[dict[str, Any]], disk: dict[str, Any]) -> Iterator[str]:
    for model in models:
        state = " (partial)" if not model["complete"] else "" if model["verified"] else " (not verified)"
        state = f" (damaged: {one_line(model['problem'])})" if model["problem"] else state
        yield f"  {one_line(model['name'])}  {disk_size(model['bytes'])}, {model['source']}{state}"
    if disk["problem"]:
        yield f"  {disk['problem']}"
    elif not models:
        yield f"  none; to download {disk_size(SIZES[DEFAULT])}: gptoss-chat download {DEFAULT}"


def _plan_lines(name: str, plan: dict[str, Any], *, is_default: bool) -> Iterator[str]:
    here, best = " (loaded by default)" if is_default else "", plan["at_best"] or (plan if plan["fits"] else None)
    streams = bool(best and best["streamed_layers"])
    fits = fit(best["dense_bits"], best["context"], streams=streams) if best else "does not fit"
    yield f"{one_line(name)}{here}: {fits}{', but not now' if best and not plan['fits'] else ''}"
    for line in [f"Now {plan['summary']}.", *plan["reasons"]] if plan["fits"] else [plan["problem"]]:
        yield f"  {line}"
    if (speed := plan.get("speed_estimate")) is not None:
        disk = f"{speed['disk'] / 1e9:.1f} GB/s, {'measured now' if speed['measured'] else 'assumed'}"
        yield f"  Estimated speed: {speed['range']}, from a disk of {disk}; `gptoss-chat bench` measures it."


def _adapter_line(adapter: dict[str, Any], *, on_gpu: bool) -> str:
    name = one_line(adapter["name"])
    if "problem" in adapter:
        return f"  {name}  can't be used: {one_line(adapter['problem'])}"
    operations = ", ".join(adapter["operations"]) if on_gpu else "all of the model, much more slowly"
    return (
        f"  {name}  for {one_line(adapter['base']) or 'a model that it does not name'}, {disk_size(adapter['bytes'])}; "
        f"with it MLX's operations compute {operations}, in place of kernels"
    )


def _raise_lines(limit: dict[str, Any]) -> Iterator[str]:
    gain = limit["gain"]
    yield f"  {limit['command']}"
    yield f"  {limit['risks']}"
    yield f"  Then {DEFAULT}: {gain['summary'] if gain['fits'] else gain['problem']}"
