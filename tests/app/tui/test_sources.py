"""Citations on the screen: numbers while the answer grows, the sources below it, by click and by key."""

from itertools import chain

import pytest
from textual.pilot import Pilot

from app.chat.conversation import Conversation
from app.tui.app import ChatApp
from app.tui.widgets.messages import AnswerText, AnswerView
from app.tui.widgets.sources import Sources
from mlx_model.events import Finished, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.message import assistant
from tests.fixtures.browsed import browsed, called, display
from tests.fixtures.fakes import STATS, FakeEngine, app_of, chat, desk_of, idle, send, text_on, wait_until
from tests.fixtures.trees import TURN, keep, stored

FIRST = "Kernels run once per thread【1†L3】."
SECOND = "1,024 threads【2†L40】【0†L8】, says `【1†L3】`. Nobody knows【9†L1】."


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is copied."""
    texts: list[str] = []
    monkeypatch.setattr(ChatApp, "copy_to_clipboard", lambda self, text, what="": texts.append(text))
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
        assert len(app.query(Sources)) == 1  # the second has none yet
        engine.say(
            TextDelta("final", "L3】`. Nobody knows【9†L1】."), MessageEnd(assistant(SECOND)), Finished("stop", STATS)
        )
        await idle(pilot)
        await wait_until(pilot, lambda: app.query(Sources).last().display)
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
        await pilot.press("backspace", "shift+tab", "q")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text.startswith("> 1,024 threads[1][2], says `"))

        await app.conversations.show()  # as from the disk
        await wait_until(pilot, lambda: "1,024 threads[1][2], says" in text_on(pilot))


async def test_a_source_that_is_not_listed_is_opened_in_sight() -> None:
    pages = [
        called("open", "{}", display(n, f"Page {n} (https://a.example/{n})", 0, 9, *["line"] * 9)) for n in range(9)
    ]
    text = "\n\n".join(f"Claim{n}【{n}†L0-L8】" for n in range(9))
    tree = Conversation()
    tree.add_answer(tree.add_prompt("How?", None).id, TURN, [*chain(*pages), assistant(text)])
    keep(tree)
    async with chat(FakeEngine(), (80, 46)) as pilot:
        await idle(pilot)
        await app_of(pilot).conversations.open(tree.id)
        await wait_until(pilot, lambda: "Claim1[2]" in text_on(pilot))
        view, sources = app_of(pilot).query_one(AnswerView), app_of(pilot).query_one(Sources)
        assert sources.render().plain.endswith("and 3 more")
        transcript = desk_of(pilot).transcript
        assert transcript.max_scroll_y == 0
        sources.toggle()  # what there was fits, what there is now does not
        await wait_until(pilot, lambda: transcript.max_scroll_y > 0)
        for _ in range(5):
            await pilot.pause()
        assert "Sources  1 a.example" in text_on(pilot)
        sources.toggle()
        view.post_message(AnswerText.SourceWanted(9))
        await wait_until(pilot, lambda: "9 a.example  Page 8" in text_on(pilot) and "L8  line" in text_on(pilot))
        sources.toggle()
        sources.toggle()
        await pilot.pause()
        assert sources.render().plain.endswith("and 3 more")
        sources.scroll_visible(animate=False)
        await pilot.pause()
        await click(pilot, sources, "and 3 more")
        await wait_until(pilot, lambda: "9 a.example  Page 8" in sources.render().plain)
