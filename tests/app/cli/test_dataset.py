"""`gptoss-chat dataset`: from documents to a set with a report, stopped and resumed, and what is refused."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import main
from app.engine import local
from app.engine.protocol import Load, Loading, Ready
from mlx_model.events import Event, Finished
from mlx_model.request import Request
from tests.fixtures.canned_server import canned, stream
from tests.fixtures.item_writer import facts, write_item
from tests.fixtures.office import docx, paragraph
from tests.fixtures.pdf import Run, drawn


class Writer:
    """Stands in for app.engine.backend.ModelBackend. `stop_after` answers it gets a Ctrl-C."""

    stop_after = 0
    asked = 0

    def load(self, wanted: Load, announce: Callable[[Loading], None]) -> Ready:
        return Ready(str(wanted.model), context_length=4096, resident_bytes=0, budget_bytes=0, load_s=0.0)

    def stream(
        self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
    ) -> Iterator[Event]:
        Writer.asked += 1
        if Writer.asked == Writer.stop_after:
            os.kill(os.getpid(), signal.SIGINT)
        for event in write_item(request):
            if cancelled():
                yield Finished("cancelled")
                return
            yield event


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three documents, and a picture."""
    monkeypatch.setattr(local, "ModelBackend", Writer)
    monkeypatch.setattr(Writer, "asked", 0)
    monkeypatch.setattr(Writer, "stop_after", 0)
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    (docs / "more").mkdir(parents=True)
    pages = [[Run(text, 72, 720 - 14 * n) for n, text in enumerate(facts(at, at + 10))] for at in (10, 20)]
    (docs / "a.pdf").write_bytes(drawn(*pages))
    (docs / "more" / "b.docx").write_bytes(docx("".join(map(paragraph, facts(30, 40)))))
    (docs / "c.md").write_text("# Machines\n\n" + "\n".join(facts(40, 50)))
    (docs / "d.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (docs / ".hidden.md").write_text("\n".join(facts(90, 99)))
    (docs / "link.md").symlink_to(docs / "c.md")
    return docs


def dataset(*arguments: str) -> int:
    return main(["dataset", *arguments, "--model", "a-model", "-o", "test.jsonl"])


def items(path: str = "test.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_three_documents_to_a_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dataset("docs", "--count", "20", "--drop-known", "--at-once", "2") == 0
    out, err = capsys.readouterr()
    assert out == "test.jsonl\n"
    assert "left out: docs/d.png is a picture" in err and "4 passages of 3 files" in err
    assert "20 of 20 items from" in err and "dropped: the quote is not in the text" in err
    made = items()
    assert len(made) == 20 and {item["file"] for item in made} == {"docs/a.pdf", "docs/c.md", "docs/more/b.docx"}
    places = {item["file"]: item for item in made}
    assert places["docs/a.pdf"]["where"].startswith("page ") and places["docs/c.md"]["where"].startswith("line ")
    report = Path("test.report.md").read_text()
    assert "| kept | 20 |" in report and "docs/d.png is a picture" in report
    tries = items("test.log.jsonl")[1:]
    assert sum("item" in each for each in tries) == 20 and f"has {len(tries):,} tries, each with why" in report
    asked = Writer.asked
    # The same set in another form takes no model.
    assert dataset("docs", "--count", "20", "--resume", "--format", "lm-eval") == 0
    assert Writer.asked == asked and len(items()) == 20 and "prompt" in items()[0]
    assert json.loads(Path("test.yaml").read_text())["task"] == "test"


def test_what_a_run_was_begun_with_need_not_be_said_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dataset("docs", "--count", "2", "--language", "German", "--seed", "7", "--drop-known") == 0
    assert dataset("docs", "--count", "3", "--resume") == 0
    assert len(items()) == 3
    for path in Path().glob("test.*"):
        path.unlink()
    assert dataset("docs", "--kind", "letters") == 1  # which this writer can't make
    tries = len(items("test.log.jsonl")) - 1
    capsys.readouterr()
    assert dataset("docs", "--resume") == 1
    assert f"going on after {tries} tries" in capsys.readouterr().err
    assert dataset("docs", "--kind", "qa", "--resume") == 1
    assert 'was begun with kind "letters", not "qa"' in capsys.readouterr().err
    log = Path("test.log.jsonl")
    log.write_text(log.read_text().replace('"letters"', "[1]", 1))  # by somebody's hand
    assert dataset("docs", "--resume") == 1
    assert "was begun with kind [1]" in capsys.readouterr().err


def test_a_stop_writes_what_is_there_and_resume_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Writer.stop_after = 25
    assert dataset("docs", "--count", "20") == 130
    err = capsys.readouterr().err
    assert "stopping and writing what is there; Ctrl-C again" in err and "--resume goes on" in err
    first = items()
    assert 0 < len(first) < 20 and len(items("test.log.jsonl")) == 25  # the setting, and all tries before
    assert dataset("docs", "--count", "20") == 1
    assert "test.log.jsonl is the log of a run already; --resume goes on" in capsys.readouterr().err
    assert dataset("docs", "--count", "20", "--seed", "5", "--resume") == 1
    assert "was begun with seed 0, not 5" in capsys.readouterr().err
    (folder / "c.md").write_text("\n".join(facts(50, 60)))
    assert dataset("docs", "--count", "20", "--resume") == 1
    assert "was begun with other files" in capsys.readouterr().err
    (folder / "c.md").write_text("# Machines\n\n" + "\n".join(facts(40, 50)))
    assert dataset("docs", "--count", "20", "--resume") == 0
    assert items()[: len(first)] == first and len(items()) == 20
    assert "going on after 24 tries" in capsys.readouterr().err


def test_what_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.jsonl").write_text("precious")
    for arguments, words in (
        (["docs", "-o", "mine.jsonl"], "mine.jsonl is there already"),
        (["docs", "-o", "mine.txt"], "name it mine.jsonl"),
        (["docs", "-o", "none/a.jsonl"], "none is no folder; the set needs one that is there"),
        (["docs/d.png"], "docs/d.png is a picture"),
        (["docs/missing.pdf"], "there is no file docs/missing.pdf"),
        (["docs/missing.pdf", "--model", "demo"], "there is no file docs/missing.pdf"),
        (["docs/a.pdf:7"], "docs/a.pdf:7 has no page 7"),
        (["docs", "--model", "demo"], "try the command out with --kind letters"),
        (["docs/c.md:1"], "no passage"),
    ):
        assert main(["dataset", "-o", "test.jsonl", "--model", "a-model", *arguments]) == 1
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1, error
    with pytest.raises(SystemExit) as end:
        main(["dataset", "-o", "test.jsonl", "docs", "--kind", "letters", "--drop-known"])
    assert end.value.code == 2 and "--drop-known is not for" in capsys.readouterr().err
    assert (tmp_path / "mine.jsonl").read_text() == "precious" and not (tmp_path / "test.log.jsonl").exists()
    assert not (tmp_path / "none").exists()
    assert dataset("docs/a.pdf:2", "--count", "3") == 0
    assert {item["where"] for item in items()} == {"page 2"}


def test_with_the_demo_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(folder.parent)
    text = "The committee will discuss the heating of the umbrella factory, its payment, and other difficult matters. "
    (folder / "words.txt").write_text(text * 3)
    words = ["docs/words.txt", "--model", "demo", "--kind", "letters", "--effort", "high", "--count", "3"]
    assert main(["dataset", *words, "-o", "test.jsonl", "--at-once", "2"]) == 0
    for item in items():
        _, _, char, *_, word = item["question"].rstrip("?").split(" ")
        assert item["answer"] == str(word.lower().count(char[0])) and item["quote"] == word in text


def test_with_a_server_of_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    item = {
        "quote": "Machine M11 runs at 111 degrees.",
        "question": "How hot does machine M11 run?",
        "answer": "111 degrees",
    }
    part = {"type": "output_text", "text": json.dumps(item), "annotations": []}
    message = {"type": "message", "role": "assistant", "id": "m", "status": "completed", "content": [part]}
    done = {"type": "response.output_item.done", "output_index": 0, "item": message}
    response = {"id": "r", "status": "completed", "output": [message], "usage": None}
    with canned() as server:
        models = json.dumps({"data": [{"id": "gpt-oss-20b"}]}).encode()
        server.answers["GET /v1/models"] = 200, "application/json", models
        server.answers["POST /v1/responses"] = stream(done, {"type": "response.completed", "response": response})
        arguments = ["docs/a.pdf", "--connect", server.url, "--count", "1", "-o", "test.jsonl"]
        assert main(["dataset", *arguments]) == 0, capsys.readouterr().err
        bodies = [body for path, body in server.asked if path == "/v1/responses"]
    assert items()[0]["answer"] == "111 degrees" and items()[0]["page"] == 1
    assert (
        bodies[-1]["text"]["format"]["strict"] is True and "Machine M" in bodies[-1]["input"][0]["content"][0]["text"]
    )
