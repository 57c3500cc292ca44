"""The file of `gptoss-chat bench --report` as text: a summary that a person reads, then everything as JSON."""

import json
from collections.abc import Iterator
from typing import Any

from app.lines import one_line
from mlx_model.memory.sizes import memory_size
from mlx_model.text import clean, fenced

_HEADER = """\
Written by `gptoss-chat bench --report`. It names no person, no folder and no conversation; read it before you
publish it.
"""


def render(found: dict[str, Any]) -> str:
    """What app.cli.report has found, as a Markdown document."""
    lines = [
        f"# gptoss-chat {found['versions']['gptoss-chat']} on {found['machine']['chip']}\n",
        _HEADER,
        *_computer(found),
        *_failures(found["failures"]),
    ]
    if "model" in found:
        lines += [*_model(found), *_kernels(found), *_speed(found.get("measured")), *_memory(found["memory"])]
        if found.get("missing"):
            lines += ["\n## Not measured\n", *(f"- {one_line(reason)}" for reason in found["missing"])]
    lines += ["\n## Everything\n", fenced(json.dumps(found, indent=1), "json")]
    return clean("\n".join(lines)) + "\n"


def _computer(found: dict[str, Any]) -> Iterator[str]:
    machine = found["machine"]
    memory = memory_size(machine["memory"])
    yield f"- {machine['system']} ({machine['architecture']}), {machine['cores']} cores, {memory}"
    if machine["gpu"] is None:
        yield f"- There is no Metal GPU: {machine['missing_for_metal']}"
    else:
        cores = f"{machine['gpu_cores']} cores" if machine["gpu_cores"] else "an unknown number of cores"
        yield f"- GPU: {machine['gpu']}, {cores}, may hold {memory_size(machine['working_set'] or 0)}"
    if machine["power"]:
        yield f"- Slowed down: {machine['power']}"
    for title, names in (("Versions", found["versions"]), ("Settings", found["settings"])):
        yield f"- {title}: " + ", ".join(f"{name} {text}" for name, text in names.items())


def _failures(failures: list[dict[str, Any]]) -> Iterator[str]:
    for failure in failures:
        yield f"\n## Failed: {failure['step']}\n"
        yield fenced("\n".join([failure["error"].partition(":")[0] + ": " + failure["message"], *failure["where"]]))


def _model(found: dict[str, Any]) -> Iterator[str]:
    model, loading = found["model"], found["loading"]
    yield f"\n## {model['name']}, attention and output matrix at {model['dense_bits']} bits\n"
    how = "mapped" if loading["refusal"] is None else f"copied ({one_line(loading['refusal'])})"
    yield f"Loaded in {loading['load_s']:.1f} s, {how}."


def _kernels(found: dict[str, Any]) -> Iterator[str]:
    kernels = found["kernels"]
    yield "\n## Kernels\n"
    if kernels["refusal"] is not None:
        yield f"None is used:\n\n{fenced(kernels['refusal'])}\n"
    if not (operations := kernels["operations"]):
        return
    bandwidth = (found.get("measured") or {}).get("bandwidth_gigabytes_s")
    yield f"{sum(each['variant'] is not None for each in operations)} of {len(operations)} were right and faster."
    if bandwidth is not None:
        yield f"Memory: copying {bandwidth['copy']:.0f} GB/s, reading {bandwidth['read']:.0f} GB/s."
    if kernels["table"] is not None:
        yield f"\nFP4 is decoded by a table:\n\n{fenced(kernels['table'])}"
    best = max(bandwidth.values()) if bandwidth else None
    measured = {each["operation"]: each for each in (found.get("measured") or {}).get("kernels", ())}
    yield "\n| operation | runs by | variants right | us | GB/s | of bandwidth | us by MLX | ratio |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for each in operations:
        yield _operation_row(each, measured.get(each["operation"]), best)
    yield "\n| operation, variant | right | greatest error | allowed | us |\n|---|---|---:|---:|---:|"
    for each in operations:
        yield from (_trial_row(each, trial) for trial in each["trials"])
    for each in operations:
        yield from _refused(each)


