"""Text that attacks: markup, escape sequences, reordering. It must stay text: streamed, finished, clicked."""

import pytest
from textual.events import Paste

from app.chat.conversation import AnswerFacts, Conversation
from app.engine.engine import EngineError
from app.paths import conversations_file
from app.settings import Settings
from app.store.store import Store
from app.tui.app import ChatApp
from app.tui.widgets.markdown import MarkdownText
from mlx_model.events import Finished, MessageStart
from mlx_model.harmony.message import assistant
from tests.fixtures.fakes import STATS, FakeEngine, app_of, chat, deltas, desk_of, send, text_on, wait_until

WORDS = Settings(titles="words")

HOSTILE = [
    "[bold red]not bold[/bold red]",
    "[/nope] [~] [@click=app.quit()]quit[/]",
    "# [/h] heading\n\n| a | [/x] |\n|---|---|\n| [/y] | [@click=app.bell]z[/] |\n",
    "\x1b[2J\x1b]0;title\x07 \x1b]52;c;ZXZpbA==\x07",
    "\x9b2J \x9d0;title\x9c",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "```\n\x1b[31m[/x]\n```",
    "[a](javascript:x) <http://example.com/[/x]> ![i](file:///etc/passwd)",
    "<b>tag</b> <script>x</script> Vec<u8>",
    "&#x202e;gnp.exe&#8236; &#27;[2J &#155;2J &#13;x ```&#x202e;```\n",
    "|&#8294;a|\n|-|\n|&rlm;|\n\n```&#x202e;py\nx\n```",
    "\x00\x01\x02\x7f\ud800",
    "a" * 300,
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_everywhere_on_the_screen(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChatApp, "TOOLTIP_DELAY", 0.01)
    engine = FakeEngine()
    async with ChatApp(engine=engine, settings=WORDS).run_test(
        size=(80, 40), notifications=True, tooltips=True
    ) as pilot:
        app = app_of(pilot)
        await wait_until(pilot, lambda: app.desk.status.state == "ready")
        engine.think(text)
        engine.say(MessageStart("commentary"), *deltas("commentary", text))
        engine.say(MessageStart("final"), *deltas("final", text), Finished("stop", STATS))
        await send(pilot, "go " + text.replace("\n", " "))
        await wait_until(pilot, lambda: len(app.conversation.messages) > 1 and app.desk.status.state == "ready")
        await pilot.press("ctrl+t")
        await pilot.pause()
        assert_inert(text_on(pilot))
        assert app.export_screenshot()

        await send(pilot, "again")
        await wait_until(pilot, lambda: len(engine.asked) == 2)
        engine.say(EngineError(text))
        await wait_until(pilot, lambda: app.desk.composer.text == "again")
        await pilot.pause()
        assert_inert(text_on(pilot))
        assert app.is_running


def assert_inert(screen: str) -> None:
    """No control, surrogate or reordering character is about to be written."""
    forbidden = {c for c in screen if ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000} - {"\n"}
    assert not forbidden
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & set(screen)


async def test_markup_is_shown_as_it_was_written() -> None:
    engine = FakeEngine()
    async with ChatApp(engine=engine, settings=WORDS).run_test(size=(80, 24)) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).status.state == "ready")
        engine.answer("see [bold]this[/bold], Vec<u8> and <b>that</b>")
        await send(pilot, "and [i]mine[/i]")
        await wait_until(pilot, lambda: "see [bold]this[/bold], Vec<u8> and <b>that</b>" in text_on(pilot))
        assert "and [i]mine[/i]" in text_on(pilot)


async def test_pasted_control_characters_do_not_reach_the_screen() -> None:
    from textual.events import Paste

    async with ChatApp(engine=FakeEngine(), settings=WORDS).run_test(size=(80, 24)) as pilot:
        composer = desk_of(pilot).composer
        composer.post_message(Paste("one\r\ntwo\rthree\x1b[31m\u202e"))
        await wait_until(pilot, lambda: composer.text)
        assert composer.text == "one\ntwo\nthree\u241b[31m"


async def test_a_link_shows_where_it_leads_and_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(ChatApp, "open_url", lambda self, url, **_: opened.append(url))
    engine = FakeEngine()
    async with ChatApp(engine=engine, settings=WORDS).run_test(size=(80, 24), notifications=True) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).status.state == "ready")
        engine.answer("[click me](http://example.com/[/x])")
        await send(pilot, "go")
        await wait_until(pilot, lambda: "http://example.com/%5B/x%5D" in text_on(pilot))
        await pilot.click(MarkdownText, offset=(2, 0))
        await pilot.pause()
        assert opened == []


async def test_stored_conversations_of_hostile_text() -> None:
    """Titles, list, search, and a conversation that is opened again."""
    store = Store(conversations_file())
    for text in HOSTILE:
        tree = Conversation(title=text)  # as another program may have written it
        prompt = tree.add_prompt(f"needle {text}", None)
        turn = AnswerFacts(text, None, text)
        tree.add_answer(prompt.id, turn, [assistant(text, "analysis"), assistant(text, "commentary"), assistant(text)])
        store.insert(tree)
    ids = [summary.id for summary in store.summaries()]
    store.close()
    async with ChatApp(engine=FakeEngine(), settings=WORDS).run_test(size=(120, 40), notifications=True) as pilot:
        app = app_of(pilot)
        await wait_until(pilot, lambda: len(app.desk.sidebar.list.entries) > len(HOSTILE))
        assert_inert(text_on(pilot))
        await pilot.press("ctrl+f", *"needle")
        await wait_until(pilot, lambda: "needle [" in text_on(pilot))
        assert_inert(text_on(pilot))
        for id in ids:
            assert await app.conversations.open(id)
            await pilot.pause()
            assert_inert(text_on(pilot))
        assert app.is_running


async def test_a_search_for_what_no_query_can_have() -> None:
    async with chat(FakeEngine()) as pilot:
        await pilot.press("ctrl+f")
        pilot.app.post_message(Paste("a\ud800\x1b[2Jb"))
        await wait_until(pilot, lambda: "Nothing found" in text_on(pilot))
