"""Many conversations in the chat: saved, listed, searched, opened, renamed, deleted; drafts; long ones."""

import sqlite3

import pytest
from textual.color import Color
from textual.pilot import Pilot

from app.chat import answer
from app.chat.conversation import AnswerFacts, Conversation
from app.engine.engine import EngineError
from app.paths import conversations_file
from app.store.store import Store
from app.tui.widgets.messages import AnswerView
from mlx_model.events import MessageStart
from mlx_model.harmony.message import assistant, user
from tests.fixtures.fakes import (
    STATS,
    FakeEngine,
    app_of,
    ask,
    chat,
    deltas,
    desk_of,
    idle,
    opened,
    send,
    text_on,
    wait_until,
)
from tests.fixtures.trees import TURN, branched, keep, stored, titled

WIDE = (120, 40)


def last_facts(tree: Conversation) -> AnswerFacts:
    """Those of the answer at its end."""
    facts = tree.path[-1].facts
    assert facts is not None
    return facts


# Saving


async def test_the_prompt_is_on_the_disk_before_the_engine_is_asked_and_the_answer_after() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "How many r's?")
        await wait_until(pilot, lambda: engine.asked)
        assert stored()[0].messages == [user("How many r's?")]
        engine.answer("three", analysis="hm")
        await idle(pilot)
        await wait_until(pilot, lambda: len(stored()[0].messages) == 3)
        tree = stored()[0]
        assert tree.messages == app_of(pilot).conversation.messages and tree.title == "How many r's?"
        facts = last_facts(tree)
        assert (facts.model, facts.effort, facts.reason, facts.stats) == ("gpt-oss-20b", "medium", "stop", STATS)
        assert facts.analysis_tokens == 1


async def test_a_growing_answer_is_saved_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "CHECKPOINT_S", 0.05)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), *deltas("final", "It was a dark and"))
        await send(pilot, "go")
        await wait_until(pilot, lambda: stored() and stored()[0].last_answer() == "It was a dark and")
        assert last_facts(stored()[0]).reason is None
        engine.say(*deltas("final", " stormy night"))
        await wait_until(pilot, lambda: stored()[0].last_answer() == "It was a dark and stormy night")
    # As after kill -9: what was saved says that it was not finished.
    async with chat(FakeEngine()) as pilot:
        store = Store(conversations_file())
        tree = titled("cut")
        tree.update_answer(tree.path[-1].id, AnswerFacts("m", TURN.effort), tree.path[-1].messages)
        store.insert(tree)
        store.close()
        await opened(pilot, "cut")
        assert "not finished: the program ended" in text_on(pilot)


async def test_what_came_to_nothing_leaves_nothing_on_the_disk() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "too long")
        await wait_until(pilot, lambda: engine.asked)
        engine.say(EngineError("the prompt has 9,999 tokens", unusable=True))
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "too long")
        await idle(pilot)
        await wait_until(pilot, lambda: stored() == [])


async def test_quitting_while_an_answer_grows_saves_it_and_the_draft() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), *deltas("final", "half"))
        await send(pilot, "go")
        await wait_until(pilot, lambda: "half" in text_on(pilot))
        await pilot.press(*"next")
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: not pilot.app.is_running)
    (tree,) = stored()
    assert tree.last_answer() == "half" and last_facts(tree).reason is None
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "go")
        assert desk_of(pilot).composer.text == "next" and "not finished: the program ended" in text_on(pilot)


async def test_drafts_survive_and_belong_to_their_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tui.app.DRAFT_S", 0.02)
    keep(titled("old"))
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        await pilot.press(*"new")
        store = Store(conversations_file())
        await wait_until(pilot, lambda: store.draft("") == "new", "the draft")
        await opened(pilot, "old")
        assert desk_of(pilot).composer.text == ""
        await pilot.press(*"more")
        await wait_until(pilot, lambda: store.draft(app_of(pilot).conversation.id) == "more", "the draft")
        store.close()
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "new")
        await opened(pilot, "old")
        assert desk_of(pilot).composer.text == "more"
        await ask(pilot, engine, "", "ok")
        await wait_until(pilot, lambda: not desk_of(pilot).composer.text)
        await send(pilot, "/new")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "new")


# The sidebar


async def test_a_new_chat_stands_beside_the_conversations_by_day(monkeypatch: pytest.MonkeyPatch) -> None:
    old = titled("Rust lifetimes")
    old.updated -= 86400 * 40
    keep(old, titled("Strawberry"))
    engine = FakeEngine()
    async with chat(engine, size=WIDE) as pilot:
        await idle(pilot)
        await wait_until(pilot, lambda: "Rust lifetimes" in text_on(pilot))
        screen = text_on(pilot)
        assert screen.index("Today") < screen.index("Strawberry") < screen.index("Rust lifetimes")
        assert app_of(pilot).conversation.messages == [] and desk_of(pilot).composer.has_focus
        await ask(pilot, engine, "A third one", "yes")
        await wait_until(pilot, lambda: "\u258c A third one" in text_on(pilot))
        assert text_on(pilot).index("A third one") < text_on(pilot).index("Strawberry")


