"""Bytes to text: the encoding, and what in the text is no text: NUL bytes, escape sequences, control characters."""

import codecs
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from mlx_model.documents.encodings import UnknownEncoding, decode_older
from mlx_model.errors import GptossError

BINARY = "is a binary file; only documents, text and code can be attached"

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = (("utf-32-le", "UTF-32"), ("utf-32-be", "UTF-32"), ("utf-16-le", "UTF-16"), ("utf-16-be", "UTF-16"))
_CONTROL_BYTES = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_ISO_2022 = (
    (re.compile(rb"\x1b\$[@B]|\x1b\([JI]"), "iso2022_jp", "ISO-2022-JP"),
    (re.compile(rb"\x1b\$\)C[^\x0e]*\x0e"), "iso2022_kr", "ISO-2022-KR"),
)
"""Encodings that are ASCII but for escape sequences: these lead to them."""

# ECMA-48: control sequences, then strings (OSC, DCS, APC, PM, SOS) up to their terminator, then other escapes.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]"
)
_OVERSTRIKES = re.compile(r"[^\n\x08]\x08")
"""How roff prints bold and underlined letters: `N`, backspace, `N`."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]")
_C1 = re.compile(r"[\x80-\x84\x86-\x9f]")


class NotText(GptossError):
    """The bytes are not text that can be read; the message continues a sentence that begins with the file's name."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text with line feeds alone as line breaks and no control characters; `notes` say how it differs from the file."""

    text: str
    notes: tuple[str, ...] = ()


def decode(data: bytes) -> Decoded:
    """The text of a file. Raises NotText.

    UTF-8; UTF-16 and UTF-32 with a byte order mark or without; an older encoding where it is certain.
    """
    text, notes = _unicode(data)
    text, more = _without_controls(text.replace("\r\n", "\n").replace("\r", "\n").replace("\x85", "\n"))
    return Decoded(text, (*notes, *more))


def _unicode(data: bytes) -> tuple[str, list[str]]:
    if marked := next((encoding for bom, encoding in _BOMS if data.startswith(bom)), None):
        return _marked(data, marked)
    for leading, encoding, name in _ISO_2022:
        if leading.search(data) and (text := _strictly(data, encoding)) is not None:
            return text, [f"read as {name}"]
    if (b"\0" in data or _strictly(data, "utf-8") is None) and (wide := _wide(data)) is not None:
        return wide
    text_data, notes = _without_nul(data)
    if (text := _strictly(text_data, "utf-8")) is not None:
        return text, notes
    if _is_binary(text_data):
        raise NotText(BINARY)
    if (damaged := _damaged_utf_8(text_data)) is not None:
        text, note = damaged
        return text, [*notes, note]
    try:
        text, name = decode_older(text_data)
    except UnknownEncoding as error:
        if (damaged := _nearly_ascii(text_data)) is None:
            raise NotText(str(error)) from None
        text, note = damaged
        return text, [*notes, note]
    return text, [*notes, f"read as {name}"]


def _marked(data: bytes, encoding: str) -> tuple[str, list[str]]:
    try:
        return data.decode(encoding), []
    except UnicodeDecodeError as error:
        if encoding == "utf-8-sig" and (damaged := _damaged_utf_8(data.removeprefix(codecs.BOM_UTF8))) is not None:
            return damaged[0], [damaged[1]]
        line = data[: error.start].count(b"\n") + 1
        name = encoding[:6].rstrip("-").upper()
        raise NotText(f"is not {name} (line {line}), although it begins with the mark of {name}") from None


