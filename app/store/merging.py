"""Adds to a conversation what another copy has more, as a later export does; changes nothing that is there."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.chat.conversation import Changes, Conversation, Node, new_id
from app.store.values import hashed, storable
from mlx_model.harmony.message import Message


@dataclass(frozen=True, slots=True)
class Insertion:
    """What adding a conversation did: whether it was not in the list before, how many nodes came, whether it had been
    deleted, and how many answers that were here got the output of code."""

    is_new: bool
    nodes: int
    was_deleted: bool = False
    outputs: int = 0


def merge(here: Conversation | None, other: Conversation, is_taken: Callable[[str], bool]) -> Changes:
    """What to save so that the store has all of `other`, which has the id of `here` (None: the store has none of it).

    A node of `other` is here already if its name is, with the same text or a longer one, or if the same text stands in
    the same place; an answer at the end of a path also if a longer one begins with it. Else it is added, under another
    name, always the same one, where its own is taken: `is_taken` tells whether any node of the store has a name. So
    merging twice is the same as once, in any order. The title stays, and so does what is on the screen, unless `other`
    goes on from there. A node that is here gets what came of code blocks that were not run here.
    """
    nodes = here.nodes if here else {}
    same: dict[tuple[str | None, tuple[Message, ...]], str] = {}
    alike: dict[tuple[str | None, tuple[Message, ...]], list[Node]] = {}  # those whose first message is the same
    for node in nodes.values():
        same.setdefault((node.parent, node.messages), node.id)
        alike.setdefault((node.parent, node.messages[:1]), []).append(node)
    place: dict[str | None, str | None] = {None: None}
    added: dict[str, Node] = {}
    run: dict[str, Node] = {}
    has_children = {node.parent for node in other.nodes.values()}
    for each in other.nodes.values():
        node = replace(each, parent=place[each.parent], messages=tuple(map(_stored, each.messages)))
        name = node.id
        is_here = name in nodes and _has(nodes[name], node)
        if not is_here and (name in added or is_taken(name)):
            name = hashed(other.id, name, json.dumps([message.to_json() for message in node.messages]))
        found: str | None = name if name in nodes else None
        if found is None:
            found = same.get((node.parent, node.messages))
        if found is None and each.id not in has_children and not node.is_prompt:
            siblings = alike.get((node.parent, node.messages[:1]), ())
            found = next((sibling.id for sibling in siblings if _begins_with(sibling, node)), None)
        if found is None:
            found = new_id() if name in added or is_taken(name) else name
            added[found] = replace(node, id=found)
        elif found in nodes and (more := _runs_of_others(run.get(found, nodes[found]), node)):
            run[found] = more
        place[each.id] = found
    leaf = place[other.leaf]
    if here is None:
        return Changes(other.id, other.title, other.created, other.updated, leaf, tuple(added.values()))
    if here.leaf is not None and not (added and _is_above(here.leaf, leaf, {**nodes, **added})):
        leaf = here.leaf
    updated = max(here.updated, other.updated) if added else here.updated
    return Changes(here.id, None, here.created, updated, leaf, (*run.values(), *added.values()))


def _runs_of_others(here: Node, other: Node) -> Node | None:
    """The node with the runs of `other` for blocks that have none; None where there are no such."""
    known = {run.block for run in here.runs}
    more = [run for run in other.runs if run.block not in known]
    runs = sorted([*here.runs, *more], key=lambda run: run.block)
    return replace(here, runs=tuple(runs)) if more else None


def _stored(message: Message) -> Message:
    """As the store gives it back: what differs only in that is the same."""
    name, channel, recipient, content_type = (
        text if text is None else storable(text)
        for text in (message.name, message.channel, message.recipient, message.content_type)
    )
    return Message(message.role, storable(message.text), name, channel, recipient, content_type, message.recovered)


def _has(here: Node, other: Node) -> bool:
    """Whether a node of the same name has all that `other` has: an answer may have been continued since."""
    count = len(other.messages)
    if here.is_prompt or other.is_prompt:
        return here.messages == other.messages
    if not count or len(here.messages) < count:
        return not count
    last = other.messages[-1]
    longer = here.messages[count - 1]
    return (
        here.messages[: count - 1] == other.messages[:-1]
        and longer.text.startswith(last.text)
        and replace(longer, text=last.text) == last
    )


def _begins_with(here: Node, other: Node) -> bool:
    return here.messages[: len(other.messages)] == other.messages


def _is_above(id: str, leaf: str | None, nodes: dict[str, Node]) -> bool:
    """Whether the path to `leaf` leads through a node."""
    while leaf is not None and leaf != id:
        leaf = nodes[leaf].parent
    return leaf is not None
