"""The figures of all runs as Markdown: speeds beside what the bandwidth allows, ratios, loading, memory, CPU time."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from tests.benchmarks.peers.child import CONTEXT, Figures
from tests.benchmarks.peers.machine import GIB, description
from tests.benchmarks.peers.settings import Setting, Subject


@dataclass(frozen=True)
class Run:
    """One engine in one round. `cold` is a process of its own that found nothing in the page cache."""

    setting: Setting
    busy: int
    cold: Figures | None
    figures: Figures
    most_anonymous: int
    """Bytes of its own memory, without pages of files."""
    bandwidth: float
    """Bytes a second, measured just before."""
    load: float
    """Average of the system when it had ended."""

    @property
    def name(self) -> str:
        """Of its row."""
        loops = {0: "", 1: ", beside a busy loop"}.get(self.busy, f", beside {self.busy} busy loops")
        return self.setting.name + loops

    @property
    def decode_tok_s(self) -> float:
        """By the median token."""
        return 1 / statistics.median(self.figures.token_s)

    def prefill_tok_s(self, length: int) -> float | None:
        """None where so long a prompt was left out."""
        seconds = self.figures.prefill_s.get(length)
        return None if seconds is None else length / seconds

    @property
    def summary(self) -> str:
        """For a line while others still run."""
        prefill = " / ".join(f"{length / seconds:.1f}" for length, seconds in self.figures.prefill_s.items())
        own = f"{self.figures.decode_shares[0]:.0%} of the machine"
        return f"{self.name}: decode {self.decode_tok_s:.2f} ({own}), prefill {prefill} tok/s, load {self.load:.1f}"


def report(model: Subject, runs: Sequence[Run], prompts: Sequence[int]) -> str:
    """Everything about one model."""
    rows: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        rows[run.name].append(run)
    bandwidths = [run.bandwidth / 1e9 for run in runs]
    best = max(bandwidths)
    size = sum(file.stat().st_size for file in model.folder.glob("*.safetensors")) / 1e9
    needs = [f"{model.needed_bytes(1, bits) / 1e9:.3g} GB at {bits} bits" for bits in (16, 8)]
    contexts = {run.figures.context for run in runs}
    parts = [
        f"**{model.name}**: {model.config.num_hidden_layers} layers, {size:.1f} GB. {description()}. A token needs "
        f"{' or '.join(needs)} of the dense part. The cores read {best:.1f} GB/s at best (median "
        f"{statistics.median(bandwidths):.1f}, of {len(bandwidths)} in this run: numpy's largest of 2^28 float32, a "
        "part for each core).",
        f"Tokens a second, median (best) of the rounds; beside it, of what {best:.1f} GB/s allow if each weight that "
        f"is needed is read once. Decoded after {' or '.join(map(str, sorted(contexts, reverse=True)))} tokens.",
        _speeds(model, rows, sorted(prompts), best * 1e9),
        _ratios(rows, sorted(prompts)),
        "Seconds to load / from the start of the process to a first token; GiB in memory (anonymous: no file's pages):",
        _memory(rows),
        "Share of the machine's CPU time, median; the rest was idle:",
        _shares(rows),
        _same_tokens(rows),
        _about(rows),
    ]
    return "\n\n".join(part for part in parts if part)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _number(speed: float) -> str:
    """Three digits or more."""
    return f"{speed:.{2 if speed < 10 else 1 if speed < 100 else 0}f}"


def _speeds(model: Subject, rows: dict[str, list[Run]], prompts: Sequence[int], bandwidth: float) -> str:
    def cell(name: str, speed: Callable[[Run], float | None], tokens: int) -> str:
        """Of a speed at which so many tokens are computed by one reading of the weights."""
        found = [value for run in rows[name] if (value := speed(run)) is not None]
        if not found:
            return "-"
        needed = model.needed_bytes(tokens, rows[name][0].setting.dense_bits)
        median = statistics.median(found)
        best = f" ({_number(max(found))})" if len(found) > 1 else ""
        return f"{_number(median)}{best}, {median / tokens * needed / bandwidth:.0%}"

    return table(
        ["engine", "decode", *(f"prefill of {length}" for length in prompts), "rounds"],
        (
            [
                name,
                cell(name, lambda run: run.decode_tok_s, 1),
                *(cell(name, lambda run, n=length: run.prefill_tok_s(n), length) for length in prompts),  # type: ignore[misc]
                str(len(runs)),
            ]
            for name, runs in rows.items()
        ),
    )


def _ratios(rows: dict[str, list[Run]], prompts: Sequence[int]) -> str:
    """Ours to each peer's beside as many busy loops."""

    def ratio(mine: str, theirs: str, speed: Callable[[Run], float | None]) -> str:
        medians = [
            statistics.median(found) if (found := [v for run in rows[name] if (v := speed(run)) is not None]) else None
            for name in (mine, theirs)
        ]
        return f"{medians[0] / medians[1]:.2f}" if medians[0] and medians[1] else "-"

    lines = [
        [
            f"*{mine} / {theirs}*",
            ratio(mine, theirs, lambda run: run.decode_tok_s),
            *(ratio(mine, theirs, lambda run, n=length: run.prefill_tok_s(n)) for length in prompts),  # type: ignore[misc]
        ]
        for theirs, (peer, *_) in rows.items()
        for mine, (ours, *_) in rows.items()
        if ours.setting.is_ours and not peer.setting.is_ours and ours.busy == peer.busy
    ]
    return table(["ratio", "decode", *(f"prefill of {length}" for length in prompts)], lines) if lines else ""


