"""`gptoss-chat bench`: times a model on this machine; prints tables and a line for an issue, or one JSON object."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from app.adapters import find_adapter
from app.cli.arguments import add_adapter, size
from app.cli.loading import PreparingLine, preparing
from app.cli.measurements import Bandwidth, ExpertReads, KernelSpeed, Measurements, NextTurn, Speed
from app.cli.printing import say
from app.interrupt import Importing
from mlx_model.errors import GptossError
from mlx_model.text import clean

if TYPE_CHECKING:
    from app.cli.report import Evidence
    from mlx_model.model import Model

_GPU_TOKENS, _CPU_TOKENS = 64, 16
_LONGEST_S, _CPU_LONGEST_S = 60.0, 3.0
"""Seconds that a prompt may take: a Mac needs them for 8,192 tokens, a CPU should be done soon, unless it is for an
issue."""

_TOO_SHORT = "the next turn of a chat: the context is too short"


class _Effort(NamedTuple):
    """Tokens of an answer, the seconds that a prompt may take, and what to do with a line on how far it is."""

    tokens: int
    longest_s: float
    progress: Callable[[str], None]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "bench",
        argument_default=argparse.SUPPRESS,
        help="time a model on this computer",
        description="Time a model on this computer: prompts and answers of several lengths, the next turn of a chat, "
        "the bandwidth of memory, and on a Mac each Metal kernel beside MLX's own operations. The last line is "
        "meant for an issue, and so is the file that --report writes. Close other busy programs first; plug in a "
        "MacBook.",
    )
    parser.add_argument("--model", metavar="NAME", help="as for `ask`, and with its default")
    parser.add_argument("--dense-bits", type=int, choices=[16, 8, 6, 4], help="as for `ask`")
    parser.add_argument("--memory", type=size, metavar="SIZE", help="as for `ask`")
    parser.add_argument("--experts", type=int, metavar="N", help="as for `ask`")
    add_adapter(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, whose keys name the units")
    parser.add_argument(
        "--report",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="also write a file for an issue, with all that a developer needs and nothing private, into FOLDER "
        "(default: the current one); no file is overwritten",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Time a model, by default the one that would answer, and print; returns 0, or 1 where the report has a failure.

    Raises GptossError as loading does, and where the report can't be written.
    """
    with Importing():
        from app.cli.report import TEMPLATE, Evidence
        from mlx_model.hub.names import default_model
        from mlx_model.model import load

    evidence = Evidence.for_folder(arguments.report) if hasattr(arguments, "report") else None
    name = arguments.model if hasattr(arguments, "model") else default_model()
    how: dict[str, Any] = {name: getattr(arguments, name, None) for name in ("dense_bits", "memory", "experts")}
    how["adapter"] = find_adapter(arguments.adapter) if hasattr(arguments, "adapter") else None
    as_json = getattr(arguments, "json", False)
    if evidence is None:
        line = PreparingLine()
        try:
            loaded = load(name, **how, preparing=line.show)
        finally:
            line.end()
        _measured(loaded, as_json, None)
        return 0
    say(f"{name} is measured for a few minutes; Ctrl-C ends it, and nothing is written then")
    model = found = None
    try:
        model = load(name, **how, preparing=_say_prepared)
    except GptossError:
        raise
    except Exception as error:  # no fault of the person's, so a developer has to see it
        evidence.add("loading the model", error)
    else:
        found = _measured(model, as_json, evidence)
    path = evidence.write(model, found)
    say(f'the report is in {path}; please attach it to an issue of the kind "{TEMPLATE}"')
    return 1 if evidence.failures else 0


def _say_prepared(done: int, total: int) -> None:
    say(preparing(done, total))


def _measured(model: "Model", as_json: bool, evidence: "Evidence | None") -> Measurements:
    """Measures and prints. What fails goes to the evidence where there is some, and is raised where there is none."""
    found = _blank(model)
    for lines in _measure(model, found, evidence):
        if not as_json:
            print(clean(lines), flush=True)
    if as_json:
        print(json.dumps(asdict(found)), flush=True)
    return found


