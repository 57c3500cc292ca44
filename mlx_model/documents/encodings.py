"""Text in an encoding older than Unicode: read where one encoding alone gives plausible text, else the candidates.

Detectors by statistics guess wrong on short texts: of files of 20 characters charset-normalizer 3.5 decoded half to
something else, and none was refused. Here every encoding in use is tried, and a word counts against one where no
language writes it so: letters of no one alphabet, a capital within a word, a sign between letters, a rare ideograph.
"""

import codecs
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlx_model.documents.alphabets import (
    ALPHABETS,
    BOXES,
    COMMON_IDEOGRAPHS,
    COMMON_SYLLABLES,
    NEVER_AFTER_LETTERS,
    SIGNS,
    WITHIN_WORDS,
)
from mlx_model.errors import GptossError

SAMPLE = 400
"""Words with bytes beyond ASCII that are looked at."""
MOST_BYTES_OF_WORD = 1000
LEAST_WORDS = 3
"""Fewer decide nothing in an encoding of single bytes: nearly every letter is a letter in several."""
LEAST_LETTERS = 40
"""From here on the frequent letters have to be frequent."""
MOST_NAMES = 8
_LESS_USUAL = 0.4
"""How odd a character is that makes a text uncertain, but not unlikely."""
_ACCEPTED, _NAMED, _APART, _APART_OF_MANY = 0.05, 0.5, 0.5, 0.2
"""Shares of odd words: of the one that is read, of those that are named, and between it and each other."""

# Codec of Python, the name that people and iconv know; of two with the same text the first is named.
SINGLE_BYTE = (
    ("cp1252", "WINDOWS-1252"),
    ("cp1251", "WINDOWS-1251"),
    ("koi8_r", "KOI8-R"),
    ("mac_roman", "MACINTOSH"),
    ("cp1250", "WINDOWS-1250"),
    ("iso8859_2", "ISO-8859-2"),
    ("iso8859_15", "ISO-8859-15"),
    ("cp866", "CP866"),
    ("mac_cyrillic", "MACCYRILLIC"),
    ("cp850", "CP850"),
    ("cp1253", "WINDOWS-1253"),
    ("iso8859_7", "ISO-8859-7"),
    ("cp1254", "WINDOWS-1254"),
    ("cp1257", "WINDOWS-1257"),
    ("cp1255", "WINDOWS-1255"),
    ("cp1256", "WINDOWS-1256"),
    ("cp874", "CP874"),
    ("iso8859_5", "ISO-8859-5"),
    ("koi8_u", "KOI8-U"),
    ("cp437", "CP437"),
    ("cp852", "CP852"),
    ("iso8859_6", "ISO-8859-6"),
    ("iso8859_3", "ISO-8859-3"),
    ("mac_latin2", "MacCentralEurope"),
    ("cp1258", "WINDOWS-1258"),
)
MULTI_BYTE = (
    ("cp932", "SHIFT_JIS"),
    ("gb18030", "GB18030"),
    ("big5hkscs", "BIG5"),
    ("cp949", "EUC-KR"),
    ("euc_jp", "EUC-JP"),
)


class UnknownEncoding(GptossError):
    """No encoding alone gives plausible text; the message continues a sentence that begins with the file's name."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    codec: str
    name: str
    words: list[str]
    odd: list[float]
    """Of each word, from 0 (as people write) to 1."""
    weights: list[float]
    """Of each word: in scripts without spaces a line is one."""
    certain: bool
    """Whether it may be read, if no other is as plausible."""
    doubtful: bool = False
    """Whether it is too unlikely to stand in another's way."""

    @property
    def oddness(self) -> float:
        return sum((odd * weight for odd, weight in zip(self.odd, self.weights, strict=True)), 0.0) / sum(self.weights)


def decode_older(data: bytes) -> tuple[str, str]:
    """The text and the name of its encoding. Raises UnknownEncoding, which names the candidates.

    `data` has bytes beyond ASCII and is not UTF-8.
    """
    words = _words(data)
    candidates = [c for c in _candidates(words) if c.oddness <= _NAMED and _decodes(data, c.codec)]
    if candidates and _stands_out(candidates[0], candidates[1:]):
        return data.decode(candidates[0].codec), candidates[0].name
    raise UnknownEncoding(_refusal(data, candidates))


def _words(data: bytes) -> list[bytes]:
    """Distinct words with bytes beyond ASCII. No encoding here has ASCII's white space within a character."""
    words: dict[bytes, None] = {}
    for match in re.finditer(rb"\S+", data):
        if not (word := match.group()).isascii():
            words[word[:MOST_BYTES_OF_WORD]] = None
        if len(words) == SAMPLE:
            break
    return list(words)


