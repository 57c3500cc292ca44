"""Every screen as text, at the size of an old terminal and of a large one, beside how it looked when it was accepted.

`UPDATE_SCREENS=1 python -m pytest tests/app/tui/test_screens.py` takes them anew; a person reads the difference.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import Paste
from textual.pilot import Pilot

from app.chat import loop
from app.chat.conversation import Conversation
from app.documents.attachments import Attachment
from app.documents.notes import to_be_read
from app.engine.protocol import LoadProgress
from app.store.errors import StoreError
from app.tools import kits
from app.tui.parts import answering, background_download, engine, greeting, tools
from app.tui.parts.hints import BRANCHING
from app.tui.text import list_rows
from app.tui.text.computer import ComputerFacts
from app.tui.theme import long_name
from app.tui.widgets import welcome as welcome_widget
from mlx_model.documents.document import Page
from mlx_model.events import Finished, MessageEnd, MessageStart, PrefillProgress
from mlx_model.harmony.message import Message, Role, assistant
from mlx_model.hub.progress import DownloadState, Phase
from tests.app.tui.tool_scenes import asked, figures, running, sources, switches
from tests.fixtures.contrast import READABLE, pairs_on
from tests.fixtures.fake_kit import Kit
from tests.fixtures.fakes import (
    COMPUTER,
    STATS,
    FakeEngine,
    app_of,
    ask,
    chat,
    deltas,
    desk_of,
    idle,
    send,
    text_on,
    wait_until,
)
from tests.fixtures.trees import TURN, keep

ACCEPTED = Path(__file__).with_name("screens")
SIZES = [(80, 24), (160, 48)]

MARKDOWN = """\
# Letters

There are **three** r's in `strawberry`:

1. st**r**awbe**rr**y
2. two of them side by side

> Spelling is hard.

```python
"strawberry".count("r")
```

| letter | times |
|---|---|
| r | 3 |
"""

CALLS = [
    assistant("Two cities, so I ask twice.", "analysis"),
    assistant("I look up **both** and compare them.", "commentary"),
    Message(Role.ASSISTANT, '{"city": "Paris", "days": 1}', None, "commentary", "functions.get_weather", "json"),
    Message(Role.TOOL, '{"high": 18}', "functions.get_weather", "commentary", "assistant"),
    assistant("Now the difference.", "analysis"),
    Message(Role.ASSISTANT, "paris, rome = 18, 24.5\nprint(rome - paris)", None, "analysis", "python", "code"),
    Message(Role.TOOL, "6.5", "python", "analysis", "assistant"),
    assistant(
        "|city|high|\n|---|---|\n| Paris | 18 |\n| Rome | 24.5 |\n\nRome is *6.5 degrees* warmer.\n\nTake a hat."
    ),
]

Scene = Callable[[Pilot[None], FakeEngine], Awaitable[None]]


async def welcome(pilot: Pilot[None], engine: FakeEngine) -> None:
    """Nothing asked yet."""


async def answer(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A turn with analysis and Markdown."""
    await ask(pilot, engine, "How many r's are in strawberry?", MARKDOWN, analysis="s t r a w b e r r y: three.")


async def thinking(pilot: Pilot[None], engine: FakeEngine) -> None:
    """An answer on its way, and a message that waits."""
    engine.say(MessageStart("analysis"), *deltas("analysis", "Let me spell it: s, t, r, a, w"))
    await send(pilot, "How many r's are in strawberry?")
    await wait_until(pilot, lambda: "a, w" in text_on(pilot))
    await send(pilot, "And in raspberry?")
    await wait_until(pilot, lambda: "queued" in text_on(pilot))


async def calls(pilot: Pilot[None], engine: FakeEngine) -> None:
    """An answer with tool calls, as it is when it is opened again."""
    tree = Conversation()
    prompt = tree.add_prompt("Is it warmer in Paris or in Rome?", None)
    tree.add_answer(prompt.id, TURN, CALLS)
    keep(tree)
    await app_of(pilot).conversations.open(tree.id)
    await desk_of(pilot).saved()
    await wait_until(pilot, lambda: "Take a hat" in text_on(pilot))