def _blank(model: "Model") -> Measurements:
    from importlib.metadata import version

    from metal.trust.machine import this_gpu, this_power

    return Measurements(
        program=f"gptoss-chat {version('gptoss-chat')}",
        machine=str(this_gpu() or _computer()),
        power=this_power(),
        # Of a path the last part alone: people publish the found.
        model=model.folder.name if Path(model.name).expanduser().is_dir() else model.name,
        dense_bits=model.plan.dense_bits,
        load_s=model.load_s,
        resident_bytes=model.resident_bytes,
        adapter=model.adapter,
    )


def _computer() -> str:
    """A computer whose GPU MLX doesn't compute on."""
    from importlib.metadata import version

    import mlx.core as mx

    chip = mx.device_info().get("device_name") or platform.machine()
    return f"{chip}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, MLX {version('mlx')} on the CPU"


def _measure(model: "Model", found: Measurements, evidence: "Evidence | None" = None) -> Iterator[str]:
    """Fills the found, and yields it as text, piece by piece as it comes."""
    yield f"{found.label}, attention and output matrix at {found.dense_bits} bits, loaded in {found.load_s:.1f} s"
    yield f"{found.machine}\n" + (f"Note: {found.power}.\n" if found.power else "")
    effort = _effort(for_issue=evidence is not None)
    for number, (title, step) in enumerate(_STEPS.items(), 1):
        effort.progress(f"{number} of {len(_STEPS)}: {title}")
        try:
            yield from step(model, found, effort)
        except Exception as error:
            if evidence is None:
                raise
            evidence.add(title, error)
            found.missing.append(f"{title}: it failed")
    yield "".join(f"Not measured: {reason}.\n" for reason in found.missing)
    yield f"For an issue: {summary(found)}"


def _measure_prompts(model: "Model", found: Measurements, effort: _Effort) -> Iterator[str]:
    from app.cli.speed import expected_s, speeds, warm_up

    def starting(prompt: int, seconds: float) -> None:
        effort.progress(f"a prompt of {prompt:,} tokens: about {_duration(seconds)}")

    tokens, longest_s, _ = effort
    warm = warm_up(model)
    twice = model.transformer.decoder is not None
    yield f"This takes about {_duration(expected_s(warm, tokens, longest_s, model.context_length, twice=twice))}.\n"
    yield "| prompt, tokens | prefill, tok/s | decode after it, tok/s | without kernels | ratio |"
    yield "|---:|---:|---:|---:|---:|"
    for speed in speeds(model, warm, tokens, longest_s, starting=starting):
        if isinstance(speed, str):
            found.missing.append(speed)
        else:
            found.speeds.append(speed)
            yield _speed_row(speed)


def _measure_turn(model: "Model", found: Measurements, effort: _Effort) -> Iterator[str]:
    from app.cli.speed import next_turn

    turn = next_turn(model, 1 / found.speeds[0].prefill_tok_s, effort.longest_s) if found.speeds else _TOO_SHORT
    if isinstance(turn, str):
        found.missing.append(turn)
    else:
        found.next_turn = turn
        yield _turn_line(turn)


def _measure_experts(model: "Model", found: Measurements, _: _Effort) -> Iterator[str]:
    from app.cli.speed import expert_reads

    if (reads := expert_reads(model)) is not None:
        found.experts = reads
        yield _experts_line(reads)


def _measure_bandwidth(_: "Model", found: Measurements, __: _Effort) -> Iterator[str]:
    from app.cli.speed import bandwidth

    found.bandwidth_gigabytes_s = speed = bandwidth()
    yield f"Memory: copying {speed.copy:.0f} GB/s, reading {speed.read:.0f} GB/s"


def _measure_launches(model: "Model", found: Measurements, _: _Effort) -> Iterator[str]:
    from app.cli.speed import launches
    from mlx_model.memory import device

    if device.on_gpu():
        found.launches = launches(model)
        yield f"A decoded token launches {sum(found.launches.values())} operations"


def _measure_kernels(model: "Model", found: Measurements, _: _Effort) -> Iterator[str]:
    from app.cli.roofline import bytes_per_token
    from app.cli.speed import kernel_speeds
    from mlx_model.memory import device

    if not device.on_gpu():
        found.missing.append("Metal kernels and launches: there is no Metal GPU here")
        return
    if found.speeds:
        nbytes = bytes_per_token(model.config, found.dense_bits)
        found.weights_gigabytes_s = nbytes * found.speeds[0].decode_tok_s / 1e9
    found.kernels += kernel_speeds(model)
    if found.kernels:
        yield _kernel_table(found.kernels, found.bandwidth_gigabytes_s)
    else:
        found.missing.append("Metal kernels: none is used here; `gptoss-chat doctor` says why")


