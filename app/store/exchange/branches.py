"""The messages of another program's conversation, each after one before it, as the nodes of ours."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.chat.conversation import AnswerFacts, Node
from app.store.values import hashed
from mlx_model.harmony.message import Message, Role

MOST_COPIES = 1000
"""Messages that versions of an answer may have in common, in one conversation: a hostile tree has millions."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What another program keeps as one message: with several of ours, or with none where there is no text.

    `parent` is the id of the entry before it, which may be missing. `created` is in seconds since 1970; `model` the
    name of the model that wrote it, "" if unknown.
    """

    id: str
    parent: str | None
    messages: tuple[Message, ...] = ()
    created: float = 0.0
    model: str = ""

    @property
    def is_prompt(self) -> bool:
        """Whether the person wrote it."""
        return self.messages[0].role is Role.USER


@dataclass(frozen=True, slots=True)
class Branches:
    """The nodes, parents before their children; the node in which each entry is, or hangs below; and in how many places
    the message before is missing."""

    nodes: list[Node]
    owner: dict[str, str | None]
    gaps: int


def branches(conversation: str, entries: Iterable[Entry], program: str) -> Branches:
    """Nodes of the entries that have messages; those of one parent are in the order of the entries.

    What follows a prompt, up to the next prompt, is one answer; where that branches, each branch is an answer of its
    own, with what they have in common. A node is named by its last entry, so that a later export, in which the
    conversation goes on, has the same nodes and new ones. An entry whose parent is missing begins a conversation of its
    own, and so does the first of a circle. `program` stands for a model without a name.
    """
    by_id = {entry.id: entry for entry in entries}
    above, root_of = _walk(by_id)
    order = list(above)
    following: dict[str, list[Entry]] = {}
    for id in order:
        if (parent := above[id]) is not None and by_id[id].messages:
            following.setdefault(parent, []).append(by_id[id])
    nodes: list[Node] = []
    owner: dict[str, str | None] = {}
    in_a_node: set[str] = set()
    copies = len(by_id) + MOST_COPIES
    for id in order:
        entry, next_ones = by_id[id], following.get(id, [])
        if not entry.messages or (next_ones and not entry.is_prompt and not any(each.is_prompt for each in next_ones)):
            continue  # an answer that goes on
        run = [entry]
        before = above[id]
        while not entry.is_prompt and before is not None and not by_id[before].is_prompt:
            if before in in_a_node:
                if not copies:
                    break
                copies -= 1
            run.append(by_id[before])
            before = above[before]
        messages = tuple(message for each in reversed(run) for message in each.messages)
        model = next((each.model for each in run if each.model), program)
        facts = None if entry.is_prompt else AnswerFacts(model, None, "stop")
        parent = None if before is None else owner[before]
        node = Node(hashed(conversation, id), parent, run[-1].created, messages, facts)
        nodes.append(node)
        in_a_node.update(each.id for each in run)
        for each in run:
            owner.setdefault(each.id, node.id)
    for id in order:  # what has no text hangs below what was before it
        if id not in owner:
            owner[id] = None if (before := above[id]) is None else owner[before]
    roots = {root_of[id] for id in order if by_id[id].messages}
    gaps = sum(by_id[root].parent is not None for root in roots) if len(roots) > 1 else 0
    return Branches(nodes, owner, gaps)


def _walk(by_id: dict[str, Entry]) -> tuple[dict[str, str | None], dict[str, str]]:
    """For each id, after that of its parent: the nearest entry with messages above it, and the root it hangs on."""
    children: dict[str | None, list[str]] = {}
    for entry in by_id.values():
        children.setdefault(entry.parent if entry.parent in by_id else None, []).append(entry.id)
    above: dict[str, str | None] = {}
    root_of: dict[str, str] = {}
    for root in (*children.get(None, ()), *by_id):  # what no root leads to are circles and what hangs on them
        waiting: list[tuple[str, str | None]] = [(root, None)]
        while waiting:
            id, before = waiting.pop()
            if id in above:
                continue
            above[id], root_of[id] = before, root
            nearest = id if by_id[id].messages else before
            waiting += [(child, nearest) for child in reversed(children.get(id, []))]
    return above, root_of
