"""Bytes to text: marks, UTF-16 without one, NUL bytes, what only a terminal understands; what changed is said."""

import random

import pytest

from mlx_model.documents.decoding import BINARY, Decoded, NotText, decode


def refusal(data: bytes) -> str:
    with pytest.raises(NotText) as error:
        decode(data)
    return str(error.value)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\n", "plain\n"),
        ("gr\u00f6\u00dfe\r\nzwei\rdrei".encode(), "gr\u00f6\u00dfe\nzwei\ndrei"),
        ("next\x85line".encode(), "next\nline"),
        ("\ufeffmark".encode(), "mark"),
        ("wide \u4f60".encode("utf-16"), "wide \u4f60"),
        ("\ufeffwide".encode("utf-16-be"), "wide"),
        ("wide".encode("utf-32"), "wide"),
        (b"form\x0cfeed", "form\x0cfeed"),
    ],
)
def test_unicode_is_read_as_it_is(data: bytes, text: str) -> None:
    assert decode(data) == Decoded(text)


WIDE = [
    "Name;Ort\r\nD\u00e9j\u00e0 vu \u00e0 l\u2019\u00e9t\u00e9, 20 \u20ac\r\n",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440\n",
    "\u8fd9\u662f\u4e00\u4e2a\u4e2d\u6587\u6587\u4ef6\u3002\n\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002\n",
    "\u3053\u308c\u306f\u65e5\u672c\u8a9e\n",
    "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4\n",
]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", WIDE)
def test_two_and_four_bytes_a_character_without_a_mark(text: str, encoding: str) -> None:
    name = encoding[:6].upper()
    assert decode(text.encode(encoding)) == Decoded(
        text.replace("\r\n", "\n"), (f"read as {name} without a byte order mark",)
    )


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        ("\u65e5\u672c\u8a9e mail\n", "iso2022_jp", "ISO-2022-JP"),
        ("mail \uc11c\uc6b8\n", "iso2022_kr", "ISO-2022-KR"),
    ],
)
def test_text_that_switches_by_escape_sequences(text: str, encoding: str, name: str) -> None:
    assert decode(text.encode(encoding)) == Decoded(text, (f"read as {name}",))


@pytest.mark.parametrize(
    ("data", "text", "note"),
    [
        (b"one\0two" + b"x" * 99, "onetwo" + "x" * 99, "1 NUL byte left out"),
        (b"x" * 99 + b"\0" * 4096, "x" * 99, "4,096 NUL bytes left out"),
        (b"\0" * 4096 + b"x" * 99, "x" * 99, "4,096 NUL bytes left out"),
        (b"\x1b[31mred\x1b[0m ok\n" * 9, "red ok\n" * 9, "escape sequences (colours) left out"),
        (b"\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b(B", "link", "escape sequences (colours) left out"),
        ("\x9b2Jtext".encode(), "text", "escape sequences (colours) left out"),
        (b"N\x08NA\x08AM\x08ME\x08E _\x08x" + b"." * 99, "NAME x" + "." * 99, ""),
        (b"a\x01b\x07" + b"." * 200, "ab" + "." * 200, "2 control characters left out"),
        (b"lone \x1b" + b"." * 99, "lone " + "." * 99, "1 control character left out"),
        ("abc\x82" + "." * 99, "abc" + "." * 99, "1 control character left out"),
        (
            "\u00e4\u00f6\u00fc" * 9,
            "\u00e4\u00f6\u00fc" * 9 + " \ufffd",
            "1 place not UTF-8, the first in line 1, shown as \ufffd",
        ),
    ],
)
def test_what_is_left_out_is_said(data: bytes | str, text: str, note: str) -> None:
    if isinstance(data, str):
        data = data.encode() + (b" \xff" if "\ufffd" in text else b"")
    assert decode(data) == Decoded(text, (note,) if note else ())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bytes(range(1, 256)), BINARY),
        (b"ab\0" * 99, BINARY),
        (b"\1\2\3 text" * 9, BINARY),
        (b"\0\1\0", BINARY),
        (b"\0", BINARY),
        (b"\xff\xfea", "is not UTF-16 (line 1), although it begins with the mark of UTF-16"),
        ("\ufeff".encode() + b"a\xff", "is not UTF-8 (line 1), although"),
        ("L\x92\u00e9t\u00e9, le c\x9cur, 20 \x80".encode(), "is full of control characters (C1)"),
        ("\x82\xb1\x82\xea\x82\xcd".encode(), "is full of control characters (C1)"),
        (b"col\xe9", "is not UTF-8 (line 1); it may be WINDOWS-1252"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, said: str) -> None:
    assert refusal(data).startswith(said)


def test_damage_behind_a_mark_is_said_too() -> None:
    note = "1 place not UTF-8, the first in line 1, shown as \ufffd"
    assert decode("\ufeff\u00e4\u00f6\u00fc\u00df\u00e9".encode() + b"\xff") == Decoded(
        "\u00e4\u00f6\u00fc\u00df\u00e9\ufffd", (note,)
    )


def test_stray_bytes_in_a_long_log_do_not_cost_the_log() -> None:
    log = b"one line of a log\n" * 120
    strays = "2 bytes of an unknown encoding, the first in line 121, shown as \ufffd"
    assert decode(log + b"\xff\xfa") == Decoded(log.decode() + "\ufffd\ufffd", (strays,))
    assert refusal(log + b"\xff\xfa\xfb").startswith("is not UTF-8 (line 121)")


def test_an_older_encoding_is_said() -> None:
    text = WIDE[3] * 2
    assert decode(text.encode("shift_jis") + b"\0") == Decoded(text, ("1 NUL byte left out", "read as SHIFT_JIS"))


def test_random_bytes_are_never_text() -> None:
    chance = random.Random(2026)
    for length in (16, 64, 256, 2000) * 30:
        assert refusal(chance.randbytes(length))


def test_no_text_keeps_a_control_character() -> None:
    chance = random.Random(7)
    pieces = [
        "a",
        " ",
        "\n",
        "\t",
        "\u00e9",
        "\u4f60",
        "\x1b",
        "\x1b[1m",
        "\x9b",
        "\x80",
        "\0",
        "\x07",
        "\r",
        "\x08",
        "]0;x",
    ]
    for _ in range(300):
        data = ("x" * 300 + "".join(chance.choices(pieces, k=8))).encode()
        try:
            text = decode(data).text
        except NotText:  # too many of them
            continue
        assert not {c for c in text if ord(c) < 32 or 127 <= ord(c) < 160} - {"\n", "\t"}
