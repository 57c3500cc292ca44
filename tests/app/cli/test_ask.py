"""`gptoss-chat ask`: what is piped in; answers without a final text, the exit code, what goes to which stream."""

import argparse
import io
import json
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.cli import ask, files
from app.cli.answer_printing import AnswerPrinter
from app.cli.arguments import Start
from app.cli.form import form_of, parsed
from app.documents import files as documents
from app.documents.attachments import AttachmentError, join
from app.engine.local import LocalEngine
from app.engine.protocol import Load, Loading, Ready
from app.paths import pages_folder
from mlx_model.documents.parsers import parse
from mlx_model.errors import RequestError
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Stats, TextDelta, Warned
from mlx_model.generation import grammars
from mlx_model.generation.formats import AnswerFormat, answer_format
from mlx_model.harmony.message import Message, Role, assistant
from mlx_model.harmony.tools import ResponseFormat
from mlx_model.options import Options
from mlx_model.request import Form, Request
from tests.fixtures.pdf import encrypted, pdf

CALL = Message(Role.ASSISTANT, '{"q": 1}', None, "commentary", "functions.search", "json")


class Scripted:
    """A backend that yields the events it is given."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.closed = False

    def load(self, wanted: Load, announce: Callable[[Loading], None]) -> Ready:
        return Ready("scripted", 4096, 7, 0, 0.5)

    def stream(
        self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
    ) -> Iterator[Event]:
        try:
            yield from self.events
        finally:
            self.closed = True

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def settle(self) -> Generator[object, None, None]:
        yield from ()


def whole(message: Message) -> list[Event]:
    """The events of one message."""
    channel = message.channel or "final"
    start = MessageStart(channel, message.recipient, message.content_type)
    return [start, TextDelta(channel, message.text, message.recipient), MessageEnd(message)]


THOUGHT, SAID, FINAL = (
    whole(assistant("hm", "analysis")),
    whole(assistant("I look", "commentary")),
    whole(assistant("3")),
)
CUT_OFF = "gptoss-chat: the answer was cut off at the token limit, after 9 tokens; allow more with --max-tokens"
NO_ANSWER = "gptoss-chat: no answer: the model ended its turn without one"
CASES: dict[str, tuple[list[Event], str, int, str, list[str]]] = {
    "an answer": ([*THOUGHT, *FINAL], "stop", 0, "3\n", []),
    "an answer after commentary": ([*SAID, *FINAL], "stop", 0, "3\n", ["I look"]),
    "analysis alone": (THOUGHT, "no_answer", 1, "", [NO_ANSWER, "hm"]),
    "commentary alone": ([*THOUGHT, *SAID], "no_answer", 1, "", ["I look", NO_ANSWER]),
    "nothing": ([], "no_answer", 1, "", [NO_ANSWER]),
    "blanks": (whole(assistant(" \n")), "no_answer", 1, " \n", [NO_ANSWER]),
    "a call": (
        [*THOUGHT, *whole(CALL)],
        "tool_call",
        1,
        "",
        [
            "gptoss-chat: no answer: the model called the tool functions.search, which `ask` does not have",
            '{"q": 1}',
        ],
    ),
    "a stop string at once": (
        THOUGHT,
        "stop_string",
        1,
        "",
        ["gptoss-chat: no answer: a stop string ended the answer before its first word"],
    ),
    "cut off in the analysis": (
        THOUGHT,
        "length",
        1,
        "",
        [
            "gptoss-chat: no answer: the model reached the token limit, after 9 tokens, before it answered; allow more "
            "with --max-tokens, or less thinking with --effort low",
        ],
    ),
    "cut off in the answer": (
        FINAL[:2],
        "length",
        0,
        "3\n",
        [CUT_OFF],
    ),
}


def answer(
    events: list[Event],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    as_json: bool = False,
    form: AnswerFormat | None = None,
) -> int:
    backend = Scripted([*events, Finished(reason, Stats(decode_tokens=9))])
    monkeypatch.setattr(ask, "LocalEngine", lambda: LocalEngine(backend))
    return ask.answer("q", Start(Load(), Options(), None, False, form=form or AnswerFormat()), as_json=as_json)


@pytest.mark.parametrize("case", CASES)
def test_the_exit_code_and_the_streams(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events, reason, code, out, errors = CASES[case]
    assert answer(events, reason, monkeypatch) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err.splitlines()) == (out, errors)


@pytest.mark.parametrize("case", CASES)
def test_json_has_everything_and_the_same_exit_code(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events, reason, code, _, _ = CASES[case]
    assert answer(events, reason, monkeypatch, as_json=True) == code
    printed = json.loads(capsys.readouterr().out)
    assert printed["text"] == "".join(e.text for e in events if isinstance(e, TextDelta) and e.channel == "final")
    assert printed["commentary"] == ("I look" if SAID[1] in events else "")
    assert printed["analysis"] == ("hm" if THOUGHT[1] in events else "")
    assert printed["finish_reason"] == reason
    assert printed["stats"]["load_s"] == 0.5 and printed["stats"]["resident_bytes"] == 7
    assert printed["stats"]["decode_tokens"] == 9 and printed["stats"]["decode_tok_s"] == 0.0


SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"]}
BOUND = whole(assistant('{"n": "【1†L1】\u200e"}'))  # with a sign that a terminal is not shown


@pytest.mark.parametrize(("reason", "code"), [("stop", 0), ("length", 1), ("stop_string", 1)])
def test_an_answer_bound_to_a_schema_is_data(
    reason: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Alone on standard output, with what could be a citation; the exit code says whether it is whole."""
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    form = form_of(argparse.Namespace(schema=str(file)))
    assert form.form == Form(SCHEMA) and form.shown == ResponseFormat("answer", SCHEMA)
    events: list[Event] = [Warned("a keyword"), *THOUGHT, *BOUND]
    assert answer(events, reason, monkeypatch, form=form) == code
    printed = capsys.readouterr()
    assert printed.out == '{"n": "【1†L1】\u200e"}\n'
    assert printed.err.startswith("a keyword\n") and ("the answer is not whole" in printed.err) == (code == 1)
    assert answer(events, reason, monkeypatch, form=form, as_json=True) == code
    assert json.loads(capsys.readouterr().out)["parsed"] == ({"n": "【1†L1】\u200e"} if code == 0 else None)


