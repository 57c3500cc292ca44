"""Files that tools have written: what they are, and pictures among them made small. All of it is untrusted."""

import errno
import os
import re
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from app.paths import work_folders
from metal.files import open_below, read_open
from mlx_model.errors import GptossError

if TYPE_CHECKING:  # loaded where the first picture is, and not at all without the extra
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
"""Of pictures that can be shown."""
MOST_BYTES = 32 << 20
MOST_PIXELS = 24_000_000
"""Of a picture that is shown: at most half a second of work, and 100 MB for that time."""
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
_SHOWN = (
    *SUFFIXES,
    ".bmp",
    ".tif",
    ".tiff",
    ".pdf",
    ".txt",
    ".log",
    ".md",
    ".csv",
    ".tsv",
    ".json",
    ".wav",
    ".mp3",
    ".mp4",
)
MOST_COPIED = 200 << 20
"""Bytes of a file of which a copy is made to open it."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """A small picture: three bytes, red, green and blue, for each of `width` x `height` pixels, row by row."""

    width: int
    height: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file is. `size` in bytes is None where it can't be opened; `trouble` says why, or why its picture can't
    be shown. `dimensions` are those of the picture, in pixels, `pixels` a small copy of it."""

    size: int | None = None
    dimensions: tuple[int, int] | None = None
    animated: bool = False
    trouble: str = ""
    pixels: Pixels | None = None


def is_picture(path: Path) -> bool:
    """Whether it is one that can be shown, by its name."""
    return path.suffix.lower() in SUFFIXES


def is_only_shown(path: Path) -> bool:
    """Whether a program that opens it shows it, by its name. Others may run what is in it: pages, scripts, macros."""
    return path.suffix.lower() in _SHOWN


def can_read_pictures() -> bool:
    """Whether Pillow is installed, which is an extra."""
    return find_spec("PIL") is not None


def folder_of(path: Path) -> Path:
    """The untrusted folder in which a file lies: that of its conversation, else the one that it is in."""
    top = work_folders()
    for folder in (top, top.resolve()):
        if folder in path.parents:
            return folder / path.relative_to(folder).parts[0]
    return path.parent


def open_written(path: Path) -> BinaryIO:
    """A file that a tool has written, to be read. No link in its folder is followed: the code that runs there can put
    one in the place of anything, at any time. Raises OSError."""
    try:
        return open_below(folder_of(path), path)
    except (GptossError, ValueError) as error:
        raise OSError(str(error)) from None


def facts_of(path: Path, box: tuple[int, int] | None = None) -> FileFacts:
    """What a file is. Its picture is made to fit into a `box` of pixels, unless that is None. Takes a while, and never
    raises."""
    try:
        with open_written(path) as file:
            size = os.fstat(file.fileno()).st_size
            if not (is_picture(path) and can_read_pictures()):
                return FileFacts(size)
            try:
                content = read_open(file, path, MOST_BYTES)
            except OSError as error:
                return FileFacts(size, trouble=error.strerror or str(error))
    except FileNotFoundError:
        return FileFacts(trouble="it is gone")
    except OSError as error:
        return FileFacts(trouble=error.strerror or str(error))
    return _picture_facts(content, box)


def copied(path: Path, folder: Path) -> Path:
    """A copy of a file that a tool has written, in a folder of ours, under a plain name. Raises OSError.

    What is opened has to be a copy: in the file's own place the code that has written it can put something else between
    our look at it and that of the program that opens it.
    """
    name = re.sub(r"[^\w.-]+", "_", path.stem)[:100].lstrip(".-") or "file"
    with open_written(path) as file, (folder / f"{name}{path.suffix.lower()}").open("wb") as copy:
        left = MOST_COPIED
        while piece := file.read(min(left, 1 << 20)):
            copy.write(piece)
            left -= len(piece)
        if file.read(1):
            raise OSError(errno.EFBIG, f"it has more than {MOST_COPIED >> 20} MB", str(path))
        return Path(copy.name)


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The picture in a smaller size."""
    from PIL import Image

    image = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.data).resize(size)
    return Pixels(*size, _sharpened(image).tobytes())


def _picture_facts(content: bytes, box: tuple[int, int] | None) -> FileFacts:
    dimensions, animated = None, False
    try:
        with _open(content) as image:
            dimensions, animated = image.size, bool(getattr(image, "is_animated", False))
            if image.width * image.height > MOST_PIXELS:
                return FileFacts(len(content), dimensions, animated, f"it has more than {MOST_PIXELS:,} pixels")
            pixels = _small(image, box) if box else None
    except Exception as error:  # a damaged picture fails in whatever way
        return FileFacts(len(content), dimensions, animated, _why(error))
    return FileFacts(len(content), dimensions, animated, pixels=pixels)


def _open(content: bytes) -> "Image":
    from PIL import Image

    _bound()
    return Image.open(BytesIO(content), formats=_FORMATS)


@cache
def _bound() -> None:
    """Pillow itself refuses twice as many pixels as this, as it reads the head of a file; it need not warn of less."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def _small(image: "Image", box: tuple[int, int]) -> Pixels:
    """The first frame, on white where it is transparent: black axes are what a figure has most often."""
    from PIL import Image

    before = image.size
    if image.mode not in ("RGB", "L", "RGBA"):  # some others can't be averaged
        image = image.convert("RGBA")
    image.thumbnail(box, reducing_gap=2.0)
    shown = Image.new("RGB", image.size, "white")
    shown.paste(image.convert("RGB"), mask=image.getchannel("A") if image.mode == "RGBA" else None)
    if shown.size != before:
        shown = _sharpened(shown)
    return Pixels(shown.width, shown.height, shown.tobytes())


def _sharpened(image: "Image") -> "Image":
    """A picture that was made smaller, in which thin lines have faded."""
    from PIL import ImageFilter

    return image.filter(ImageFilter.UnsharpMask(1, 150, 0))


def _why(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {MOST_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "it is no PNG, JPEG, GIF or WebP picture"
    return "it is cut off" if "truncated" in str(error) else "it is damaged"
