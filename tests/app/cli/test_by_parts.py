"""`ask --read`: notes on a long document, kept until there is an answer; killed and taken up; the streams."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from app.cli.main import main
from app.documents import kept_texts
from app.documents.attachments import split
from app.engine import local
from app.engine.protocol import Load, Loading, Ready
from app.paths import readings_folder
from mlx_model.events import Event
from mlx_model.request import Request
from tests.fixtures import ROOT
from tests.fixtures.scripted_engine import says

LINES = [f"{n}. A line of the book, which says that number {n * 3} matters." for n in range(1, 121)]


class Reader:
    """Stands in for app.engine.backend.ModelBackend; `kill_at` a request the process ends as by kill -9."""

    asked: list[str]
    kill_at = 0
    stop_at = 0
    context = 4096

    def load(self, wanted: Load, announce: Callable[[Loading], None]) -> Ready:
        return Ready("scripted", context_length=Reader.context, resident_bytes=0, budget_bytes=0, load_s=0.0)

    def stream(
        self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
    ) -> Iterator[Event]:
        prompt = request.messages[0].text
        Reader.asked.append(prompt)
        if len(Reader.asked) == Reader.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(Reader.asked) == Reader.stop_at:
            raise KeyboardInterrupt
        part = split(prompt)[1][0]
        if part.name.endswith("book.txt"):
            yield from says(f'noted: "{part.text.split(chr(10))[1]}" {part.citation}')
        else:
            yield from says('As "number 3 matters" [line 1], and "number 4 matters" [line 1].')

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local, "ModelBackend", Reader)
    monkeypatch.setattr(Reader, "asked", [], raising=False)
    monkeypatch.setattr(Reader, "kill_at", 0)
    monkeypatch.setattr(Reader, "stop_at", 0)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    kept_texts._texts.clear()
    Path("book.txt").write_text("\n".join(LINES) + "\n")
    return tmp_path


def ask(*arguments: str) -> int:
    return main(["ask", "--model", "a-model", "--read", "book.txt", *arguments, "Which numbers?"])


def test_the_answer_is_made_from_notes_and_they_are_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask() == 0
    out, err = capsys.readouterr()
    assert out == 'As "number 3 matters" [line 1], and "number 4 matters" [line 1].\n'
    lines = err.replace("gptoss-chat: ", "").splitlines()
    assert not any("to be read by parts" in line for line in lines)
    assert any(line.startswith("4 parts, 7,") and line.endswith("the same command goes on") for line in lines)
    assert "reading part 1 of 4: lines 1-30, 1,773 of 7,241 tokens" in err
    assert lines[-2].startswith("book.txt: 4 parts, 1,408 tokens read, 88 written, ")
    assert lines[-1] == '[line 1]: quote not found: "number 4 matters"'
    assert len(Reader.asked) == 5 and Reader.asked[4].count("noted: ") == 4
    assert not [*readings_folder().iterdir()]


def test_other_programs_get_the_notes(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("--json") == 0
    printed = json.loads(capsys.readouterr().out)
    (read,) = printed["read"]
    assert (read["file"], read["parts"], read["tokens_read"], read["tokens_written"]) == ("book.txt", 4, 1408, 88)
    assert read["notes"][0]["text"].startswith('noted: "1. A line') and len(read["notes"]) == 4
    assert [each["ok"] for each in printed["citations"]] == [True, False]


def test_stopped_it_goes_on_with_the_next_part(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Reader, "stop_at", 3)
    assert ask() == 130
    assert "the notes so far are kept: the same command goes on" in capsys.readouterr().err
    (kept,) = readings_folder().iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(Reader, "stop_at", 0)
    assert ask() == 0
    assert "going on with the notes that are kept" in capsys.readouterr().err
    assert len(Reader.asked) == 3 + 2 + 1 and "part 3 of 4" in Reader.asked[3]
    assert Reader.asked[-1].count("noted: ") == 4


def test_killed_it_loses_the_part_under_way_alone(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom app.cli.main import main\nfrom app.engine import local\n"
        "from tests.app.cli.test_by_parts import Reader\nlocal.ModelBackend = Reader\nReader.asked = []\n"
        "Reader.kill_at = int(sys.argv[1])\n"
        "code = main(['ask', '--model', 'm', '--read', 'book.txt', 'Which numbers?'])\n"
        "print(len(Reader.asked))\nsys.exit(code)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(kill_at: int) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", program, str(kill_at)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)

    for kill_at in (2, 2, 2, 2):  # each time the one before it is done: one part more, at last the answer
        assert run(kill_at).returncode == -signal.SIGKILL
    last = run(0)
    assert last.returncode == 0 and last.stdout.splitlines()[-1] == "1", last.stderr  # only the answer was left


def test_a_document_that_fits_is_read_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Path("book.txt").write_text("\n".join(LINES[:9]) + "\n")
    assert ask() == 0
    assert "book.txt fits into the context: it is read as it is" in capsys.readouterr().err
    assert len(Reader.asked) == 1 and LINES[8] in Reader.asked[0]


def test_as_many_documents_as_are_named_are_read_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader, "context", 50_000)
    names = [f"{number}-book.txt" for number in range(6)]
    for name in names:
        Path(name).write_text(f"{name}\n" + "\n".join(LINES * 12) + "\n")
    reads = [word for name in [*names, names[0]] for word in ("--read", name)]
    assert main(["ask", "--model", "m", *reads, "Which numbers?"]) == 0
    answered = split(Reader.asked[-1])[1]
    assert [file.name for file in answered] == [f"{name}*" for name in names]
    assert all("notes on all " in file.note for file in answered)


def test_the_reason_why_not_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "--model", "m", "--read", "missing.txt", "What?"]) == 1
    err = capsys.readouterr().err
    assert err == "gptoss-chat: there is no file missing.txt\n"
