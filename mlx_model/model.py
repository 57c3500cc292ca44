"""A loaded model: transformer, tokenizer, and where they came from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from mlx_model import hub
from mlx_model.cache import Cache
from mlx_model.config import ModelConfig
from mlx_model.tokenizer import Tokenizer
from mlx_model.transformer import Transformer
from mlx_model.weights import load_transformer

# Ids of the real gpt-oss, for checkpoints that come without a tokenizer.
_STOP_IDS = {200002, 200012, 199999}
_END_ID = 200007
_STOP_NAMES = ("<|return|>", "<|call|>", "<|endoftext|>")


@dataclass(slots=True)
class Model:
    """What `load` returns. `load_s` is in seconds; `resident_bytes` is what the weights keep in memory.

    `tokenizer` is None for a checkpoint folder without tokenizer files, which then works on ids alone.
    """

    name: str
    folder: Path
    config: ModelConfig
    transformer: Transformer
    tokenizer: Tokenizer | None
    load_s: float
    resident_bytes: int

    @property
    def context_length(self) -> int:
        """The most tokens a prompt and its answer may have together."""
        return self.config.max_position_embeddings

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer. <|end|> only ends a message, even where a generation_config.json lists it."""
        if self.tokenizer is not None:
            return frozenset(self.tokenizer.special[name] for name in _STOP_NAMES if name in self.tokenizer.special)
        return frozenset(_STOP_IDS.union(self.config.eos_token_ids) - {_END_ID})

    def make_cache(self) -> Cache:
        """An empty KV cache."""
        return self.transformer.make_cache()

    def forward(self, tokens: mx.array | Sequence[int], cache: Cache | None = None) -> mx.array:
        """Logits float32 [B, T, vocab] of ids [B, T] or [T], which follow what `cache` holds and join it."""
        ids = tokens if isinstance(tokens, mx.array) else mx.array(list(tokens))
        return self.transformer(ids[None] if ids.ndim == 1 else ids, self.make_cache() if cache is None else cache)


def load(name_or_path: str | Path, *, dense_bits: int | None = None) -> Model:
    """Loads "demo", "gpt-oss-20b", "gpt-oss-120b", "org/repo" from the Hub's cache, or a folder in the Hub's layout.

    `dense_bits` 8, 6 or 4 quantises attention and output matrix while loading; None keeps them as published.
    Raises CheckpointError, TokenizerError or RequestError, whose text says what is wrong and what to do.
    """
    start = time.perf_counter()
    folder = hub.resolve(name_or_path)
    config = ModelConfig.load(folder)
    tokenizer = Tokenizer.load(folder) if (folder / "tokenizer.json").is_file() else None
    transformer, resident_bytes = load_transformer(folder, config, dense_bits)
    return Model(
        name=str(name_or_path),
        folder=folder,
        config=config,
        transformer=transformer,
        tokenizer=tokenizer,
        load_s=time.perf_counter() - start,
        resident_bytes=resident_bytes,
    )