async def calls_opened(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The last of the calls, opened."""
    await calls(pilot, engine)
    await pilot.press("shift+tab", "enter")
    await wait_until(pilot, lambda: "result" in text_on(pilot))


async def versions(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A second answer to the same prompt."""
    await ask(pilot, engine, "Name a fruit.", "An apple.")
    engine.answer("A pear.")
    await pilot.press("ctrl+r")
    await wait_until(pilot, lambda: "2/2" in text_on(pilot))
    await idle(pilot)


async def two_turns(pilot: Pilot[None], engine: FakeEngine) -> None:
    """An answer with two code blocks, and another turn."""
    blocks = "Either:\n\n```python\nlen(word)\n```\n\nor:\n\n```sh\nwc -c\n```"
    await ask(pilot, engine, "How long is it?", blocks, analysis="Two ways.")
    await ask(pilot, engine, "Thanks.", "You're welcome.")
    await pilot.press("shift+tab", "home")


async def selected_prompt(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A message of the person's, and its keys."""
    await two_turns(pilot, engine)
    await wait_until(pilot, lambda: "e edit" in text_on(pilot))


async def selected_answer(pilot: Pilot[None], engine: FakeEngine) -> None:
    """An answer, and its keys."""
    await two_turns(pilot, engine)
    await pilot.press("j")
    await wait_until(pilot, lambda: "1 2 code" in text_on(pilot))


async def branching(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The next message follows an earlier answer."""
    await two_turns(pilot, engine)
    await pilot.press("j", "b")
    await wait_until(pilot, lambda: BRANCHING in text_on(pilot))


async def found(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A search with a hit."""
    await ask(pilot, engine, "Name a fruit.", "A pear, for example.")
    await pilot.press("ctrl+f")
    await pilot.press(*"pear")
    await wait_until(pilot, lambda: "A pear, for" in text_on(pilot) and desk_of(pilot).sidebar.list.option_count > 1)


async def editing(pilot: Pilot[None], engine: FakeEngine) -> None:
    """An earlier message in the input."""
    await ask(pilot, engine, "Name a fruit.", "An apple.")
    await pilot.press("alt+up")
    await wait_until(pilot, lambda: desk_of(pilot).composer.text == "Name a fruit.")


async def commands(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The list of commands, one of them marked."""
    await pilot.press("/", "down", "down", "down", "down", "down")
    await wait_until(pilot, lambda: desk_of(pilot).composer.completion.choice == "/again")


async def help_screen(pilot: Pilot[None], engine: FakeEngine) -> None:
    """All keys and commands."""
    await pilot.press("f1")
    await wait_until(pilot, lambda: len(pilot.app.screen_stack) > 1)


async def settings(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The settings."""
    await pilot.press("f3")
    await wait_until(pilot, lambda: len(pilot.app.screen_stack) > 1)


async def loading(pilot: Pilot[None], engine: FakeEngine) -> None:
    """Another model on its way into memory."""
    engine.hold()
    engine.load_progress = [LoadProgress(4_140_000_000, 13_800_000_000)]
    app_of(pilot).models.switch("demo")
    await wait_until(pilot, lambda: "4.1 of 13.8 GB" in text_on(pilot))


async def reading(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A long prompt."""
    engine.say(PrefillProgress(1051, 3201))
    await send(pilot, "Summarise this.")
    await wait_until(pilot, lambda: "1,051 of 3,201" in text_on(pilot))


async def toast(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A message that is too long for the row below the input."""
    await ask(pilot, engine, "Name a fruit.", "An apple.")
    desk_of(pilot).notify(f"{'/tmp/a-long-name' * 9}.json can't be read: no such file. " * 2, severity="error")
    await wait_until(pilot, lambda: "no such file" in text_on(pilot))


async def short_toast(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A message in the place of the hint."""
    await ask(pilot, engine, "Name a fruit.", "An apple.")
    desk_of(pilot).notify("Copied")
    await wait_until(pilot, lambda: "Copied" in text_on(pilot))


async def died(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The engine's end in the middle of an answer."""
    engine.say(MessageStart("final"), *deltas("final", "There are"))
    await send(pilot, "How many r's are in strawberry?")
    await wait_until(pilot, lambda: "There are" in text_on(pilot))
    engine.die(asking=True)
    await wait_until(pilot, lambda: "memory ran out" in text_on(pilot))


async def cut_off(pilot: Pilot[None], engine: FakeEngine) -> None:
    """An answer that can go on."""
    engine.say(MessageStart("final"), *deltas("final", "One, two, th"), Finished("length", STATS))
    await send(pilot, "Count to ten.")
    await wait_until(pilot, lambda: "^G continues" in text_on(pilot))


async def held(pilot: Pilot[None], engine: FakeEngine) -> None:
    """An answer that was stopped, and what waited for its end."""
    engine.say(MessageStart("final"), *deltas("final", "One, two"))
    await send(pilot, "Count to ten.")
    await wait_until(pilot, lambda: "One, two" in text_on(pilot))
    await send(pilot, "And then to twenty,\nby twos.")
    await send(pilot, "Backwards, too.")
    await pilot.press("escape")
    await wait_until(pilot, lambda: "stopped" in text_on(pilot))
    await idle(pilot)


async def attached(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A file and a long paste that go with the message."""
    composer = desk_of(pilot).composer
    composer.attached.add(Attachment("letters.py", 'print("strawberry".count("r"))\n' * 40))
    composer.insert("What do these do?\n")
    composer.post_message(Paste("one line\n" * 300))
    await wait_until(pilot, lambda: "[pasted text 1]" in text_on(pilot) and "1,300 tokens \u2500" in text_on(pilot))


async def sidebar(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The conversations, chosen from with the keyboard."""
    await ask(pilot, engine, "How many r's are in strawberry?", "Three.")
    await pilot.press("ctrl+n")
    await ask(pilot, engine, "A title so long that no list of conversations has the room for it", "Indeed.")
    if not desk_of(pilot).sidebar.display:
        await pilot.press("ctrl+b")
    desk_of(pilot).sidebar.list.focus()
    await wait_until(pilot, lambda: "How many r's" in text_on(pilot))


async def renaming(pilot: Pilot[None], engine: FakeEngine) -> None:
    """Another title."""
    await ask(pilot, engine, "How many r's are in strawberry?", "Three.")
    await send(pilot, "/rename")
    await wait_until(pilot, lambda: len(pilot.app.screen_stack) > 1)


async def deleted(pilot: Pilot[None], engine: FakeEngine) -> None:
    """How to bring it back is said."""
    await ask(pilot, engine, "How many r's are in strawberry?", "Three.")
    await send(pilot, "/delete")
    await wait_until(pilot, lambda: "/undo" in text_on(pilot))


async def nearly_full(pilot: Pilot[None], engine: FakeEngine) -> None:
    """More than 80% of the context."""
    engine.say(MessageStart("final"), *deltas("final", "A long story."))
    engine.say(MessageEnd(assistant("A long story.")), Finished("stop", replace(STATS, prefill_tokens=3300)))
    await send(pilot, "Go on.")
    await wait_until(pilot, lambda: "tok/s" in text_on(pilot))
    await idle(pilot)


async def unsaved(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The disk is full."""

    async def fails(conversation: object) -> None:
        app_of(pilot).journal._unsaved.fail(StoreError("the disk is full"))

    app_of(pilot).journal.save = fails  # type: ignore[method-assign]
    await ask(pilot, engine, "Name a fruit.", "An apple.")
    await wait_until(pilot, lambda: "the disk is full" in text_on(pilot))


async def downloading(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The weights on their way, below the conversation."""
    panel = desk_of(pilot).download_panel
    panel.display = True
    panel.show("gpt-oss-20b", DownloadState(Phase.FETCHING, 5_200_000_000, 13_780_000_000, 48_000_000))
    await wait_until(pilot, lambda: "37%" in text_on(pilot))


async def picker(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The models, to choose one."""
    await send(pilot, "/model")
    await wait_until(pilot, lambda: "needs 58 GB" in text_on(pilot))


async def confirming(pilot: Pilot[None], engine: FakeEngine) -> None:
    """What is asked before a download."""
    await picker(pilot, engine)
    await pilot.press("down", "enter")
    await wait_until(pilot, lambda: "Not now" in text_on(pilot))


async def palette(pilot: Pilot[None], engine: FakeEngine) -> None:
    """Every command, to search and choose."""
    await pilot.press("ctrl+p")
    await wait_until(pilot, lambda: "Answers" in text_on(pilot))


async def palette_typed(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The commands that fit what is typed, with their values."""
    await pilot.press("ctrl+p", *"copy")
    await wait_until(pilot, lambda: "copy code" in text_on(pilot))


async def too_long(pilot: Pilot[None], engine: FakeEngine) -> None:
    """A message that does not fit behind the conversation."""
    engine.tokens = lambda text: len(text.split())
    await ask(pilot, engine, "Name a fruit.", "An apple.")
    desk_of(pilot).composer.insert("apple and pear, " * 1400)
    await wait_until(pilot, lambda: "4,200 tokens do not fit" in text_on(pilot))


async def completing(pilot: Pilot[None], engine: FakeEngine) -> None:
    """Commands, the last ones by other names."""
    await pilot.press(*"/s")
    await wait_until(pilot, lambda: "/system" in text_on(pilot))


async def by_parts(pilot: Pilot[None], engine: FakeEngine) -> None:
    """What a document is going to take that is read by parts."""
    engine.tokens = len
    pages = [Page(n, "A line of the book.\n" * 30, f"page {n}") for n in range(1, 41)]
    desk_of(pilot).composer.attached.add(to_be_read("book.pdf*", pages, "40 pages", ()))
    await send(pilot, "Which numbers matter?")
    await wait_until(pilot, lambda: "read all of book.pdf?" in text_on(pilot))


async def found_open(pilot: Pilot[None], engine: FakeEngine) -> None:
    """The message of a hit, which begins out of sight."""
    lines = "\n\n".join(f"Fruit {number}." for number in range(40))
    await ask(pilot, engine, "Name fruits.", f"{lines}\n\nA pear, at last.\n\n{lines}")
    await pilot.press("ctrl+f", *"pear", "enter")
    await wait_until(pilot, lambda: "A pear, at last." in text_on(pilot) and app_of(pilot).query(".-hit"))


SCENES = (
    *(welcome, answer, thinking, calls, calls_opened, sources, versions, selected_prompt, selected_answer, branching),
    *(found, found_open, editing, cut_off, held, attached, sidebar, too_long, completing),
    *(asked, running, by_parts),
    *(loading, reading, toast, short_toast, picker, confirming),
    *(figures, switches),
    *(renaming, deleted, nearly_full, unsaved, downloading, commands, palette, palette_typed),
    *(help_screen, settings, died),
)


@pytest.fixture(autouse=True)
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thinking takes no time, it is always five past two, computer and terminal are always the same."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setattr(list_rows, "time_of", lambda moment, now: "14:05")
    for module in (loop, answering, engine):
        monkeypatch.setattr(module, "monotonic", lambda: 0.0)

    async def known() -> ComputerFacts:
        return COMPUTER

    monkeypatch.setattr(kits, "kits_of", lambda names, conversation: [Kit() for _ in names])
    monkeypatch.setattr(tools, "GRACE_S", 0.0)
    monkeypatch.setattr(greeting, "examine", known)
    monkeypatch.setattr(welcome_widget, "version", lambda: "1.2.3")
    monkeypatch.setattr("mlx_model.hub.inventory.local_models", list)
    for name, value in (("local_models", []), ("free_space", COMPUTER.free), ("cache_folder", Path(COMPUTER.folder))):
        monkeypatch.setattr(background_download, name, lambda *_, value=value: value)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_screen(scene: Scene, size: tuple[int, int]) -> None:
    await compare(scene, size, FakeEngine(), scene.__name__)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_first_run(size: tuple[int, int]) -> None:
    async def offered(pilot: Pilot[None], engine: FakeEngine) -> None:
        await wait_until(pilot, lambda: "Apple M2" in text_on(pilot))

    await compare(offered, size, FakeEngine(model="demo"), "first_run")


@pytest.mark.parametrize("scene", [help_screen, palette, found], ids=lambda scene: scene.__name__)
async def test_narrow_screen(scene: Scene) -> None:
    await compare(scene, (40, 24), FakeEngine(), scene.__name__)


async def compare(scene: Scene, size: tuple[int, int], engine: FakeEngine, name: str) -> None:
    """Play a scene and compare the screen, trailing spaces aside."""
    path = ACCEPTED / f"{name}-{size[0]}x{size[1]}.txt"
    async with chat(engine, size) as pilot:
        await idle(pilot)
        await scene(pilot, engine)
        if os.environ.get("UPDATE_SCREENS"):
            await pilot.pause(0.3)
            path.parent.mkdir(exist_ok=True)
            path.write_text(trimmed(pilot), encoding="utf-8")
        accepted = path.read_text(encoding="utf-8")
        for _ in range(1000):  # the last layout may still be under way
            if trimmed(pilot) == accepted:
                break
            await pilot.pause(0.02)
        await pilot.pause()  # what only passes by does not count
        assert trimmed(pilot) == accepted
        if size == SIZES[0]:
            await all_can_be_read(pilot, name)


async def all_can_be_read(pilot: Pilot[None], name: str) -> None:
    """Print the contrast of all text to what is behind it, in both themes that choose it."""
    for theme in ("light", "dark"):
        app_of(pilot).theme = long_name(theme)
        await pilot.pause()
        pairs = pairs_on(pilot)
        for (front, behind), (ratio, example) in sorted(pairs.items(), key=lambda pair: pair[1]):
            print(f"{ratio:5.2f}  {front} on {behind}  {name}, {theme}: {example}")
        assert len(pairs) > 1 and min(pairs.values())[0] >= READABLE


def trimmed(pilot: Pilot[None]) -> str:
    """The screen without trailing spaces."""
    return "\n".join(line.rstrip() for line in text_on(pilot).split("\n")) + "\n"
