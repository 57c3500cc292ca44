"""Long texts in pages: nothing is lost between them, and what is laid out at once is bounded however long a text is."""

import random

import pytest
from textual.pilot import Pilot

from app.chat.code_blocks import code_blocks
from app.chat.conversation import Conversation
from app.tui.text import markdown_layout
from app.tui.text.markdown_layout import GrowingLayout
from app.tui.text.pages import MAX_CHARS, MAX_LINES, MAX_TEXT, Pages, page_line
from app.tui.widgets.markdown import MarkdownText
from app.tui.widgets.messages import AnswerText, Prompt
from mlx_model.events import Finished, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.message import assistant
from tests.fixtures.fakes import (
    STATS,
    FakeEngine,
    app_of,
    ask,
    chat,
    idle,
    on_screen,
    opened,
    send,
    text_on,
)

CODE = "```python\n" + "".join(f"print({number})\n" for number in range(2_000)) + "```"
TEXTS = {
    "one word": "x" * 5_000_000,
    "one line": "word " * 1_000_000,
    "double width": "\u65e5\u672c" * 50_000,
    "paragraphs": "some words of a paragraph\n\n" * 4_000,
    "short lines": "-\n" * 40_000,
    "code": f"Before.\n\n{CODE}\n\nAfter.\n\n~~~~\n```\n" + "y = 1\n" * 4_000 + "~~~~\n",
    "brackets": "[" * 100_000,
    "addresses": "http://example.com/ " * 10_000,
}


def whole(pages: Pages) -> str:
    """The text of all pages, without the lines that open a code block once more."""
    texts = [pages.text(number) for number in range(len(pages))]
    return "".join(text.split("\n", 1)[1] if pages.begins_in_code(n) else text for n, text in enumerate(texts))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_pages_are_small_and_have_the_whole_text(text: str) -> None:
    pages = Pages(text)
    assert whole(pages) == text and len(pages) > 1
    for number in range(len(pages)):
        page = pages.text(number)
        assert len(page) <= MAX_CHARS + 100 and page.count("\n") <= MAX_LINES + 1


@pytest.mark.parametrize("text", ["", "short", "x" * MAX_CHARS, "\n" * (MAX_LINES - 1)])
def test_what_fits_is_one_page(text: str) -> None:
    assert len(Pages(text)) == 1 and Pages(text).text(0) == text


@pytest.mark.parametrize("name", ["paragraphs", "code", "double width"])
def test_pages_stay_what_they_are_while_the_text_grows(name: str) -> None:
    text, chance = TEXTS[name][:150_000], random.Random(1)
    growing, end = Pages(), 0
    while end < len(text):
        end = min(len(text), end + chance.randrange(1, 9_000))
        growing = Pages(text[:end], growing)
    at_once = Pages(text)
    assert [growing.text(n) for n in range(len(growing))] == [at_once.text(n) for n in range(len(at_once))]


def test_a_page_that_begins_within_code_shows_code() -> None:
    pages = Pages(TEXTS["code"])
    assert [len(code_blocks(pages.text(n))) > 0 for n in range(len(pages))] == [True] * len(pages)
    parts = [code_blocks(pages.text(n)) for n in range(len(pages))]
    assert all(part.code.startswith("print(") for part in parts[1][:1])
    assert any("After." in pages.text(n) and not pages.text(n).endswith("After.") for n in range(len(pages)))


@pytest.mark.parametrize(
    ("number", "count", "labels"),
    [
        (0, 1, {}),
        (0, 2, {"next": 1, "last": 1}),
        (1, 2, {"first": 0, "previous": 0}),
        (0, 3, {"next": 1, "last": 2}),
        (1, 3, {"first": 0, "previous": 0, "next": 2, "last": 2}),
        (2, 3, {"first": 0, "previous": 1}),
    ],
)
def test_the_line_around_a_page_leads_to_the_others(number: int, count: int, labels: dict[str, int]) -> None:
    line = page_line(number, count, 80)
    assert line.plain == "  ".join([f"page {number + 1} of {count}", *labels])
    clicks = {
        line.plain[span.start : span.end]: span.style.meta["@click"]
        for span in line.spans
        if not isinstance(span.style, str) and "@click" in span.style.meta
    }
    assert clicks == {label: f"turn_to({page})" for label, page in labels.items()}


