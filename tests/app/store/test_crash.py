"""What was saved survives: processes killed at random moments, power cut inside a commit, many programs at once."""

import random
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.chat.conversation import Changes, Conversation
from app.paths import conversations_file
from app.store.store import Store
from mlx_model.harmony.message import assistant
from tests.app.store.test_store import integrity
from tests.fixtures import ROOT
from tests.fixtures.trees import TURN, present

WRITER = (sys.executable, "-m", "tests.fixtures.scripted_writer")


def sizes(line: str) -> tuple[int, int]:
    """The number of nodes and the length of the last message that the writer says it has saved."""
    nodes, length = map(int, line.split())
    return nodes, length


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_loses_nothing_that_was_saved(home: Path, seed: int) -> None:
    path = conversations_file()
    saved: list[tuple[int, int]] = []
    for _ in range(2):  # the second finds what the first has left, its log included
        writer = subprocess.Popen([*WRITER, str(path), "a" * 12], stdout=subprocess.PIPE, cwd=ROOT, text=True)
        assert writer.stdout is not None
        for _ in range(random.Random(seed).randrange(1, 12)):
            saved.append(sizes(writer.stdout.readline()))
        writer.send_signal(signal.SIGKILL)
        saved += [sizes(line) for line in writer.stdout if line.endswith("\n")]
        writer.wait()
        writer.stdout.close()
        store = Store(path)
        assert store.warning == ""
        tree = present(store.load("a" * 12))
        assert (len(tree.nodes), len(tree.messages[-1].text)) >= saved[-1]
        store.delete(tree.id)
        store.purge([tree.id])
        store.close()
        integrity(path)
        saved.clear()


def test_a_power_cut_inside_a_commit_leaves_what_was_saved_before(tmp_path: Path) -> None:
    """The log, cut off at seeded bytes, with and without rubbish after: what had been acknowledged must be there."""
    path = tmp_path / "live" / "conversations.db"
    store = Store(path)
    store._connection.execute("PRAGMA wal_autocheckpoint = 0")
    tree = Conversation()
    acknowledged: list[tuple[int, Changes]] = []  # the size of the log after each save, and what then is there
    for i in range(6):
        answer = tree.add_answer(tree.add_prompt(f"prompt {i}", tree.leaf).id, TURN, [assistant("part " * 50 * i)])
        store.save(present(tree.take_changes()))
        tree.update_answer(answer.id, TURN, [assistant("whole " * 300 * i)])
        store.save(present(tree.take_changes()))
        acknowledged.append((path.with_name("conversations.db-wal").stat().st_size, tree.everything()))
    log = path.with_name("conversations.db-wal").read_bytes()
    rng = random.Random(0)
    cuts = [rng.randrange(acknowledged[0][0], len(log) + 1) for _ in range(25)]
    cuts += [size + by for size, _ in acknowledged for by in (-1, 0, 1)]
    for number, cut in enumerate(cuts):
        folder = tmp_path / f"cut-{number}"
        folder.mkdir()
        shutil.copy(path, folder)
        rest = (b"", bytes(4096), rng.randbytes(5000))[number % 3]
        (folder / "conversations.db-wal").write_bytes(log[:cut] + rest)
        after = Store(folder / "conversations.db")
        assert after.warning == ""
        last = [everything for size, everything in acknowledged if size <= cut]
        found = after.load(tree.id)
        if last:
            assert found is not None and found.everything().nodes[: len(last[-1].nodes)] == last[-1].nodes
            assert len(found.nodes) <= len(last[-1].nodes) + 2
        after.close()
        integrity(folder / "conversations.db")
    store.close()


def test_programs_that_start_and_write_at_once(home: Path) -> None:
    path = conversations_file()

    def write(number: int) -> str:
        store, tree = Store(path), Conversation()
        for _ in range(5):
            tree.add_answer(tree.add_prompt(f"from {number}", tree.leaf).id, TURN, [assistant("text " * 100)])
            store.save(present(tree.take_changes()))
        store.close()
        return tree.id

    with ThreadPoolExecutor(8) as threads:  # a connection each; to SQLite they are as separate as processes
        ids = list(threads.map(write, range(8)))
    store = Store(path)
    assert {summary.id: summary.count for summary in store.summaries()} == dict.fromkeys(ids, 10)
    store.close()
    integrity(path)
