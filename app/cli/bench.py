"""`gptoss-chat bench`: times a model on this machine; prints tables and a line for an issue, or one JSON object."""

import argparse
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.arguments import size
from app.interrupt import Importing
from mlx_model.text import clean

if TYPE_CHECKING:
    from app.cli.speed import KernelSpeed, NextTurn, Speed
    from mlx_model.model import Model

_GPU_TOKENS, _CPU_TOKENS = 64, 16
_GPU_LONGEST_S, _CPU_LONGEST_S = 60.0, 3.0
"""Seconds that a prompt may take: a Mac needs them for 8,192 tokens, a CPU should be done soon."""

_TOO_SHORT = "the next turn of a chat: the context is too short"


@dataclass(slots=True)
class Report:
    """What was measured, and on which machine. `missing` are sentences on what was not and why; `power` slows this Mac.

    `weights_gigabytes_s` is what decoding after the shortest prompt reads of the weights; None on a CPU.
    """

    program: str
    machine: str
    power: str | None
    model: str
    dense_bits: int
    load_s: float
    resident_bytes: int
    speeds: list["Speed"] = field(default_factory=list)
    next_turn: "NextTurn | None" = None
    weights_gigabytes_s: float | None = None
    kernels: list["KernelSpeed"] = field(default_factory=list)
    copy_gigabytes_s: float | None = None
    missing: list[str] = field(default_factory=list)


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "bench",
        argument_default=argparse.SUPPRESS,
        help="time a model on this computer",
        description="Time a model on this computer: prompts and answers of several lengths, the next turn of a chat, "
        "and on a Mac each Metal kernel beside MLX's own operations and the bandwidth of memory. The last line is "
        "meant for an issue. Close other busy programs first; plug in a MacBook.",
    )
    parser.add_argument("--model", metavar="NAME", help="as for `ask` (default: gpt-oss-20b once it is downloaded)")
    parser.add_argument("--dense-bits", type=int, choices=[16, 8, 6, 4], help="as for `ask`")
    parser.add_argument("--memory", type=size, metavar="SIZE", help="as for `ask`")
    parser.add_argument("--json", action="store_true", help="print one JSON object, whose keys name the units")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Time a model, by default the one that would answer, and print; returns 0. Raises GptossError as loading does."""
    with Importing():
        from mlx_model.hub.names import default_model
        from mlx_model.model import load

    model = load(
        arguments.model if hasattr(arguments, "model") else default_model(),
        dense_bits=getattr(arguments, "dense_bits", None),
        memory=getattr(arguments, "memory", None),
    )
    as_json = getattr(arguments, "json", False)
    report = _report(model)
    for lines in _measure(model, report):
        if not as_json:
            print(clean(lines), flush=True)
    if as_json:
        print(json.dumps(asdict(report)), flush=True)
    return 0


def _report(model: "Model") -> Report:
    from importlib.metadata import version

    from metal.trust.machine import this_gpu, this_power

    return Report(
        program=f"gptoss-chat {version('gptoss-chat')}",
        machine=str(this_gpu() or _computer()),
        power=this_power(),
        # Of a path the last part alone: people publish the report.
        model=model.folder.name if Path(model.name).expanduser().is_dir() else model.name,
        dense_bits=model.plan.dense_bits,
        load_s=model.load_s,
        resident_bytes=model.resident_bytes,
    )


def _computer() -> str:
    """A computer whose GPU MLX doesn't compute on."""
    from importlib.metadata import version

    import mlx.core as mx

    chip = mx.device_info().get("device_name") or platform.machine()
    return f"{chip}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, MLX {version('mlx')} on the CPU"


