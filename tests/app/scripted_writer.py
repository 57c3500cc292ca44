"""Saves one growing conversation for ever, and prints what has been saved: for a test that kills it."""

import sys
from pathlib import Path

from app.chat.conversation import Conversation
from app.store.store import Store
from mlx_model.harmony.message import assistant
from tests.app.trees import TURN


def main() -> None:
    """Arguments: the database, the id of the conversation."""
    store, tree = Store(Path(sys.argv[1])), Conversation(sys.argv[2])
    while True:
        prompt = tree.add_prompt(f"prompt {len(tree.nodes)}", tree.leaf)
        answer = tree.add_answer(prompt.id, TURN, [])
        for length in (10, 2_000, 20_000):
            tree.update_answer(answer.id, TURN, [assistant(f"answer {len(tree.nodes)} " * (length // 10))])
            changes = tree.take_changes()
            assert changes is not None
            store.save(changes)
            print(len(tree.nodes), len(tree.messages[-1].text), flush=True)


if __name__ == "__main__":
    main()
