"""Writes logits.npz: what transformers' GptOssForCausalLM answers in float32 on the CPU (`make oracle`).

Needs the extra `oracle` (PyTorch, transformers). Nothing of the project computes here: the experts' MXFP4
blocks are decoded below in float64 by a table, and transformers gets the plain matrices. A prompt on which
rounding could decide an expert or an argmax is refused.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file
from transformers import GptOssConfig, GptOssForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tests.fixtures.checkpoints import hub_config, write_checkpoint
from tests.oracle.cases import CASES, LOGITS, Case, digest

# OCP Microscaling Formats (MX) v1.0, table 5: E2M1, sign in the highest bit.
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
E8M0_BIAS = 127
# Relative to the largest logit: the tests allow 2e-5, and two logits this close could change places.
ARGMAX_MARGIN = 5e-5
ROUTER_MARGIN = 2e-5


def dequantise(blocks: NDArray[np.uint8], scales: NDArray[np.uint8]) -> NDArray[np.float32]:
    """MXFP4 blocks [..., rows, columns/32, 16] and scales [..., rows, columns/32] to [..., rows, columns]."""
    values = np.stack([E2M1[blocks & 15], E2M1[blocks >> 4]], axis=-1)  # the low nibble is the even element
    values = values.reshape(*blocks.shape[:-1], 32) * np.exp2(scales.astype(np.float64) - E8M0_BIAS)[..., None]
    return values.reshape(*blocks.shape[:-2], -1).astype(np.float32)


def reference_model(folder: Path) -> GptOssForCausalLM:
    """The checkpoint in transformers, float32, eager attention and experts."""
    fields = json.loads((folder / "config.json").read_text())
    del fields["quantization_config"]
    config = GptOssConfig(**fields, attn_implementation="eager", experts_implementation="eager")
    stored = load_file(folder / "model.safetensors")
    weights = {}
    for name, tensor in stored.items():
        if name.endswith("_blocks"):
            stem = name.removesuffix("_blocks")
            matrix = dequantise(tensor.numpy(), stored[f"{stem}_scales"].numpy())
            weights[stem] = torch.from_numpy(matrix).mT  # transformers keeps the experts as [in, out]
        elif not name.endswith("_scales"):
            weights[name] = tensor.float()
    model = GptOssForCausalLM(config).float().eval()
    model.load_state_dict(weights, strict=True)
    return model


def answer(case: Case, folder: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays stored for one case. Raises ValueError if rounding could change them visibly."""
    tokens = case.tokens()
    with torch.inference_mode():
        output = reference_model(folder)(torch.from_numpy(tokens).long(), use_cache=False, output_router_logits=True)
    logits = output.logits.numpy()
    largest = float(np.abs(logits).max())
    top = np.sort(logits, axis=-1)
    argmax_gap = float((top[..., -1] - top[..., -2]).min()) / largest
    chosen = case.config["num_experts_per_tok"]
    router_gap = min(
        float((ranked[:, -chosen] - ranked[:, -chosen - 1]).min())
        for ranked in (np.sort(layer.numpy(), axis=-1) for layer in output.router_logits)
        if ranked.shape[1] > chosen
    )
    print(
        f"{case.name}: {logits.shape}, largest logit {largest:.2f}, "
        f"closest argmax {argmax_gap:.1e}, closest routing {router_gap:.1e}"
    )
    if argmax_gap < ARGMAX_MARGIN or router_gap < ROUTER_MARGIN:
        raise ValueError(f"{case.name}: too close to a tie; give the case another seed")
    positions = np.array(case.positions(), dtype=np.int32)
    return {
        "tokens": tokens,
        "positions": positions,
        "logits": logits[:, positions],
        "argmax": logits.argmax(axis=-1).astype(np.int32),
    }


def rope() -> dict[str, NDArray[np.generic]]:
    """The rotary frequencies and the attention factor of gpt-oss-20b itself."""
    fields = hub_config()
    del fields["quantization_config"]
    frequencies, factor = ROPE_INIT_FUNCTIONS["yarn"](GptOssConfig(**fields), torch.device("cpu"))
    return {"rope/frequencies": frequencies.numpy(), "rope/attention_factor": np.float64(factor)}


def main() -> int:
    """Answers every case and writes the file."""
    torch.set_num_threads(1)
    arrays: dict[str, NDArray[np.generic]] = {}
    entries = {}
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES:
            folder = write_checkpoint(Path(scratch) / case.name, case.config, seed=case.seed)
            arrays |= {f"{case.name}/{part}": array for part, array in answer(case, folder).items()}
            entries[case.name] = asdict(case) | {"sha256": digest(folder)}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": np.__version__}
    texts = {"cases": np.array(json.dumps(entries)), "versions": np.array(json.dumps(versions))}
    contents: dict[str, Any] = texts | arrays | rope()  # numpy's stub takes the names for those of options
    np.savez_compressed(LOGITS, **contents)
    print(f"{LOGITS}: {LOGITS.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
