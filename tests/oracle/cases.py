"""The tiny models and prompts of the stored reference logits, and the reader of the file. Free of PyTorch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.fixtures.checkpoints import hub_config, tiny_config, write_checkpoint

LOGITS = Path(__file__).parent / "logits.npz"


@dataclass(frozen=True)
class Case:
    """A tiny model with `prompts` prompts of `length` tokens, which agree in their first `shared` tokens."""

    name: str
    config: dict[str, Any]
    length: int
    prompts: int = 1
    shared: int = 0
    seed: int = 0

    def tokens(self) -> NDArray[np.int32]:
        """The prompts [prompts, length], drawn from the case's seed."""
        size = self.prompts * self.length
        drawn = np.random.PCG64(self.seed).random_raw(size) % np.uint64(self.config["vocab_size"])
        tokens = drawn.astype(np.int32).reshape(self.prompts, self.length)
        tokens[:, : self.shared] = tokens[0, : self.shared]
        return tokens

    def positions(self) -> list[int]:
        """Where all logits are stored: the start, the window's edge, the fork of the prompts, the end."""
        window, last = self.config["sliding_window"], self.length - 1
        around = [edge + step for edge in (0, window, self.shared, 2 * window) for step in (-1, 0, 1)]
        return sorted({p for p in (*around, last // 2, last - 1, last) if 0 <= p <= last})


def _yarn(**changes: Any) -> dict[str, Any]:
    scaling: dict[str, Any] = hub_config()["rope_scaling"]
    return scaling | changes


CASES = (
    # The shape of every other test's checkpoint; two prompts that part after the window has wrapped.
    Case("tiny", tiny_config(), length=64, prompts=2, shared=40, seed=1),
    # gpt-oss' own window, head size, group of 8 query heads and expert count; an odd number of layers.
    Case(
        "window-128",
        tiny_config(
            head_dim=64,
            intermediate_size=32,
            num_attention_heads=8,
            num_hidden_layers=3,
            num_key_value_heads=1,
            num_local_experts=32,
            sliding_window=128,
            vocab_size=301,
        ),
        length=300,
        seed=2,
    ),
    # Two of four experts, a window of one key, an intermediate size above the hidden size.
    Case(
        "top-2",
        tiny_config(
            head_dim=64,
            hidden_size=96,
            intermediate_size=128,
            num_attention_heads=6,
            num_experts_per_tok=2,
            num_hidden_layers=5,
            num_key_value_heads=3,
            num_local_experts=4,
            sliding_window=1,
            vocab_size=200,
        ),
        length=32,
        prompts=3,
        seed=3,
    ),
    # Every constant of config.json off its usual value, a context extended far beyond the original one,
    # and full attention first.
    Case(
        "constants",
        tiny_config(
            head_dim=64,
            hidden_size=32,
            intermediate_size=64,
            layer_types=["full_attention", "sliding_attention", "sliding_attention"],
            num_hidden_layers=3,
            rms_norm_eps=0.05,
            rope_scaling=_yarn(beta_fast=16.0, factor=8.0, original_max_position_embeddings=48),
            rope_theta=10000,
            sliding_window=33,
            swiglu_limit=1.5,
            vocab_size=160,
        ),
        length=200,
        seed=4,
    ),
)


@dataclass(frozen=True)
class Reference:
    """What transformers answered to [prompts, length] tokens.

    `logits` float32 [prompts, positions, vocabulary] at `positions`; `argmax` [prompts, length] everywhere.
    `sha256` is that of the checkpoint's weights.
    """

    case: Case
    sha256: str
    tokens: NDArray[np.int32]
    positions: NDArray[np.int32]
    logits: NDArray[np.float32]
    argmax: NDArray[np.int32]

    def write_checkpoint(self, folder: Path, **options: Any) -> Path:
        """The checkpoint the logits belong to; the configuration is the stored one."""
        return write_checkpoint(folder, self.case.config, seed=self.case.seed, **options)


def read_references() -> dict[str, Reference]:
    """What tests/oracle/logits.npz holds, by the name of the case."""
    with np.load(LOGITS) as file:
        return {
            name: Reference(
                Case(name, entry["config"], entry["length"], entry["prompts"], entry["shared"], entry["seed"]),
                entry["sha256"],
                *(file[f"{name}/{part}"] for part in ("tokens", "positions", "logits", "argmax")),
            )
            for name, entry in json.loads(str(file["cases"])).items()
        }


def digest(folder: Path) -> str:
    """SHA-256 of a one-file checkpoint's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