_STEPS: dict[str, "Callable[[Model, Measurements, _Effort], Iterator[str]]"] = {
    "prompts and answers": _measure_prompts,
    "the next turn of a chat": _measure_turn,
    "experts from the disk": _measure_experts,
    "the bandwidth of memory": _measure_bandwidth,
    "the launches of a token": _measure_launches,
    "Metal kernels": _measure_kernels,
}


def _effort(*, for_issue: bool) -> _Effort:
    from mlx_model.memory import device

    on_gpu = device.on_gpu()
    tokens = _GPU_TOKENS if on_gpu else _CPU_TOKENS
    longest_s = _LONGEST_S if on_gpu or for_issue else _CPU_LONGEST_S
    return _Effort(tokens, longest_s, say if for_issue else lambda line: None)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _speed_row(speed: Speed) -> str:
    cells = [f"{speed.tokens:,}", f"{speed.prefill_tok_s:.1f}", f"{speed.decode_tok_s:.1f}"]
    portable = speed.portable_decode_tok_s
    cells += ["-", "-"] if portable is None else [f"{portable:.1f}", f"{speed.decode_tok_s / portable:.2f}"]
    return f"| {' | '.join(cells)} |"


def _turn_line(turn: NextTurn) -> str:
    return (
        f"\nNext turn of a chat: first token after {turn.reused_ms:.0f} ms, {turn.reused_computed} prompt tokens "
        f"computed and {turn.reused_tokens} reused (with an empty KV cache {turn.fresh_ms:.0f} ms, "
        f"{turn.fresh_computed} tokens)"
    )


def _experts_line(reads: ExpertReads) -> str:
    return (
        f"Experts: {reads.slots} of {reads.experts} of {reads.layers} layers in memory, {reads.in_memory:.0%} of those "
        f"asked for; a decoded token reads {reads.bytes_a_token / 1e6:.0f} MB and waits "
        f"{1e3 * reads.wait_s_a_token:.0f} ms for them"
    )


def _kernel_table(kernels: list[KernelSpeed], bandwidth: Bandwidth | None) -> str:
    lines = [
        "\n| kernel | us | reads, GB/s | of bandwidth | us by MLX's operations | ratio |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for k in kernels:
        share = "-" if bandwidth is None else f"{k.gigabytes_s / bandwidth.best:.0%}"
        lines.append(
            f"| {k.operation} | {k.microseconds:.0f} | {k.gigabytes_s:.0f} | {share} "
            f"| {k.portable_microseconds:.0f} | {k.portable_microseconds / k.microseconds:.2f} |"
        )
    return "\n".join(lines) + "\n"


def summary(found: Measurements) -> str:
    """Everything that matters in one line."""
    parts = [found.program, found.machine, f"{found.label} at {found.dense_bits} bits"]
    parts += [f"{s.tokens}: prefill {s.prefill_tok_s:.1f}, decode {_decode(s)} tok/s" for s in found.speeds]
    if found.next_turn is not None:
        parts.append(f"next turn {found.next_turn.reused_ms:.0f} of {found.next_turn.fresh_ms:.0f} ms")
    if found.experts is not None:
        parts.append(_experts_line(found.experts))
    if found.weights_gigabytes_s is not None:
        parts.append(f"weights {found.weights_gigabytes_s:.0f} GB/s")
    if found.bandwidth_gigabytes_s is not None:
        parts.append(f"copy {found.bandwidth_gigabytes_s.copy:.0f}, read {found.bandwidth_gigabytes_s.read:.0f} GB/s")
    parts += [f"{k.operation} {k.gigabytes_s:.0f} GB/s" for k in found.kernels if k.rows == 1]
    parts += [found.power] if found.power else []
    return "; ".join(parts)


def _decode(speed: Speed) -> str:
    portable = speed.portable_decode_tok_s
    return f"{speed.decode_tok_s:.1f}" + ("" if portable is None else f" (without kernels {portable:.1f})")
