"""Citations on the screen: numbers while the answer grows, the sources below it, by click and by key."""

import pytest
from textual.pilot import Pilot

from app.chat.conversation import Conversation
from app.tui.app import ChatApp
from app.tui.widgets.messages import AnswerText, AnswerView
from app.tui.widgets.sources import Sources
from mlx_model.events import Finished, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.message import assistant
from tests.fixtures.browsed import browsed
from tests.fixtures.fakes import STATS, FakeEngine, app_of, chat, desk_of, idle, send, text_on, wait_until
from tests.fixtures.trees import TURN, keep, stored

FIRST = "Kernels run once per thread【1†L3】."
SECOND = "1,024 threads【2†L40】【0†L8】, says `【1†L3】`. Nobody knows【9†L1】."


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is copied."""
    texts: list[str] = []
    monkeypatch.setattr(ChatApp, "copy_to_clipboard", lambda self, text: texts.append(text))
    return texts


async def click(pilot: Pilot[None], widget: AnswerText | Sources, word: str) -> None:
    """Click on the beginning of a word."""
    lines = widget.render().plain.split("\n")
    y = next(y for y, line in enumerate(lines) if word in line)
    await pilot.click(widget, offset=(lines[y].index(word) + 1, y))
    await pilot.pause()


async def test_citations_from_the_first_token_to_the_copy(copied: list[str]) -> None:
    tree = Conversation()
    tree.add_answer(tree.add_prompt("How?", None).id, TURN, [*browsed(), assistant(FIRST)])
    keep(tree)
    engine = FakeEngine()
    async with chat(engine, (100, 40)) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        await app.conversations.open(tree.id)
        await wait_until(pilot, lambda: "once per thread[1]." in text_on(pilot))
        assert "docs.example.org  Metal guide  L3" in text_on(pilot)

        # An answer under way, whose pages an earlier one has read: what is still open isn't shown.
        engine.say(MessageStart("final"), TextDelta("final", "1,024 threads【2†L"))
        await send(pilot, "How many?")
        await wait_until(pilot, lambda: "1,024 threads" in text_on(pilot))
        assert "【" not in text_on(pilot)
        engine.say(TextDelta("final", "40】【0†L8】, says `【1†"))
        await wait_until(pilot, lambda: "threads[1][2], says" in text_on(pilot))
        assert len(app.query(Sources)) == 1
        engine.say(
            TextDelta("final", "L3】`. Nobody knows【9†L1】."), MessageEnd(assistant(SECOND)), Finished("stop", STATS)
        )
        await idle(pilot)
        await wait_until(pilot, lambda: len(app.query(Sources)) == 2)
        assert "says 【1†L3】. Nobody knows【9†L1】." in text_on(pilot)
        assert stored()[0].last_answer() == SECOND

        # By mouse: on the number, then on the line of the source.
        text, sources = app.query(AnswerText).last(), app.query(Sources).last()
        await click(pilot, text, "[2]")
        await wait_until(pilot, lambda: "Somebody asks." in text_on(pilot))
        await click(pilot, sources, "forum.example.net  Forum")
        await wait_until(pilot, lambda: "Somebody asks." not in text_on(pilot))
        assert desk_of(pilot).transcript.selected is None

        # By key: only where there are sources.
        await pilot.press("shift+tab")
        await wait_until(pilot, lambda: "s sources" in text_on(pilot))
        await pilot.press("s")
        await wait_until(pilot, lambda: "limited to 32 KB" in text_on(pilot) and "Somebody asks." in text_on(pilot))
        await pilot.press("s")
        await wait_until(pilot, lambda: "limited to 32 KB" not in text_on(pilot))
        await pilot.press("c")
        await wait_until(pilot, lambda: len(copied) == 1)
        assert copied[0].startswith("1,024 threads[1](https://docs.example.org/guide)[2], says `【1†L3】`.")
        assert copied[0].endswith("2. Forum, forum.example.net, search result")
        await pilot.press("up", "s")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "s")


async def test_a_source_that_is_not_listed_yet_is_opened_in_sight() -> None:
    tree = Conversation()
    messages = [
        *browsed(),
        assistant("\n\n".join(f"{n}【{c}†L{n}】" for n, c in enumerate((1, 0, 0)) for _ in range(40))),
    ]
    node = tree.add_answer(tree.add_prompt("How?", None).id, TURN, messages)
    keep(tree)
    async with chat(FakeEngine(), (80, 24)) as pilot:
        await idle(pilot)
        await app_of(pilot).conversations.open(tree.id, node.id)
        await wait_until(pilot, lambda: "0[1]" in text_on(pilot))
        view = app_of(pilot).query_one(AnswerView)
        view.post_message(AnswerText.SourceWanted(1))
        await wait_until(pilot, lambda: "https://docs.example.org/guide" in text_on(pilot))
