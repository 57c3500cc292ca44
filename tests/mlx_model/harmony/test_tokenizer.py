"""The tokenizer on the real o200k vocabulary, against OpenAI's own; streaming decoding against bytes.decode."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.errors import TokenizerError
from mlx_model.harmony import tokenizer as tokenizer_module
from mlx_model.harmony import vocabulary
from mlx_model.harmony.tokenizer import StreamDecoder, Tokenizer
from tests.fixtures.vocabulary import O200K_PATTERN, SPECIAL, o200k, oracle, ranks, tokenizer_json

# Computed with openai-harmony 0.0.8.
VECTORS = {
    "hello world": [24912, 2375],
    "don't DON'T we'll": [91418, 153384, 22782],
    "12345678": [7633, 19354, 4388],
    "naïve café": [1503, 9954, 737, 30469],
    "\r\n\r\n a": [1414, 261],
    "日本語テスト": [9048, 40909, 16056, 38236],
    "🇺🇸👋🏾": [55506, 118, 55506, 116, 28823, 233, 52622, 122],
    "\xa0x": [5310, 87],
    "camelCaseString HTTPServer": [178067, 6187, 916, 21929, 6444],
    "💖": [31446, 244],
    "<|end|>": [27, 91, 419, 91, 29],
}

# A small vocabulary of the same kind whose special tokens come first, as a BPE trainer lays them out.
SMALL_SPECIAL = {i: name for i, name in enumerate(SPECIAL.values()) if "reserved" not in name}
SMALL_RANKS = {bytes([b]): 100 + b for b in range(256)} | {b"th": 356, b"the": 357, b" the": 358, b"\xc3\xa9": 359}

# What every character of several bytes begins with. (CPython's decoder takes surrogates for characters until their last
# byte; that delays U+FFFD by a token, never valid text.)
CHARACTER_BEGINNINGS = {
    chr(code).encode("utf-8", "surrogatepass")[:size]
    for code in (*range(0x80, 0x800), *range(0x800, 0x110000, 16))
    for size in range(1, 2 + (code > 0x7FF) + (code > 0xFFFF))
}


def small(**changes: Any) -> bytes:
    """A small tokenizer.json; `changes` replace fields of its model, or with `root` of the whole."""
    root = tokenizer_json(SMALL_RANKS, SMALL_SPECIAL)
    root |= changes.pop("root", {})
    root["model"] |= changes
    return json.dumps(root).encode()


@pytest.mark.parametrize("text", VECTORS)
def test_encodes_as_openai(text: str) -> None:
    assert o200k().encode(text) == VECTORS[text]
    assert o200k().decode(VECTORS[text]) == text


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_encodes_as_openai(text: str) -> None:
    ids = o200k().encode(text)
    assert ids == oracle().encode(text, disallowed_special=())
    assert o200k().decode(ids) == text


def test_special_tokens_are_known_by_name_and_never_come_from_text() -> None:
    tokenizer = o200k()
    assert tokenizer.special["<|start|>"] == 200006
    assert tokenizer.special["<|call|>"] == 200012
    assert tokenizer.special == {name: i for i, name in SPECIAL.items()}
    assert tokenizer.vocab_size == 200019
    text = "".join(tokenizer.special)
    assert not set(tokenizer.encode(text)) & set(tokenizer.special.values())
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([200006, 173781, 200008]) == "<|start|>assistant<|message|>"


def test_surrogates_are_text() -> None:
    assert o200k().encode("a\ud800b") == o200k().encode("a\ufffdb")
    assert o200k().encode("\ud83d\udc96") == o200k().encode("💖")


def test_ids_outside_the_vocabulary_decode_to_a_replacement_character() -> None:
    for token in (-1, 200019, 201087, 2**32, 2**70):
        assert o200k().token_bytes(token) == "\ufffd".encode()
        assert o200k().decode([71, token, 72]) == "h\ufffdi"


@pytest.mark.parametrize("unit", ["a", " ", "\n", "^", "日", " \n", "aB1", "\t "])
def test_long_runs_encode(unit: str) -> None:
    """A million spaces stop tiktoken's regular expressions; the result is still the same text."""
    text = "Start " + unit * (1_200_000 // len(unit)) + " end"
    ids = o200k().encode(text)
    assert o200k().decode(ids) == text
    assert ids[0] == o200k().encode("Start")[0]


def test_runs_below_the_limit_are_never_cut() -> None:
    whole = tiktoken.Encoding("o200k", pat_str=O200K_PATTERN, mergeable_ranks=ranks(), special_tokens={})
    text = "x" * 99_000 + " " * 99_000 + "y" * 99_000 + "\n" + "words and more " * 20_000
    assert o200k().encode(text) == whole.encode_ordinary(text)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("abcd", ["abcd"]),
        ("abcde", ["abcd", "e"]),
        ("abcdefghij kl", ["abcd", "efgh", "ij kl"]),
        ("ab cd ef", ["ab cd ef"]),
        ("ab     c", ["ab    ", " c"]),
        ("\n" * 9, ["\n" * 4, "\n" * 4, "\n"]),
        ("", [""]),
    ],
)
def test_runs_are_cut_where_they_are_too_long(monkeypatch: pytest.MonkeyPatch, text: str, pieces: list[str]) -> None:
    monkeypatch.setattr(tokenizer_module, "_LONGEST_RUN", 4)
    assert list(tokenizer_module._cut_long_runs(text)) == pieces


