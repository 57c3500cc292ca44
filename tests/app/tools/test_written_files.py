"""Files that tools have written: which are read, pictures made small, and what of them can't be trusted."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from app.paths import work_folder
from app.tools import written_files
from app.tools.written_files import FileFacts, Pixels, copied, facts_of, folder_of, is_only_shown, open_written, resized

BOX = (60, 44)
RED, WHITE = b"\xff\x00\x00", b"\xff\xff\xff"


@pytest.fixture
def work() -> Path:
    """The folder of a conversation, where the model's code can write what it likes."""
    folder = work_folder("c1")
    folder.mkdir(parents=True)
    return folder


def picture(path: Path, size: tuple[int, int] = (640, 480), colour: str = "red", mode: str = "RGB") -> Path:
    """A picture of one colour."""
    Image.new(mode, size, colour).save(path)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int) -> bytes:
    """A PNG that says it is so large, of black points."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    data = zlib.compress(bytes(height * (1 + (width + 7) // 8)) if width * height < 1 << 32 else b"", 9)
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.jpeg", "a.gif", "a.webp"])
def test_a_picture_is_made_to_fit(work: Path, name: str) -> None:
    facts = facts_of(picture(work / name), BOX)
    assert facts.dimensions == (640, 480) and not facts.trouble and facts.size == (work / name).stat().st_size
    assert facts.pixels is not None
    assert (facts.pixels.width, facts.pixels.height, len(facts.pixels.data)) == (59, 44, 59 * 44 * 3)
    red, green, blue = facts.pixels.data[:3]
    assert red > 250 and green < 5 and blue < 5


def test_a_small_picture_keeps_its_size_and_its_points(work: Path) -> None:
    points = bytes([200, 100, 50, 50, 100, 200])
    Image.frombytes("RGB", (2, 1), points).save(work / "a.png")
    assert facts_of(work / "a.png", BOX).pixels == Pixels(2, 1, points)
    assert not facts_of(work / "a.png", BOX).animated
    assert resized(Pixels(2, 1, RED + RED), (1, 1)) == Pixels(1, 1, RED)


def test_a_picture_for_print_is_shown_in_its_colours(work: Path) -> None:
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(work / "a.jpg")
    pixels = facts_of(work / "a.jpg", BOX).pixels
    assert pixels is not None and pixels.data[0] > 240 and pixels.data[1] < 15


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_what_is_transparent_is_white(work: Path, mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    image.convert(mode).save(work / "a.webp", lossless=True) if mode != "P" else image.quantize().save(work / "a.png")
    path = work / ("a.png" if mode == "P" else "a.webp")
    assert facts_of(path, BOX).pixels == Pixels(2, 1, WHITE + b"\x00\x00\x00")


def test_thin_lines_do_not_fade(work: Path) -> None:
    image = Image.new("L", (640, 480), "white")
    for y in range(480):
        for x in (318, 319, 320, 321):
            image.putpixel((x, y), 0)
    image.save(work / "a.png")
    pixels = facts_of(work / "a.png", BOX).pixels
    assert pixels is not None and min(pixels.data) < 120  # a plain average is 160
    assert min(resized(pixels, (38, 28)).data) < 190


def test_of_an_animation_the_first_frame_is_shown(work: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(work / "a.gif", save_all=True, append_images=frames[1:])
    facts = facts_of(work / "a.gif", BOX)
    assert facts.animated and facts.pixels is not None and facts.pixels.data[:3] == RED
    assert not facts_of(picture(work / "b.gif"), BOX).animated


def test_what_is_not_to_be_drawn_is_only_measured(work: Path) -> None:
    assert facts_of(picture(work / "a.png")).dimensions == (640, 480)
    assert facts_of(work / "a.png").pixels is None
    (work / "a.csv").write_bytes(b"a,b\n")
    assert facts_of(work / "a.csv", BOX) == FileFacts(4)


def test_without_pillow_a_picture_is_a_file(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_files, "can_read_pictures", lambda: False)
    size = picture(work / "a.png").stat().st_size
    assert facts_of(work / "a.png", BOX) == FileFacts(size)


# What can't be trusted


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest resets ours
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is no PNG"),
        (b"BM" + bytes(100), "it is no PNG"),  # other formats are not even tried
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)), "it is"),
        (png(100_000, 100_000), "it has more than 24,000,000 pixels"),  # Pillow's own error
        (png(6_000, 6_000), "it has more than 24,000,000 pixels"),  # Pillow would warn
        (png(60, 44)[:45], "it is"),
        (png(60, 44).replace(b"IDAT", b"IDAx"), "it is"),
    ],
)
def test_a_hostile_picture_is_not_shown_and_says_why(work: Path, content: bytes, why: str) -> None:
    (work / "a.png").write_bytes(content)
    facts = facts_of(work / "a.png", BOX)
    assert facts.trouble.startswith(why) and facts.pixels is None and facts.size == len(content)


def test_a_picture_that_is_cut_off_says_so(work: Path) -> None:
    content = BytesIO()
    Image.effect_noise((200, 200), 50).save(content, "PNG")
    (work / "a.png").write_bytes(content.getvalue()[:20_000])
    assert facts_of(work / "a.png", BOX) == FileFacts(20_000, (200, 200), trouble="it is cut off")


def test_a_file_that_is_too_large_is_not_read(work: Path) -> None:
    with (work / "a.png").open("wb") as file:
        file.truncate(1 << 40)
    assert facts_of(work / "a.png", BOX) == FileFacts(1 << 40, trouble="it has more than 32 MB")


def test_a_file_that_is_gone_or_no_file_says_so(work: Path) -> None:
    (work / "link.png").symlink_to(picture(work.parent / "secret.png"))
    os.mkfifo(work / "pipe.png")
    assert facts_of(work / "a.png", BOX) == FileFacts(trouble="it is gone")
    assert facts_of(work / "link.png", BOX) == FileFacts(trouble="a link stands in its place")
    assert facts_of(work / "pipe.png", BOX) == FileFacts(trouble="it is not a regular file")
    assert facts_of(Path("a\0.png"), BOX).trouble


def test_no_link_in_a_conversations_folder_is_followed(work: Path, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    picture(tmp_path / "inside" / "a.png")
    (work / "sub").symlink_to(tmp_path / "inside")
    assert facts_of(work / "sub" / "a.png", BOX).trouble == "a link stands in its place"
    assert folder_of(work / "x" / "y" / "a.png") == work
    (tmp_path / "link").symlink_to(tmp_path / "inside")  # a person's own
    assert folder_of(tmp_path / "link" / "a.png") == tmp_path / "link"
    with open_written(tmp_path / "link" / "a.png") as file:
        assert file.read(4) == b"\x89PNG"


# What is opened


def test_a_copy_has_a_plain_name_and_the_same_content(work: Path, tmp_path: Path) -> None:
    (work / "-a;b\n\u202e .CSV").write_bytes(b"a,b")
    copy = copied(work / "-a;b\n\u202e .CSV", tmp_path)
    assert copy == tmp_path / "a_b_.csv" and copy.read_bytes() == b"a,b"
    (work / ".png").write_bytes(b"x")
    assert copied(work / ".png", tmp_path).name == "png"


def test_neither_a_link_nor_too_much_is_copied(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_files, "MOST_COPIED", 1 << 20)
    (work / "a.csv").symlink_to("/etc/hosts")
    with pytest.raises(OSError, match="a link"):
        copied(work / "a.csv", tmp_path)
    (work / "b.csv").write_bytes(bytes(1 << 20))
    assert copied(work / "b.csv", tmp_path).stat().st_size == 1 << 20
    (work / "c.csv").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(OSError, match="more than 1 MB"):
        copied(work / "c.csv", tmp_path)


@pytest.mark.parametrize(
    "name", ["a.html", "a.svg", "a.py", "a.command", "a.desktop", "a.xlsm", "a.png.sh", "a", ".png"]
)
def test_what_could_run_something_is_not_opened(name: str) -> None:
    assert not is_only_shown(Path(name))
    assert is_only_shown(Path("a.PNG"))
