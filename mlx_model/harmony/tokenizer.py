"""Text to token ids and back: a tiktoken encoding built from the checkpoint's tokenizer.json."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import regex
import tiktoken

from mlx_model.checkpoint_files import TOKENIZER
from mlx_model.errors import TokenizerError
from mlx_model.harmony.vocabulary import Vocabulary, load_vocabulary

# What an id without an entry in the vocabulary decodes to.
_UNKNOWN = "\N{REPLACEMENT CHARACTER}".encode()

# tiktoken matches its pattern with a backtracking engine that panics (`except Exception` misses that) in a run of
# about a million spaces. A run of whitespace, or of other characters, longer than this is cut before encoding; the
# longest of ordinary text, a minified line or a base64 blob, stays whole, and so do its tokens. (Before 0.13 tiktoken
# needed seconds for far shorter runs: its merging was quadratic.)
_LONGEST_RUN = 100_000
_HAS_LONG_RUN = re.compile(rf"(?<!\S)\S{{{_LONGEST_RUN}}}|(?<!\s)\s{{{_LONGEST_RUN}}}")
_RUNS = re.compile(r"\S+|\s+")

# Letters of several kinds, digits, marks, punctuation, controls and every sort of blank, alone and in runs.
_SAMPLE = (
    "".join(map(chr, range(0x250)))
    + " \r\n\n  It's 12345 Ünïcode—naïve e\u0301 日本語 русский עברית ไทย 😀\u200d\u2028\ufffd\t  "
)


class Tokenizer:
    """The byte-level BPE of one checkpoint. Immutable; safe to share between threads.

    `encoding` is what tiktoken has made of it. `special` maps the name of each control token ("<|start|>") to its id;
    ids differ between checkpoints.
    `vocab_size` is the largest id plus one (the model's embedding may have more rows; those ids are never text).
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Raises TokenizerError if tiktoken can't use it, as with a split pattern that loses text."""
        _check_pattern(vocabulary.pattern)
        try:
            self.encoding = tiktoken.Encoding(
                "gpt-oss",
                pat_str=vocabulary.pattern,
                mergeable_ranks=vocabulary.ranks,
                special_tokens=vocabulary.special,
            )
        except (ValueError, TypeError) as error:
            raise TokenizerError(f"tiktoken can't use it: {error}") from None
        self.special = dict(vocabulary.special)
        self.vocab_size = self.encoding.max_token_value + 1

    @staticmethod
    def load(folder: Path) -> Tokenizer:
        """The tokenizer of the checkpoint in `folder`. Raises TokenizerError, which names the file."""
        path = Path(folder) / TOKENIZER
        vocabulary = load_vocabulary(path)
        try:
            return Tokenizer(vocabulary)
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from None

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, never a special token: "<|end|>" in a text is seven characters like any other.

        Surrogate pairs become the character they mean, lone surrogates U+FFFD.
        """
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if len(text) <= _LONGEST_RUN or not _HAS_LONG_RUN.search(text):
            return self.encoding.encode_ordinary(text)
        return [token for piece in _cut_long_runs(text) for token in self.encoding.encode_ordinary(piece)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`: special tokens by name, bytes that are not UTF-8 and unknown ids as U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def vocabulary(self) -> list[bytes]:
        """The bytes of each id: of a special token its name, of an id that no token has nothing."""
        tokens = [b""] * self.vocab_size
        for spelt in (*self.encoding.token_byte_values(), *(name.encode() for name in self.special)):
            tokens[self.encoding.encode_single_token(spelt)] = spelt
        return tokens

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token (often not whole characters); of an unknown id those of U+FFFD."""
        try:
            return self.encoding.decode_single_token_bytes(token)
        except (KeyError, OverflowError):
            return _UNKNOWN


class StreamDecoder:
    """Decode tokens one by one without ever splitting a character.

    The texts concatenate to exactly what `Tokenizer.decode` gives for all tokens. Only bytes that may yet become a
    character wait for the next token; text after an invalid byte does not.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._token_bytes = tokenizer.token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def inside_character(self) -> bool:
        """Whether bytes wait for the rest of a character."""
        return bool(self._decoder.getstate()[0])

    def push(self, token: int) -> str:
        """The text that `token` completes; empty while a character is incomplete."""
        return self._decoder.decode(self._token_bytes(token))

    def flush(self) -> str:
        """The end of the text: U+FFFD if a character is still incomplete. The decoder starts again."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text


def _check_pattern(pattern: str) -> None:
    """Raises TokenizerError unless every piece of a text has characters, and together they are the text.

    At an empty piece tiktoken panics, which prints a backtrace and is no Exception; what no piece holds it drops.
    """
    try:
        pieces = [match.group() for match in regex.finditer(pattern, _SAMPLE, timeout=1.0)]
    except regex.error as error:
        raise TokenizerError(f"tiktoken can't use the split pattern: {error}") from None
    except TimeoutError:
        raise TokenizerError("the split pattern takes too long") from None
    if not all(pieces) or "".join(pieces) != _SAMPLE:
        raise TokenizerError("the split pattern doesn't cover every text")


def _cut_long_runs(text: str) -> Iterator[str]:
    start = 0
    for run in _RUNS.finditer(text):
        for cut in range(run.start() + _LONGEST_RUN, run.end(), _LONGEST_RUN):
            yield text[start:cut]
            start = cut
    yield text[start:]