def test_ordinary_text_is_not_cut_and_a_short_one_not_even_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiktoken.Encoding("o200k", pat_str=O200K_PATTERN, mergeable_ranks=ranks(), special_tokens={})
    monkeypatch.setattr(tokenizer_module, "_cut_long_runs", None)
    text = "words and more " * 10_000
    assert o200k().encode(text) == whole.encode_ordinary(text)
    monkeypatch.setattr(tokenizer_module, "_HAS_LONG_RUN", None)
    assert o200k().encode("x" * 100_000) == whole.encode_ordinary("x" * 100_000)


@pytest.mark.parametrize("run", ["x", " "])
def test_the_longest_run_that_stays_whole(run: str) -> None:
    """One character more and it is cut, which the tokens show: they are those of its pieces."""
    whole = tiktoken.Encoding("o200k", pat_str=O200K_PATTERN, mergeable_ranks=ranks(), special_tokens={})
    longest = run * (100_000 - 1)
    other = " a" if run == "x" else "a b"
    assert o200k().encode(longest + other) == whole.encode_ordinary(longest + other)
    cut = run * 100_003 + other
    pieces = [run * 100_000, run * 3 + other]
    assert o200k().encode(cut) == [token for piece in pieces for token in whole.encode_ordinary(piece)]


@pytest.mark.parametrize("token", [-1, 201_088, 2**31, 2**40, 200_019])
def test_an_id_that_is_no_token(token: int) -> None:
    assert o200k().token_bytes(token) == "\ufffd".encode()
    assert o200k().decode([token, *o200k().encode("a")]) == "\ufffda"


@st.composite
def token_runs(draw: st.DrawFn) -> list[int]:
    """Ids of tokens, many of them fragments of characters or bytes that are never valid."""
    pieces = st.one_of(st.binary(min_size=1, max_size=6), st.characters(codec="utf-8").map(str.encode))
    raw = b"".join(draw(st.lists(pieces, max_size=12)))
    ids = []
    while raw:
        size = draw(st.integers(1, 4))
        token = raw[:size] if raw[:size] in ranks() else raw[:1]
        ids.append(ranks()[token])
        raw = raw[len(token) :]
    return ids


def _undecided(raw: bytes) -> int:
    """How many bytes at the end of `raw` may yet become a character (3, 2, 1 or 0)."""
    return next((size for size in (3, 2, 1) if size <= len(raw) and raw[-size:] in CHARACTER_BEGINNINGS), 0)


@settings(max_examples=400, deadline=None)
@given(token_runs())
def test_stream_decoder_is_bytes_decode_for_every_split(ids: list[int]) -> None:
    tokenizer = o200k()
    decoder = StreamDecoder(tokenizer)
    raw, text = b"", ""
    for token in ids:
        raw += tokenizer.token_bytes(token)
        text += decoder.push(token)
        settled = raw[: len(raw) - _undecided(raw)]
        assert text == settled.decode("utf-8", "replace")
    assert text + decoder.flush() == raw.decode("utf-8", "replace") == tokenizer.decode(ids)
    assert decoder.flush() == ""


