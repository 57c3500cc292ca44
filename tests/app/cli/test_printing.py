"""Lines that a terminal shows in place: inert, no wider than the terminal, gone at the end."""

import io

import pytest

from app.cli import printing
from app.cli.printing import ProgressLine, TerminalLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_is_written_anew_and_goes_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    line = TerminalLine(stream)
    line.end()
    line.show("one two")
    line.show("three")
    line.end()
    line.end()
    assert stream.getvalue() == "\rone two\rthree  \r     \r"


@pytest.mark.parametrize("line", [TerminalLine, ProgressLine])
def test_no_text_moves_the_cursor_or_breaks_the_line(monkeypatch: pytest.MonkeyPatch, line: type[TerminalLine]) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(printing, "_columns", lambda stream: 10)
    stream = Terminal()
    shown = line(stream)
    shown.show("a\n\x1b[2Jb\u202e")
    assert stream.getvalue() == "\ra \u241b[2Jb"
    shown.show("\u8868" * 9)  # each takes two columns
    assert stream.getvalue().rpartition("\r")[2] == "\u8868" * 4
    shown.show("x" * 20)
    assert stream.getvalue().rpartition("\r")[2] == "x" * 9


@pytest.mark.parametrize(("stream", "term"), [(Terminal(), "dumb"), (io.StringIO(), "xterm")])
def test_nothing_is_written_anew_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stream: io.StringIO, term: str
) -> None:
    monkeypatch.setenv("TERM", term)
    TerminalLine(stream).show("one")
    progress = ProgressLine(stream)
    for text in ("two", "three"):
        progress.show(text)
    progress.show("four", stays=True)
    progress.end()
    assert stream.getvalue() == ""
    assert capsys.readouterr().err == "gptoss-chat: two\ngptoss-chat: four\n"
