"""What a cell wrote, as the model gets it: bounded, without a terminal's signs."""

import pytest

from mlx_model.tools.python.result import MOST_BYTES, MOST_CHARACTERS, MOST_SHOWN, CellOutput


def text_of(*pieces: bytes) -> str:
    output = CellOutput()
    for piece in pieces:
        output.add(piece)
    return output.text()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"", ""),
        (b"\none\n\n two \n\n", "one\n\n two "),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07done\x1b[2K", "red done"),
        (b"\r 10%\r 50%\r100%\nready\r\n", "100%\nready"),
        ("späť".encode(), "späť"),
        (b"\xff\xfe", "��"),
    ],
)
def test_text_is_what_a_terminal_would_show(written: bytes, expected: str) -> None:
    assert text_of(written) == expected
    assert text_of(*(bytes([byte]) for byte in written)) == expected


@pytest.mark.parametrize("size", [1, 999, 100_000])
def test_the_start_and_the_end_are_kept_whatever_the_pieces(size: int) -> None:
    written = bytes(48 + i % 10 for i in range(50_000))
    found = text_of(*(written[at : at + size] for at in range(0, len(written), size)))
    head, _, tail = found.partition(f"\n[... {50_000 - MOST_CHARACTERS:,} characters left out ...]\n")
    assert written.startswith(head.encode())
    assert written.endswith(tail.encode())
    assert (len(head) + len(tail), len(head)) == (MOST_CHARACTERS, MOST_CHARACTERS * 7 // 10)


def test_as_much_as_fits_is_left_as_it_is() -> None:
    assert text_of(b"x" * MOST_CHARACTERS) == "x" * MOST_CHARACTERS
    assert "[... 1 characters" in text_of(b"x" * (MOST_CHARACTERS + 1))


@pytest.mark.parametrize("size", [1_500, 5_000, 50_000])
def test_in_a_small_room_what_is_left_out_is_counted_once(size: int) -> None:
    written = "".join(str(number % 10) for number in range(size))
    output = CellOutput()
    output.add(written.encode())
    head, _, tail = output.text(1_000).partition(f"\n[... {size - 1_000:,} characters left out ...]\n")
    assert (head, tail) == (written[:700], written[-300:])
    assert output.text(10 * size) == output.text()


def test_what_is_shown_ends_and_a_flood_is_only_counted() -> None:
    output = CellOutput()
    shown = [output.add(b"x" * 150_000) for _ in range(4)]
    assert [len(text) for text in shown] == [150_000, MOST_SHOWN - 150_000, 0, 0]
    assert not output.is_flood
    output.add(b"y" * MOST_BYTES)
    assert output.is_flood
    before = output.text()
    assert output.add(b"z" * 10) == ""
    assert output.text() == before
