"""Notes on a document stand in a prompt as a file, say all of the reading, and lead to the text that was read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.documents import kept_texts
from app.documents.attachments import Attachment, AttachmentError, join, split
from app.documents.citations import FileCitations
from app.documents.files import attach
from app.documents.notes import Note, Notes, notes_of, place, stretch, to_be_read
from app.documents.selection import WHOLE, Selection, divide
from app.paths import texts_folder
from mlx_model.documents.document import Page

PAGES = (Page(1, "The router picks four.", "page 1"), Page(2, "Each has 2,880 rows.", "page 2"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(tmp_path / "home"))
    kept_texts._texts.clear()
    yield tmp_path
    kept_texts._texts.clear()


def read(attachment: Attachment) -> Notes:
    notes = notes_of(attachment)
    assert notes is not None
    return notes


@pytest.mark.parametrize("is_over", [False, True])
def test_what_was_noted_is_read_again_from_the_prompt(is_over: bool) -> None:
    notes = (
        Note("p. 1", "p. 40", "Four [p. 3].\n\n== p. 9 ... p. 12 ==\n```\nno head"),
        Note('sheet "A ... B" A1:B9', 'sheet "A ... B" A1:B9', "nothing"),
        Note("p. 41", "p. 41", ""),
    )
    whole = Notes(
        *("a.pdf*", "0123456789abcdef", notes, 3, 3 if is_over else 12, 2048, 10_211, 1_020, 31.0, is_over),
        *("612 pages", "page 3 has no text; page 9 is damaged", "[p. 1]"),
    )
    text, attachments = split(join("What?", [Attachment("b.txt", "x"), whole.attachment]))
    again = read(attachments[1])
    assert (text, again.attachment) == ("What?", whole.attachment)
    assert replace(again, notes=()) == replace(whole, notes=())
    assert [(note.first, note.last) for note in again.notes[::2]] == [("p. 1", "p. 40"), ("p. 41", "p. 41")]
    assert again.notes[0].text == "Four [p. 3].\n\n= p. 9 ... p. 12 =\n```\nno head"
    done = "all 3" if is_over else "3 of 12"
    took = "10,211 read, 1,020 written, 31 s"
    said = f"612 pages; notes on {done} parts of up to 2,048 tokens, {took}, text 0123456789abcdef"
    assert whole.attachment.note == f"{said}; page 3 has no text; page 9 is damaged"


def test_other_files_are_no_notes() -> None:
    assert notes_of(Attachment("a*", "text")) is None
    assert notes_of(Attachment("a*", "text", "to be read by parts, text 123")) is None
    assert notes_of(Attachment("a", "", "to be read by parts, text 0123456789abcdef")) is None
    forged = "notes on , of 3 parts of up to 9 tokens, 9 read, 9 written, 9 s, text 0123456789abcdef"
    assert notes_of(Attachment("a*", "", forged)) is None
    assert notes_of(Attachment("a*", "", forged.replace(",", "9" * 5000, 1))) is None


def test_no_line_takes_long_to_tell_from_a_head() -> None:
    """With an unbounded pattern this takes hours."""
    state = "notes on 1 of 3 parts of up to 9 tokens, 9 read, 9 written, 9 s, text 0123456789abcdef"
    assert read(Attachment("a*", "== " + "a ... " * 200_000, state)).notes == ()


def test_a_name_with_an_asterisk_means_notes_unless_there_is_such_a_file(home: Path) -> None:
    assert divide("a.pdf*") == ("a.pdf", Selection(by_parts=True))
    assert divide("a.pdf:3-7*") == ("a.pdf", Selection(pages=((3, 7),), by_parts=True))
    assert divide("a.pdf#method*") == ("a.pdf", Selection(section="method", by_parts=True))
    assert divide("*") is None and divide("a.pdf") is None and Selection() == WHOLE
    (home / "a.txt").write_text("one\ntwo\nthree\n")
    (home / "star*").write_text("a file of that name")
    assert read(attach("a.txt*", home)).parts == 0
    assert attach("star*", home).text == "a file of that name"
    part = read(attach("a.txt:2-3*", home))
    assert part.before == "lines 2, 3 of 3" and kept_texts.text_of(part.digest) == "[lines 2 to 3]\ntwo\nthree"
    with pytest.raises(AttachmentError, match="there is no file missing"):
        attach("missing.txt*", home)
    with pytest.raises(AttachmentError, match="has no line 9"):
        attach("a.txt:9*", home)


def test_a_quote_is_looked_for_in_the_document_and_not_in_the_notes() -> None:
    pending = to_be_read("a.pdf*", PAGES, "2 pages", ())
    notes = replace(read(pending), notes=(Note("p. 1", "p. 2", '"The router picks nine" [p. 1]'),), parts=1)
    citations = FileCitations(lambda: [notes.attachment])
    true, false = citations.of('"The router picks four" [p. 1], and "the router picks nine" [p. 1]. [p. 3]')[:2]
    assert (true.note, false.note) == ("", "quote not found")
    assert true.attachment.name == "a.pdf" and (true.page, true.lines) == (0, (1, 1))
    assert citations.of("[p. 3]")[0].note == "there is no such place"


def test_the_text_is_kept_in_a_folder_and_a_changed_one_counts_for_nothing() -> None:
    notes = read(to_be_read("a.pdf*", PAGES, "", ()))
    folder = texts_folder("a-conversation")
    kept_texts.write(folder, notes.digest)
    kept_texts._texts.clear()
    citations = FileCitations(lambda: [replace(notes, notes=(Note("p. 1", "p. 1", "x"),), parts=1).attachment])
    assert citations.of("[p. 2]")[0].attachment.text.endswith("Each has 2,880 rows.")
    kept_texts._texts.clear()
    (folder / f"{notes.digest}.txt").write_text("[page 1]\nOther words.")
    assert citations.of("[p. 2]") == []  # nothing is said of what nobody can look up
    assert (folder / f"{notes.digest}.txt").stat().st_mode & 0o077 == 0


def test_memory_keeps_the_latest_texts_and_one_however_long_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_texts, "MOST_IN_MEMORY", 10)
    digests = [kept_texts.remember(text) for text in ("one", "two", "three", "two", "four")]
    assert [kept_texts.text_of(digest) for digest in digests] == [None, "two", None, "two", "four"]
    long = kept_texts.remember("twenty characters ..")
    assert kept_texts.text_of(long) is not None and kept_texts.text_of(digests[-1]) is None


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [
        ("page 4", "page 4", "p. 4"),
        ("page 41", "page 58", "p. 41-58"),
        ("slide 2", "slide 9", "slide 2-9"),
        ("page 4, scanned", "page 5", "p. 4-5"),
        ("lines 1 to 40", "lines 1 to 40", "lines 1-40"),
        ("lines 1 to 40", "line 41", "lines 1-41"),
        ('sheet "A" A1:B9', 'sheet "B" A1:B9', 'sheet "A" A1:B9 to sheet "B" A1:B9'),
    ],
)
def test_places_in_short(first: str, last: str, shown: str) -> None:
    assert stretch(place(first), place(last)) == shown
