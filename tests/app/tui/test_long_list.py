"""A list of many conversations: a page at a time, more as its end comes in sight, and little work at each save."""

from collections.abc import Callable, Sequence

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from app.paths import conversations_file
from app.store.store import Store
from app.tui.widgets import sidebar as sidebar_module
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, desk_of, idle, wait_until
from tests.fixtures.trees import titled

WIDE = (120, 40)
MANY, PAGE, IN_SIGHT = 230, 60, 5


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """More conversations than a page, one an hour."""
    monkeypatch.setattr(sidebar_module, "PAGE", PAGE)
    monkeypatch.setattr(sidebar_module, "IN_SIGHT", IN_SIGHT)
    store = Store(conversations_file())
    for number in range(MANY):
        tree = titled(f"Conversation {number}")
        tree.updated -= 3600 * (number + 1)
        store.insert(tree)
    store.close()


def titles(pilot: Pilot[None]) -> list[str]:
    """What the list has, without headings."""
    return [entry.title for entry in desk_of(pilot).sidebar.list.entries if entry is not None]


def page(number: int) -> list[str]:
    """What so many pages list."""
    return [f"Conversation {i}" for i in range(min(MANY, PAGE * number))]


async def listed(pilot: Pilot[None], expected: Sequence[str]) -> None:
    """Wait until exactly these are listed."""
    await wait_until(pilot, lambda: titles(pilot) == list(expected), f"{len(expected)} conversations")


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were made, each time that some were."""
    counts: list[int] = []
    add: Callable[[OptionList, Sequence[Option]], OptionList] = OptionList.add_options

    def count(self: OptionList, options: Sequence[Option]) -> OptionList:
        counts.append(len(options))
        return add(self, options)

    monkeypatch.setattr(OptionList, "add_options", count)
    return counts


async def test_a_save_makes_no_more_rows_than_a_page_and_none_if_nothing_moves(added: list[int]) -> None:
    engine = FakeEngine()
    async with chat(engine, size=WIDE) as pilot:
        await idle(pilot)
        await listed(pilot, page(1))
        added.clear()
        await ask(pilot, engine, "New one", "yes")
        await listed(pilot, ["New one", *page(1)[:-1]])
        assert max(added) <= PAGE + 10  # with the headings of the days
        added.clear()
        await ask(pilot, engine, "and on", "yes")
        assert sum(added) == 0


async def test_going_down_brings_more_and_keeps_the_place(added: list[int]) -> None:
    async with chat(FakeEngine(), size=WIDE) as pilot:
        await idle(pilot)
        await listed(pilot, page(1))
        app, list_ = app_of(pilot), desk_of(pilot).sidebar.list
        app.set_focus(list_)
        added.clear()
        for number in (2, 3, 4):
            last = titles(pilot)[-1]
            await pilot.press("end")
            await listed(pilot, page(number))
            assert list_.entry is not None and list_.entry.title == last
        assert titles(pilot)[-1] == f"Conversation {MANY - 1}" and sum(added) < MANY + 20  # none was made twice
        await pilot.press("end")
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.conversation.title == f"Conversation {MANY - 1}")
        list_.scroll_home(animate=False)
        await pilot.press("ctrl+n")
        await pilot.pause()
        app.run_worker(app.library.refresh())
        await listed(pilot, page(1))


async def test_the_wheel_brings_more_too() -> None:
    async with chat(FakeEngine(), size=WIDE) as pilot:
        await idle(pilot)
        await listed(pilot, page(1))
        list_ = desk_of(pilot).sidebar.list
        list_.scroll_end(animate=False)
        await listed(pilot, page(2))
        assert list_.scroll_offset.y > 10


def test_a_page_is_read_from_an_index() -> None:
    store = Store(conversations_file())
    statements: list[str] = []
    store._connection.set_trace_callback(statements.append)
    assert len(store.summaries(limit=10)) == 10
    (statement,) = [each for each in statements if each.startswith("SELECT")]
    plan = store._connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    store.close()
    steps = " ".join(str(row[-1]) for row in plan)
    assert "USING INDEX latest" in steps and "TEMP B-TREE" not in steps
