"""Read a checkpoint's tokenizer.json (byte-level BPE) into the tables tiktoken needs, and cache them.

The file of gpt-oss is 28 MB of JSON, most of it merges, and takes over a second to parse and check. What is left of
it afterwards (a split pattern, 200k byte strings with their ids, the special tokens) is 3 MB and is kept in the
user's cache folder under the SHA-256 of tokenizer.json, so that a changed file never meets an old cache.
"""

from __future__ import annotations

import hashlib
import json
import struct
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from metal.files import parse_json, read_small, replace_file
from mlx_model.checkpoint_files import is_pointer, pointer_problem
from mlx_model.errors import TokenizerError
from mlx_model.folders import cache_folder

# Parsing a file below this size (the demo model's) is quicker than reading a cache.
_CACHE_FROM_BYTES = 1 << 20
# Three times gpt-oss's; bounds what is read and hashed.
_MOST_BYTES = 64 << 20
# Ten times gpt-oss's; bounds the tables a damaged file can ask for.
_MOST_IDS = 1 << 21
# Without one of these no message could be written or read (<|constrain|> and <|call|> only tools need).
_HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")
_MAGIC = b"gptoss-vocabulary-1\n"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a byte-level BPE is made of.

    `pattern` splits text into pieces (regular expression); `ranks` maps the bytes of each text token to its id, which
    is also its merge priority (lower merges first); `special` maps the names of control tokens to their ids.
    """

    pattern: str
    ranks: dict[bytes, int]
    special: dict[str, int]


def load_vocabulary(path: Path) -> Vocabulary:
    """Read tokenizer.json at `path`, from the cache if its content has been seen before.

    Raises TokenizerError if it can't be read or is anything else than gpt-oss's kind of byte-level BPE. A cache that
    is damaged or can't be written is ignored.
    """
    try:
        data = read_small(path, _MOST_BYTES)
        if len(data) < _CACHE_FROM_BYTES:
            return parse_vocabulary(data)
        # Of the very bytes that are parsed: the file may change meanwhile.
        digest = hashlib.sha256(data).digest()
        if (cached := _read_cache(digest)) is not None:
            return cached
        vocabulary = parse_vocabulary(data)
    except FileNotFoundError:
        raise TokenizerError(f"{path} is missing; download the checkpoint again, tokenizer files included") from None
    except OSError as error:
        raise TokenizerError(f"{path} can't be read: {error.strerror or error}") from None
    except TokenizerError as error:
        if is_pointer(path):
            raise TokenizerError(pointer_problem(path)) from None
        raise TokenizerError(f"{path}: {error}") from None
    _write_cache(digest, vocabulary)
    return vocabulary


def parse_vocabulary(data: bytes) -> Vocabulary:
    """Build a Vocabulary from the bytes of a tokenizer.json in the Hub's form (Hugging Face `tokenizers`).

    Raises TokenizerError, without the file's name, unless the model is a BPE over the byte-level alphabet, without a
    normaliser, split by one pattern, with ids in merge order (tiktoken takes the id for the priority).
    """
    try:
        root = parse_json(data)
        model = root["model"]
        if model["type"] != "BPE":
            raise TokenizerError(f'the model is of type "{model["type"]}"; gpt-oss uses byte-level "BPE"')
        if root.get("normalizer") is not None:
            raise TokenizerError("it has a normalizer; gpt-oss's tokenizer encodes text as it is")
        pattern = _split_pattern(root["pre_tokenizer"])
        special = {token["content"]: token["id"] for token in root["added_tokens"]}
        text_ids = {token: i for token, i in model["vocab"].items() if token not in special}
        if missing := [name for name in _HARMONY if name not in special]:
            raise TokenizerError(f"the special tokens {', '.join(missing)} are missing; gpt-oss's Harmony needs them")
        ids = [*special.values(), *text_ids.values()]
        if not all(isinstance(i, int) and 0 <= i < _MOST_IDS for i in ids) or len(set(ids)) != len(ids):
            raise TokenizerError(f"two tokens share an id, or an id is not a number below {_MOST_IDS}")
        ranks = _token_bytes(text_ids)
        _check_merges(model["merges"], text_ids)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TokenizerError(
            f"not a tokenizer.json in the Hub's form ({type(error).__name__}: {str(error)[:80]})"
        ) from None
    return Vocabulary(pattern, ranks, special)


def _split_pattern(pre_tokenizer: dict[str, Any]) -> str:
    """The regular expression of a pre-tokenizer that is [Split(isolated), ByteLevel], as gpt-oss has it."""
    steps = pre_tokenizer["pretokenizers"] if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]
    match [step["type"] for step in steps]:
        case ["Split", "ByteLevel"]:
            split, byte_level = steps
        case kinds:
            raise TokenizerError(f"text is split by {kinds}; gpt-oss splits by ['Split', 'ByteLevel']")
    if split.get("behavior") != "Isolated" or split.get("invert"):
        raise TokenizerError("the split pattern is not of the isolating kind that gpt-oss uses")
    if byte_level.get("add_prefix_space") or byte_level.get("use_regex"):
        raise TokenizerError("the byte-level step adds a space or splits once more; gpt-oss's does neither")
    return str(split["pattern"]["Regex"])


def _token_bytes(text_ids: dict[str, int]) -> dict[bytes, int]:
    """Spell each token in bytes instead of the byte-level alphabet."""
    alphabet = _byte_of_character()
    ranks = {}
    for token, rank in text_ids.items():
        try:
            ranks[bytes(map(alphabet.__getitem__, token))] = rank
        except KeyError:
            raise TokenizerError(f"token {rank} is not spelt in the byte-level alphabet") from None
    if missing := [b for b in range(256) if bytes([b]) not in ranks]:
        raise TokenizerError(f"{len(missing)} of the 256 single bytes have no token, so not every text can be encoded")
    return ranks


def _byte_of_character() -> dict[str, int]:
    """The byte-level alphabet (GPT-2's `bytes_to_unicode`), inverted: printable Latin-1 stands for itself, the other
    68 bytes are, in order, the characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


def _check_merges(merges: list[Any], text_ids: dict[str, int]) -> None:
    """Raise TokenizerError unless the merges come in the order of the ids they yield."""
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    try:
        results = [text_ids[left + right] for left, right in pairs]
    except KeyError as error:
        raise TokenizerError(f"a merge yields {error}, which has no id") from None
    if any(later < earlier for earlier, later in pairwise(results)):
        raise TokenizerError("the ids are not in merge order, so tiktoken would split words differently")


def _cache_path(digest: bytes) -> Path:
    return cache_folder() / f"vocabulary-{digest.hex()[:32]}.bin"


def _write_cache(digest: bytes, vocabulary: Vocabulary) -> None:
    """Layout: magic, SHA-256 of the rest; then SHA-256 of tokenizer.json, u32 length and JSON of the head, the ids of
    all text tokens as u32, their bytes. Tokens are sorted by length; the head counts those of each. Little-endian."""
    tokens = sorted(vocabulary.ranks, key=len)
    head = json.dumps(
        {
            "pattern": vocabulary.pattern,
            "special": vocabulary.special,
            "lengths": [[length, len(list(group))] for length, group in groupby(tokens, key=len)],
        }
    ).encode()
    ids = struct.pack(f"<{len(tokens)}I", *map(vocabulary.ranks.__getitem__, tokens))
    payload = b"".join([digest, struct.pack("<I", len(head)), head, ids, *tokens])
    with suppress(OSError):
        replace_file(_cache_path(digest), _MAGIC + hashlib.sha256(payload).digest() + payload)


def _read_cache(digest: bytes) -> Vocabulary | None:
    """The vocabulary of the tokenizer.json with this SHA-256; None if it is not cached or the cache is damaged."""
    try:
        data = read_small(_cache_path(digest), _MOST_BYTES)
    except OSError:
        return None
    start = len(_MAGIC) + 32
    payload = memoryview(data)[start:]
    if data[:start] != _MAGIC + hashlib.sha256(payload).digest() or payload[:32] != digest:
        return None
    # From here on the bytes are those that _write_cache sealed.
    (size,) = struct.unpack_from("<I", payload, 32)
    at = 36 + size
    head = json.loads(bytes(payload[36:at]))
    count = sum(number for _, number in head["lengths"])
    ids = struct.unpack_from(f"<{count}I", payload, at)
    at += 4 * count
    tokens: list[bytes] = []
    for length, number in head["lengths"]:
        tokens += struct.unpack_from(f"{length}s" * number, payload, at)
        at += length * number
    return Vocabulary(head["pattern"], dict(zip(tokens, ids, strict=True)), head["special"])
