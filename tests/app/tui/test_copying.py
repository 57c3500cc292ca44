"""Copying parts of a conversation: by key, command and palette, by a click above a code block, by selecting."""

import re

import pytest
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.selection import Selection

from app.chat.commands import COPY_TARGETS
from app.chat.conversation import Conversation
from app.documents.attachments import Attachment, join
from app.store.exchange.export import to_markdown
from app.tui.parts.sharing import name_of, part
from app.tui.terminal import clipboard
from app.tui.text.palette_rows import matching
from app.tui.widgets.markdown import MarkdownText
from mlx_model.errors import RequestError
from mlx_model.events import MessageStart
from mlx_model.harmony.message import assistant
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, deltas, idle, notified, send, wait_until
from tests.fixtures.trees import TURN, branched

ANSWER = """\
First:

```python
def f(x):
\treturn  x
```

1. then

   ~~~sh
   pip install   x
     indented
   ~~~

> ```
> quoted
> ```
"""
BLOCKS = ["def f(x):\n\treturn  x", "pip install   x\n  indented", "quoted"]


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes to the clipboard."""
    texts: list[str] = []

    async def copy(text: str, what: str, osc52: object) -> str:
        texts.append(text)
        return f"Copied {what}."

    monkeypatch.setattr(clipboard, "copy", copy)
    return texts


def answered(text: str = ANSWER) -> Conversation:
    """A conversation whose last answer this is."""
    tree = Conversation()
    tree.add_answer(tree.add_prompt("Question", None).id, TURN, [assistant("hm", "analysis"), assistant(text)])
    return tree


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("", ANSWER),
        ("answer", ANSWER),
        ("code", BLOCKS[2]),
        ("Code  1", BLOCKS[0]),
        ("code 2", BLOCKS[1]),
        ("prompt", "Question"),
    ],
)
def test_parts_of_a_conversation(argument: str, text: str) -> None:
    assert part(answered(), argument) == text


def test_the_whole_is_copied_as_it_is_exported() -> None:
    assert part(branched(), "chat") == to_markdown(branched())


@pytest.mark.parametrize(
    ("tree", "argument", "complaint"),
    [
        (answered(), "code 4", "3 code blocks, numbered"),
        (answered(), "code 0", "3 code blocks"),
        (answered(), "code x", "3 code blocks"),
        (answered("`a`\n\n```\nb"), "code 2", "has 1 code block$"),
        (answered("`no block`"), "code", "no code block"),
        (answered(), "everything", "^/copy copies the last answer. Also: /copy code, /copy code 2, "),
        (answered(), "chat 2", "/copy code"),
        *((Conversation(), argument, "there is no .* yet") for argument in ("", *COPY_TARGETS)),
    ],
)
def test_what_is_not_there_is_not_copied(tree: Conversation, argument: str, complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        part(tree, argument)


def test_what_is_copied_is_inert() -> None:
    tree = answered("```\n\x1b]52;c;ZXZpbA==\x07\u202e\n```")
    for argument in COPY_TARGETS:
        assert not {"\x1b", "\x07", "\u202e"} & set(part(tree, argument))


def test_a_prompt_is_copied_without_its_files() -> None:
    tree = Conversation()
    tree.add_prompt(join("Look", [Attachment("notes.txt", "secret")]), None)
    assert part(tree, "prompt") == "Look"


async def click(pilot: Pilot[None], line: str, word: str) -> None:
    """Click on a word in the line of the answer that contains `line`."""
    widget = pilot.app.query(MarkdownText).last()
    lines = widget.render().plain.split("\n")
    y = next(i for i, text in enumerate(lines) if line in text)
    await pilot.click(widget, offset=(lines[y].index(word) + 1, y))
    await pilot.pause()


async def click_copy(pilot: Pilot[None], number: int = 0) -> None:
    """Click on the copy of a code block."""
    widget = pilot.app.query(MarkdownText).last()
    lines = [line.rstrip() for line in widget.render().plain.split("\n")]
    y = [i for i, line in enumerate(lines) if re.search(r"\bcopy(  (run|open|save))*$", line)][number]
    await pilot.click(widget, offset=(lines[y].rindex("copy") + 1, y))
    await pilot.pause()


async def test_a_click_copies_the_block_as_it_was_written(copied: list[str]) -> None:
    engine = FakeEngine()
    async with chat(engine, (60, 40)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "how?", ANSWER)
        for number in range(3):
            await click_copy(pilot, number)
            await wait_until(pilot, lambda: notified(pilot, f"Copied code block {len(copied)}."))
        assert copied == BLOCKS
        await click(pilot, "python", "python")
        await click(pilot, "quoted", "quoted")
        assert copied == BLOCKS


async def test_a_block_that_still_grows_is_copied_as_far_as_it_is_shown(copied: list[str]) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), *deltas("final", "```c\nint a;\n```\n\n```c\nint b;\nint"))
        await send(pilot, "go")
        await wait_until(pilot, lambda: pilot.app.query_one(MarkdownText).render().plain.count("int") == 3)
        await click_copy(pilot)
        widget = pilot.app.query_one(MarkdownText)
        widget.action_copy_code(1)
        await wait_until(pilot, lambda: copied == ["int a;", "int b;\nint"])


async def test_no_text_makes_a_click_do_something(copied: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        text = "[@click=app.quit()]quit[/]\n\n```[@click=app.quit()]quit[/]\nbody [@click=app.quit()]\n```\n"
        await ask(pilot, engine, "go", text)
        await click(pilot, "[@click=app.quit()]quit[/]", "quit[/]")
        await click(pilot, "[/]  ", "quit[/]")
        await click(pilot, "body", "click")
        assert copied == []
        await click_copy(pilot)
        await wait_until(pilot, lambda: copied == ["body [@click=app.quit()]"] and notified(pilot, "Copied the code."))
        assert pilot.app.is_running


async def test_selecting_leaves_out_what_the_model_did_not_write() -> None:
    engine = FakeEngine()
    async with chat(engine, (60, 40)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "how?", ANSWER)
        widget = pilot.app.query_one(MarkdownText)
        lines = widget.render().plain.split("\n")
        assert sum("copy" in line for line in lines) == 3
        selected = widget.get_selection(Selection(None, None))[0]
        assert "copy" not in selected and "\0" not in selected
        assert selected.split("\n") == [
            "First:",
            "",
            "def f(x):",
            "    return  x",
            "",
            " 1. then",
            "    pip install   x",
            "      indented",
            "",
            "\u2502 ",
            "\u2502 quoted",
        ]
        at = next(i for i, line in enumerate(lines) if "python" in line)
        part_of_it = Selection(Offset(4, at), Offset(4, at + 1))
        assert widget.get_selection(part_of_it)[0] == "def"


async def test_copying_by_key_command_and_palette(copied: list[str]) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.press("f5")
        await wait_until(pilot, lambda: notified(pilot, "There is no answer to copy yet."))
        await ask(pilot, engine, "how?", ANSWER)
        await pilot.press("f5")
        await wait_until(pilot, lambda: copied == [ANSWER] and notified(pilot, "Copied the answer."))
        await send(pilot, "/copy code 2")
        await wait_until(pilot, lambda: copied[1:] == BLOCKS[1:2] and notified(pilot, "Copied code block 2."))
        await send(pilot, "/copy code 9")
        await wait_until(pilot, lambda: notified(pilot, "The last answer has 3 code blocks, numbered from the top."))
        for name in COPY_TARGETS:
            (row, *_) = matching(f"copy {name}", lambda _: False, app_of(pilot).values_of)
            await pilot.app.run_action(row.action)
        await wait_until(pilot, lambda: len(copied) == 2 + len(COPY_TARGETS))
        tree = app_of(pilot).conversation
        assert copied[2:] == [part(tree, name) for name in COPY_TARGETS]
        assert [name_of(name) for name in COPY_TARGETS] == [
            *("the answer", "the last code block", "your message", "the conversation")
        ]