@pytest.mark.parametrize("width", [0, 1, 12, 40, 100])
def test_the_line_around_a_page_fits(width: int) -> None:
    line = page_line(3, 250, width)
    assert line.cell_length <= width
    assert ("last" in line.plain) is (width > 40)


@pytest.fixture
def laid_out(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many characters were laid out at once, each time."""
    sizes: list[int] = []
    extend = GrowingLayout.extend

    def measured(self: GrowingLayout, source: str) -> object:
        sizes.append(len(source))
        return extend(self, source)

    monkeypatch.setattr(markdown_layout.GrowingLayout, "extend", measured)
    return sizes


async def click(pilot: Pilot[None], text: str) -> None:
    """Click the last place where a text stands."""
    lines = text_on(pilot).splitlines()
    row = max(row for row, line in enumerate(lines) if text in line)
    await pilot.click(offset=(lines[row].rindex(text), row))
    await pilot.pause()


async def test_a_huge_answer_grows_ends_is_turned_resized_copied_and_opened_again(
    laid_out: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, text = FakeEngine(), f"{'x' * 1_000_000} the end"
    copied: list[str] = []
    async with chat(engine) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        monkeypatch.setattr(app, "copy_to_clipboard", lambda text, what="": copied.append(text))
        monkeypatch.setattr(app.sharing, "_to_clipboard", lambda text, what: copied.append(text))
        await send(pilot, "go")
        engine.say(MessageStart("final"), TextDelta("final", text[:480_000]))
        await on_screen(pilot, "page 30 of 30")
        engine.say(TextDelta("final", text[480_000:]), MessageEnd(assistant(text)), Finished("stop", STATS))
        await on_screen(pilot, "the end")
        await idle(pilot)
        assert "page 63 of 63" in text_on(pilot)
        await pilot.resize_terminal(100, 30)
        await click(pilot, "previous")
        await on_screen(pilot, "page 62 of 63")
        await click(pilot, "first")
        await on_screen(pilot, "page 1 of 63")
        await send(pilot, "/copy")
        assert copied == [text]
        widget = app.query_one(AnswerText)
        widget.text_select_all()
        selected = pilot.app.screen.get_selected_text()
        assert selected is not None and set(selected) <= set("x\n")
        await app.conversations.new()
        await opened(pilot, "go")
        await on_screen(pilot, "page 1 of 63")
    assert laid_out and max(laid_out) <= MAX_CHARS


async def test_code_on_several_pages_is_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, copied = FakeEngine(), list[str]()
    async with chat(engine) as pilot:
        await idle(pilot)
        monkeypatch.setattr(app_of(pilot), "copy_to_clipboard", lambda text, what: copied.append(text))
        await ask(pilot, engine, "go", f"```c\nint a;\n```\n\n{CODE}\n\n```c\nint b;\n```")
        widget = pilot.app.query(MarkdownText).last()
        pages = widget._pages
        for page in range(len(pages)):
            widget.action_turn_to(page)
            for number in range(len(code_blocks(pages.text(page)))):
                widget.action_copy_code(number)
        await pilot.pause()
    long = CODE.removeprefix("```python\n").removesuffix("\n```")
    assert copied == ["int a;", *([long] * len(pages)), "int b;"]


def test_a_prompt_that_is_too_long_to_show_says_how_much_is_left_out() -> None:
    shown = str(Prompt(Conversation().add_prompt("word " * 1_000_000, None)).render())
    assert len(shown) < MAX_TEXT + 100 and shown.endswith("and 4,900,000 more characters (the export has them).")
