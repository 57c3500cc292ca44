"""Files in the plain chat: `@name` attaches one, `@name*` reads it by parts after a yes; stopped, gone on with."""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.chat.by_parts import has_notes, unread
from app.chat.conversation import Conversation
from app.cli import approval
from app.cli.arguments import Start
from app.cli.plain import PlainChat
from app.documents import kept_texts
from app.documents.attachments import split
from app.engine.local import LocalEngine
from app.engine.protocol import Load
from app.store.saver import Saver
from mlx_model.events import Event, Finished
from mlx_model.options import Options
from mlx_model.request import Request
from tests.app.cli.test_by_parts import LINES, Reader

MESSAGE = "@book.txt* Which numbers?"


class Interrupted(Reader):
    """Ctrl-C comes while the request `at` is answered."""

    at = 0

    def settle(self) -> Generator[object, None, None]:
        yield from ()

    def stream(
        self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
    ) -> Iterator[Event]:
        for event in super().stream(request, cancelled, answer_now):
            if len(Reader.asked) == self.at:
                os.kill(os.getpid(), signal.SIGINT)
            if cancelled():
                yield Finished("cancelled")
                return
            yield event


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader, "asked", [], raising=False)
    monkeypatch.setattr(Interrupted, "at", 0)
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    kept_texts._texts.clear()
    Path("book.txt").write_text("\n".join(LINES) + "\n")


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked at the terminal; the answer is yes, unless something else is the last of it."""
    asked = list[str]()

    def answer_to(*lines: str) -> str:
        asked.append("\n".join(lines))
        return "y"

    monkeypatch.setattr(approval, "_can_ask", lambda: True)
    monkeypatch.setattr(approval, "_answer_to", answer_to)
    return asked


def chatted(monkeypatch: pytest.MonkeyPatch, *typed: str) -> Conversation:
    """The conversation after these lines, as the disk has it; it goes on with the one before."""
    lines = iter(typed)
    monkeypatch.setattr("app.cli.plain_input._line", lambda *_: next(lines, "/quit"))
    with closing(Saver(print)) as saver:
        chat = PlainChat(LocalEngine(Interrupted()), Start(Load(), Options(), None, False), saver, edits_lines=False)
        chat.load(Load())
        if Reader.asked:
            chat.resume()
        chat.run()
        chat.close()
        return saver.last() or Conversation()


def test_a_file_that_is_named_goes_into_the_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("note.txt").write_text("It rains.")
    tree = chatted(monkeypatch, "@note.txt and @nobody: how is it?", "@none.txt what?", "@none.txt what?")
    first, _, last, _ = tree.path
    text, (file,) = split(first.text())
    assert text == "@note.txt and @nobody: how is it?" and (file.name, file.text) == ("note.txt", "It rains.")
    assert last.text() == "@none.txt what?"
    said = "there is no file none.txt\ngptoss-chat: nothing was sent; the same message again is sent as text\n"
    assert capsys.readouterr().err.count(f"gptoss-chat: {said}") == 1


def test_it_is_read_after_a_yes_and_answered_from_the_notes(
    monkeypatch: pytest.MonkeyPatch, questions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    tree = chatted(monkeypatch, MESSAGE)
    (question,) = questions
    assert question.startswith("read all of book.txt?\n4 parts, 7,241 tokens to be read, up to ")
    out, err = capsys.readouterr()
    assert 'As "number 3 matters" [line 1]' in out and "gptoss-chat: book.txt: 4 parts, 1,408 tokens read" in err
    assert len(Reader.asked) == 5 and [node.is_prompt for node in tree.path] == [True, False]
    assert has_notes(tree.path[0].text()) and not unread(tree.path[0].text())


def test_without_a_yes_nothing_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert not chatted(monkeypatch, MESSAGE).nodes and not Reader.asked
    err = capsys.readouterr().err
    assert "read all of book.txt? 4 parts, 7,241 tokens" in err and "nobody can say yes: gptoss-chat ask --read" in err


def test_ctrl_c_keeps_the_notes_and_continue_reads_on(
    monkeypatch: pytest.MonkeyPatch, questions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Interrupted, "at", 3)
    tree = chatted(monkeypatch, MESSAGE)
    assert "the notes so far are kept; /continue reads on" in capsys.readouterr().err
    assert len(tree.path) == 1 and has_notes(tree.path[0].text()) and unread(tree.path[0].text())
    monkeypatch.setattr(Interrupted, "at", 0)
    kept_texts._texts.clear()  # as in another process
    Path("book.txt").unlink()
    tree = chatted(monkeypatch, "/continue")
    assert len(questions) == 1 and len(Reader.asked) == 6  # the part under way again, the last one, the answer
    assert [node.is_prompt for node in tree.path] == [True, False]
    assert "> @book.txt* Which numbers?\n  with book.txt*\n" in capsys.readouterr().out


def test_ctrl_c_in_the_first_part_leaves_nothing_of_the_document_on_the_disk(
    monkeypatch: pytest.MonkeyPatch, questions: list[str]
) -> None:
    monkeypatch.setattr(Interrupted, "at", 1)
    assert not chatted(monkeypatch, MESSAGE).nodes and len(Reader.asked) == 1
    assert not [*Path("home").rglob("*.txt")]
