"""Conversations to store: of every shape, and with text that nobody should have to store."""

from app.chat.conversation import Conversation, Turn
from app.store.database import default_path
from app.store.store import Store
from mlx_model.events import Stats
from mlx_model.harmony.message import Effort, Message, Role, assistant

STATS = Stats(
    prefill_tokens=40,
    reused_tokens=312,
    decode_tokens=22,
    ttft_s=0.31,
    prefill_s=0.25,
    decode_s=0.5,
    peak_memory_bytes=11_000_000_000,
    seed=2**64 - 1,
)
TURN = Turn("gpt-oss-20b", Effort.LOW, "stop", STATS, analysis_s=2.5, analysis_tokens=84)
HOSTILE = "[bold]\x1b]0;title\x07 \u202egnp.exe\u202c % _ \\ \" ' ; DROP TABLE messages"


def branched() -> Conversation:
    """Two prompts, the first answer asked for twice, the second prompt edited; tools, and text that attacks."""
    tree = Conversation()
    first = tree.add_prompt("How many r's are in strawberry?", None)
    tree.add_answer(first.id, TURN, [assistant("let me count", "analysis"), assistant("There are two.")])
    better = tree.add_answer(
        first.id,
        TURN,
        [
            assistant("once more", "analysis"),
            Message(Role.ASSISTANT, "'strawberry'.count('r')", None, "commentary", "python", "code", True),
            Message(Role.TOOL, "3", "python", "commentary"),
            assistant("There are **three**."),
        ],
    )
    tree.add_answer(tree.add_prompt(HOSTILE, better.id).id, TURN, [assistant(HOSTILE)])
    tree.add_prompt("Und auf Deutsch? 日本語も", better.id)
    return tree


def same(one: Conversation, other: Conversation) -> bool:
    """Whether two conversations are equal in all that is kept."""
    return one.everything() == other.everything()


def stored() -> list[Conversation]:
    """What is on the disk, the latest first, as another program sees it."""
    store = Store(default_path())
    found = [store.load(summary.id) for summary in store.summaries()]
    store.close()
    return found


def keep(*trees: Conversation) -> None:
    """Put conversations on the disk before the app starts."""
    store = Store(default_path())
    for tree in trees:
        store.insert(tree)
    store.close()


def titled(title: str, turns: int = 1, text: str = "answer") -> Conversation:
    """A conversation of so many questions and answers."""
    tree = Conversation()
    for i in range(turns):
        prompt = tree.add_prompt(title if i == 0 else f"question {i}", tree.leaf)
        tree.add_answer(prompt.id, TURN, [assistant("thought", "analysis"), assistant(f"{text} {i}")])
    return tree