async def test_opening_shows_the_conversation_and_the_chat_goes_on_in_it() -> None:
    keep(titled("Strawberry", 2), titled("Other"))
    engine = FakeEngine()
    async with chat(engine, size=WIDE) as pilot:
        await idle(pilot)
        await opened(pilot, "Strawberry")
        screen = text_on(pilot)
        assert "question 1" in screen and "answer 1" in screen and "thought for 2.5 s, 84 tokens" in screen
        assert "low \u00b7 42.0 tok/s \u00b7 22 tokens" in screen
        assert "context 374" in screen and desk_of(pilot).composer.has_focus
        assert "thought\n" not in screen
        await ask(pilot, engine, "go on", "more")
        asked = engine.asked[0][0]
        assert [m.text for m in asked] == [
            "Strawberry",
            "thought",
            "answer 0",
            "question 1",
            "thought",
            "answer 1",
            "go on",
        ]
        assert len(stored()[0].nodes) == 6 and stored()[0].title == "Strawberry"


async def test_the_sidebar_folds_away_in_a_narrow_terminal_and_lies_over_the_chat() -> None:
    keep(titled("Strawberry"))
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        assert not app.desk.sidebar.display and app.desk.transcript.size.width > 70
        width = app.desk.transcript.size.width
        await pilot.press("ctrl+b")
        await wait_until(pilot, lambda: "Strawberry" in text_on(pilot))
        assert app.desk.transcript.size.width == width and app.desk.sidebar.list.has_focus
        await pilot.press("ctrl+b")
        assert not app.desk.sidebar.display and app.desk.composer.has_focus
        await pilot.resize_terminal(120, 40)
        await wait_until(pilot, lambda: app.desk.sidebar.display and "Strawberry" in text_on(pilot))
        await pilot.press("ctrl+b")
        assert not app.desk.sidebar.display
        await pilot.resize_terminal(110, 30)
        await pilot.pause()
        assert not app.desk.sidebar.display  # the person's choice
        await pilot.press("ctrl+f")
        await pilot.resize_terminal(80, 24)
        await wait_until(pilot, lambda: not app.desk.sidebar.display and app.desk.composer.has_focus)
        for key, typed in (("x", "x"), ("ctrl+n", "x")):  # else it would hide what is typed
            await pilot.press("ctrl+b")
            await wait_until(pilot, lambda: app.desk.sidebar.list.has_focus)
            await pilot.press(key)
            await wait_until(pilot, lambda: not app.desk.sidebar.display and app.desk.composer.has_focus)
            assert app.desk.composer.text == typed


async def test_search_finds_shows_and_jumps_to_the_hit() -> None:
    keep(titled("Long one", 60, "unique"), titled("Other"), branched())
    async with chat(FakeEngine(), size=WIDE) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        await pilot.press("ctrl+f", *"unique 33", "enter")  # before it has searched
        await wait_until(pilot, lambda: app.conversation.title == "Long one" and app.query(".-hit"))
        await wait_until(pilot, lambda: "unique 33" in "".join(line[30:] for line in text_on(pilot).splitlines()))
        assert app.desk.composer.has_focus and "  unique 33" in text_on(pilot)  # in the list
        assert isinstance(hit := app.query_one(".-hit"), AnswerView) and hit.messages[-1].text == "unique 33"
        assert app.desk.transcript.region.contains_region(hit.region)
        # A version that isn't shown, found in what the model thought.
        await pilot.press("ctrl+f", *"let me count")
        await wait_until(pilot, lambda: any("thought" in line[:30] for line in text_on(pilot).splitlines()))  # found
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: "There are two." in text_on(pilot))
        assert "let me count" in "".join(line[30:] for line in text_on(pilot).splitlines())
        await pilot.press("ctrl+f", *"zzzz", "enter")
        await wait_until(pilot, lambda: "Nothing found" in text_on(pilot))
        await wait_until(pilot, lambda: app.desk.sidebar.input.has_focus)
        await pilot.press("backspace")
        assert app.desk.sidebar.searching == "zzz"  # the word is there to be changed
        await pilot.press("escape")
        await wait_until(pilot, lambda: "Today" in text_on(pilot))
        await pilot.press("escape")
        assert app.desk.composer.has_focus and app.desk.sidebar.display
        app.desk.sidebar.list.focus()
        await pilot.press("/")
        assert app.desk.sidebar.input.has_focus and app.desk.composer.text == ""


