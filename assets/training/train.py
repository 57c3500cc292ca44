"""Train the demo model: `python -m assets.training.train --out build/demo`.

Data-parallel over processes of one thread each, which on two cores is faster than one process of two threads. The
schedule counts steps and every batch is a function of (seed, rank, step), so a busy machine gives the same model, and
a run that was interrupted goes on from its last checkpoint when the same command is run again.
"""

import argparse
import math
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

from .batches import IGNORED, Batch, batch
from .conversations import Conversations, corpus
from .model import Config, GptOss, Masks
from .tokenizer import HarmonyTokenizer, train_tokenizer
from .words import Words

SHIPPED = Path(__file__).parents[1] / "demo"
BALANCE = 0.01  # weight of the router's balance loss


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options; by default as many steps as the shipped model had, which was trained in phases."""
    parser = argparse.ArgumentParser(prog="python -m assets.training.train", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for tokenizer.json and checkpoint.pt")
    parser.add_argument("--steps", type=int, default=11200)
    parser.add_argument("--decay-from", type=int, default=5000, help="step from which the learning rate falls to zero")
    parser.add_argument(
        "--quantise-from", type=int, default=10500, help="step from which the experts are rounded to MXFP4"
    )
    parser.add_argument(
        "--copying-until", type=int, default=1000, help="step at which the copying warm-up has faded out"
    )
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--tokens", type=int, default=2816, help="tokens per process and step, padding included")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument(
        "--new-tokenizer", action="store_true", help="make one; the shipped one, by default, keeps ids stable"
    )
    return parser.parse_args(arguments)


def learning_rate(step: int, options: argparse.Namespace) -> float:
    """Warm-up over 40 steps, constant, then linear to zero."""
    left: float = (options.steps - step) / (options.steps - options.decay_from)
    rate: float = options.learning_rate
    return rate * min(1.0, (step + 1) / 40, left)


def copying_share(step: int, options: argparse.Namespace) -> float:
    """Share of warm-up batches: 40 % at first, fading to 2 %, gone when the learning rate falls."""
    if step >= options.decay_from:
        return 0.0
    left: float = 1 - step / options.copying_until
    return max(0.02, 0.4 * min(1.0, 1.5 * left))


def batch_loss(model: GptOss, data: Batch) -> torch.Tensor:
    """Mean cross-entropy of the learnt tokens."""
    masks = Masks.of(data.visible, data.positions, model.config.sliding_window, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.hidden(data.ids, data.positions, masks)
        logits = model.lm_head(hidden.flatten(0, 1)[data.sources])
    return F.cross_entropy(logits.float(), data.targets, ignore_index=IGNORED)


def share_gradients(parameters: list[torch.nn.Parameter], weight: float, processes: int) -> None:
    """Average the gradients over the processes, weighted by their numbers of learnt tokens, in one transfer."""
    if processes == 1:
        return
    parts = [(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() * weight for p in parameters]
    flat = torch.cat([*parts, torch.tensor([weight])])
    dist.all_reduce(flat)
    pieces = (flat[:-1] / flat[-1]).split([p.numel() for p in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)


def make_optimizer(model: GptOss, rate: float) -> torch.optim.Optimizer:
    """AdamW; norms, biases and sinks do not decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-9, fused=True)


def save(path: Path, **state: object) -> None:
    """Write a checkpoint so that an interruption leaves the one before it."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def run(rank: int, options: argparse.Namespace, meeting: str) -> None:
    """One process of the training."""
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    if options.processes > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=options.processes)
    source = Conversations(HarmonyTokenizer(options.out / "tokenizer.json"))
    model = GptOss(Config())
    model.start_with_previous_token_heads()
    optimizer = make_optimizer(model, options.learning_rate)
    path, first = options.out / "checkpoint.pt", 0
    if path.exists():
        state = torch.load(path)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    parameters = list(model.parameters())
    model.train()
    started, mean, seen = time.time(), math.nan, 0
    for step in range(first, options.steps):
        for experts in model.experts():
            experts.quantised = step >= options.quantise_from
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options)
        data = batch(source, options.seed, rank, step, options.tokens, copying_share(step, options))
        loss = batch_loss(model, data)
        (loss + BALANCE * sum(experts.balance_loss for experts in model.experts())).backward()
        share_gradients(parameters, float((data.targets != IGNORED).sum()), options.processes)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean = loss.item() if math.isnan(mean) else 0.98 * mean + 0.02 * loss.item()
        seen += data.ids.numel() * options.processes
        if rank == 0 and (step % 50 == 49 or step == options.steps - 1):
            load = torch.stack([experts.load for experts in model.experts()])
            seconds = time.time() - started
            print(
                f"step {step + 1} loss {mean:.4f} rate {learning_rate(step, options):.5f} {seconds:.0f} s "
                f"{seen / seconds:.0f} tokens/s load {load.min():.2f}-{load.max():.2f}",
                flush=True,
            )
        if rank == 0 and ((step + 1) % options.save_every == 0 or step == options.steps - 1):
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            save(path, config=asdict(model.config), **state)
    if options.processes > 1:
        dist.destroy_process_group()


def main() -> None:
    """Take the shipped tokenizer, or make a new one, then train."""
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = options.out / "tokenizer.json"
    if options.new_tokenizer:
        train_tokenizer(corpus(Words(), 6000), tokenizer)
    elif not tokenizer.exists():
        shutil.copyfile(SHIPPED / "tokenizer.json", tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        arguments = (options, str(Path(folder) / "meeting"))
        torch.multiprocessing.spawn(run, args=arguments, nprocs=options.processes)


if __name__ == "__main__":
    main()