def _measure(model: "Model", report: Report) -> Iterator[str]:
    """Fills the report, and yields it as text, piece by piece as it comes."""
    from app.cli.roofline import bytes_per_token
    from app.cli.speed import copy_gigabytes_s, kernel_speeds, next_turn, speeds
    from mlx_model.memory import device

    on_gpu = device.on_gpu()
    yield f"{report.model}, attention and output matrix at {report.dense_bits} bits, loaded in {report.load_s:.1f} s"
    yield f"{report.machine}\n" + (f"Note: {report.power}.\n" if report.power else "")
    yield "| prompt, tokens | prefill, tok/s | decode after it, tok/s | without kernels | ratio |"
    yield "|---:|---:|---:|---:|---:|"
    tokens, longest_s = (_GPU_TOKENS, _GPU_LONGEST_S) if on_gpu else (_CPU_TOKENS, _CPU_LONGEST_S)
    for speed in speeds(model, tokens, longest_s):
        if isinstance(speed, str):
            report.missing.append(speed)
        else:
            report.speeds.append(speed)
            yield _speed_row(speed)
    turn = next_turn(model, 1 / report.speeds[0].prefill_tok_s, longest_s) if report.speeds else _TOO_SHORT
    if isinstance(turn, str):
        report.missing.append(turn)
    else:
        report.next_turn = turn
        yield _turn_line(turn)
    if on_gpu:
        if report.speeds:
            nbytes = bytes_per_token(model.config, report.dense_bits)
            report.weights_gigabytes_s = nbytes * report.speeds[0].decode_tok_s / 1e9
        report.copy_gigabytes_s = copy_gigabytes_s()
        yield f"Copying memory: {report.copy_gigabytes_s:.0f} GB/s"
        report.kernels += kernel_speeds(model)
        if report.kernels:
            yield _kernel_table(report.kernels, report.copy_gigabytes_s)
        else:
            report.missing.append("Metal kernels: none is used here; `gptoss-chat doctor` says why")
    else:
        report.missing.append("Metal kernels and the bandwidth of memory: there is no Metal GPU here")
    yield "".join(f"Not measured: {reason}.\n" for reason in report.missing)
    yield f"For an issue: {summary(report)}"


def _speed_row(speed: "Speed") -> str:
    cells = [f"{speed.tokens:,}", f"{speed.prefill_tok_s:.1f}", f"{speed.decode_tok_s:.1f}"]
    portable = speed.portable_decode_tok_s
    cells += ["-", "-"] if portable is None else [f"{portable:.1f}", f"{speed.decode_tok_s / portable:.2f}"]
    return f"| {' | '.join(cells)} |"


def _turn_line(turn: "NextTurn") -> str:
    return (
        f"\nNext turn of a chat: first token after {turn.reused_ms:.0f} ms, {turn.reused_computed} prompt tokens "
        f"computed (with an empty KV cache {turn.fresh_ms:.0f} ms, {turn.fresh_computed} tokens)"
    )


def _kernel_table(kernels: list["KernelSpeed"], copy_gigabytes_s: float) -> str:
    lines = [
        "\n| kernel | us | reads, GB/s | of copying | us by MLX's operations | ratio |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for k in kernels:
        share, ratio = k.gigabytes_s / copy_gigabytes_s, k.portable_microseconds / k.microseconds
        lines.append(
            f"| {k.operation} | {k.microseconds:.0f} | {k.gigabytes_s:.0f} | {share:.0%} "
            f"| {k.portable_microseconds:.0f} | {ratio:.2f} |"
        )
    return "\n".join(lines) + "\n"


def summary(report: Report) -> str:
    """Everything that matters in one line."""
    parts = [report.program, report.machine, f"{report.model} at {report.dense_bits} bits"]
    parts += [f"{s.tokens}: prefill {s.prefill_tok_s:.1f}, decode {_decode(s)} tok/s" for s in report.speeds]
    if report.next_turn is not None:
        parts.append(f"next turn {report.next_turn.reused_ms:.0f} of {report.next_turn.fresh_ms:.0f} ms")
    if report.weights_gigabytes_s is not None and report.copy_gigabytes_s is not None:
        parts.append(f"weights {report.weights_gigabytes_s:.0f}, copy {report.copy_gigabytes_s:.0f} GB/s")
    parts += [f"{k.operation} {k.gigabytes_s:.0f} GB/s" for k in report.kernels]
    parts += [report.power] if report.power else []
    return "; ".join(parts)


def _decode(speed: "Speed") -> str:
    portable = speed.portable_decode_tok_s
    return f"{speed.decode_tok_s:.1f}" + ("" if portable is None else f" (without kernels {portable:.1f})")
