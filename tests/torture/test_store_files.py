"""Everything that can happen to the database's file, in random order, while a chat goes on: nothing is lost."""

import random

import pytest

from app.paths import conversations_file
from app.store.store import Store
from app.tui.parts.journal import Journal
from tests.app.store.test_displaced import KINDS, replace
from tests.app.store.test_store import integrity
from tests.fixtures.trees import present, stored, titled


@pytest.mark.parametrize("seed", range(20))
async def test_a_chat_outlives_its_files(seed: int) -> None:
    random_, lines = random.Random(seed), list[str]()
    journal, tree, displaced = Journal(lambda text, level: lines.append(text)), titled("Now"), 0
    await journal.open()
    for number in range(30):
        tree.add_prompt(f"more {number}", tree.leaf)
        await journal.save(tree)
        assert present(await journal.load(tree.id)).everything() == tree.everything() and not journal.loses
        if random_.random() < 0.3:
            random_.choice(KINDS)(conversations_file())
            displaced += 1
            if random_.random() < 0.3:  # the last of them before the next save
                replace_again(random_)
        if random_.random() < 0.2 and not conversations_file().exists():
            Store(conversations_file()).close()  # another program starts meanwhile
    tree.add_prompt("last", tree.leaf)
    await journal.save(tree)
    await journal.close()
    assert tree.everything() in [each.everything() for each in stored()]
    assert displaced == 0 or lines
    integrity(conversations_file())


def replace_again(random_: random.Random) -> None:
    conversations_file().parent.mkdir(exist_ok=True)
    replace(conversations_file())
