"""The real o200k vocabulary for tests, from PyPI's bpe-openai: as the Hub's tokenizer.json and as a .tiktoken file.

Files are made once, in the system's temporary folder, and kept between runs. Nothing is fetched.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai_harmony
import pytest

from mlx_model.harmony.tokenizer import Tokenizer

# tiktoken_ext/openai_public.py, o200k_base; the Hub's tokenizer.json of gpt-oss has the same seven alternatives.
O200K_PATTERN = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
# The added tokens of the Hub's file; its config has further rows, up to 201088, which no token names.
SPECIAL = {
    199998: "<|startoftext|>",
    199999: "<|endoftext|>",
    200000: "<|reserved_200000|>",
    200001: "<|reserved_200001|>",
    200002: "<|return|>",
    200003: "<|constrain|>",
    200004: "<|reserved_200004|>",
    200005: "<|channel|>",
    200006: "<|start|>",
    200007: "<|end|>",
    200008: "<|message|>",
    **{i: f"<|reserved_{i}|>" for i in (200009, 200010, 200011)},
    200012: "<|call|>",
    **{i: f"<|reserved_{i}|>" for i in range(200013, 200018)},
    200018: "<|endofprompt|>",
}


@cache
def o200k() -> Tokenizer:
    """The tokenizer of gpt-oss, loaded as from a downloaded checkpoint."""
    folder = hub_folder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPTOSS_CACHE_DIR", str(folder / "cache"))
        return Tokenizer.load(folder)


@cache
def oracle() -> openai_harmony.HarmonyEncoding:
    """OpenAI's own implementation of the format, working offline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_ENCODINGS_BASE", str(tiktoken_folder()))
        return openai_harmony.load_harmony_encoding(openai_harmony.HarmonyEncodingName.HARMONY_GPT_OSS)


def tiktoken_folder() -> Path:
    """A folder with o200k_base.tiktoken; openai-harmony works offline with TIKTOKEN_ENCODINGS_BASE set to it."""
    return _made("o200k_base.tiktoken", _tiktoken_file)


def hub_folder() -> Path:
    """A folder with the tokenizer.json of gpt-oss, rebuilt in the Hub's form (200k tokens, all merges)."""
    return _made("tokenizer.json", lambda: json.dumps(tokenizer_json(ranks())).encode())


@cache
def ranks() -> dict[bytes, int]:
    """The 199,998 text tokens of o200k and their ids."""
    lines = (line.split() for line in _tiktoken_file().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def tokenizer_json(ranks: dict[bytes, int], special: dict[int, str] = SPECIAL) -> dict[str, Any]:
    """A tokenizer.json as transformers' TikTokenConverter writes it: every way to split a token is a merge."""
    characters = _byte_level_alphabet()
    spelt = {token: "".join(map(characters.__getitem__, token)) for token in ranks}
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        splits = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in ranks and token[i:] in ranks]
        splits.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [[spelt[left], spelt[right]] for left, right in splits]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for i, name in special.items()
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": O200K_PATTERN},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": False,
            "use_regex": True,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {spelt[token]: rank for token, rank in ranks.items()},
            "merges": merges,
        },
    }


def _byte_level_alphabet() -> dict[int, str]:
    """GPT-2's bytes_to_unicode (openai/gpt-2, src/encoder.py), as it stands there."""
    bs = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    cs = bs[:]
    n = 0
    for b in range(2**8):
        if b not in bs:
            bs.append(b)
            cs.append(2**8 + n)
            n += 1
    return dict(zip(bs, map(chr, cs), strict=True))


def _tiktoken_file() -> bytes:
    # Found without importing the package, which would load every vocabulary it has.
    spec = find_spec("bpe_openai")
    assert spec is not None and spec.origin is not None
    data = gzip.decompress((Path(spec.origin).parent / "data" / "o200k_base.tiktoken.gz").read_bytes())
    # openai-harmony checks the same digest before it uses the file.
    assert hashlib.sha256(data).hexdigest() == "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
    return data


def _made(name: str, make: Callable[[], bytes]) -> Path:
    """The folder of a file that is made on first use; its name depends on this script's text."""
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"gptoss-chat-tests-{os.getuid()}" / key
    folder.mkdir(parents=True, exist_ok=True)
    if not (target := folder / name).exists():
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(make())
        Path(file.name).replace(target)
    return folder
