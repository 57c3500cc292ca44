"""What an import did, counted, and said in one line of bounded length."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from app.chat.conversation import Conversation
from app.lines import one_line
from app.store.errors import StoreError
from app.store.exchange.export import nodes_in_words, short
from app.store.merging import Insertion

NAMED = 3
"""Conversations, kinds and files that are named; the others are counted."""
KIND_LENGTH = 60


@dataclass
class ImportResult:
    """What files gave, and what the store did with it.

    Conversations by id: `imported` ones with `nodes` prompts and answers, of which `deleted` had been deleted here;
    those that were here already and got `more` nodes, or the `outputs` of code in answers (`continued`), or nothing
    (`known`). Those that are `unreadable`, of
    the first of which `troubles` say why, and those `without_text` are counted.

    Messages of other programs: those that were `kept`, those `hidden` there too or without text, and the `odd` ones,
    which could not be read. `left_out` counts content that is not text, by its kind; `gaps` the places where the
    message before is missing. `failures` are sentences about files that could not be read, or not to their end.
    """

    imported: set[str] = field(default_factory=set)
    nodes: int = 0
    deleted: int = 0
    continued: set[str] = field(default_factory=set)
    more: int = 0
    outputs: int = 0
    known: set[str] = field(default_factory=set)
    unreadable: int = 0
    troubles: list[str] = field(default_factory=list)
    without_text: int = 0
    kept: int = 0
    hidden: int = 0
    odd: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    gaps: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def found(self) -> int:
        """How many conversations could be read."""
        return len(self.imported | self.continued | self.known) + self.without_text

    def inserted(self, insertion: Insertion, conversation: Conversation) -> None:
        """The store has taken a conversation."""
        id = conversation.id
        if insertion.is_new or id in self.imported:  # of which there may be a later version in another file
            self.imported.add(id)
            self.nodes += len(conversation.nodes) if insertion.is_new else insertion.nodes
            self.deleted += insertion.was_deleted
        elif insertion.nodes or insertion.outputs:
            self.continued.add(id)
            self.more += insertion.nodes
            self.outputs += insertion.outputs
        else:
            self.known.add(id)

    def leave_out(self, kind: Any) -> None:
        """Content of this kind is no text."""
        name = one_line(kind)[:KIND_LENGTH] if isinstance(kind, str) else ""
        self.left_out[name or "unknown"] += 1

    def unread(self, title: Any, why: str) -> None:
        """A conversation could not be read; it had perhaps a title."""
        self.unreadable += 1
        if len(self.troubles) < NAMED:
            line = one_line(short(title)) if isinstance(title, str) else ""
            self.troubles.append(f'"{line or "(untitled)"}" could not be read: {why}')

    def summary(self) -> str:
        """What was done, in one line for the person."""
        parts = []
        imported, continued, known = len(self.imported), len(self.continued), len(self.known - self.continued)
        if imported or not continued:
            parts.append(f"imported {_count(imported, 'conversation')} with {nodes_in_words(self.nodes)}")
        if self.deleted:
            parts.append(f"{_were(self.deleted)} deleted here and {'is' if self.deleted == 1 else 'are'} back")
        if continued:
            more = [nodes_in_words(self.more)] if self.more else []
            outputs = [f"the output of code in {_count(self.outputs, 'answer')}"] if self.outputs else []
            parts.append(
                f"added {' and '.join([*more, *outputs])} to {_count(continued, 'conversation')} that "
                f"{'was' if continued == 1 else 'were'} here already"
            )
        if known:
            parts.append(f"{_were(known)} here already")
        if self.without_text:
            parts.append(f"{self.without_text} had no text")
        if self.unreadable:
            parts.append(f"{self.unreadable} could not be read")
        if self.odd:
            parts.append(f"{_count(self.odd, 'message')} could not be read")
        if self.gaps:
            parts.append(f"in {_count(self.gaps, 'place')} the message before is missing")
        if self.left_out:
            parts.append(f"left out content that is not text: {self._kinds()}")
        return "; ".join(parts)

    def stopped(self, error: StoreError) -> StoreError:
        """The store failed in the middle: what to say of it."""
        return StoreError(f"{error}; until then {self.summary()}; import again to add the others")

    def failed(self) -> list[str]:
        """The first sentences about files and about conversations, and how many more there are of each."""
        files, conversations = len(self.failures) - NAMED, self.unreadable - len(self.troubles)
        return [
            *self.failures[:NAMED],
            *([f"{_count(files, 'more file')} can't be read"] if files > 0 else []),
            *self.troubles,
            *([f"{_count(conversations, 'more conversation')} could not be read"] if conversations > 0 else []),
        ]

    def _kinds(self) -> str:
        kinds = self.left_out.most_common()
        named = sorted(kinds[:NAMED], key=lambda kind: kind[0])
        others = sum(count for _, count in kinds[NAMED:])
        return ", ".join(f"{count} {kind}" for kind, count in named) + (f", {others} of other kinds" if others else "")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _were(number: int) -> str:
    return f"{number} {'was' if number == 1 else 'were'}"
