"""The shape of a gpt-oss model, read and checked from the Hub's config.json and generation_config.json."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metal.formats import MXFP4_BLOCK
from mlx_model.checkpoint_files import CONFIG, GENERATION_CONFIG, TAKE, other_kind, read_object
from mlx_model.errors import CheckpointError
from mlx_model.part import Part

CACHE_STEP = 256
"""Tokens by which the KV cache of a layer with full attention grows."""

KEY_BLOCK = 64
"""Positions that a block of keys holds where compiled layers compute: with head_dim 64 keys and values of a block are
32 KiB, the size of an L1 cache."""

_MOST_LAYERS = 1000
"""Ten times any gpt-oss: what a damaged file says must not fill the memory before a tensor is missed."""
_LONGEST_SHOWN = 80  # characters of a value in an error line


@dataclass(frozen=True, slots=True)
class Yarn:
    """YaRN context extension (Peng et al. 2023). `truncate` rounds the ramp to whole dimensions; gpt-oss does not."""

    factor: float
    beta_fast: float
    beta_slow: float
    original_context: int
    truncate: bool


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes and constants of one checkpoint, named as in the Hub's config.json. 20b and 120b differ only in numbers."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    num_local_experts: int
    num_experts_per_tok: int
    sliding_window: int
    layer_types: tuple[str, ...]
    max_position_embeddings: int
    rope_theta: float
    yarn: Yarn
    rms_norm_eps: float
    swiglu_limit: float
    eos_token_ids: tuple[int, ...]
    part: Part | None = None
    """Which part of a model this is; None: all of one."""

    def of_part(self, part: Part) -> "ModelConfig":
        """The configuration of a part, as that of a model: one without ends has an empty vocabulary."""
        kinds = self.layer_types[part.start : part.stop]
        vocab_size = self.vocab_size if part.ends else 0
        return replace(self, num_hidden_layers=len(kinds), layer_types=kinds, vocab_size=vocab_size, part=part)

    def window(self, layer: int) -> int | None:
        """Keys a query of this layer sees, itself included; None in a layer with full attention."""
        return self.sliding_window if self.layer_types[layer] == "sliding_attention" else None

    @staticmethod
    def load(folder: Path) -> "ModelConfig":
        """Reads `folder`/config.json.

        Raises CheckpointError naming the file and the field that is wrong, or what the folder is instead of gpt-oss.
        """
        path = folder / CONFIG
        if not path.exists() and (kind := other_kind(folder)) is not None:
            raise CheckpointError(kind)
        fields = read_object(path)
        generation = folder / GENERATION_CONFIG
        eos = (read_object(generation) if generation.exists() else {}).get("eos_token_id", fields.get("eos_token_id"))
        return _ConfigReader(path, fields).config(eos)


def _gpt_oss(layers: int, experts: int) -> ModelConfig:
    """What config.json of openai/gpt-oss-20b and 120b on the Hub says; they differ in these two numbers."""
    return ModelConfig(
        vocab_size=201_088,
        hidden_size=2880,
        intermediate_size=2880,
        num_hidden_layers=layers,
        num_attention_heads=64,
        num_key_value_heads=8,
        head_dim=64,
        num_local_experts=experts,
        num_experts_per_tok=4,
        sliding_window=128,
        layer_types=("sliding_attention", "full_attention") * (layers // 2),
        max_position_embeddings=131_072,
        rope_theta=150_000,
        yarn=Yarn(factor=32.0, beta_fast=32.0, beta_slow=1.0, original_context=4096, truncate=False),
        rms_norm_eps=1e-5,
        swiglu_limit=7.0,
        eos_token_ids=(200_002, 199_999, 200_012),
    )


PUBLISHED = {"gpt-oss-20b": _gpt_oss(24, 32), "gpt-oss-120b": _gpt_oss(36, 128)}
"""The published models by short name, known before their files are here."""


class _ConfigReader:
    """Takes fields out of a config.json, with errors that name the file and the field."""

    def __init__(self, path: Path, fields: dict[str, Any]) -> None:
        self.path = path
        self.fields = fields

    def fail(self, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {problem}")

    def number(self, name: str, fields: dict[str, Any] | None = None, *, above: float = 0) -> float:
        fields = self.fields if fields is None else fields
        if name not in fields:
            raise self.fail(f'the field "{name}" is missing, which every published gpt-oss has; {TAKE}')
        value = fields[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value < 2**53:
            raise self.fail(f'"{name}" is {_shown(value)}, not a number above {above}')
        return value

    def size(self, name: str, fields: dict[str, Any] | None = None, *, multiple_of: int = 1) -> int:
        value = self.number(name, fields)
        if value != int(value) or value % multiple_of:
            raise self.fail(f'"{name}" is {value}, not a multiple of {multiple_of}')
        return int(value)

    def config(self, eos: Any) -> ModelConfig:
        self.check_architecture()
        layers = self.size("num_hidden_layers")
        if layers > _MOST_LAYERS:
            raise self.fail(f'"num_hidden_layers" is {layers}; gptoss-chat believes at most {_MOST_LAYERS}')
        config = ModelConfig(
            vocab_size=self.size("vocab_size"),
            hidden_size=self.size("hidden_size", multiple_of=MXFP4_BLOCK),
            intermediate_size=self.size("intermediate_size", multiple_of=MXFP4_BLOCK),
            num_hidden_layers=layers,
            num_attention_heads=self.size("num_attention_heads"),
            num_key_value_heads=self.size("num_key_value_heads"),
            head_dim=self.size("head_dim", multiple_of=2),
            num_local_experts=self.size("num_local_experts"),
            num_experts_per_tok=self.size("num_experts_per_tok"),
            sliding_window=self.size("sliding_window"),
            layer_types=self.layer_types(layers),
            max_position_embeddings=self.size("max_position_embeddings"),
            rope_theta=self.number("rope_theta", self.rope(), above=1),
            yarn=self.yarn(),
            rms_norm_eps=self.number("rms_norm_eps"),
            swiglu_limit=self.number("swiglu_limit"),
            eos_token_ids=self.eos(eos),
        )
        if config.num_attention_heads % config.num_key_value_heads:
            raise self.fail(
                f"{config.num_attention_heads} attention heads can't share {config.num_key_value_heads} key/value heads"
            )
        if config.num_experts_per_tok > config.num_local_experts:
            raise self.fail(f"{config.num_experts_per_tok} experts a token, but only {config.num_local_experts} exist")
        return config

    def check_architecture(self) -> None:
        if self.fields.get("model_type") != "gpt_oss":
            kind = other_kind(self.path.parent, self.fields)
            if kind is not None:
                raise CheckpointError(kind)
            found = self.fields.get("architectures") or self.fields.get("model_type")
            what = _shown(found) if found else "no architecture"
            raise self.fail(f"this is {what}; gptoss-chat runs GptOssForCausalLM (gpt-oss-20b and gpt-oss-120b) only")
        quantization = self.fields.get("quantization_config") or {}
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        # mlx-lm writes "quantization" instead, which names no method; the tensors tell what it did.
        if method != "mxfp4" and not isinstance(self.fields.get("quantization"), dict):
            stored = _shown(method) if method else "plain floats"
            raise self.fail(f"the experts are stored as {stored}; gptoss-chat needs OpenAI's MXFP4: {TAKE}")
        if self.fields.get("attention_bias") is False:
            raise self.fail(f'"attention_bias" is false, but gpt-oss has attention biases; {TAKE}')
        if self.fields.get("tie_word_embeddings") is True:
            raise self.fail(
                '"tie_word_embeddings" is true, but gpt-oss has an output matrix of its own, which other programs '
                f"would then replace: this config.json doesn't belong to these weights; {TAKE}"
            )

    def layer_types(self, layers: int) -> tuple[str, ...]:
        types = self.fields.get("layer_types")
        if types is None:
            types = ["sliding_attention" if layer % 2 == 0 else "full_attention" for layer in range(layers)]
        known = ("sliding_attention", "full_attention")
        if not isinstance(types, list) or len(types) != layers or any(kind not in known for kind in types):
            raise self.fail(f'"layer_types" must name {layers} layers, each {" or ".join(known)}')
        return tuple(types)

    def rope(self) -> dict[str, Any]:
        """The rotary fields, which transformers 5 moved from the top level into `rope_parameters`."""
        scaling = self.fields.get("rope_parameters") or self.fields.get("rope_scaling")
        # Before transformers 4.43 the field was called "type"; where both are there, the newer one counts, as for it.
        if not isinstance(scaling, dict) or scaling.get("rope_type", scaling.get("type")) != "yarn":
            raise self.fail('"rope_scaling" of type "yarn" is missing')
        fallback = {
            "rope_theta": self.fields.get("rope_theta"),
            "original_max_position_embeddings": self.fields.get("initial_context_length"),
        }
        return {**fallback, **scaling}

    def yarn(self) -> Yarn:
        rope = self.rope()
        return Yarn(
            factor=self.number("factor", rope),
            beta_fast=self.number("beta_fast", rope),
            beta_slow=self.number("beta_slow", rope),
            original_context=self.size("original_max_position_embeddings", rope),
            truncate=bool(rope.get("truncate", True)),
        )

    def eos(self, eos: Any) -> tuple[int, ...]:
        ids = eos if isinstance(eos, list) else [] if eos is None else [eos]
        if any(not isinstance(token, int) for token in ids):
            raise self.fail(f'"eos_token_id" is {_shown(eos)}, not a token id or a list of them')
        return tuple(ids)


def _shown(value: object) -> str:
    """An untrusted value for an error line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} ..."
