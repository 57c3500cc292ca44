"""Writes lora/: an adapter by peft, its gradients, and how its loss falls in 50 steps (`make oracle`).

Needs the extra `oracle` (PyTorch, transformers, peft). The model is transformers', in float32 with the experts' MXFP4
multiplied out; nothing of the project computes here, but for the last check: peft loads what the project writes.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file

from tests.fixtures.checkpoints import write_checkpoint
from tests.oracle.lora import (
    ALPHA,
    CONFIG,
    CURVE,
    FOLDER,
    LEARNING_RATE,
    MAX_NORM,
    RANK,
    RANKS,
    RESULTS,
    SEED,
    STEPS,
    WEIGHT_DECAY,
    Sequence,
    sequences,
)
from tests.oracle.write_logits import reference_model

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
PARAMETERS = ["mlp.router.weight", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


def with_adapter(checkpoint: Path) -> Any:
    """The model with an adapter beside every matrix that can have one, filled from the seed, B included."""
    config = peft.LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        rank_pattern=RANKS,
        target_modules=ATTENTION,
        target_parameters=PARAMETERS,
        base_model_name_or_path="a tiny model",
    )
    model = peft.get_peft_model(reference_model(checkpoint), config)
    with torch.no_grad():
        for number, (_, parameter) in enumerate(trained(model)):
            values = np.random.default_rng([SEED, number]).normal(0, 0.1, tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    return model


def trained(model: Any) -> list[tuple[str, Any]]:
    """The adapter's tensors, by the names that they have in the file."""
    named = ((name.replace(".default", ""), each) for name, each in model.named_parameters() if each.requires_grad)
    return sorted(named, key=lambda pair: pair[0])


def loss(model: Any, batch: list[Sequence]) -> Any:
    """The weighted mean of the learnt tokens' cross-entropy, over all sequences of a batch together."""
    total, weights = torch.zeros(()), 0.0
    for tokens, weight in batch:
        logits = model(torch.from_numpy(tokens[None]).long(), use_cache=False).logits[0, :-1]
        each = torch.nn.functional.cross_entropy(logits, torch.from_numpy(tokens[1:]).long(), reduction="none")
        total = total + (each * torch.from_numpy(weight)).sum()
        weights += float(weight.sum())
    return total / weights


def curve(model: Any) -> list[float]:
    """The loss of each step of AdamW, and the last one after it."""
    optimizer = torch.optim.AdamW([each for _, each in trained(model)], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    found = []
    for step in range(STEPS):
        optimizer.zero_grad()
        value = loss(model, sequences(step))
        value.backward()
        torch.nn.utils.clip_grad_norm_([each for _, each in trained(model)], MAX_NORM)
        optimizer.step()
        found.append(value.item())
    return found


def check_ours(checkpoint: Path, expected: Any) -> None:
    """peft loads the adapter as the project writes it, and answers the same."""
    from mlx_model.transformer.config import ModelConfig
    from mlx_model.weights.adapter_files import read_adapter, write_adapter

    with tempfile.TemporaryDirectory() as scratch:
        config = ModelConfig.load(checkpoint)
        adapters = read_adapter(FOLDER, config).adapters
        write_adapter(Path(scratch), adapters, "a tiny model", config.num_hidden_layers, {"step": "1"})
        ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (Path(scratch), FOLDER))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
        model = peft.PeftModel.from_pretrained(reference_model(checkpoint), scratch)
        tokens = torch.from_numpy(sequences(0)[0][0][None]).long()
        with torch.inference_mode():
            assert torch.equal(model(tokens).logits, expected(tokens).logits), "peft reads ours as another adapter"


def main() -> int:
    """Writes the folder."""
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = write_checkpoint(Path(scratch), CONFIG, seed=SEED)
        model = with_adapter(checkpoint)
        model.save_pretrained(FOLDER)
        (FOLDER / "README.md").unlink(missing_ok=True)
        model.zero_grad()
        value = loss(model, sequences(0))
        value.backward()
        arrays: dict[str, NDArray[np.generic]] = {name: each.grad.numpy() for name, each in trained(model)}
        check_ours(checkpoint, model.eval())
        arrays |= {CURVE: np.array(curve(model.train())), "loss": np.array(value.item())}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    contents: dict[str, Any] = {"versions": np.array(json.dumps(versions)), **arrays}
    np.savez_compressed(RESULTS, **contents)
    print(f"loss {value.item():.4f}, after {STEPS} steps {arrays[CURVE][-1]:.4f}; {versions}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