def test_a_number_that_no_float_holds_leaves_json_whole() -> None:
    found = parsed(answer_format({"type": "array"}), "[1e999, -1e999, 0.5]", Finished("stop"))
    assert json.loads(json.dumps(found, allow_nan=False))["parsed"] == [sys.float_info.max, -sys.float_info.max, 0.5]


def test_what_is_no_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert form_of(argparse.Namespace(regex="a+")).form == Form(regex="a+")
    for content, says in (("[1]", "it is not an object"), ("{", "is no JSON schema"), (None, "can't be read")):
        file = tmp_path / "schema.json"
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_text(content)
        with pytest.raises(RequestError, match=says):
            form_of(argparse.Namespace(schema=str(file)))
    monkeypatch.setattr(grammars, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match="install it with"):
        form_of(argparse.Namespace(regex="a"))


async def test_an_answer_that_nobody_reads_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Scripted([*FINAL, Finished("stop")])

    def fail(printer: AnswerPrinter, event: Event) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(ask, "LocalEngine", lambda: LocalEngine(backend))
    monkeypatch.setattr(AnswerPrinter, "show", fail)
    with pytest.raises(BrokenPipeError):
        await ask._answer("q", Start(Load(), Options(), None, False), as_json=False)
    assert backend.closed


# What is piped in


def prompt_of(
    piped: bytes, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...] = (), files: tuple[Path, ...] = ()
) -> str:
    """The prompt that the model gets."""
    prompts: list[str] = []

    def keep(prompt: str, *_: object, **__: object) -> int:
        prompts.append(prompt)
        return 0

    monkeypatch.setattr(ask, "answer", keep)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    monkeypatch.setattr("mlx_model.documents.process.read_apart", parse)
    arguments = argparse.Namespace(prompt=list(words), file=list(map(str, files)), read=[])
    assert (ask.run(arguments) if words or files else ask.answer_input(arguments, [])) == 0
    return prompts[0]


@pytest.mark.parametrize(
    ("piped", "prompt", "said"),
    [
        (b"line 1\r\nline 2\n", "line 1\nline 2", ""),
        (b"\xef\xbb\xbfmarked", "marked", ""),
        ("wide".encode("utf-16"), "wide", ""),
        (
            pdf("Bill"),
            '[file "standard input"; 1 page; cite as [p. 1]]\n```\n[page 1]\nBill\n```',
            "gptoss-chat: standard input: 1 page\n",
        ),
        (
            pdf("Bill", ""),
            '[file "standard input"; 2 pages; page 2 is empty; cite as [p. 1]]\n'
            "```\n[page 1]\nBill\n\n[page 2]\n[empty]\n```",
            "gptoss-chat: standard input: 2 pages; page 2 is empty\n",
        ),
        (
            b"\x1b[1mFAIL\x1b[0m 3 tests",
            '[file "standard input"; escape sequences (colours) left out]\n```\nFAIL 3 tests\n```',
            "gptoss-chat: standard input: escape sequences (colours) left out\n",
        ),
    ],
)
def test_standard_input_is_read_as_a_file_is(
    piped: bytes, prompt: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prompt_of(piped, monkeypatch) == prompt
    whole = prompt_of(piped, monkeypatch, ("Explain",))
    assert whole == (f"{prompt}\n\nExplain" if said else f"Explain\n\n{prompt}")
    assert capsys.readouterr().err == said * 2


@pytest.mark.parametrize(
    ("piped", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "standard input is a picture"),
        (b"\0\1\2" * 99, "standard input is a binary file"),
        ("D\u00e9j\u00e0 vu".encode("cp1252"), "standard input is not UTF-8 (line 1); it may be WINDOWS-1252"),
        (
            b"x\n" * 500_001,
            "standard input has 1.0 MB of text; at most 1 MB can be attached; write it to a file and attach a part of "
            "that with --file: lines 1-125000 fit: FILE:1-125000, or search it: FILE?words",
        ),
        (pdf(""), "standard input has no text: it is probably a scan"),
    ],
)
def test_standard_input_that_can_not_be_read_is_refused_as_a_file_is(
    piped: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AttachmentError) as error:
        prompt_of(piped, monkeypatch)
    assert str(error.value).startswith(said)


