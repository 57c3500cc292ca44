"""What a file is that has no text to read: told from its first bytes, never from its name."""

import re
import zipfile
from io import BytesIO

_IMAGE = "a picture; the model reads text alone, so copy its text out first (macOS: Live Text in Preview)"
_ARCHIVE = "an archive; unpack it and attach the files in it"
_SOUND = "sound or video; the model reads text alone, so attach a transcript"
_PROGRAM = "a program or library; attach its source"
_FONT = "a font"
_WORD = "save it as text or PDF first (macOS: textutil -convert txt)"
_WEIGHTS = "a model's weights; `gptoss-chat --model` takes a folder of weights"

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (
        rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|8BPS|\0\0\x01\0[\x01-\x20]\0|BM.{4}\0\0\0\0|qoif",
        _IMAGE,
    ),
    (rb"RIFF.{4}WEBP|.{4}ftyp(?:heic|heix|mif1|msf1|avif)|\xff\x0a|\0\0\0\x0cJXL |\0\0\0\x0cjP  ", _IMAGE),
    (rb"RIFF.{4}(?:WAVE|AVI )|.{4}ftyp|.{4}moov|ID3[\x02-\x04]|\xff[\xf1-\xf3\xf9-\xfb]|OggS|fLaC|FORM.{4}AIF", _SOUND),
    (rb"\x1a\x45\xdf\xa3|MThd|caff\0|FLV\x01|\x30\x26\xb2\x75\x8e\x66\xcf\x11", _SOUND),
    (
        rb"\x1f\x8b[\x08]|BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18|\x1f\x9d|7z\xbc\xaf\x27\x1c",
        _ARCHIVE,
    ),
    (rb"Rar!\x1a\x07|xar!|.{257}ustar|!<arch>\n|\x60\xea|MSCF\0|LZIP", _ARCHIVE),
    (rb"\x7fELF|MZ.{58}|\xcf\xfa\xed\xfe|\xce\xfa\xed\xfe|\xfe\xed\xfa[\xce\xcf]|\xca\xfe\xba\xbe|\0asm", _PROGRAM),
    (rb"SQLite format 3\0", "an SQLite database; attach what `sqlite3 FILE .dump` prints"),
    (rb"bplist0", "a binary property list; attach what `plutil -convert xml1 -o - FILE` prints"),
    (rb"\0\x01\0\0\0.{7}|OTTO\0|ttcf\0|wOF[F2]", _FONT),
    (rb"GGUF|.{8}\{\"", _WEIGHTS),
    (rb"PAR1|ARROW1|\x89HDF\r\n|\x93NUMPY|Obj\x01", "a table or array of numbers in binary; export it as CSV"),
    (rb"AT&TFORM.{4}DJV", "a DjVu document; convert it to PDF first"),
    (rb".{60}(?:BOOKMOBI|TEXtREAd)", "a Kindle book; convert it to text first"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"an old Office document (DOC or PPT); {_WORD}"),
    (rb"\s*\{\\rtf", f"an RTF document; {_WORD}"),
    (rb"\s*%!PS-Adobe|\xc5\xd0\xd3\xc6", "a PostScript file; convert it to PDF first: ps2pdf"),
    (rb"book\0\0\0\0mark", "an alias of the Finder; attach the file it leads to"),
)
_TABLE = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in _BEGINNINGS)

# What stands in a zip file tells what the file is.
_IN_ZIP = (
    (r"Index/Document\.iwa|Index\.zip|index\.apxl", "a document of Pages, Numbers or Keynote; export it as PDF first"),
    (r"META-INF/MANIFEST\.MF", _PROGRAM),
    (r"AndroidManifest\.xml", _PROGRAM),
    (r".*\.npy$", "an array of numbers (NPZ); export it as CSV"),
)


def kind_of(data: bytes) -> str | None:
    """What the file is and what to do instead, after "is"; None where its first bytes are those of nothing known."""
    if data.startswith((b"PK\3\4", b"PK\5\6")):
        return _kind_of_zip(data)
    beginning = data[:512]
    kind = next((kind for pattern, kind in _TABLE if pattern.match(beginning)), None)
    # Text may begin with "BM" or "MZ", but has no control characters; the formats that are text begin like no other.
    if kind is None or "RTF" in kind or "PostScript" in kind or re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", beginning):
        return kind
    return None


def _kind_of_zip(data: bytes) -> str:
    try:
        with zipfile.ZipFile(BytesIO(data)) as file:
            names = file.namelist()[:1000]
    except Exception:  # a damaged one, or one that was cut off
        names = [name.decode("latin-1") for name in re.findall(rb"PK\x03\x04.{26}([\w./\[\]-]{4,80})", data, re.DOTALL)]
    for pattern, kind in _IN_ZIP:
        if any(re.match(pattern, name) for name in names):
            return kind
    return "a zip archive; unpack it and attach the files in it"
