"""Takes the README's pictures, from the program itself: `make screenshots`.

The demo model writes the one with a thought, and several answers at once. The others show what takes a Mac or gpt-oss:
the first screen of a 16 GB Mac, by the facts of the tests' fixture, and an example conversation, whose words are
written here and which states no speed.
"""

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from app.chat.conversation import AnswerFacts, Conversation
from app.engine.client import EngineClient
from app.engine.protocol import Load
from app.settings import Settings
from app.tui.app import ChatApp
from app.tui.parts import greeting
from app.tui.text.computer import ComputerFacts
from app.tui.widgets.messages import AnswerView
from mlx_model.events import Stats
from mlx_model.harmony.message import Effort, assistant
from mlx_model.options import Options
from tests.fixtures.fakes import COMPUTER, FakeEngine, app_of, desk_of, idle, send, text_on, wait_until
from tests.fixtures.trees import keep

ASSETS = Path(__file__).parents[1] / "assets"
FACTS = AnswerFacts("gpt-oss-20b", Effort.MEDIUM, "stop", Stats(decode_tokens=412), analysis_s=6.2, analysis_tokens=148)
COUNTED = "How many s's are in assassin?"
ENDED = 3
"""Of the eight answers to that, in the picture at least."""
QUESTION = "Which sorting algorithms should I know, and how does merge sort work?"
THOUGHT = "They want an overview and one of them in detail. A table, then the code, then why it is n log n."
ANSWER = """\
| algorithm | average | worst | stable |
|---|---|---|---|
| insertion sort | n² | n² | yes |
| quicksort | n log n | n² | no |
| **merge sort** | n log n | n log n | yes |

Merge sort halves the list, sorts both halves, and *merges* them:

```python
def merge_sort(items: list[int]) -> list[int]:
    if len(items) < 2:
        return items
    middle = len(items) // 2
    left, right = merge_sort(items[:middle]), merge_sort(items[middle:])
    return list(heapq.merge(left, right))  # takes the smaller head each time
```

Each of the \\(\\log_2 n\\) levels touches every item once: \\(T(n) = 2 T(\\frac{n}{2}) + n\\).
"""
EARLIER = (
    ("Plan three rainy days in Lisbon", "Day one belongs to the museums of Belém."),
    ("Which is larger, 9.11 or 9.9?", "9.9, since 0.90 is more than 0.11."),
)

Scene = Callable[[Pilot[None]], Awaitable[None]]


async def first(pilot: Pilot[None]) -> None:
    """The first screen."""
    await wait_until(pilot, lambda: COMPUTER.chip in text_on(pilot))
    desk_of(pilot).status.memory = desk_of(pilot).status.budget = 0  # those of another model
    await settled(pilot)


async def thought(pilot: Pilot[None]) -> None:
    """What the demo model thinks and answers."""
    await wait_until(pilot, lambda: desk_of(pilot).status.state == "ready")
    for count, prompt in enumerate(("What is 124 + 387?", "How many r's are in strawberry?"), 1):
        await send(pilot, prompt)
        await answered(pilot, count)
    await settled(pilot)


async def answered(pilot: Pilot[None], count: int) -> None:
    """Wait for the end of so many answers."""
    views = pilot.app.query(AnswerView)
    await wait_until(pilot, lambda: sum(view.finished is not None for view in views.nodes) == count)


async def chat(pilot: Pilot[None]) -> None:
    """A conversation with a table, code and a formula."""
    await idle(pilot)
    await app_of(pilot).library.resume("")
    status = desk_of(pilot).status
    status.used, status.limit = 1_204, 8_192
    await settled(pilot)


async def pro(pilot: Pilot[None]) -> None:
    """Eight answers of the demo model, some of which have ended: it is quick, so its process is suspended then."""
    await wait_until(pilot, lambda: desk_of(pilot).status.state == "ready")
    conversations, engine = app_of(pilot).conversations, app_of(pilot).engine.process
    assert isinstance(engine, EngineClient) and engine._process is not None

    async def suspend(process: asyncio.subprocess.Process) -> None:
        while conversations._pro is None or len(conversations._pro.ended) < ENDED:
            await asyncio.sleep(0)
        process.send_signal(signal.SIGSTOP)

    suspended = asyncio.create_task(suspend(engine._process))
    await send(pilot, f"/pro 8 vote: {COUNTED}")
    await suspended
    await settled(pilot)


async def settled(pilot: Pilot[None]) -> None:
    """Nothing moves any more."""
    await pilot.pause(0.5)


def example() -> None:
    """Save the conversations of the picture."""
    for question, answer in (*EARLIER, (QUESTION, ANSWER)):
        tree = Conversation()
        messages = [assistant(THOUGHT, "analysis"), assistant(answer)]
        tree.add_answer(tree.add_prompt(question, None).id, FACTS, messages)
        keep(tree)


async def take(scene: Scene, app: ChatApp, size: tuple[int, int]) -> None:
    """Play a scene and save what is on the screen."""
    path = ASSETS / f"{scene.__name__}.svg"
    async with app.run_test(size=size) as pilot:
        await scene(pilot)
        picture = app.export_screenshot(title="gptoss-chat")
    # Textual's pictures load a font from the network; the reader's own monospaced font will do.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.S), encoding="utf-8")
    print(path)


async def known() -> ComputerFacts:
    """Stands in for the examination of this computer."""
    return COMPUTER


def in_new_home(take_all: Coroutine[Any, Any, None]) -> None:
    """Take pictures with nobody's conversations and settings."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["GPTOSS_CHAT_HOME"] = home
        asyncio.run(take_all)


async def of_the_beginning() -> None:
    """The first screen, and the demo's first answers."""
    await take(first, ChatApp(engine=FakeEngine(model="demo"), settings=Settings(titles="words")), (100, 26))
    shown = Settings(titles="words", analysis="shown")
    await take(thought, ChatApp(Load("demo"), Options(temperature=0), settings=shown), (100, 26))
    options = Options(effort=Effort.HIGH, seed=1)
    await take(pro, ChatApp(Load("demo"), options, settings=Settings(titles="words")), (100, 20))


async def of_a_conversation() -> None:
    """The example."""
    example()
    await take(chat, ChatApp(engine=FakeEngine(), settings=Settings(titles="words")), (120, 36))


def main() -> None:
    """Take them all, in assets/."""
    setattr(greeting, "examine", known)  # noqa: B010  # a name that is imported there
    in_new_home(of_the_beginning())
    in_new_home(of_a_conversation())


if __name__ == "__main__":
    main()