def _operation_row(each: dict[str, Any], measured: dict[str, Any] | None, best: float | None) -> str:
    right = sum(trial["problem"] is None for trial in each["trials"])
    cells = [each["operation"], each["runs"], f"{right} of {len(each['trials'])}"]
    if measured is None:
        cells += ["-"] * 5
    else:
        ours, portable, speed = (measured[key] for key in ("microseconds", "portable_microseconds", "gigabytes_s"))
        share = "-" if best is None else f"{speed / best:.0%}"
        cells += [f"{ours:.0f}", f"{speed:.0f}", share, f"{portable:.0f}", f"{portable / ours:.2f}"]
    return _row(cells)


def _trial_row(each: dict[str, Any], trial: dict[str, Any]) -> str:
    error = "-" if trial["error"] is None else f"{trial['error']:.1e}"
    seconds = "-" if trial["seconds"] is None else f"{1e6 * trial['seconds']:.0f}"
    right = "yes" if trial["problem"] is None else "no"
    return _row([f"{each['operation']}, {trial['variant']}", right, error, f"{each['tolerance']:.1e}", seconds])


def _refused(each: dict[str, Any]) -> Iterator[str]:
    """What is known of an operation with a variant that is wrong, or that runs by MLX."""
    wrong = [trial for trial in each["trials"] if trial["problem"] is not None]
    if wrong or each["variant"] is None:
        yield f"\n### {each['operation']} runs by {each['runs']}\n\n{one_line(each['reason'])}"
    messages = dict.fromkeys(text for text in (each["message"], *(t["message"] for t in wrong)) if text is not None)
    yield from (f"\n{fenced(message)}" for message in messages)
    for trial in wrong:
        if (at := trial["wrong"]) is not None:
            yield (
                f"\n{trial['variant']}: {at['wrong']:,} of {at['elements']:,} elements of result {at['result']} are "
                f"wrong, first {list(at['index'])}: expected {at['expected']}, got {at['found']} "
                f"(arguments of seed {at['arguments']}; allowed: {each['tolerance']:.1e} of the largest value)."
            )


def _speed(measured: dict[str, Any] | None) -> Iterator[str]:
    if measured is None:
        return
    yield "\n## Speed\n\n| context, tokens | prefill, tok/s | decode, tok/s | without kernels |\n|---:|---:|---:|---:|"
    for each in measured["speeds"]:
        portable = each["portable_decode_tok_s"]
        without = "-" if portable is None else f"{portable:.1f}"
        yield _row([f"{each['tokens']:,}", f"{each['prefill_tok_s']:.1f}", f"{each['decode_tok_s']:.1f}", without])
    if measured["weights_gigabytes_s"] is not None:
        yield f"\nDecoding after the shortest reads {measured['weights_gigabytes_s']:.0f} GB/s of weights."
    if (turn := measured["next_turn"]) is not None:
        yield (
            f"\nNext turn of a chat: first token after {turn['reused_ms']:.0f} ms, {turn['reused_tokens']} tokens "
            f"reused and {turn['reused_computed']} computed; with an empty KV cache {turn['fresh_ms']:.0f} ms, "
            f"{turn['fresh_computed']} computed."
        )
    if measured["launches"]:
        by_name = ", ".join(f"{name} {count}" for name, count in measured["launches"].items())
        yield f"\nA decoded token launches {sum(measured['launches'].values())}: {by_name}."


def _memory(memory: dict[str, Any]) -> Iterator[str]:
    planned, measured = memory["planned"], memory["measured"]
    peak = "not measured" if measured["peak"] is None else memory_size(measured["peak"])
    weights, most = memory_size(planned["weights"]), memory_size(planned["total"])
    swap = " before, ".join(memory_size(measured[f"swap_{when}"]) for when in ("before", "after"))
    yield "\n## Memory\n\n| | planned | measured |\n|---|---:|---:|"
    yield _row(["weights", weights, memory_size(measured["weights"])])
    yield _row(["at most: planned for a full context, measured with those above", most, peak])
    yield f"\nA full context has {planned['context']:,} tokens. Swap in use: {swap} after."
    yield from (f"- {reason}" for reason in planned["reasons"])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |"