def test_text_after_an_invalid_byte_is_not_delayed() -> None:
    """Token 9552 is a space and the first half of a character. openai-harmony 0.0.8 shows "Hi" only at the end."""
    decoder = StreamDecoder(o200k())
    assert [decoder.push(9552), decoder.push(12194), decoder.push(12194)] == [" ", "\ufffdHi", "Hi"]


def test_small_vocabulary_with_special_tokens_first(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(small())
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.special == {name: i for i, name in SMALL_SPECIAL.items()}
    assert tokenizer.encode("the é <|end|>")[:3] == [357, 100 + ord(" "), 359]
    assert tokenizer.decode(tokenizer.encode("the é <|end|>")) == "the é <|end|>"
    assert tokenizer.decode([50]) == "\ufffd"


def test_special_tokens_in_the_vocab_and_merges_as_strings_are_fine() -> None:
    """Both are how `tokenizers` wrote files before version 0.20."""
    plain = vocabulary.parse_vocabulary(small())
    model = json.loads(small())["model"]
    vocab = model["vocab"] | {name: i for i, name in SMALL_SPECIAL.items()}
    assert vocabulary.parse_vocabulary(small(vocab=vocab, merges=[" ".join(m) for m in model["merges"]])) == plain


def _vocab(**extra: int) -> dict[str, int]:
    vocab: dict[str, int] = json.loads(small())["model"]["vocab"]
    return vocab | extra


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a tokenizer.json"),
        (b"\xff{}", "not a tokenizer.json"),
        (b"[" * 100_000, "not a tokenizer.json"),
        (b"[]", "not a tokenizer.json"),
        (b'{"model": {"type": "BPE"}}', "not a tokenizer.json.*pre_tokenizer"),
        (small(type="Unigram"), 'type "Unigram"'),
        (small(root={"normalizer": {"type": "NFC"}}), "normalizer"),
        (small(root={"pre_tokenizer": {"type": "Whitespace"}}), "split by .*Whitespace"),
        (small(vocab=_vocab(zz=357)), "share an id"),
        (small(vocab=_vocab(zz=-1)), "share an id"),
        (small(vocab=_vocab(zz=4_000_000_000)), "share an id"),
        (small(vocab={"a": 60, "日": 61}), "byte-level alphabet"),
        (small(vocab={"a": 60}), "255 of the 256 single bytes"),
        (small(merges=[["t", "q"]]), "a merge yields 'tq'"),
        (small(merges=[["th", "e"], ["t", "h"]]), "merge order"),
        (small(merges=[["t"]]), "not a tokenizer.json"),
    ],
)
def test_other_tokenizers_are_refused_in_one_sentence(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(TokenizerError, match=says) as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("([", "tiktoken can't use"),
        ("", "doesn't cover every text"),
        ("x*", "doesn't cover every text"),
        ("(?=a)", "doesn't cover every text"),
        ("|.", "doesn't cover every text"),
        (r"[\s\S]*", "doesn't cover every text"),  # and then once more, at the end
        (r"\w+", "doesn't cover every text"),
        (".", "doesn't cover every text"),  # without line breaks
        (r"(\w|\w\w)+_", "doesn't cover every text|takes too long"),
    ],
)
def test_a_pattern_that_would_crash_or_lose_text(
    tmp_path: Path, pattern: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pre = json.loads(small())["pre_tokenizer"]
    pre["pretokenizers"][0]["pattern"]["Regex"] = pattern
    (tmp_path / "tokenizer.json").write_bytes(small(root={"pre_tokenizer": pre}))
    with pytest.raises(TokenizerError, match=says):
        Tokenizer.load(tmp_path)
    assert capfd.readouterr().err == ""  # as Rust's panics print


@pytest.mark.parametrize("kept", [[], [0], [1, 3]])
def test_without_the_tokens_of_harmony(tmp_path: Path, kept: list[int]) -> None:
    tokens = json.loads(small())["added_tokens"]
    (tmp_path / "tokenizer.json").write_bytes(small(root={"added_tokens": [tokens[index] for index in kept]}))
    with pytest.raises(TokenizerError, match=r"special tokens .*<\|return\|> are missing"):
        Tokenizer.load(tmp_path)


def test_a_clone_without_git_lfs(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 27868174\n"
    )
    with pytest.raises(TokenizerError, match="only git-lfs's pointer to the file: run `git lfs pull`"):
        Tokenizer.load(tmp_path)


def test_no_file_and_no_regular_file(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="missing; download"):
        Tokenizer.load(tmp_path / "nowhere")
    (tmp_path / "folder" / "tokenizer.json").mkdir(parents=True)
    with pytest.raises(TokenizerError, match="can't be read"):
        Tokenizer.load(tmp_path / "folder")
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(TokenizerError, match="not a regular file"):
        Tokenizer.load(tmp_path)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint folder with the small tokenizer.json; its cache goes to the folder "cache" in it."""
    monkeypatch.setenv("GPTOSS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(vocabulary, "_CACHE_FROM_BYTES", 0)
    (tmp_path / "tokenizer.json").write_bytes(small())
    return tmp_path


def _entries(folder: Path) -> list[Path]:
    return sorted((folder / "cache").glob("*"))


def test_second_load_reads_the_cache_alone(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cached / "tokenizer.json"
    first = vocabulary.load_vocabulary(path)
    monkeypatch.setattr(vocabulary, "parse_vocabulary", lambda data: pytest.fail("parsed again"))
    assert vocabulary.load_vocabulary(path) == first
    assert len(_entries(cached)) == 1


def test_changed_file_is_never_served_from_an_old_cache(cached: Path) -> None:
    path = cached / "tokenizer.json"
    before, stat = vocabulary.load_vocabulary(path), path.stat()
    swapped = small().replace(b'"<|endoftext|>"', b'"<|ENDOFTEXT|>"')
    path.write_bytes(swapped)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    after = vocabulary.load_vocabulary(path)
    assert after != before
    assert "<|ENDOFTEXT|>" in after.special


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:-1], lambda b: b[:99] + b"x" + b[100:], lambda b: b * 2]
)
def test_damaged_cache_is_ignored_and_replaced(cached: Path, damage: Callable[[bytes], bytes]) -> None:
    path = cached / "tokenizer.json"
    first = vocabulary.load_vocabulary(path)
    (entry,) = _entries(cached)
    good = entry.read_bytes()
    entry.write_bytes(damage(good))
    assert vocabulary.load_vocabulary(path) == first
    assert entry.read_bytes() == good


def test_cache_of_another_file_is_ignored(cached: Path) -> None:
    path = cached / "tokenizer.json"
    first = vocabulary.load_vocabulary(path)
    (entry,) = _entries(cached)
    path.write_bytes(small().replace(b'"<|endoftext|>"', b'"<|ENDOFTEXT|>"'))
    vocabulary.load_vocabulary(path)
    (other,) = set(_entries(cached)) - {entry}
    entry.write_bytes(other.read_bytes())
    path.write_bytes(small())
    assert vocabulary.load_vocabulary(path) == first


def test_unwritable_cache_is_ignored(cached: Path) -> None:
    (cached / "cache").write_text("a file where the folder should be")
    assert vocabulary.load_vocabulary(cached / "tokenizer.json").special["<|end|>"] >= 0


def test_small_files_are_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTOSS_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "tokenizer.json").write_bytes(small())
    Tokenizer.load(tmp_path)
    assert not _entries(tmp_path)


@pytest.mark.parametrize("moment", ["read", "hashed"])
def test_a_file_that_changes_while_it_is_read_spoils_no_cache(
    cached: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """What was hashed is what is parsed: the cache is of that content, whatever the file holds by then."""
    path = cached / "tokenizer.json"
    old = path.read_bytes()
    new = json.loads(old)
    new["added_tokens"][0]["id"] = 99

    def write_in_between(*_: object) -> bytes | None:
        path.write_text(json.dumps(new))
        return old if moment == "read" else None

    with monkeypatch.context() as patched:
        patched.setattr(vocabulary, "_read_cache", lambda digest: None)
        patched.setattr(vocabulary, "read_small" if moment == "read" else "_read_cache", write_in_between)
        first = vocabulary.load_vocabulary(path)
    second = vocabulary.load_vocabulary(path)
    assert (first, second) == (vocabulary.parse_vocabulary(old), vocabulary.parse_vocabulary(path.read_bytes()))
    assert first != second
    path.write_bytes(old)
    assert vocabulary.load_vocabulary(path) == first
