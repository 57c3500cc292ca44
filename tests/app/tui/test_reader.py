"""A document beside the chat: read, searched, marked and asked about; an answer's citations lead there."""

from pathlib import Path

import pytest

from app.documents import files
from app.documents.attachments import split
from app.tui.parts import reading
from app.tui.parts.reading import NEEDS_BROWSER, USAGE
from app.tui.screens.line import LineScreen
from app.tui.screens.reader import ReaderScreen
from app.tui.text.reading_place import MARKED
from app.tui.widgets.messages import AnswerText
from app.tui.widgets.reader import AWAY, ReaderText
from mlx_model.documents.parsers import parse
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, desk_of, idle, notified, send, text_on, wait_until
from tests.fixtures.pdf import Run, drawn, encrypted

LINES = [f"Line {n} of a page, and nothing else." for n in range(1, 40)]
PAPER = drawn(
    *(
        [Run(f"{page} Title", size=16), *(Run(line, y=700 - 14 * n) for n, line in enumerate(LINES))]
        if page != 4
        else [Run("The router picks four experts of thirty-two.")]
        for page in range(1, 7)
    )
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory of the chat; documents are parsed in this process, which is faster."""
    monkeypatch.setattr("mlx_model.documents.process.read_apart", parse)
    monkeypatch.chdir(tmp_path)
    files._documents.clear()
    Path("paper.pdf").write_bytes(PAPER)


async def test_tab_goes_from_the_input_to_the_reader_and_back() -> None:
    engine = FakeEngine()
    async with chat(engine, (100, 30)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "Hi.", "Hello.")
        await send(pilot, "/read paper.pdf")
        await wait_until(pilot, lambda: "Esc closes" in text_on(pilot))
        desk = desk_of(pilot)
        reader = desk.reader
        assert reader is not None and reader.has_focus
        await pilot.press("tab")
        assert desk.composer.has_focus
        await wait_until(pilot, lambda: AWAY in text_on(pilot) and "Esc closes" not in text_on(pilot))
        await pilot.press("tab")
        assert reader.has_focus
        await wait_until(pilot, lambda: "Esc closes" in text_on(pilot) and AWAY not in text_on(pilot))
        await pilot.press("shift+tab")
        assert desk.composer.has_focus
        await pilot.press("shift+tab")
        assert desk.transcript.has_focus and desk.transcript.selected
        await pilot.press("tab")
        assert desk.composer.has_focus
        await pilot.press("tab", "slash", "tab")  # what is searched for is typed in the reader
        assert desk.composer.has_focus


async def test_a_heading_looks_like_one() -> None:
    async with chat(FakeEngine(), (100, 30)) as pilot:
        await idle(pilot)
        await send(pilot, "/read paper.pdf")
        await wait_until(pilot, lambda: "# 1 Title" in text_on(pilot))
        reader = desk_of(pilot).reader
        assert reader is not None

        def is_bold(words: str) -> bool:
            rows = [reader.render_line(y) for y in range(10)]
            segment = next(each for row in rows for each in row if words in each.text)
            return bool(segment.style and segment.style.bold)

        assert is_bold("# 1 Title") and not is_bold("Line 1 of a page")


async def test_a_document_is_read_and_asked_about_beside_the_chat() -> None:
    engine = FakeEngine()
    engine.context_length = 100_000
    async with chat(engine, (100, 30)) as pilot:
        await idle(pilot)
        desk = desk_of(pilot)
        await send(pilot, "/read")
        await wait_until(pilot, lambda: notified(pilot, USAGE))
        await send(pilot, "/read arxiv:2508.10925")
        await wait_until(pilot, lambda: notified(pilot, NEEDS_BROWSER))
        await send(pilot, "/read paper.pdf:2")
        await wait_until(pilot, lambda: "paper.pdf  page 2 of 6" in text_on(pilot))
        reader = desk.reader
        assert reader is not None and reader.has_focus and not desk.sidebar.display
        assert reader._width == 49  # of 100 columns half, without the scrollbar
        await pilot.press("slash", *"PICKS four", "enter")
        await wait_until(pilot, lambda: "page 4 of 6  found 1 of 1" in text_on(pilot))
        await pilot.press("g", "3", "enter", "shift+down", "shift+down")
        assert reader.place.marked is not None and "Enter asks about the marked" in text_on(pilot)
        await pilot.press("enter")
        assert desk.composer.has_focus
        whole, mark = desk.composer.attached.attachments
        assert (whole.name, whole.note) == ("paper.pdf", "6 pages")
        assert (mark.name, mark.note) == ("paper.pdf, page 3, lines 1-2", MARKED)
        assert mark.text == "[page 3]\n# 3 Title\nLine 1 of a page, and nothing else."
        answer = 'As it says: "the router picks four experts" [p. 4], or "the router picks nine experts" [p. 4].'
        await ask(pilot, engine, "why?", answer)
        assert text_on(pilot).count("(quote not found)") == 1
        # A citation leads to the cited line.
        await pilot.app.query(AnswerText).first().run_action("show_place(0)")
        await wait_until(pilot, lambda: reader.has_focus and reader.place.where == "page 4 of 6")
        assert reader.place.attachment().text == "The router picks four experts of thirty-two."
        await pilot.press("enter")  # the document is in the conversation already
        assert [each.name for each in desk.composer.attached.attachments] == ["paper.pdf, page 4, line 1"]
        # In a narrow terminal it lies over the chat, at the same place.
        await send(pilot, "/read")
        assert not app_of(pilot).reading.is_open
        await send(pilot, "/read")
        await wait_until(pilot, lambda: reader.has_focus)
        await pilot.resize_terminal(80, 24)
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, ReaderScreen))
        await wait_until(pilot, lambda: "paper.pdf  page 4 of 6" in text_on(pilot))
        await pilot.press("escape", "escape")  # the mark, then the reader
        await wait_until(pilot, lambda: desk.composer.has_focus)
        assert len(engine.asked) == 1 and len(split(engine.asked[0][0][-1].text)[1]) == 2


async def test_keys_and_the_mouse_move_and_mark() -> None:
    async with chat(FakeEngine(), (80, 24)) as pilot:
        await idle(pilot)
        await send(pilot, "/read paper.pdf")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, ReaderScreen) and "Line 3" in text_on(pilot))
        text = pilot.app.screen.query_one(ReaderText)
        place = text.place
        await pilot.press("j", "down", "k")
        assert (place.line, place.marked) == (1, None)
        await pilot.press("m", "down", "down", "m", "down")
        assert place.marked is None
        await pilot.press("m", "pagedown")
        assert place.marked is not None and place.marked[1] - place.marked[0] > 10 and text.scroll_offset.y > 0
        await pilot.press("escape", "right", "right")
        assert place.where == "page 3 of 6" and "page 3" in text_on(pilot)
        await pilot.press("left", "end")
        assert place.where == "page 6 of 6"
        await pilot.press("home", "slash", *"Line 12 of", "enter", "n", "n")
        assert place.hit_number == "3 of 5"
        await pilot.press("N")
        assert place.hit_number == "2 of 5"
        await pilot.press("slash", "escape")
        assert text.has_focus
        await pilot.press("home")
        await pilot.mouse_down(text, offset=(5, 1))
        await pilot.hover(text, offset=(5, 3))
        await pilot.mouse_up(text, offset=(5, 3))
        assert place.marked == (1, 3)
        await pilot.press("a")
        await wait_until(pilot, lambda: desk_of(pilot).composer.has_focus)
        assert [each.name for each in desk_of(pilot).composer.attached.attachments] == ["paper.pdf"]


async def test_a_locked_file_takes_its_password_and_what_is_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("secret.pdf").write_bytes(encrypted(PAPER, "RC4-128", user="key"))
    async with chat(FakeEngine(), (100, 30)) as pilot:
        await idle(pilot)
        await send(pilot, "/read nowhere.pdf")
        await wait_until(pilot, lambda: notified(pilot, "There is no file nowhere.pdf."))
        await send(pilot, "/read secret.pdf#5 Title")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, LineScreen))
        await pilot.press(*"key", "enter")
        await wait_until(pilot, lambda: "secret.pdf  page 5 of 6" in text_on(pilot))

        async def fetched(url: str, settings: object) -> bytes:
            return PAPER

        # With the browser switched on; what is read has no file.
        monkeypatch.setattr(app_of(pilot).tools, "names_of", lambda _: ("browser",))
        monkeypatch.setattr(reading, "fetch", fetched)
        desk_of(pilot).composer.focus()
        await send(pilot, "/read arxiv:2508.10925")
        await wait_until(pilot, lambda: "arxiv:2508.10925  page 1 of 6" in text_on(pilot))
        await pilot.press("a")
        assert [each.name for each in desk_of(pilot).composer.attached.attachments] == ["arxiv:2508.10925"]