def test_a_pipe_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "MOST_FILE_BYTES", 1000)
    monkeypatch.setattr(documents, "MOST_FILE_BYTES", 1000)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Endless(), isatty=lambda: False))
    with pytest.raises(AttachmentError, match="standard input has more than"):
        ask.answer_input(argparse.Namespace(), [])


class Endless(io.RawIOBase):
    """As `yes` and /dev/zero."""

    def read(self, size: int = -1) -> bytes:
        assert size >= 0
        return b"y\n" * (size // 2) + b"y" * (size % 2)


def test_files_and_what_is_missing_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf("Bill", ""))
    prompt = prompt_of(b"piped", monkeypatch, ("Sum", "up"), (tmp_path / "a.pdf",))
    note = "2 pages; page 2 is empty"
    assert prompt.startswith(f'[file "{tmp_path}/a.pdf"; {note}; cite as [p. 1]]\n') and prompt.endswith(
        "\n\nSum up\n\npiped"
    )
    assert capsys.readouterr().err == f"gptoss-chat: {tmp_path}/a.pdf: {note}\n"


def test_the_password_of_a_file_is_asked_for_where_there_is_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(tmp_path / "a.pdf")
    Path(name).write_bytes(encrypted(pdf("Bill"), "RC4-128", user="secret"))
    monkeypatch.setattr("mlx_model.documents.process.read_apart", parse)
    typed = ["wrong", "secret"]
    asked: list[str] = []

    def type_it(question: str) -> str:
        asked.append(question)
        return typed.pop(0)

    monkeypatch.setattr("getpass.getpass", type_it)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with pytest.raises(AttachmentError, match="; give its password in GPTOSS_CHAT_FILE_PASSWORD"):
        files.attached(name)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "Bill" in files.attached(name).text
    assert asked == [f"{name} is locked by a password. Password: ", f"{name} is locked by another password. Password: "]
    documents._documents.clear()
    typed[:] = [""]
    with pytest.raises(AttachmentError, match=r"is locked by a password$"):
        files.attached(name)
    monkeypatch.setenv("GPTOSS_CHAT_FILE_PASSWORD", "secret")
    assert "Bill" in files.from_pipe(Path(name).read_bytes()).text and not typed


def test_a_file_that_is_named_in_a_prompt_is_not_attached_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    Path("my notes.txt").write_text("secret")
    Path("book.md").write_text("secret")
    prompt = 'Read @"my notes.txt", @book.md:3-7, @book.md*. Not @nobody, @~nobody/x, me@book.md or @/none.md'
    assert ask._prompt([prompt], []) == prompt
    words = "is words here, no file: to attach it add"
    assert capsys.readouterr().err.splitlines() == [
        f"gptoss-chat: @\"my notes.txt\" {words} --file 'my notes.txt'",
        f"gptoss-chat: @book.md:3-7 {words} --file book.md:3-7",
        f"gptoss-chat: @book.md* {words} --read book.md",
    ]


def test_what_to_take_of_a_file_that_does_not_fit(tmp_path: Path) -> None:
    name = str(tmp_path / "a.txt")
    Path(name).write_text("some words in a line\n" * 400)
    prompt = join("Sum up", [files.attached(name)])
    assert files.what_would_fit(prompt, 1000) == f"lines 1-133 fit: {name}:1-133"
    assert files.what_would_fit("Sum up", 1000) == ""


@pytest.mark.parametrize(
    ("text", "words"), [("```html\n<p>x</p>\n```", "page-"), ("none", "the answer has no web page")]
)
def test_a_web_page_of_the_answer_is_opened(
    text: str, words: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(ask, "open_now", opened.append)
    monkeypatch.setattr(ask, "LocalEngine", lambda: LocalEngine(Scripted([*whole(assistant(text)), Finished("stop")])))
    setup = Start(Load("scripted"), Options(), None, False, open_html=True)
    assert ask.answer("Write a page.", setup) == 0
    assert words in capsys.readouterr().err
    assert [path.parent for path in opened] == [pages_folder()][: words == "page-"]
    opened.clear()
    assert ask.answer("Write a page.", replace(setup, open_html=False)) == 0
    assert not opened
