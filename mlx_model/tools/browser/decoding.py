"""The bytes of a page to text, as browsers do it: a mark, what the server says, what the page says, else UTF-8."""

from __future__ import annotations

import codecs
import re

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_IN_HEADER = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_IN_PAGE = re.compile(rb"<(?:meta|\?xml)[^>]{0,300}?(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
# The encodings of the web; Python has others that are tricks rather than encodings (unicode_escape), or endless work.
_OF_THE_WEB = re.compile(
    r"utf-8|cp125\d|iso8859-\d+|koi8-[ru]|cp866|cp874|mac-\w+|gb18030|big5hkscs|cp932|euc_jp|iso2022_jp|cp949"
)
# What browsers read under these names: mostly larger encodings, in which such pages are really written.
_READ_AS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "hz": "gb18030",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
}


def decode(data: bytes, content_type: str = "") -> str:
    """The text; what is wrong in it becomes U+FFFD. Never raises."""
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(codec, "replace")
    in_header, in_page = _IN_HEADER.search(content_type), _IN_PAGE.search(data[:4096])
    names = (in_header[1] if in_header else "", in_page[1].decode("ascii", "replace") if in_page else "")
    if codec := next(filter(None, map(_codec, names)), ""):
        return data.decode(codec, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        # UTF-8 with a fault, such as a page that was cut off within a letter, or the encoding of pages that say none.
        is_utf8 = not data[: error.start].isascii() or error.start > len(data) - 4
        return data.decode("utf-8" if is_utf8 else "cp1252", "replace")


def _codec(name: str) -> str:
    """Python's name for an encoding of the web, empty if it is none, as UTF-16: its declaration couldn't be read."""
    label = name.lower()
    if label not in _READ_AS:
        try:
            label = codecs.lookup(label).name
        except LookupError:
            return ""
    label = _READ_AS.get(label, label)
    return label if _OF_THE_WEB.fullmatch(label) else ""