def _strictly(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_binary(data: bytes) -> bool:
    beginning = data[:4096]
    return 50 * len(_CONTROL_BYTES.findall(beginning)) > len(beginning)


def _wide(data: bytes) -> tuple[str, list[str]] | None:
    """Text of two or four bytes a character without a byte order mark."""
    if not _CONTROL_BYTES.search(data):
        return None
    found: list[tuple[float, str, str]] = []
    for encoding, name in _WIDE:
        text = _strictly(data, encoding)
        if text is not None and (share := _usual_share(text)):
            found.append((share, text, name))
    found.sort()
    if not found or (len(found) > 1 and found[-1][0] < 2 * found[-2][0]):
        return None
    _, text, name = found[-1]
    return text, [f"read as {name} without a byte order mark"]


def _usual_share(text: str) -> float:
    """The share of letters of alphabets and of punctuation in text that was paired from bytes; 0 if it is no text.

    Bytes at random give ideographs in a third of all pairs, and characters that aren't assigned in each seventh. Text
    has none of these, and between ideographs punctuation, line breaks or kana.
    """
    sample = text[:4096]
    kinds = Counter(map(unicodedata.category, sample))
    controls = kinds["Cc"] - sum(map(sample.count, "\t\n\r\f\x1b"))
    if len(sample) < 4 or kinds["Cn"] or kinds["Co"] or kinds["Cs"] or 50 * controls > len(sample):
        return 0.0
    usual = sum(c < "\u2100" or "\u3000" <= c < "\u3100" or "\uff00" <= c < "\uff80" for c in sample)
    wide = sum("\u4e00" <= c < "\ua000" or "\uac00" <= c < "\ud7a4" for c in sample)
    return usual / len(sample) if 10 * (usual + wide) >= 9 * len(sample) and 12 * usual >= len(sample) else 0.0


def _without_nul(data: bytes) -> tuple[bytes, list[str]]:
    """Leave out single runs of NUL bytes, as a crash or a rotated log leaves them. Raises NotText for more of them."""
    runs = re.findall(rb"\0+", data)
    if not runs:
        return data, []
    rest = data.replace(b"\0", b"")
    if not rest or (len(runs) > 1 and 50 * len(runs) > len(rest)) or _is_binary(rest):
        raise NotText(BINARY)
    count = sum(map(len, runs))
    return rest, [f"{_count(count, 'NUL byte')} left out"]


def _damaged_utf_8(data: bytes) -> tuple[str, str] | None:
    """UTF-8 in which few bytes are something else, with a replacement character for these; None if it is not that."""
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd") - data.count("\ufffd".encode())
    whole = len(re.findall(rb"[\xc2-\xf4][\x80-\xbf]+", data)) - wrong
    if whole < max(3, 4 * wrong):
        return None
    return text, f"{_count(wrong, 'place')} not UTF-8, {_shown(text)}"


def _nearly_ascii(data: bytes) -> tuple[str, str] | None:
    """ASCII with a stray byte in a thousand, as in logs and patches; None if there are more: those are letters."""
    strays = sum(byte > 0x7F for byte in data)
    if strays * 1000 > len(data):
        return None
    text = data.decode("ascii", "replace")
    return text, f"{_count(strays, 'byte')} of an unknown encoding, {_shown(text)}"


def _shown(text: str) -> str:
    line = text.count("\n", 0, text.index("\ufffd")) + 1
    return f"the first in line {line}, shown as \ufffd"


def _without_controls(text: str) -> tuple[str, list[str]]:
    """Without what only a terminal understands: it would cost tokens, and hide what the lines say."""
    if not _CONTROLS.search(text):
        return text, []
    notes = []
    shown, escapes = _ESCAPES.subn("", text)
    if escapes:
        notes.append("escape sequences (colours) left out")
    shown = _OVERSTRIKES.sub("", shown)
    c1, others = len(_C1.findall(shown)), len(_CONTROLS.findall(shown))
    if c1 >= 3 and 20 * c1 > sum(character > "\x7f" for character in shown):
        raise NotText(
            "is full of control characters (C1): it was probably converted from the wrong encoding; convert the "
            "original anew"
        )
    if 50 * others > len(shown):
        raise NotText(BINARY)
    if others:
        notes.append(f"{_count(others, 'control character')} left out")
    return _CONTROLS.sub("", shown), notes


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
