"""A loaded model: transformer, tokenizer, and where they came from."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import mlx.core as mx

from mlx_model import checkpoint_files
from mlx_model.cpu.available import why_not
from mlx_model.errors import RequestError
from mlx_model.harmony.tokenizer import Tokenizer
from mlx_model.hub import names as hub
from mlx_model.hub.published import KNOWN
from mlx_model.memory import device
from mlx_model.memory.plan import MemoryPlan, plan_within, prefill_chunk
from mlx_model.memory.sizes import AS_PUBLISHED, parse_memory
from mlx_model.memory.wishes import Budget, Wishes
from mlx_model.text import clean
from mlx_model.transformer.adapters import Adapters, adapted, adapted_findings
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.compute import CompiledCompute, CpuCompute, compute_on, streaming_compute
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.kernels import KernelFindings, attach_kernels
from mlx_model.transformer.staged import StagedTransformer
from mlx_model.weights.adapter_files import BASE_WEIGHTS, AdapterFile, read_adapter
from mlx_model.weights.fingerprint import fingerprint
from mlx_model.weights.loader import load_transformer, stored_dense_bits
from mlx_model.weights.residence import Progress, Residence

if TYPE_CHECKING:
    from mlx_model.cpu.transformer import CompiledTransformer

log = logging.getLogger(__name__)

# Ids of the real gpt-oss, for checkpoints that come without a tokenizer.
_STOP_IDS = {200002, 200012, 199999}
_END_ID = 200007
_STOP_NAMES = ("<|return|>", "<|call|>", "<|endoftext|>")


@dataclass(slots=True)
class Model:
    """What `load` returns. `load_s` is in seconds; `residence` says how much memory the weights keep, and which; `plan`
    how it was made to fit, `kernels` what was decided on the Metal kernels.

    `tokenizer` is None for a checkpoint folder without tokenizer files, which then works on ids alone.
    """

    name: str
    folder: Path
    config: ModelConfig
    transformer: "Transformer | CompiledTransformer | StagedTransformer"
    tokenizer: Tokenizer | None
    load_s: float
    residence: Residence
    plan: MemoryPlan
    kernels: KernelFindings
    adapter: str = ""
    """The name of the adapter that it answers with."""
    doubt: str = ""
    """Why that adapter may not be one for these weights, if so."""
    bare: "Model | None" = None
    """The model without that adapter; both are the same arrays."""
    pools: "WeakSet[Any]" = field(default_factory=WeakSet, repr=False, compare=False)
    """The KV caches of its Sessions, which share the plan's memory; see PrefixPool."""
    process: int = field(default_factory=os.getpid)
    """The id of the process that loaded it: MLX's threads and device handles do not survive a fork."""

    @property
    def usable(self) -> bool:
        """Whether this is the process that loaded it: in one forked since, MLX would wait for ever."""
        return os.getpid() == self.process

    def check_process(self) -> None:
        """Raises RequestError where it is not usable."""
        if not self.usable:
            raise RequestError(
                "this process was forked after the model was loaded, and MLX does not work after a fork; start the "
                'process without one (multiprocessing.set_start_method("spawn")) and load the model in it'
            )

    @property
    def resident_bytes(self) -> int:
        """What the weights keep in memory, mapped or copied."""
        return self.residence.resident_bytes

    @property
    def context_length(self) -> int:
        """The most tokens a prompt and its answer may have together, by the memory plan."""
        return self.plan.context

    @property
    def away_s(self) -> tuple[float, float]:
        """Seconds so far that other computers have computed tokens, and that those were on the way."""
        return self.transformer.further.away_s if isinstance(self.transformer, StagedTransformer) else (0.0, 0.0)

    @property
    def full_name(self) -> str:
        """Its name as other programs know it, "openai/gpt-oss-20b"; that of a folder is its path."""
        return KNOWN.get(self.name, self.name)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer. <|end|> only ends a message, even where a generation_config.json lists it."""
        if self.tokenizer is not None:
            return frozenset(self.tokenizer.special[name] for name in _STOP_NAMES if name in self.tokenizer.special)
        return frozenset(_STOP_IDS.union(self.config.eos_token_ids) - {_END_ID})

    @property
    def mlx_transformer(self) -> Transformer:
        """The transformer, of MLX's arrays and operations. Raises RequestError for the compiled layers of a CPU, and
        where some layers are on other computers."""
        if isinstance(self.transformer, StagedTransformer):
            raise RequestError("a model over several computers takes no adapter and has no gradient")
        if not isinstance(self.transformer, Transformer):
            raise RequestError(
                "compiled layers take no adapter and have no gradient: load(..., adapter=...) or differentiable=True"
            )
        return self.transformer

    def adapted(self, adapters: Adapters, name: str) -> "Model":
        """This model with adapters in place of those that it has, if any. Nothing is loaded again.

        Raises RequestError as `mlx_transformer` does.
        """
        bare = self.bare or self
        transformer, kernels = adapted(bare.mlx_transformer, adapters), adapted_findings(bare.kernels, adapters)
        return replace(bare, transformer=transformer, kernels=kernels, adapter=name, bare=bare)

    def changes_to(self, adapter: str | Path | None) -> bool:
        """Whether `with_adapter` gives what `load` would: on a CPU a model is compiled if it has no adapter.

        Raises CheckpointError for an adapter that neither of them takes.
        """
        if adapter is not None:
            read_adapter(Path(adapter), self.config)
        return device.on_gpu() or isinstance(self.transformer, Transformer) is (adapter is not None)

    def with_adapter(self, folder: str | Path | None) -> "Model":
        """The same with the adapter in a folder, in peft's files; None: with none.

        Raises CheckpointError, which names the file, for one that can't be read or is for a model of another shape,
        and RequestError as `adapted` does.
        """
        if folder is None:
            return self.bare or self
        return self._with_file(read_adapter(Path(folder), self.config), Path(folder).absolute().name)

    def _with_file(self, file: AdapterFile, name: str) -> "Model":
        model, trained_beside = self.adapted(file.adapters, name), file.facts.get(BASE_WEIGHTS)
        if trained_beside is not None and trained_beside != fingerprint(self.folder):
            model.doubt = (
                f"the adapter {name} was trained beside other weights than those of {self.name}; "
                "the answers may be worse than without it"
            )
            log.warning("%s", clean(model.doubt))
        return model

    def make_cache(self) -> Any:
        """An empty KV cache, as planned, of the kind that the transformer takes."""
        dtype = self.transformer.compute.kv_dtype(self.plan.kv_bits)
        return self.transformer.make_cache(most_marks=self.plan.rewind_points, dtype=dtype)

    def prefill_chunk(self, position: int) -> int:
        """Prompt tokens to compute at once after `position`: fewer than planned where memory has become short."""
        held = device.active_bytes(self.transformer.embedding.mapped_bytes)
        free = self.plan.budget - self.plan.program - held
        return prefill_chunk(self.config, self.plan, position, free)

    def forward(self, tokens: mx.array | Sequence[int], cache: Any = None) -> mx.array:
        """Logits float32 [B, T, vocab] of ids [B, T] or [T], which follow what `cache` holds and join it."""
        self.check_process()
        ids = tokens if isinstance(tokens, mx.array) else mx.array(list(tokens))
        return self.transformer(ids[None] if ids.ndim == 1 else ids, self.make_cache() if cache is None else cache)


def load(
    name_or_path: str | Path,
    *,
    dense_bits: int | None = None,
    memory: int | str | None = None,
    context: int | None = None,
    experts: int | None = None,
    map: str = "auto",
    differentiable: bool = False,
    adapter: str | Path | None = None,
    progress: Progress = lambda done, total: None,
    preparing: Progress = lambda done, total: None,
) -> Model:
    """Loads "demo", "gpt-oss-20b", "gpt-oss-120b", "org/repo" from the Hub's cache, or a folder.

    Files may be in the Hub's layout or in that of mlx-lm's conversions (mlx-community, LM Studio) with MXFP4 experts.
    The model is made to fit the memory there is (memory/plan.py; Model.plan.reasons says how): `memory`, bytes or
    "10GB" (10 * 2^30), is a budget of your own. `dense_bits` 8, 6 or 4 quantises attention and output matrix while
    loading, unless the files have them quantised; 16 keeps them as published; None is the most that fits. `context` is
    the number of tokens to make room for, by default as many as fit. Where the model does not fit otherwise, experts
    stay in their files and are read when they are needed, which changes no bit of an answer; `experts` is the number of
    each layer's that are in memory, by default as many as fit. `map` "auto" uses the files' own pages in place of
    copies where MLX runs on a GPU that takes them, and on a CPU; "on" tries it anywhere, "off" copies; Model.residence
    says what came of it. Files in use must not be changed: mapped weights would change with them. `differentiable`
    gives a model whose `forward` has a gradient, by MLX's own operations throughout, which is slower; without it a
    model on a CPU has no weights of MLX's (compute.CompiledCompute), and `mx.grad` fails on a GPU where it meets a
    kernel. `adapter` is the folder of a LoRA adapter in peft's files. On a GPU Model.with_adapter can change it later;
    on a CPU a model with one is computed by MLX's operations. `progress` is called now and then with the bytes of
    weights that are loaded, and with those of all of them; `preparing` after that, with the pieces of work that are
    done for its kernels (attach_kernels; on a CPU there is one), and with all of them.
    Raises CheckpointError, TokenizerError, RequestError, BudgetError where the model can't fit, and ContextError where
    the context can't, whose text says what is wrong and what to do.
    """
    start = time.perf_counter()
    folder = hub.resolve(name_or_path)
    config = ModelConfig.load(folder)
    if differentiable and experts is not None:
        raise RequestError("a model that is to be differentiated has all experts in memory")
    file = None if adapter is None else read_adapter(Path(adapter), config)
    tokenizer = tokenizer_in(folder)
    mx.clear_cache()  # what an earlier model left there is free memory
    budget = device.budget(None if memory is None else parse_memory(memory))
    if file is not None:
        budget = replace(budget, nbytes=budget.nbytes - file.adapters.nbytes, limit=budget.limit - file.adapters.nbytes)
    layers = load_layers(
        *(folder, config, budget, Wishes(context, dense_bits, streams=not differentiable, slots=experts)),
        map=map,
        differentiable=differentiable,
        adapted=file is not None,
        progress=progress,
        preparing=preparing,
    )
    model = Model(
        name=str(name_or_path),
        folder=folder,
        config=config,
        transformer=layers.transformer,
        tokenizer=tokenizer,
        load_s=time.perf_counter() - start,
        residence=layers.residence,
        plan=layers.plan,
        kernels=layers.kernels,
    )
    return model if file is None or adapter is None else model._with_file(file, Path(adapter).absolute().name)


@dataclass(frozen=True, slots=True)
class Layers:
    """What is in memory of a model, all of it or a part, and how it was made to fit."""

    transformer: "Transformer | CompiledTransformer"
    residence: Residence
    plan: MemoryPlan
    kernels: KernelFindings


def tokenizer_in(folder: Path) -> Tokenizer | None:
    """The tokenizer of a checkpoint, None if it has none. Raises TokenizerError."""
    return Tokenizer.load(folder) if os.path.lexists(folder / checkpoint_files.TOKENIZER) else None


def load_layers(
    folder: Path,
    config: ModelConfig,
    budget: Budget,
    wishes: Wishes,
    *,
    map: str = "auto",
    differentiable: bool = False,
    adapted: bool = False,
    progress: Progress = lambda done, total: None,
    preparing: Progress = lambda done, total: None,
) -> Layers:
    """The layers of a model, or of the part that `config` is of, within a budget; see `load`, whose errors it raises.

    `adapted`: they are to have an adapter.
    """
    wishes = replace(wishes, stored_bits=stored_dense_bits(folder, config))
    on_gpu = device.on_gpu()
    compute = compute_on(
        gpu=on_gpu,
        differentiable=differentiable,
        compiled=not (on_gpu or differentiable or adapted) and _is_compiled(folder, config),
    )
    plan = plan_within(config, budget, wishes, on_gpu=on_gpu, by_mlx=isinstance(compute, CpuCompute))
    compute = streaming_compute(compute) if plan.streamed_layers else compute
    device.enforce(plan)
    bits = None if plan.dense_bits == AS_PUBLISHED else plan.dense_bits
    transformer: Transformer | CompiledTransformer
    with device.memory_errors():
        if isinstance(compute, CompiledCompute):
            from mlx_model.cpu.compiling import why_unkept
            from mlx_model.weights.compiled import load_compiled

            transformer, residence = load_compiled(folder, config, compute, bits, map, progress, split=plan.split)
            preparing(0, 1)  # the first time on this computer they are compiled, for up to a minute
            transformer.compile(compute.kv_dtype(plan.kv_bits))
            kernels = KernelFindings(refusal="there is no Metal GPU here", unkept=why_unkept())
        else:
            transformer, residence = load_transformer(
                folder, config, compute, bits, map, progress, holds_embedding=plan.embedding > 0, split=plan.split
            )
            # First the limit that knows of the mapped embedding: under too low a one MLX waits, and kernels would be
            # timed so.
            device.enforce(plan, transformer.embedding.mapped_bytes)
            kernels = attach_kernels(transformer, preparing)
    mx.reset_peak_memory()  # what loading and trying took, or an earlier model, is not what answers take
    return Layers(transformer, residence, plan, kernels)


def _is_compiled(folder: Path, config: ModelConfig) -> bool:
    """Whether the compiled layers can compute a checkpoint here; a warning says why not."""
    reason = why_not()
    if reason is None:
        from mlx_model.weights.compiled import why_not_compiled

        reason = why_not_compiled(folder, config)
    if reason is not None:
        log.warning("%s: MLX's operations compute instead, at a tenth of the speed", reason)
    return reason is None