def _memory(rows: dict[str, list[Run]]) -> str:
    def times(found: Sequence[Figures]) -> str:
        if not found:
            return "-"
        load, first = (
            statistics.median(column) for column in zip(*((f.load_s, f.first_s) for f in found), strict=True)
        )
        return f"{load:.1f} / {first:.1f}"

    def size(found: Sequence[int | None]) -> str:
        known = [value for value in found if value is not None]
        return f"{statistics.median(known) / GIB:.2f}" if known else "-"

    return table(
        [
            "engine",
            "cold page cache",
            "warm",
            "peak",
            "peak, anonymous",
            "settled, anonymous",
            "settled, mapped files",
            "settled, PSS",
        ],
        (
            [
                name,
                times([run.cold for run in runs if run.cold is not None]),
                times([run.figures for run in runs]),
                size([run.figures.peak for run in runs]),
                size([run.most_anonymous or None for run in runs]),
                size([run.figures.anonymous for run in runs]),
                size([run.figures.file for run in runs]),
                size([run.figures.proportional for run in runs]),
            ]
            for name, runs in rows.items()
        ),
    )


def _shares(rows: dict[str, list[Run]]) -> str:
    def pair(found: Sequence[tuple[float, float]]) -> list[str]:
        return [f"{statistics.median(column):.0%}" for column in zip(*found, strict=True)]

    return table(
        ["engine", "prefill: its own", "everything else", "decode: its own", "everything else", "load average"],
        (
            [
                name,
                *pair([run.figures.prefill_shares for run in runs]),
                *pair([run.figures.decode_shares for run in runs]),
                f"{statistics.median(run.load for run in runs):.1f}",
            ]
            for name, runs in rows.items()
        ),
    )


def _same_tokens(rows: dict[str, list[Run]]) -> str:
    """How far each engine's greedy tokens are ours, which says whether it computes the same model."""
    whole = {name: runs[0].figures.tokens for name, runs in rows.items() if runs[0].figures.context == CONTEXT}
    ours = next((tokens for name, tokens in whole.items() if rows[name][0].setting.is_ours), None)
    if ours is None or len(whole) == 1:
        return ""
    lines = []
    for name, tokens in whole.items():
        if tokens is not ours:
            pairs = list(zip(tokens, ours, strict=False))
            same = next((at for at, (one, other) in enumerate(pairs) if one != other), len(pairs))
            lines.append(f"{name}: {same} of {len(pairs)}")
    return "Greedy tokens that are ours, from the first on: " + "; ".join(lines) + "."


def _about(rows: dict[str, list[Run]]) -> str:
    def of(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "?"

    engines = {runs[0].setting.engine: runs[0].figures.about for runs in rows.values()}
    names = {"ours": f"gptoss-chat {of('gptoss-chat')}", "llama_cpp": "llama.cpp", "mlx_lm": f"mlx-lm {of('mlx-lm')}"}
    return "; ".join(f"{names[engine]} ({about})" for engine, about in engines.items()) + "."