def marked_words(pilot: Pilot[None]) -> list[str]:
    """What has the background of a mark, in the list and beside it, line by line."""
    accent = Color.parse(pilot.app.theme_variables["accent"]).rich_color.triplet
    segments = [s for strip in pilot.app.screen._compositor.render_strips() for s in strip if s.style]
    backgrounds = [segment.style.bgcolor for segment in segments if segment.style]
    return [s.text for s, colour in zip(segments, backgrounds, strict=True) if colour and colour.triplet == accent]


async def test_what_was_found_is_marked_in_the_list_and_in_the_message_until_the_search_ends() -> None:
    tree = Conversation()
    prompt = tree.add_prompt("Ist der KÜRBIS eine Frucht?\n" * 30, None)
    lines = [f"line {number}\n" for number in range(60)]
    tree.add_answer(
        prompt.id, TURN, [assistant("Kürbisse, pumpkin", "analysis"), assistant("\n".join(lines) + "kurbis")]
    )
    keep(tree, titled("Other"))
    async with chat(FakeEngine(), size=WIDE) as pilot:
        await idle(pilot)
        app, desk = app_of(pilot), desk_of(pilot)
        await pilot.press("ctrl+f", *"kurbis")
        await wait_until(pilot, lambda: marked_words(pilot))
        assert marked_words(pilot) == ["KÜRBIS", "kurbis", "Kürbis", "KÜRBIS"]  # of the title and its hits
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.conversation.id == tree.id)
        # The words stand at the end of a long answer, which isn't shown from its beginning then.
        await wait_until(pilot, lambda: "line 59" in text_on(pilot) and "line 20" not in text_on(pilot))
        await pilot.pause()
        assert len(marked_words(pilot)) == 5
        await pilot.press("escape")  # in the input
        await pilot.pause()
        assert len(marked_words(pilot)) == 4
        await pilot.press("ctrl+f", "down", "down", "enter")  # what the model thought
        await wait_until(pilot, lambda: "Kürbisse, pumpkin" in text_on(pilot))
        await wait_until(pilot, lambda: len(marked_words(pilot)) == 5)
        assert "line 40" not in text_on(pilot)
        await pilot.press("ctrl+f", "down", "down", "enter")  # the hit after that
        await wait_until(pilot, lambda: len(marked_words(pilot)) > 20)  # the prompt has many
        await pilot.press("ctrl+f", "escape")
        await wait_until(pilot, lambda: not marked_words(pilot) and not app.query(".-hit"))
        assert not desk.sidebar.searching and "Other" in text_on(pilot)


async def test_nothing_looks_chosen_beside_a_new_chat() -> None:
    keep(titled("Strawberry"), titled("Other"))

    def looks(pilot: Pilot[None], title: str) -> tuple[bool, bool]:
        """Whether a row of the list has the bar of the conversation on the screen, and a background of its own."""
        strips = pilot.app.screen._compositor.render_strips()
        (strip,) = [strip for strip in strips[2:] if title in "".join(s.text for s in strip)[:30]]
        (background,) = {s.style.bgcolor for s in strip if s.style and title in s.text}
        return "".join(s.text for s in strip).startswith("\u258c"), background != list_background(pilot)

    def list_background(pilot: Pilot[None]) -> object:
        strip = pilot.app.screen._compositor.render_strips()[20]
        style = next(iter(strip)).style
        return style and style.bgcolor

    async with chat(FakeEngine(), size=WIDE) as pilot:
        await idle(pilot)
        await wait_until(pilot, lambda: "Strawberry" in text_on(pilot))
        assert looks(pilot, "Strawberry") == looks(pilot, "Other") == (False, False)
        await pilot.press("ctrl+b", "ctrl+b")  # into the list
        await wait_until(pilot, lambda: looks(pilot, "Other") == (False, True))
        await opened(pilot, "Strawberry")
        await wait_until(pilot, lambda: looks(pilot, "Strawberry") == (True, False))
        assert looks(pilot, "Other") == (False, False)


async def test_renaming_by_command_and_in_the_list() -> None:
    keep(titled("Old name"), titled("Other"))
    engine = FakeEngine()
    async with chat(engine, size=WIDE) as pilot:
        await idle(pilot)
        await send(pilot, "/rename Too early")
        await wait_until(pilot, lambda: "no conversation yet" in text_on(pilot))
        await opened(pilot, "Old name")
        await send(pilot, '/rename It\'s a "[bold]" (title)')
        await wait_until(pilot, lambda: '▌ It\'s a "[bold]" (title)' in text_on(pilot))
        app_of(pilot).set_focus(desk_of(pilot).sidebar.list)
        desk_of(pilot).sidebar.list.highlighted = 1 + [t.title for t in stored()].index("Other")
        await pilot.press("f2")
        await wait_until(pilot, lambda: "Title of the conversation" in text_on(pilot))
        await pilot.press("end", *"wise", "enter")
        await wait_until(pilot, lambda: "Otherwise" in text_on(pilot))
        assert {t.title for t in stored()} == {'It\'s a "[bold]" (title)', "Otherwise"}
        entry = desk_of(pilot).sidebar.list.entry
        assert entry is not None and entry.title == "Otherwise"  # what was chosen stays chosen
        await pilot.press("f2", "x", "escape", "escape")
        await send(pilot, "/rename")
        await wait_until(pilot, lambda: "Title of the conversation" in text_on(pilot))
        await pilot.press("home", *"Yes ", "enter")
        await wait_until(pilot, lambda: "▌ Yes It's" in text_on(pilot))