def _candidates(words: Sequence[bytes]) -> list[_Candidate]:
    """The most plausible first; of those with the same text one."""
    weights = [max(1.0, sum(byte > 0x7F for byte in word) / 8) for word in words]
    candidates: list[_Candidate] = []
    for codec, name in (*SINGLE_BYTE, *MULTI_BYTE):
        try:
            # A word that was cut may end within a character.
            texts = [
                codecs.getincrementaldecoder(codec)().decode(word, len(word) < MOST_BYTES_OF_WORD) for word in words
            ]
        except UnicodeDecodeError:
            continue
        candidates.append(_JUDGES.get(codec, _judge_words)(codec, name, texts, weights))
    candidates.sort(key=lambda candidate: (candidate.doubtful, round(candidate.oddness, 2)))
    distinct = {tuple(candidate.words): candidate for candidate in reversed(candidates)}
    return [candidate for candidate in candidates if distinct[tuple(candidate.words)] is candidate]


def _decodes(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _stands_out(best: _Candidate, others: Sequence[_Candidate]) -> bool:
    """Whether the best is plausible, and each other far less so where the two differ."""
    if not best.certain or best.doubtful or best.oddness > _ACCEPTED:
        return False
    for other in others:
        differing = [n for n, pair in enumerate(zip(best.words, other.words, strict=True)) if pair[0] != pair[1]]
        odder = sum((other.odd[n] - best.odd[n]) * best.weights[n] for n in differing)
        share = odder / sum(best.weights[n] for n in differing)
        if not (other.doubtful or share >= _APART or (share >= _APART_OF_MANY and odder >= LEAST_WORDS)):
            return False
    return True


def _refusal(data: bytes, candidates: Sequence[_Candidate]) -> str:
    try:
        data.decode()
        line = 1
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    names = [candidate.name for candidate in candidates]
    if not names:
        return f"is not UTF-8 (line {line}), nor plausible text in an older encoding; save it as UTF-8"
    shown = [*names[:MOST_NAMES], *(["another"] if len(names) > MOST_NAMES else [])]
    listed = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
    convert = f"if it is {names[0]}, convert it: iconv -f {names[0]} -t UTF-8"
    if candidates[0].oddness > _ACCEPTED:
        convert = "convert it with the right one: iconv -f NAME -t UTF-8"
    unsure = "which can't be told for certain, so nothing was read"
    return f"is not UTF-8 (line {line}); it may be {listed}, {unsure}; {convert}"


# Alphabets


def _judge_words(codec: str, name: str, words: list[str], weights: list[float]) -> _Candidate:
    odd_anyway = [_is_odd(word) for word in words]
    letters = ["".join(c if c == "İ" else c.lower() for c in word if _is_letter(c)) for word in words]
    scores: list[list[float]] = []
    for alphabet, frequent in ALPHABETS:
        if frequent is not None and _is_too_rare(frequent, letters):
            scores.append([float(bool(of)) for of in letters])
            continue
        scores.append(
            [
                float(odd or not set(of) <= alphabet or (frequent is not None and bool(of) and _is_mixed(word)))
                for word, odd, of in zip(words, odd_anyway, letters, strict=True)
            ]
        )
    return _Candidate(codec, name, words, min(scores, key=sum), weights, len(words) >= LEAST_WORDS)


def _is_too_rare(frequent: frozenset[str], letters: Sequence[str]) -> bool:
    text = "".join(letters)
    return len(text) >= LEAST_LETTERS and 5 * sum(letter in frequent for letter in text) < 2 * len(text)


def _is_letter(character: str) -> bool:
    """Whether it is a letter, or a mark on one, beyond ASCII."""
    return character > "\x7f" and character not in SIGNS and unicodedata.category(character)[0] in "LM"


def _is_odd(word: str) -> bool:
    """Whether no language has such a word: its signs, its capitals, its repetitions."""
    for number, character in enumerate(word):
        if character <= "\x7f" or _is_letter(character):
            continue
        after_letter = word[max(0, number - 1) : number].isalpha()
        between = after_letter and word[number + 1 : number + 2].isalpha()
        if ord(character) in BOXES:
            if any(c.isalpha() for c in word[max(0, number - 1) : number + 2]) or _is_jumble(word):
                return True
        elif character not in SIGNS or (between and character not in WITHIN_WORDS):
            return True
        if after_letter and character in NEVER_AFTER_LETTERS:
            return True
    if re.search(r"([^\W\d_])\1{3}", word):
        return True
    for run in re.findall(r"[^\W\d_]+", word):
        if run.isascii():
            continue
        if run.lower() != run and run.upper() != run and run[1:] != run[1:].lower():
            return True
        if "\u03c2" in run[:-1]:  # a final sigma that is not final
            return True
    return False


def _is_jumble(word: str) -> bool:
    """Whether it has too many different signs for a line of a table or a tree."""
    return len(set(word)) >= 4 and 3 * len(set(word)) > 2 * len(word)


def _is_mixed(word: str) -> bool:
    """Whether Latin letters stand in one run with others."""
    return any(
        not run.isascii() and any(c.isascii() for c in run if c.isalpha()) for run in re.findall(r"[^\W\d_]+", word)
    )


# Ideographs


def _judge_japanese(codec: str, name: str, words: list[str], weights: list[float]) -> _Candidate:
    text = "".join(words)
    kana, ideographs = _count(text, "\u3041", "\u30ff"), _count(text, "\u4e00", "\u9fff")

    def oddness(character: str) -> float:
        if "\uff61" <= character <= "\uff9f":  # half width, as banks have it
            return _LESS_USUAL
        return float(not ("\u3040" < character < "\u3100" or _in_rows(character, "euc_jp", 0xB0, 0xCF)))

    odd = [_odd_share(word, oddness) for word in words]
    certain, doubtful = kana >= 3 and 10 * kana >= ideographs, kana == 0 and ideographs >= 30
    return _Candidate(codec, name, words, odd, weights, certain, doubtful)


def _judge_chinese(codec: str, name: str, words: list[str], weights: list[float]) -> _Candidate:
    text = "".join(words)
    ideographs, common = _count(text, "\u4e00", "\u9fff"), sum(c in COMMON_IDEOGRAPHS for c in text)
    rows = ("gb2312", 0xB0, 0xD7) if codec == "gb18030" else ("big5", 0xA4, 0xC6)
    odd = [_odd_share(word, lambda c: float(not ("\u4e00" <= c < "\ua000" and _in_rows(c, *rows)))) for word in words]
    certain, doubtful = _is_frequent(common, ideographs), ideographs >= 15 and 10 * common < ideographs
    return _Candidate(codec, name, words, odd, weights, certain, doubtful)


def _judge_korean(codec: str, name: str, words: list[str], weights: list[float]) -> _Candidate:
    def oddness(character: str) -> float:
        if _in_rows(character, "euc_kr", 0xCA, 0xFD):  # ideographs, which few texts have
            return _LESS_USUAL
        return float(not _in_rows(character, "euc_kr", 0xB0, 0xC8))

    odd = [_odd_share(word, oddness) for word in words]
    text = "".join(words)
    certain = _is_frequent(sum(c in COMMON_SYLLABLES for c in text), _count(text, "\uac00", "\ud7a3"))
    return _Candidate(codec, name, words, odd, weights, certain)


def _is_frequent(common: int, characters: int) -> bool:
    """Whether the most frequent characters are frequent; of characters at random they are one in thirty."""
    return common >= 4 and 5 * common >= characters


def _count(text: str, first: str, last: str) -> int:
    return sum(first <= character <= last for character in text)


def _in_rows(character: str, codec: str, first: int, last: int) -> bool:
    """Whether it is in these rows of a national standard, which order characters by how frequent they are."""
    try:
        data = character.encode(codec)
    except UnicodeEncodeError:
        return False
    return len(data) == 2 and first <= data[0] <= last


def _odd_share(word: str, oddness: Callable[[str], float]) -> float:
    """The share of characters beyond ASCII that are rare, or stand between two Latin letters."""
    beyond = [n for n, character in enumerate(word) if character > "\x7f"]
    odd = 0.0
    for n in beyond:
        character = word[n]
        between = (word[n - 1 : n] + word[n + 1 : n + 2]).encode("ascii", "replace").isalpha() and 0 < n < len(word) - 1
        punctuation = "\u3000" <= character <= "\u3020" or "\uff01" <= character <= "\uff5e" or character in SIGNS
        odd += 1.0 if between else 0.0 if punctuation else oddness(character)
    return odd / len(beyond) if beyond else 0.0


_JUDGES = {
    "cp932": _judge_japanese,
    "euc_jp": _judge_japanese,
    "gb18030": _judge_chinese,
    "big5hkscs": _judge_chinese,
    "cp949": _judge_korean,
}
