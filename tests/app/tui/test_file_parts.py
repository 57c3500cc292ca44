"""A part of a file, chosen while its name is typed; a locked file; one that does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.documents import files
from app.documents.attachments import Attachment
from app.documents.notes import Notes
from app.tui.screens.line import LineScreen
from app.tui.widgets.attached import describe
from app.tui.widgets.completion import NARROW
from mlx_model.documents.parsers import parse
from tests.app.tui.test_composer_alone import Screen
from tests.fixtures.fakes import FakeEngine, chat, desk_of, idle, text_on, wait_until
from tests.fixtures.pdf import Run, drawn, encrypted

PAPER = drawn(
    [Run("1 Method", size=16), Run("How it was done, in a line of text.", y=690)],
    [Run("2 Results", size=16), Run("What came of it, in a line of text.", y=690)],
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory of the chat; documents are parsed in this process, which is faster."""
    monkeypatch.setattr("mlx_model.documents.process.read_apart", parse)
    monkeypatch.chdir(tmp_path)
    files._documents.clear()
    Path("paper.pdf").write_bytes(PAPER)
    Path("secret.pdf").write_bytes(encrypted(PAPER, "RC4-128", user="key"))
    Path("long.txt").write_text("some words in a line\n" * 4000)


async def test_parts_are_listed_with_their_sizes_and_one_is_attached() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        await pilot.press(*"see @pa")
        await wait_until(pilot, lambda: composer.completion.names == ["paper.pdf"])
        size = f"paper.pdf  {len(PAPER) / 1000:.1f} kB"
        await wait_until(pilot, lambda: size in text_on(pilot) and "then : for pages, # for a sect" in text_on(pilot))
        await pilot.press(*"per.pdf#")
        names = ["paper.pdf", "paper.pdf#1 Method", "paper.pdf#2 Results"]
        await wait_until(pilot, lambda: composer.completion.names == names)
        assert "all of it  2 pages, about " in text_on(pilot)
        await wait_until(pilot, lambda: "2 Results  page 2, about " in text_on(pilot))
        await pilot.press("down", "down", "enter")
        assert composer.text == 'see @"paper.pdf#2 Results" '
        await pilot.press(*"and @paper.pdf:1-2", "space")  # typed to its end
        await wait_until(pilot, lambda: len(composer.attached.attachments) == 2)
        first, second = composer.attached.attachments
        text = "[page 2]\n# 2 Results\nWhat came of it, in a line of text."
        assert first == Attachment("paper.pdf#2 Results", text, "section 2 Results, page 2 of 2", "[p. 2]")
        assert second.note == "pages 1, 2 of 2"
        await wait_until(pilot, lambda: "; section 2 Results, page" in text_on(pilot))


async def test_parts_are_called_the_same_in_a_narrow_input() -> None:
    """Commands are shown without their arguments there; a part's own name has nothing that could be left out."""
    async with chat(FakeEngine(), (100, 30)) as pilot:
        await idle(pilot)
        assert desk_of(pilot).composer.size.width < NARROW
        await pilot.press(*"see @paper.pdf:")

        def is_whole() -> bool:
            row = next((line for line in text_on(pilot).splitlines() if "page 2 " in line), "")
            return "# 2 Results What came of it" in row and row.rstrip(" \u2502").endswith("tokens")

        await wait_until(pilot, is_whole)


async def test_a_part_of_a_file_that_was_just_chosen_takes_its_place() -> None:
    Path("my paper.pdf").write_bytes(PAPER)
    async with Screen().run_test(size=(60, 20)) as pilot:
        assert isinstance(pilot.app, Screen)
        composer = pilot.app.area.composer
        composer.focus()

        def names() -> list[str]:
            return [each.name for each in composer.attached.attachments]

        await pilot.press(*"see @pa", "tab")
        assert composer.text == "see @paper.pdf "
        await wait_until(pilot, lambda: names() == ["paper.pdf"])
        await pilot.press("colon")
        assert composer.text == "see @paper.pdf:"
        await wait_until(pilot, lambda: "paper.pdf:2" in composer.completion.names)
        await pilot.press("2", "tab")
        await wait_until(pilot, lambda: names() == ["paper.pdf:2"])
        assert composer.text == "see @paper.pdf:2 "
        await pilot.press("colon")  # of a part there is no part
        assert composer.text == "see @paper.pdf:2 :"
        await pilot.press("space", *"@my", "tab", "number_sign")
        assert composer.text.endswith('@"my paper.pdf#')
        await wait_until(pilot, lambda: "my paper.pdf#2 Results" in composer.completion.names)
        await pilot.press("m", "tab")
        await wait_until(pilot, lambda: names() == ["paper.pdf:2", "my paper.pdf#1 Method"])
        await pilot.press(*"or @pa", "tab", *"and @pa", "tab", "colon", "1", "tab")  # the whole is named, too
        await wait_until(pilot, lambda: set(names()[2:]) == {"paper.pdf", "paper.pdf:1"})


async def test_a_locked_file_takes_its_password_or_is_left_out() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        await pilot.press(*"@secret.pdf", "space")
        await wait_until(pilot, lambda: "is locked by a password" in text_on(pilot))
        assert isinstance(pilot.app.screen, LineScreen)
        await pilot.press(*"no", "enter")
        await wait_until(pilot, lambda: "is locked by another password" in text_on(pilot))
        await pilot.press(*"key", "enter")
        await wait_until(pilot, lambda: [each.note for each in composer.attached.attachments] == ["2 pages"])
        files._documents.clear()
        await pilot.press(*"@secret.pdf", "space")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, LineScreen))
        await pilot.press(*"xyzzy")
        assert "xyzzy" not in text_on(pilot)
        await pilot.press("escape")
        await wait_until(pilot, lambda: not composer.attached.attachments and composer.attached.reading is None)


async def test_what_of_a_file_fits_is_said_on_its_line() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        desk_of(pilot).status.limit = 2000
        await pilot.press(*"@long.txt", "space")
        await wait_until(pilot, lambda: " fit: long.txt:1-316" in text_on(pilot))
        assert "do not fit" in text_on(pilot)


def test_a_document_to_be_read_by_parts_says_how_far_it_is_and_not_the_mark_of_its_text() -> None:
    notes = Notes("book.txt*", "0123456789abcdef", before="12 pages", after="1 page is damaged")
    assert describe(notes.attachment) == "book.txt: to be read by parts; 12 pages; 1 page is damaged"
    begun = replace(notes, parts=13, most=32_768)
    assert describe(begun.attachment) == "notes on 0 of 13 parts of book.txt; 12 pages; 1 page is damaged"