async def test_deleting_and_undoing() -> None:
    keep(titled("First"), titled("Second"))
    async with chat(FakeEngine(), size=WIDE) as pilot:
        await idle(pilot)
        await opened(pilot, "First")
        await send(pilot, "/delete")
        await wait_until(pilot, lambda: 'Deleted "First"' in text_on(pilot))
        await wait_until(pilot, lambda: app_of(pilot).conversation.messages == [])
        assert [t.title for t in stored()] == ["Second"]
        await send(pilot, "/undo")
        await wait_until(pilot, lambda: app_of(pilot).conversation.title == "First" and "answer 0" in text_on(pilot))
        assert {t.title for t in stored()} == {"First", "Second"}
        await wait_until(pilot, lambda: 'Deleted "First"' not in text_on(pilot), "the end of what is true no more")
        await send(pilot, "/undo")
        await wait_until(pilot, lambda: "nothing to undo" in text_on(pilot))
        app_of(pilot).set_focus(desk_of(pilot).sidebar.list)
        desk_of(pilot).sidebar.list.highlighted = 1 + [t.title for t in stored()].index("Second")
        await pilot.press("delete")
        await wait_until(pilot, lambda: [t.title for t in stored()] == ["First"])
        assert app_of(pilot).conversation.title == "First"
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: not pilot.app.is_running)
    with sqlite3.connect(conversations_file()) as connection:
        assert connection.execute("SELECT title FROM conversations").fetchall() == [("First",)]
    connection.close()


# Long conversations


async def test_a_long_conversation_mounts_its_end_and_more_on_reaching_an_end() -> None:
    keep(titled("Long", 100, "line\n\n" * 3 + "answer"))
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "Long")
        app, transcript = app_of(pilot), desk_of(pilot).transcript
        await wait_until(pilot, lambda: transcript.follows and "answer 99" in text_on(pilot))
        assert len(app.query(AnswerView)) == 10 and "more below" not in text_on(pilot)
        for _ in range(40):
            await pilot.press("pageup")
            if len(app.query(AnswerView)) > 10:
                break
        await wait_until(pilot, lambda: len(app.query(AnswerView)) == 15)
        await pilot.pause()
        assert 0 < transcript.scroll_y < transcript.max_scroll_y / 2
        assert "answer 89" in text_on(pilot) or "answer 90" in text_on(pilot)  # where the person was
        await pilot.press("end")
        await wait_until(pilot, lambda: "answer 99" in text_on(pilot))
        await app.conversations.open(app.conversation.id, app.conversation.path[20].id)
        await wait_until(pilot, lambda: "question 10" in text_on(pilot))
        assert len(app.query(AnswerView)) == 10
        for _ in range(60):
            await pilot.press("pagedown")
            if "answer 20" in text_on(pilot):
                break
        assert "answer 20" in text_on(pilot)


async def test_asking_from_the_middle_goes_to_the_end() -> None:
    keep(titled("Long", 40))
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await opened(pilot, "Long")
        app = app_of(pilot)
        await app.conversations.open(app.conversation.id, app.conversation.path[4].id)
        await ask(pilot, engine, "new question", "new answer")
        await wait_until(pilot, lambda: "new answer" in text_on(pilot) and "answer 39" in text_on(pilot))
        assert app.desk.transcript.follows


async def test_answers_of_a_long_sitting_are_whole_on_scrolling_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """They came to the transcript before there was a word of them, and have left the screen since."""
    for name, nodes in (("TAIL", 4), ("STEP", 2), ("MAX_MOUNTED", 6)):
        monkeypatch.setattr(f"app.tui.text.window.{name}", nodes)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        app, mounted = app_of(pilot), list[int]()
        for number in range(9):
            await ask(pilot, engine, f"question {number}", f"line\n\nline\n\nanswer {number}")
            mounted.append(len(app.desk.transcript.children))
        assert len(app.query(AnswerView)) < 5
        assert max(mounted) <= 6 + 3  # the nodes, what stands for those before and after, and the greeting
        for _ in range(20):
            await pilot.press("pageup")
        await wait_until(pilot, lambda: "answer 0" in text_on(pilot))
