"""Prints what gpt-oss-20b could decode on each Apple chip, as Markdown: `make roofline`. A model, not a measurement.

A decoded token reads every weight it uses once, and its launches follow one another: its time is bytes over bandwidth
plus launches times what one costs. What that leaves out only slows down: the KV cache of a long context, sampling, the
CPU's part, heat.
"""

import json
import tempfile
from pathlib import Path

from app.cli.roofline import bytes_per_token
from mlx_model.transformer.config import ModelConfig
from tests.fixtures.checkpoints import hub_config

CHIPS = {
    "M1": 68,
    "M1 Pro, M2 Pro": 200,
    "M1 Max, M2 Max": 400,
    "M1 Ultra, M2 Ultra": 800,
    "M2, M3": 100,
    "M3 Pro": 150,
    "M3 Max (40 cores)": 400,
    "M3 Ultra": 819,
    "M4": 120,
    "M4 Pro": 273,
    "M4 Max (40 cores)": 546,
    "M5": 153,
    "M5 Max (40 cores)": 614,
}
"""Memory bandwidth in GB/s, as Apple specifies it."""

DENSE_BITS = (16, 8, 6, 4)

REACHED = 0.85
"""Assumed share of the specified bandwidth: 692 of 819 GB/s were reported of an M3 Ultra (omlx, issue 2238)."""

LAUNCH_US = 1.5
"""Assumed cost of a launch that waits for the last: 1.2 to 2.05 were reported (infr, issues 4 and 14; qwisp, 143)."""

LAUNCHES = {"kernels": 24 * 9 + 4, "mlx-lm": 24 * 34 + 4}
"""Of a token, as `python -m tests.benchmarks.launches` counts them."""


def tokens_s(nbytes: int, gigabytes_s: float, *, launches: int = 0, launch_us: float = 0.0) -> float:
    """Tokens a second that read `nbytes` each at `gigabytes_s` (10^9 bytes) and launch so many kernels."""
    return 1 / (nbytes / (gigabytes_s * 1e9) + launches * launch_us * 1e-6)


def gpt_oss_20b() -> ModelConfig:
    """The sizes of gpt-oss-20b."""
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "config.json").write_text(json.dumps(hub_config()))
        return ModelConfig.load(Path(work))


def table(config: ModelConfig) -> str:
    """Tokens a second by chip and bits of the dense part; in the last column with as many launches as mlx-lm."""
    sizes = {bits: bytes_per_token(config, bits) for bits in DENSE_BITS}
    heads = [f"{bits}-bit dense ({sizes[bits] / 1e9:.2f} GB)" for bits in DENSE_BITS]
    heads.append(f"8-bit, {LAUNCHES['mlx-lm']} launches")
    lines = ["| chip | GB/s | " + " | ".join(heads) + " |", "|---|---:|" + "---:|" * len(heads)]
    for chip, specified in CHIPS.items():
        cases = [(bits, LAUNCHES["kernels"]) for bits in DENSE_BITS] + [(8, LAUNCHES["mlx-lm"])]
        speeds = [
            tokens_s(sizes[bits], REACHED * specified, launches=number, launch_us=LAUNCH_US) for bits, number in cases
        ]
        lines.append(f"| {chip} | {specified} | " + " | ".join(f"{speed:.0f}" for speed in speeds) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(gpt_oss_20b()))
    print(
        f"\nTokens a second of a model, not a measurement: weights read once at {REACHED:.0%} of the specified "
        f"bandwidth, and {LAUNCHES['kernels']} launches of {LAUNCH_US} us each (both assumed)."
    )
